//! What has to be so whatever the directory is kept in: on SQLite each is a test, on PostgreSQL all of them are one, which starts
//! a server.

use harness::directory::{Directory, torrent};
use harness::postgres::Postgres;
use harness::sandbox::Sandbox;
use torrent_format::Metainfo;

const KIB: u64 = 1024;

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $name() {
                let sandbox = super::Sandbox::new();
                super::$name(&sandbox, super::Directory::start(&sandbox, &[]));
            })*
        }

        #[test]
        fn all_of_them_on_postgresql() {
            let server_place = Sandbox::new();
            let Some(server) = Postgres::start(&server_place) else { return };
            $(
                let sandbox = Sandbox::new();
                $name(&sandbox, Directory::start(&sandbox, &["--directory-db", &server.database()]));
            )*
            server.stop();
        }
    };
}

scenarios![
    words_are_found_however_they_are_written,
    operators_narrow_and_widen,
    filters_and_orders,
    pages_follow_each_other,
    live_numbers_order_what_is_found,
    what_was_acknowledged_outlives_kill_9,
    duplicates_are_one_and_owners_remove,
    only_one_tracker_has_a_directory,
];

fn published(sandbox: &Sandbox, directory: &Directory, titles: &[(&str, &str)]) -> String {
    let (token, _) = directory.token(sandbox, "publish");
    for (number, (name, remarks)) in titles.iter().enumerate() {
        directory.publish(&token, &torrent(name, KIB << number, number as u32), remarks).expect(201);
    }
    token
}

fn words_are_found_however_they_are_written(sandbox: &Sandbox, directory: Directory) {
    published(
        sandbox,
        &directory,
        &[
            ("Ubuntu.24.04_LTS-desktop.iso", ""),
            ("debian-12-netinst.iso", "title=Debian%2012%20%22bookworm%22"),
            ("Café Crème à la carte", ""),
            ("東京タワー", ""),
        ],
    );
    let ubuntu = "Ubuntu.24.04_LTS-desktop.iso";
    for (query, expected) in [
        ("ubuntu", ubuntu),
        ("DESKTOP%20lts%20ubuntu", ubuntu),
        ("ubuntu.24.04", ubuntu),
        ("ubuntu_24-04", ubuntu),
        ("ubu", ubuntu),
        ("desktop%20ubun", ubuntu),
        ("bookworm", "Debian 12 \"bookworm\""),
        ("netinst", "Debian 12 \"bookworm\""),
        ("creme%20cafe", "Café Crème à la carte"),
        ("CR%C3%88ME", "Café Crème à la carte"),
        ("%E6%9D%B1%E4%BA%AC", "東京タワー"),
    ] {
        assert_eq!(directory.titles(&format!("q={query}")), [expected], "{query}");
    }
    assert_eq!(directory.titles("q=").len(), 4);
    for nothing in ["q=ubun%20desktop", "q=buntu", "q=%25", "q=%E4%BA%AC%E6%9D%B1", "q=fedora"] {
        assert_eq!(directory.titles(nothing), [""; 0], "{nothing}");
    }
    let metainfo = Metainfo::from_bytes(&torrent(ubuntu, KIB, 0)).unwrap();
    let hash = metainfo.info.info_hash().to_string();
    assert_eq!(directory.titles(&format!("q={hash}")), [ubuntu]);
    assert_eq!(directory.titles(&format!("q={}", hash.to_uppercase())), [ubuntu]);
}

fn operators_narrow_and_widen(sandbox: &Sandbox, directory: Directory) {
    published(
        sandbox,
        &directory,
        &[("long term plan", ""), ("term long plan", ""), ("short plan iso", ""), ("img", "")],
    );
    let sorted = |query: &str| {
        let mut titles = directory.titles(&format!("q={query}"));
        titles.sort();
        titles
    };
    assert_eq!(sorted("%22long%20term%22"), ["long term plan"]);
    assert_eq!(sorted("plan%20-long"), ["short plan iso"]);
    assert_eq!(sorted("-plan"), ["img"]);
    assert_eq!(sorted("-%22long%20term%22"), ["img", "short plan iso", "term long plan"]);
    assert_eq!(sorted("iso%7Cimg"), ["img", "short plan iso"]);
    assert_eq!(sorted("iso%7Clong%20plan%20-short"), ["long term plan", "term long plan"]);
}

fn filters_and_orders(sandbox: &Sandbox, directory: Directory) {
    published(
        sandbox,
        &directory,
        &[
            ("a one", "tags=linux,iso"),
            ("a two", "tags=linux"),
            ("a three", "tags=linux-old,video"),
            ("a four", ""),
        ],
    );
    assert_eq!(directory.titles("q=a&sort=size"), ["a four", "a three", "a two", "a one"]);
    assert_eq!(directory.titles("q=a&sort=date"), ["a four", "a three", "a two", "a one"]);
    assert_eq!(directory.titles("sort=size&limit=2"), ["a four", "a three"]);
    assert_eq!(directory.titles("sort=size&min_size=2K&max_size=4096"), ["a three", "a two"]);
    assert_eq!(directory.titles("sort=size&tags=linux"), ["a two", "a one"]);
    assert_eq!(directory.titles("tags=linux,iso"), ["a one"]);
    assert_eq!(directory.titles("q=-two&tags=linux"), ["a one"]);
    assert_eq!(directory.titles("tags=linux-old"), ["a three"]);
    assert_eq!(directory.titles("q=video"), ["a three"], "the words of tags are words");
    assert_eq!(directory.titles("until=2020-01-01"), [""; 0]);
    assert_eq!(directory.titles("since=2020-01-01&sort=size").len(), 4);
    assert_eq!(directory.titles("alive=1"), [""; 0]);
}

fn pages_follow_each_other(sandbox: &Sandbox, directory: Directory) {
    let names: Vec<String> = (0..7).map(|number| format!("page {number}")).collect();
    published(sandbox, &directory, &names.iter().map(|name| (name.as_str(), "")).collect::<Vec<_>>());
    let mut seen = Vec::new();
    let mut target = "/api/v1/torrents?q=page&sort=size&limit=3".to_owned();
    loop {
        let page = directory.get(&target).expect(200).json();
        assert_eq!(page["total"], 7);
        seen.extend(
            page["torrents"].as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => target = next.strip_prefix(&directory.url()).expect("of this directory").to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, names.iter().rev().cloned().collect::<Vec<_>>());
    directory.get("/api/v1/torrents?cursor=nonsense").expect(400);
}

fn live_numbers_order_what_is_found(sandbox: &Sandbox, directory: Directory) {
    published(sandbox, &directory, &[("swarm large", ""), ("swarm small", ""), ("swarm dead", "")]);
    let client = directory.tracker.client();
    let hash = |name: &str, number: u32| {
        Metainfo::from_bytes(&torrent(name, KIB << number, number)).unwrap().info.info_hash().0
    };
    let (large, small) = (hash("swarm large", 0), hash("swarm small", 1));
    client.join(&small, 1001, "left=0");
    for port in 2001..2004 {
        client.join(&large, port, "left=0");
    }
    client.join(&large, 2100, "left=5");
    assert_eq!(directory.titles("q=swarm&sort=seeders"), ["swarm large", "swarm small", "swarm dead"]);
    assert_eq!(directory.titles("q=swarm"), ["swarm large", "swarm small", "swarm dead"]);
    assert_eq!(directory.titles("q=swarm&min_seeders=2"), ["swarm large"]);
    assert_eq!(directory.titles("sort=seeders&alive=1"), ["swarm large", "swarm small"]);
    let found = directory.get("/api/v1/torrents?q=large").expect(200).json();
    assert_eq!((&found["torrents"][0]["seeders"], &found["torrents"][0]["leechers"]), (&3.into(), &1.into()));
    // And at once when they go.
    for port in 2001..2004 {
        client.join(&large, port, "left=0&event=stopped");
    }
    assert_eq!(directory.titles("q=swarm&sort=seeders"), ["swarm small", "swarm large", "swarm dead"]);
}

fn what_was_acknowledged_outlives_kill_9(sandbox: &Sandbox, directory: Directory) {
    let (token, _) = directory.token(sandbox, "publish");
    let bytes = torrent("a thing that stays", KIB, 7);
    let hash = Metainfo::from_bytes(&bytes).unwrap().info.info_hash();
    directory.publish(&token, &bytes, "tags=kept&description=word%20for%20word").expect(201);
    let directory = directory.kill_and_start(sandbox);
    assert_eq!(directory.titles("q=stays&tags=kept"), ["a thing that stays"]);
    let record = directory.get(&format!("/api/v1/torrents/{hash}")).expect(200).json();
    assert_eq!(
        (&record["description"], &record["tags"]),
        (&"word for word".into(), &serde_json::json!(["kept"]))
    );
    let original = directory.get(&format!("/api/v1/torrents/{hash}/torrent?original=1")).expect(200);
    assert_eq!(original.body, bytes, "the very bytes");
    directory.publish(&token, &bytes, "").expect(200);
}

fn duplicates_are_one_and_owners_remove(sandbox: &Sandbox, directory: Directory) {
    let (owner, _) = directory.token(sandbox, "publish");
    let (other, _) = directory.token(sandbox, "publish");
    let (admin, _) = directory.token(sandbox, "admin");
    let bytes = torrent("one", KIB, 1);
    let metainfo = Metainfo::from_bytes(&bytes).unwrap();
    let target = format!("/api/v1/torrents/{}", metainfo.info.info_hash());
    let published = directory.publish(&owner, &bytes, "title=first").expect(201).json();
    assert_eq!(published["duplicate"], false);
    // The same info with other things around it is the same torrent.
    let mut edited = metainfo;
    edited.comment = Some("another comment".into());
    let again = directory.publish(&other, &edited.to_bytes(), "title=second").expect(200).json();
    assert_eq!((&again["duplicate"], &again["title"]), (&true.into(), &"first".into()));
    assert_eq!(directory.titles("").len(), 1);

    let remove = |token: &str| {
        directory.ask("DELETE", &target, &[&format!("Authorization: Bearer {token}")], b"").status
    };
    assert_eq!(directory.ask("DELETE", &target, &[], b"").status, 401);
    assert_eq!(remove("sprat_wrong"), 401);
    assert_eq!(remove(&other), 403);
    assert_eq!(remove(&owner), 204);
    assert_eq!(remove(&owner), 404);
    assert_eq!(directory.titles("q=first"), [""; 0]);
    directory.get(&target).expect(404);
    directory.publish(&owner, &bytes, "title=third").expect(201);
    assert_eq!(remove(&admin), 204);
}

fn only_one_tracker_has_a_directory(sandbox: &Sandbox, directory: Directory) {
    let arguments = directory.arguments();
    let at = arguments.iter().position(|arg| arg == "--directory-db").map(|at| arguments[at + 1].clone());
    let store = at.unwrap_or_else(|| format!("sqlite:{}", sandbox.path("state/directory.sqlite").display()));
    let second = sandbox.sprat("tracker").args(["--http", "127.0.0.1:0", "--directory", "--state", "second"]);
    let refused = second.args(["--directory-db", &store]).run(harness::wait::SOON).expect(3);
    assert!(refused.stderr().contains("another tracker has this directory"), "{}", refused.stderr());
}
