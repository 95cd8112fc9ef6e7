//! RSS, and Torznab as Prowlarr and Sonarr ask it.

use std::process::Command;

use harness::directory::{Directory, Reply, torrent};
use harness::process::run;
use harness::require::require_peer;
use harness::sandbox::Sandbox;
use harness::wait::SOON;

/// Reads the feed with Python's own XML parser, which takes nothing but XML, and checks what RSS 2.0 asks of it. Prints a line for each
/// item: title, guid, link, category, enclosure's URL and type, then the attributes of Torznab in order.
const CHECK: &str = r#"
import sys, email.utils, xml.etree.ElementTree as tree
root = tree.fromstring(sys.stdin.buffer.read())
assert root.tag == "rss" and root.attrib["version"] == "2.0", root.attrib
channel, = root
for name in "title", "link", "description":
    assert channel.find(name).text, name
assert channel.find("{http://www.w3.org/2005/Atom}link").attrib["rel"] == "self"
guids = set()
for item in channel.findall("item"):
    assert item.find("title").text and item.find("description").text
    assert email.utils.parsedate_to_datetime(item.find("pubDate").text).tzinfo
    guid = item.find("guid").text
    assert guid not in guids
    guids.add(guid)
    enclosure, = item.findall("enclosure")
    assert int(enclosure.attrib["length"]) >= 0
    attributes = {it.attrib["name"]: it.attrib["value"] for it in item.findall("{http://torznab.com/schemas/2015/feed}attr")}
    assert int(attributes["peers"]) >= int(attributes["seeders"])
    print("\t".join([item.find("title").text, guid, item.find("link").text, item.find("category").text,
        enclosure.attrib["url"], enclosure.attrib["type"]] + [attributes[name] for name in sorted(attributes)]))
response = channel.find("{http://www.newznab.com/DTD/2010/feeds/attributes/}response")
if response is not None:
    print("offset", response.attrib["offset"], "total", response.attrib["total"])
"#;

/// The lines that [`CHECK`] prints of a feed.
fn items(reply: &Reply, sandbox: &Sandbox) -> Vec<String> {
    assert_eq!(reply.header("content-type"), Some("application/rss+xml; charset=utf-8"));
    let (feed, checked) = (sandbox.path("feed"), sandbox.path("check.py"));
    std::fs::write(&feed, &reply.body).unwrap();
    std::fs::write(&checked, CHECK).unwrap();
    let mut python = Command::new("sh");
    python.args(["-c", "exec python3 \"$1\" < \"$2\"", "sh"]).args([&checked, &feed]);
    run("python3", &mut python, SOON).expect(0).stdout().lines().map(str::to_owned).collect()
}

fn open(sandbox: &Sandbox) -> Directory {
    let directory = Directory::start(sandbox, &["--open-publish"]);
    for (number, (name, remarks)) in [
        ("Show.S01E02.1080p", "tags=tv"),
        ("Show.S01E03.1080p", "tags=tv"),
        ("Some film", "tags=movie"),
        ("<b>&\"'\u{202e}]]> \u{1b}[31m", "title=%3Cscript%3Ealert(1)%3C/script%3E%00%EF%BF%BF"),
    ]
    .iter()
    .enumerate()
    {
        let bytes = torrent(name, 1 << (10 + number), number as u32);
        directory.ask("POST", &format!("/api/v1/torrents?{remarks}"), &[], &bytes).expect(201);
    }
    directory
}

#[test]
fn any_search_is_a_feed() {
    if !require_peer("python3") {
        return;
    }
    let sandbox = Sandbox::new();
    let directory = open(&sandbox);
    let all = items(&directory.get("/rss").expect(200), &sandbox);
    assert_eq!(all.len(), 4);
    assert!(
        all[0].starts_with("<script>alert(1)</script>\u{fffd}\u{fffd}\t"),
        "the newest first, and nothing but text: {}",
        all[0]
    );
    let shows = items(&directory.get("/rss?q=show&tags=tv&sort=size").expect(200), &sandbox);
    let titles: Vec<&str> = shows.iter().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(titles, ["Show.S01E03.1080p", "Show.S01E02.1080p"]);
    let fields: Vec<&str> = shows[0].split('\t').collect();
    assert_eq!(fields[2], format!("{}.torrent", fields[1]), "the link leads to the .torrent");
    assert_eq!((fields[3], fields[5]), ("TV", "application/x-bittorrent"));
    let fetched = fields[2].strip_prefix(&directory.url()).unwrap();
    assert!(directory.get(fetched).expect(200).body.starts_with(b"d8:announce"));
}

#[test]
fn an_indexer_finds_what_it_asks_for() {
    if !require_peer("python3") {
        return;
    }
    let sandbox = Sandbox::new();
    let directory = open(&sandbox);
    // As Prowlarr asks for capabilities.
    let caps = directory.get("/torznab/api?t=caps&apikey=").expect(200);
    assert_eq!(caps.header("content-type"), Some("application/xml; charset=utf-8"));
    for needed in [
        "<limits max=\"100\" default=\"50\"></limits>",
        "<search available=\"yes\" supportedParams=\"q\"></search>",
        "<tv-search available=\"yes\" supportedParams=\"q,season,ep\"></tv-search>",
        "<category id=\"5000\" name=\"TV\"></category>",
    ] {
        assert!(caps.text().contains(needed), "{needed}: {}", caps.text());
    }
    let found = |query: &str| {
        let lines = items(&directory.get(&format!("/torznab/api?{query}")).expect(200), &sandbox);
        let titles: Vec<String> =
            lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
        titles
    };
    // As Sonarr asks: when it is set up, for what is new, and for an episode.
    assert_eq!(found("t=tvsearch&cat=5030,5040&extended=1&apikey=&offset=0&limit=100").len(), 3);
    assert_eq!(
        found("t=tvsearch&cat=5030,5040&extended=1&apikey=&offset=0&limit=100&q=Show&season=1&ep=2"),
        ["Show.S01E02.1080p", "offset 0 total 1"]
    );
    // As Radarr and Prowlarr do.
    assert_eq!(
        found("t=movie&cat=2000,2010,2020&extended=1&offset=0&limit=100&q=some+film"),
        ["Some film", "offset 0 total 1"]
    );
    assert_eq!(
        found("t=search&extended=1&apikey=(removed)&q=1080p&offset=1&limit=1"),
        ["Show.S01E02.1080p", "offset 1 total 2"]
    );
    assert_eq!(found("t=search&q=nothing+like+it"), ["offset 0 total 0"]);
    for (query, code) in [
        ("", 200),
        ("t=shutdown", 202),
        ("t=search&limit=x", 201),
        ("t=search&offset=1000000000000000000", 201),
    ] {
        let reply = directory.get(&format!("/torznab/api?{query}")).expect(200);
        assert!(reply.text().contains(&format!("<error code=\"{code}\"")), "{query}: {}", reply.text());
    }
}
