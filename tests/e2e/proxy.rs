//! Everything through a proxy, or nothing.

use harness::proxy::TestProxy;
use harness::sandbox::{Sandbox, info_hash};
use harness::tree;
use harness::wait::LONG;

const PIECE: u32 = 64 * 1024;
const LENGTH: usize = 6 << 20;

#[test]
fn peers_and_trackers_are_reached_through_a_socks5_proxy_which_finds_names_itself() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", LENGTH));
    let by_name = format!("http://localhost:{}/announce", tracker.addr.port());
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();
    let proxy = TestProxy::start(Some(("me", "se cret")));
    let url = format!("socks5://me:se%20cret@{}", proxy.addr);
    let more = ["--proxy", &url, "--peer", &peer, "-t", &by_name, "--seed"];
    let get = sandbox.get(&torrent, sandbox.path("copy"), more);
    get.wait_event("complete", LONG, |_| Some(()));
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));
    let asked = proxy.asked();
    assert!(asked.contains(&peer), "{asked:?}");
    assert!(asked.contains(&format!("localhost:{}", tracker.addr.port())), "{asked:?}");
    assert!(proxy.carried() >= LENGTH as u64);
    tracker.wait_seeds(info_hash(&torrent), 1);
}

#[test]
fn an_http_proxy_carries_peers_too() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(2, "file.bin", LENGTH));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), [""; 0]);
    let peer = seed.wait_listening().addr.to_string();
    let proxy = TestProxy::start(None);
    let url = format!("http://{}", proxy.addr);
    let more = ["--proxy", &url, "--peer", &peer, "--encryption", "require"];
    sandbox.get(&torrent, sandbox.path("copy"), more).process.wait_exit(LONG).expect(0);
    tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path("copy/file.bin"));
    assert!(proxy.asked().contains(&peer) && proxy.carried() >= LENGTH as u64);
}

#[test]
fn a_proxy_that_dies_ends_all_traffic() {
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(None);
    tree::write(&sandbox.path("data"), &tree::single(3, "file.bin", LENGTH));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], PIECE);
    let mut seed = sandbox.seed(&torrent, sandbox.path("data"), ["-u", "512K"]);
    let peer = seed.wait_listening().addr.to_string();
    let proxy = TestProxy::start(None);
    let (url, announce) = (format!("socks5://{}", proxy.addr), tracker.url());
    // A name beside it: nobody is left to find it.
    let more =
        ["--proxy", &url, "--peer", &peer, "--peer", "localhost:9", "-t", &announce, "--timeout", "4s"];
    let get = sandbox.get(&torrent, sandbox.path("copy"), more);
    let done = |event: &serde_json::Value| event["bytes_done"].as_u64().filter(|&bytes| bytes > 0);
    get.wait_event("progress", LONG, done);
    proxy.die();
    let (asked, carried) = (proxy.asked().len(), proxy.carried());
    get.process.wait_exit(LONG).expect(8);
    assert!(!sandbox.path("copy/file.bin").exists(), "it was complete before the proxy died");
    assert_eq!((proxy.asked().len(), proxy.carried()), (asked, carried));
    // Whoever was told of us has nobody to say that we are gone.
    assert_eq!(tracker.scrape(info_hash(&torrent)).incomplete, 1);
}

#[test]
fn nothing_is_shared_where_nobody_can_come_in() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(4, "file.bin", 100_000));
    let share = sandbox.sprat("share").arg(sandbox.path("data")).args(["--proxy", "socks5://127.0.0.1:9"]);
    let refused = share.run(LONG).expect(2);
    assert!(refused.stderr().contains("nobody can come in through a proxy"), "{}", refused.stderr());
    let get = sandbox.sprat("get").args(["x.torrent", "--proxy", "gopher://me:secret@h"]);
    let refused = get.run(LONG).expect(2).stderr();
    assert!(refused.contains("gopher is no protocol of proxies"), "{refused}");
}
