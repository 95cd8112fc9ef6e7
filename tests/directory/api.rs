//! The API as programs use it.

use harness::directory::{Directory, torrent};
use harness::sandbox::Sandbox;
use serde_json::{Value, json};
use torrent_format::Metainfo;

#[test]
fn every_route_is_described_and_every_description_has_its_route() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let hash = Metainfo::from_bytes(&torrent("x", 1, 1)).unwrap().info.info_hash().to_string();
    directory.ask("POST", "/api/v1/torrents", &[], &torrent("x", 1, 1)).expect(201);
    let document = directory.get("/api/v1/openapi.json").expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    let mut described = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            described.push(format!("{method} {path}"));
            if method == "get" {
                let target = path.replace("{hash}", &hash);
                let target =
                    if target.ends_with("/torznab/api") { format!("{target}?t=caps") } else { target };
                let reply = directory.get(&target);
                let said = &operation["responses"]["200"]["content"];
                let kind = reply
                    .header("content-type")
                    .unwrap_or_default()
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                assert_eq!(reply.status, 200, "{path}");
                assert!(
                    said.as_object().is_some_and(|said| said.contains_key(&kind)),
                    "{path}: {kind}, not {said}"
                );
            }
            for code in operation["responses"].as_object().expect("responses").keys() {
                assert!(code.parse::<u16>().is_ok(), "{path}: {code}");
            }
        }
    }
    described.sort();
    assert_eq!(
        described,
        [
            "delete /api/v1/torrents/{hash}",
            "get /api/v1/openapi.json",
            "get /api/v1/status",
            "get /api/v1/torrents",
            "get /api/v1/torrents/{hash}",
            "get /api/v1/torrents/{hash}/history",
            "get /api/v1/torrents/{hash}/magnet",
            "get /api/v1/torrents/{hash}/torrent",
            "get /rss",
            "get /torznab/api",
            "post /api/v1/torrents",
        ]
    );
    // What a record has is what its schema says.
    let record = directory.get(&format!("/api/v1/torrents/{hash}")).json();
    let schemas = &document["components"]["schemas"];
    let properties = |name: &str| {
        schemas[name]["properties"].as_object().expect("properties").keys().cloned().collect::<Vec<_>>()
    };
    let mut said: Vec<String> = [properties("Listing"), properties("Details")].concat();
    said.sort();
    let mut has: Vec<String> = record.as_object().unwrap().keys().cloned().collect();
    has.sort();
    assert_eq!(said, has);
}

#[test]
fn a_torrent_is_told_of_in_full() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &[]);
    let (token, _) = directory.token(&sandbox, "publish");
    std::fs::create_dir_all(sandbox.path("data/pair/sub")).unwrap();
    std::fs::write(sandbox.path("data/pair/a.txt"), [1; 20_000]).unwrap();
    std::fs::write(sandbox.path("data/pair/sub/b é.txt"), [2; 30_000]).unwrap();
    sandbox
        .sprat("create")
        .arg(sandbox.path("data/pair"))
        .args(["-t", "http://elsewhere.example/announce", "-w", "http://seed.example/", "-o", "pair.torrent"])
        .run(harness::wait::SOON)
        .expect(0);
    let bytes = std::fs::read(sandbox.path("pair.torrent")).unwrap();
    let metainfo = Metainfo::from_bytes(&bytes).unwrap();
    directory.publish(&token, &bytes, "title=A%20pair&tags=Test%20Data").expect(201);
    let (v1, v2) =
        (metainfo.info.hashes().v1().unwrap().to_string(), metainfo.info.hashes().v2().unwrap().to_string());
    let record = directory.get(&format!("/api/v1/torrents/{v1}")).expect(200).json();
    assert_eq!(
        record,
        directory.get(&format!("/api/v1/torrents/{v2}")).expect(200).json(),
        "either hash names it"
    );
    assert_eq!((&record["info_hash_v1"], &record["info_hash_v2"]), (&json!(v1), &json!(v2)));
    assert_eq!(
        (&record["title"], &record["name"], &record["tags"]),
        (&json!("A pair"), &json!("pair"), &json!(["test-data"]))
    );
    assert_eq!(
        (&record["total_size"], &record["file_count"], &record["version"]),
        (&json!(50_000), &json!(2), &json!("hybrid"))
    );
    let paths: Vec<&Value> = record["files"].as_array().unwrap().iter().map(|file| &file["path"]).collect();
    assert_eq!(paths, ["pair/a.txt", "pair/sub/b é.txt"]);
    assert_eq!(directory.titles("q=b%20e"), ["A pair"], "file names are searched");

    let udp = directory.tracker.udp[0];
    let magnet = directory.get(&format!("/api/v1/torrents/{v1}/magnet")).expect(200);
    let magnet = magnet.text().trim();
    assert_eq!(record["magnet"], magnet);
    let parsed: torrent_format::Magnet = magnet.parse().unwrap();
    assert_eq!(parsed.hashes, metainfo.info.hashes(), "both versions");
    let own = [format!("{}/announce", directory.url()), format!("udp://{udp}/announce")];
    let all = [&own[..], &["http://elsewhere.example/announce".to_owned()]].concat();
    assert_eq!((parsed.trackers, parsed.web_seeds), (all, vec!["http://seed.example/".to_owned()]));

    // This tracker is set outside of the info; where it stands already, and where that is asked for, not a byte changes.
    let fetched = directory.get(&format!("/torrent/{v1}.torrent")).expect(200);
    assert_eq!(fetched.header("content-type"), Some("application/x-bittorrent"));
    let set = Metainfo::from_bytes(&fetched.body).unwrap();
    assert_eq!((set.info.raw(), &set.trackers[0][..]), (metainfo.info.raw(), &own[..]));
    assert_eq!(directory.get(&format!("/api/v1/torrents/{v1}/torrent?original=1")).body, bytes);
    let (mut named, other) =
        (Metainfo::from_bytes(&torrent("named", 1, 9)).unwrap(), "http://other.example/announce");
    named.trackers = vec![vec![other.to_owned()], vec![own[0].clone()]];
    let named_bytes = [&named.to_bytes()[..], b"\n"].concat();
    directory.publish(&token, &named_bytes, "").expect(201);
    assert_eq!(directory.get(&format!("/torrent/{}.torrent", named.info.info_hash())).body, named_bytes);
}

#[test]
fn a_form_uploads_too_and_unchanged_answers_are_not_sent_again() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    let mut body = Vec::new();
    for (name, value) in
        [("title", &b"By form"[..]), ("tags", b"a,b"), ("torrent", &torrent("formed", 10, 1))]
    {
        body.extend_from_slice(
            format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--X--\r\n");
    let form = ["Content-Type: multipart/form-data; boundary=X"];
    let made = directory.ask("POST", "/api/v1/torrents", &form, &body).expect(201);
    assert_eq!(made.json()["title"], "By form");
    assert_eq!(
        made.header("location").unwrap(),
        format!("{}/api/v1/torrents/{}", directory.url(), made.json()["info_hash"].as_str().unwrap())
    );
    directory.ask("POST", "/api/v1/torrents", &form, b"--X\r\n").expect(400);

    let first = directory.get("/api/v1/torrents?q=form").expect(200);
    let tag = first.header("etag").expect("an ETag").to_owned();
    let again = directory.ask("GET", "/api/v1/torrents?q=form", &[&format!("If-None-Match: {tag}")], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    directory.ask("POST", "/api/v1/torrents", &[], &torrent("former", 10, 2)).expect(201);
    directory.ask("GET", "/api/v1/torrents?q=form", &[&format!("If-None-Match: {tag}")], b"").expect(200);
}

#[test]
fn the_status_tells_of_the_tracker() {
    let sandbox = Sandbox::new();
    let directory = Directory::start(&sandbox, &["--open-publish"]);
    directory.ask("POST", "/api/v1/torrents", &[], &torrent("x", 1, 1)).expect(201);
    directory.tracker.client().join(&[7; 20], 1234, "left=0");
    let status = directory.get("/api/v1/status").expect(200).json();
    assert_eq!(
        (&status["listed"], &status["tracker"]["seeds"], &status["open_publish"]),
        (&json!(1), &json!(1), &json!(true))
    );
    assert_eq!(status["last_hour"]["every_s"], 10);
}
