//! A transfer between two sprats of its own.

use std::path::{Path, PathBuf};

use harness::netns::Host;
use harness::process::{Line, Process, Stream};
use harness::sandbox::Sandbox;
use harness::tree;
use harness::wait::LONG;
use serde_json::Value;

/// More than any of them has time for.
const SIZE: u64 = 128 << 20;

const PIECE: u32 = 256 * 1024;

/// The first seed's port.
const PORT: usize = 7000;

/// A seed and who has dialled it.
pub(crate) struct Flow {
    number: usize,
    _seed: Process,
    get: Option<Process>,
}

/// What is transferred, made.
pub(crate) fn torrent(sandbox: &Sandbox) -> PathBuf {
    tree::write_large(&sandbox.path("payload.bin"), 1, SIZE);
    sandbox.create(sandbox.path("payload.bin"), [], PIECE)
}

impl Flow {
    /// Its seed, ready.
    pub(crate) fn seed(sandbox: &Sandbox, torrent: &Path, host: &Host, number: usize) -> Self {
        let port = (PORT + number).to_string();
        let seed = sandbox.sprat_on(Some(host), "seed").arg(torrent).arg("--data").arg(sandbox.root());
        let state = sandbox.path(format!("state{number}"));
        let seed = seed.args(["--json", "--no-pex", "--port", &port, "--state"]).arg(state).spawn();
        seed.wait_for("a seed that has looked at its data", LONG, |lines| {
            (had(lines) == Some(SIZE)).then_some(())
        });
        Self { number, _seed: seed, get: None }
    }

    /// Begins.
    pub(crate) fn get(
        &mut self,
        sandbox: &Sandbox,
        torrent: &Path,
        (sender, host): (&Host, &Host),
        transport: &str,
    ) {
        let peer = format!("{}:{}", sender.address(), PORT + self.number);
        let output = sandbox.path(format!("get{}", self.number));
        let get = sandbox.sprat_on(Some(host), "get").arg(torrent).arg("-o").arg(output);
        let get = get.args(["--json", "--no-pex", "--transport", transport, "--peer", &peer]);
        let state = sandbox.path(format!("get-state{}", self.number));
        self.get = Some(get.arg("--state").arg(state).spawn());
    }

    /// Bytes of payload that it has.
    pub(crate) fn had(&self) -> u64 {
        self.get.as_ref().and_then(|get| get.look(had)).unwrap_or(0)
    }
}

/// What it said last of the bytes that it has.
fn had(lines: &[Line]) -> Option<u64> {
    lines.iter().rev().filter(|line| line.stream == Stream::Out).find_map(|line| {
        let event: Value = serde_json::from_str(&line.text).ok()?;
        event["bytes_done"].as_u64()
    })
}
