//! `sprat publish`, `sprat search`, `sprat get`: one after the other, as a user would.

use harness::directory::Directory;
use harness::process::Signal;
use harness::sandbox::{Sandbox, info_hash};
use harness::tree;
use harness::wait::{self, LONG, SOON};

const PIECE: usize = 32 * 1024;

#[test]
fn published_found_fetched_and_the_numbers_follow_the_seeder() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &[]);
    let (_, token_file) = directory.token(&sandbox, "publish");
    tree::write(&sandbox.path("data/survey-2026"), &tree::mixed(1, PIECE));
    // No tracker in it: the directory's is set when it is fetched.
    let torrent = sandbox.create(sandbox.path("data/survey-2026"), [], PIECE as u32);
    let hash = info_hash(&torrent);
    let publish = sandbox.sprat("publish").env("SPRAT_DIRECTORY_URL", directory.url()).arg(&torrent);
    let published = publish
        .args(["--title", "The Survey, Part 2", "--tags", "data,survey", "--token-file"])
        .arg(&token_file)
        .run(SOON)
        .expect(0);
    let page = published.stdout().trim().to_owned();
    assert_eq!(page, format!("{}/torrent/{hash}", directory.url()));

    let seeders = || {
        let found = directory.search(&sandbox, &["--json", "survey", "par"]).expect(0).stdout();
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["torrents"].as_array().unwrap().len(), 1, "{found}");
        found["torrents"][0]["seeders"].as_u64().unwrap()
    };
    assert_eq!(seeders(), 0);
    let seed = sandbox.seed(format!("{page}.torrent"), sandbox.path("data"), [""; 0]);
    wait::until("a seeder in the search", LONG, || (seeders() == 1).then_some(()));

    // `sprat get "$(sprat search -1 …)"`, and what else a directory gives.
    let magnet = directory.search(&sandbox, &["-1", "survey 2026"]).expect(0).stdout().trim().to_owned();
    assert!(magnet.starts_with(&format!("magnet:?xt=urn:btih:{hash}")), "{magnet}");
    for (number, source) in [
        magnet,
        page.clone(),
        format!("{page}.torrent"),
        format!("{}/api/v1/torrents/{hash}/magnet", directory.url()),
    ]
    .iter()
    .enumerate()
    {
        let copy = sandbox.path(format!("copy{number}"));
        sandbox.get(source, &copy, [""; 0]).process.wait_exit(LONG).expect(0);
        tree::assert_same(&sandbox.path("data/survey-2026"), &copy.join("survey-2026"));
    }
    seed.process.signal(Signal::INT);
    seed.process.wait_exit(SOON).expect(0);
    wait::until("no seeder in the search", LONG, || (seeders() == 0).then_some(()));
    let record = directory.get(&format!("/api/v1/torrents/{hash}")).expect(200).json();
    assert_eq!(record["completed"], 4);
    let history = directory.get(&format!("/api/v1/torrents/{hash}/history")).expect(200).json();
    assert_eq!(history["samples"].as_array().unwrap().last().unwrap()["completed"], 4);

    let remove = sandbox.sprat("publish").env("SPRAT_DIRECTORY_URL", directory.url()).arg(&torrent);
    remove.args(["--remove", "--token-file"]).arg(&token_file).run(SOON).expect(0);
    let nothing = directory.search(&sandbox, &["survey"]).expect(1);
    assert!(nothing.stderr().contains("nothing is like survey"), "{}", nothing.stderr());
}

#[test]
fn a_search_is_shown_in_lines_or_as_json() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    for number in 0..3 {
        let bytes = harness::directory::torrent(&format!("thing {number}"), 1536 << number, number);
        directory.ask("POST", "/api/v1/torrents", &[], &bytes).expect(201);
    }
    let shown = directory.search(&sandbox, &["thing", "--sort", "size", "--limit", "2"]).expect(0);
    let lines: Vec<String> = shown.stdout().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 4, "{}", shown.stdout());
    assert!(lines[0].ends_with("  thing 2") && lines[0].contains("6 KiB"), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("  {}/torrent/", directory.url())), "{}", lines[1]);
    assert!(shown.stderr().contains("2 of 3"), "{}", shown.stderr());
    let json = directory.search(&sandbox, &["--json", "thing -2"]).expect(0).stdout();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["total"]), (&1.into(), &2.into()));
}

#[test]
fn what_is_missing_is_named_with_the_way_out() {
    let sandbox = Sandbox::new();
    let lost = sandbox.sprat("search").arg("x").run(SOON).expect(2);
    assert!(lost.stderr().contains("--directory-url"), "{}", lost.stderr());
    let stateless =
        sandbox.sprat("tracker").args(["--http", "127.0.0.1:0", "--directory"]).run(SOON).expect(3);
    assert!(stateless.stderr().contains("--state DIR"), "{}", stateless.stderr());
    let alone = sandbox.sprat("tracker").args(["--open-publish", "--state", "s"]).run(SOON).expect(2);
    assert!(alone.stderr().contains("--directory"), "{}", alone.stderr());
    let private =
        sandbox.sprat("tracker").args(["--http", "127.0.0.1:0", "--directory", "--private", "--state", "s"]);
    assert!(private.run(SOON).expect(3).stderr().contains("--private"));

    let directory = Directory::start(&sandbox, &[]);
    let file = sandbox.path("x.torrent");
    std::fs::write(&file, harness::directory::torrent("x", 1, 1)).unwrap();
    let publish = || sandbox.sprat("publish").arg(&file).args(["--directory-url", &directory.url()]);
    let refused = publish().run(SOON).expect(10);
    assert!(refused.stderr().contains("takes a token"), "{}", refused.stderr());
    std::fs::write(sandbox.path("wrong"), "sprat_wrong").unwrap();
    let refused = publish().args(["--token-file", "wrong"]).run(SOON).expect(10);
    assert!(refused.stderr().contains("unknown, revoked or expired"), "{}", refused.stderr());
}

#[test]
fn tokens_are_made_listed_and_revoked_while_it_runs_and_while_it_does_not() {
    let sandbox = Sandbox::new();
    let token = |arguments: &[&str]| {
        sandbox
            .sprat("tracker")
            .arg("token")
            .args(arguments)
            .args(["--state", "state"])
            .run(SOON)
            .expect(0)
            .stdout()
    };
    let before = token(&["create", "--comment", "made before"]).trim().to_owned();
    let directory = Directory::start(&sandbox, &[]);
    let during = token(&["create", "--expires", "1h", "--scope", "admin"]).trim().to_owned();
    directory.publish(&before, &harness::directory::torrent("a", 1, 1), "").expect(201);
    directory.publish(&during, &harness::directory::torrent("b", 1, 2), "").expect(201);
    let listed = token(&["list"]);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines.iter().any(|line| line[1..] == ["publish", "never", "made before"]), "{listed}");
    assert!(!listed.contains(&before) && !listed.contains(&during), "they are not kept");
    let kept = std::fs::read_to_string(sandbox.path("state/tokens.json")).unwrap();
    assert!(!kept.contains(before.trim_start_matches("sprat_")), "not even there");
    let id = lines.iter().find(|line| line[1] == "publish").unwrap()[0];
    token(&["revoke", id]);
    directory.publish(&before, &harness::directory::torrent("c", 1, 3), "").expect(401);
    directory.tracker.stop();
    assert_eq!(token(&["list"]).lines().count(), 1);
}

#[test]
fn what_is_published_is_allowed_where_a_list_says_what_is() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("allow"), "# nothing yet\n").unwrap();
    let directory = Directory::start(&sandbox, &["--allow", "allow"]);
    let (token, _) = directory.token(&sandbox, "publish");
    let bytes = harness::directory::torrent("allowed", 1, 1);
    let hash = torrent_format::Metainfo::from_bytes(&bytes).unwrap().info.info_hash();
    let refusal = |directory: &Directory| {
        let reply =
            directory.tracker.client().announce(&harness::tracker::http::query(&hash.0, 7000, "left=0"));
        harness::tracker::http::failure(&reply)
    };
    assert!(refusal(&directory).is_some());
    directory.publish(&token, &bytes, "").expect(201);
    assert_eq!(refusal(&directory), None);
    assert_eq!(directory.titles("alive=1"), ["allowed"]);
    let directory = directory.kill_and_start(&sandbox);
    assert_eq!(refusal(&directory), None, "after a restart too");
    let target = format!("/api/v1/torrents/{hash}");
    directory.ask("DELETE", &target, &[&format!("Authorization: Bearer {token}")], b"").expect(204);
    assert!(refusal(&directory).is_some(), "no longer");
}
