//! rqbit. It has the last piece when its HTTP API says so.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use harness::http;
use serde_json::Value;

use super::{Job, Role};

pub(super) fn command(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", job.work);
    command.args(["--disable-dht", "--disable-lsd", "--disable-upnp-port-forward", "--ipv4-only"]);
    command.arg("--listen-port").arg(job.addr.port().to_string());
    command.arg("--http-api-listen-addr").arg(format!("127.0.0.1:{}", job.control));
    command.arg("download").arg(job.torrent).arg("-o").arg(job.data).arg("--overwrite");
    if let Role::Downloader(seeder) = job.role {
        command.arg("--initial-peers").arg(seeder.to_string());
    }
    command
}

pub(super) fn finished(control: u16) -> Option<()> {
    let api = SocketAddr::from(([127, 0, 0, 1], control));
    let reply = http::get(api, "/torrents/0/stats/v1")?;
    let stats: Value = serde_json::from_slice(&reply.body).ok()?;
    (stats["finished"] == true).then_some(())
}
