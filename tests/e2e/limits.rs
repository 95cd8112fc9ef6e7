//! Rate limits: measured and printed. Only what no scheduler can turn around is asserted.

use harness::require::say;
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::{LONG, Stopwatch};

const LENGTH: usize = 6 << 20;
const RATE: usize = 2 << 20;

#[test]
fn both_limits_slow_a_download_down() {
    let sandbox = Sandbox::new();
    tree::write(&sandbox.path("data"), &tree::single(1, "file.bin", LENGTH));
    let torrent = sandbox.create(sandbox.path("data/file.bin"), [], 64 * 1024);
    let rate = (RATE / 1024).to_string() + "K";
    for (name, at_seed, at_get) in [("upload", Some(&rate), None), ("download", None, Some(&rate))] {
        let mut seed =
            sandbox.seed(&torrent, sandbox.path("data"), at_seed.iter().flat_map(|rate| ["-u", rate]));
        let peer = seed.wait_listening().addr.to_string();
        let mut more = vec!["--peer", &peer];
        more.extend(at_get.iter().flat_map(|rate| ["--max-download-limit", rate]));
        let watch = Stopwatch::start();
        sandbox.get(&torrent, sandbox.path(name), more).process.wait_exit(LONG).expect(0);
        let rate = LENGTH as f64 / watch.elapsed().as_secs_f64();
        say(&format!(
            "a {name} limit of {RATE} bytes/s let {rate:.0} bytes/s through: {:.2} of it",
            rate / RATE as f64
        ));
        tree::assert_same(&sandbox.path("data/file.bin"), &sandbox.path(name).join("file.bin"));
    }
}
