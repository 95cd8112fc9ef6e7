//! rqbit. It has the last piece when its HTTP API, on its host's loopback, says so.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use harness::http;
use harness::netns::Host;
use serde_json::Value;

use super::{Job, data};

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let mut command = job.host.command(program);
    command.args(["--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--ipv4-only"]);
    command.args(["--listen-port", "6881", "--http-api-listen-addr", "127.0.0.1:3030"]);
    command.arg("download").arg(job.torrent).arg("-o").arg(data(job.work)).arg("--overwrite");
    command
}

pub(super) fn finished(host: &Host) -> bool {
    let api = SocketAddr::from(([127, 0, 0, 1], 3030));
    let reply = host.run(|| http::get(api, "/torrents/0/stats/v1"));
    let stats: Option<Value> = reply.and_then(|reply| serde_json::from_slice(&reply.body).ok());
    stats.is_some_and(|stats| stats["finished"] == true)
}
