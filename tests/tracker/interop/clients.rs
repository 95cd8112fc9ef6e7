//! The clients, each set up to learn of the world from its tracker alone.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::foreign::libtorrent::PYTHON;
use harness::netns::Host;
use harness::process::{self, Process};
use harness::require::{npm, require_libtorrent, require_npm, require_peer};
use harness::wait::{self, SOON};
use serde_json::json;

use super::Wire;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    Transmission,
    Libtorrent,
    Aria2,
    Rtorrent,
    Npm,
}

/// What to start it with.
pub(crate) struct Job<'a> {
    pub(crate) host: &'a Host,
    pub(crate) address: IpAddr,
    pub(crate) torrent: &'a Path,
    pub(crate) hash: [u8; 20],
    pub(crate) url: String,
    pub(crate) work: &'a Path,
}

/// A running one.
pub(crate) struct Running {
    client: Client,
    process: Process,
    // Keeps its network as long as it runs.
    _host: Host,
}

type Cell = Result<(), &'static str>;

impl Client {
    pub(crate) fn require(self) -> bool {
        match self {
            Self::Transmission => {
                ["transmission-daemon", "transmission-remote"].into_iter().all(require_peer)
            }
            Self::Libtorrent => require_libtorrent(),
            Self::Aria2 => require_peer("aria2c"),
            Self::Rtorrent => require_peer("rtorrent"),
            Self::Npm => require_npm(),
        }
    }

    /// Whether it can announce that way, or why not.
    pub(crate) fn announces(self, wire: Wire) -> Cell {
        match (self, wire) {
            (Self::Aria2, Wire::Udp6) => Err("aria2's UDP tracker client is IPv4 only"),
            (Self::Transmission, Wire::Udp6) => {
                Err("Transmission 3.00 ends the host of a UDP URL at the first colon")
            }
            (Self::Rtorrent, Wire::Udp6) => Err(
                "rtorrent 0.9.8 takes some IPv6 literals in UDP URLs for host and port, and asks nobody then",
            ),
            (Self::Npm, Wire::Udp6) => Err("it opens an IPv4 socket for every UDP tracker"),
            _ => Ok(()),
        }
    }

    /// Whether it can be brought to scrape that way, or why not.
    pub(crate) fn scrapes(self, wire: Wire) -> Cell {
        match (self, wire) {
            (Self::Transmission, _) => Err("Transmission does when it likes, within half an hour"),
            (Self::Aria2, _) => Err("aria2 never scrapes"),
            (Self::Rtorrent, Wire::Udp4 | Wire::Udp6) => Err("rtorrent scrapes over HTTP alone"),
            _ => Ok(()),
        }
    }

    /// Starts it with the torrent and nothing of its payload.
    pub(crate) fn start(self, job: &Job<'_>) -> Running {
        let data = job.work.join("data");
        std::fs::create_dir_all(&data).expect("a test directory can be made");
        let process = match self {
            Self::Transmission => transmission(job, &data),
            Self::Libtorrent => {
                let ip = if job.address.is_ipv6() {
                    format!("[{}]", job.address)
                } else {
                    job.address.to_string()
                };
                libtorrent(job.host, job.torrent, &data, &format!("{ip}:6881"), "whole")
            }
            Self::Aria2 => aria2(job, &data),
            Self::Rtorrent => rtorrent(job, &data),
            Self::Npm => of_npm(job),
        };
        Running { client: self, process, _host: job.host.clone() }
    }
}

impl Running {
    /// Whether it has told that it got this peer: one that connects to none can do no more.
    pub(crate) fn says_peer(&self, peer: SocketAddr) -> bool {
        let line = format!("peer {peer}");
        self.client == Client::Npm && self.process.look(|lines| lines.iter().any(|said| said.text == line))
    }
}

fn transmission(job: &Job<'_>, data: &Path) -> Process {
    let settings = json!({
        "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "encryption": 0, "peer-port": 51413,
        "rpc-enabled": true, "rpc-bind-address": "127.0.0.1", "rpc-port": 9091, "rpc-whitelist": "127.0.0.1",
        "download-dir": data, "incomplete-dir-enabled": false, "start-added-torrents": true,
    });
    std::fs::write(job.work.join("settings.json"), settings.to_string()).expect("a test file can be written");
    let mut daemon = job.host.command("transmission-daemon");
    let process = Process::spawn(
        "transmission-daemon",
        daemon.args(["--foreground", "--log-debug", "--config-dir"]).arg(job.work),
    );
    let torrent = job.torrent.to_str().expect("test paths are UTF-8");
    wait::until("transmission-daemon's RPC", SOON, || remote(job.host, &["--add", torrent]));
    process
}

fn remote(host: &Host, args: &[&str]) -> Option<String> {
    let mut remote = host.command("transmission-remote");
    let finished = process::run("transmission-remote", remote.arg("127.0.0.1:9091").args(args), SOON);
    (finished.code == Some(0)).then(|| finished.stdout())
}

/// `wanted`: `whole` or `partial`.
pub(crate) fn libtorrent(
    host: &Host,
    torrent: &Path,
    data: &Path,
    interfaces: &str,
    wanted: &str,
) -> Process {
    const SCRIPT: &str = include_str!("../../data/libtorrent_tracker.py");
    let mut python = host.command(PYTHON);
    python.args(["-c", SCRIPT]).arg(torrent).arg(data).args([interfaces, wanted]);
    Process::spawn("libtorrent", &mut python)
}

fn aria2(job: &Job<'_>, data: &Path) -> Process {
    let mut command = job.host.command("aria2c");
    command.args(["--no-conf", "--console-log-level=notice", "--summary-interval=1", "--enable-color=false"]);
    // Without DHT it has no UDP tracker client either; it knows no node.
    command.arg(format!("--dht-file-path={}", job.work.join("dht").display()));
    command.args([
        "--enable-dht=true",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
    ]);
    command.args(["--listen-port=6881", "--file-allocation=none", "--follow-torrent=mem"]);
    command.arg(format!("--disable-ipv6={}", job.address.is_ipv4()));
    command.arg(format!("--dir={}", data.display())).arg(format!("--torrent-file={}", job.torrent.display()));
    Process::spawn("aria2c", command.current_dir(job.work))
}

fn rtorrent(job: &Job<'_>, data: &Path) -> Process {
    let mut command = job.host.command("rtorrent");
    let session = job.work.join("session");
    std::fs::create_dir_all(&session).expect("a test directory can be made");
    // Options on its command line can hold no commas. Not started yet, it can be made to scrape.
    let settings = [
        "system.daemon.set = true".to_owned(),
        format!("directory.default.set = {}", data.display()),
        format!("session.path.set = {}", session.display()),
        "network.port_range.set = 6881-6881".into(),
        "network.port_random.set = no".into(),
        "dht.mode.set = disable".into(),
        "protocol.pex.set = no".into(),
        "trackers.use_udp.set = yes".into(),
        format!("schedule2 = load, 0, 0, \"load.normal={}\"", job.torrent.display()),
        "schedule2 = scrape, 1, 1, \"d.multicall2=main,d.tracker.send_scrape=0\"".into(),
        "schedule2 = start, 5, 0, \"d.multicall2=main,d.start=\"".into(),
    ];
    let file = job.work.join("rtorrent.rc");
    std::fs::write(&file, settings.join("\n") + "\n").expect("a test file can be written");
    command.arg("-n").arg("-o").arg(format!("import={}", file.display()));
    Process::spawn("rtorrent", command.env("TERM", "xterm").env("HOME", job.work).current_dir(job.work))
}

fn of_npm(job: &Job<'_>) -> Process {
    const SCRIPT: &str = "\
import Client from 'bittorrent-tracker'
const [infoHash, announce] = process.argv.slice(-2)
const client = new Client({ infoHash, peerId: Buffer.from('-XX0001-npmnpmnpmnpm'), announce: [announce], port: 6881 })
client.on('error', error => console.log('error', error.message))
client.on('warning', error => console.log('warning', error.message))
client.on('update', data => console.log('update', data.complete, data.incomplete))
client.on('scrape', data => console.log('scrape', data.complete, data.incomplete))
client.on('peer', peer => console.log('peer', peer))
client.start()
client.scrape()
";
    let hex: String = job.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let node: PathBuf = harness::require::find("node").expect("it was found");
    let mut node: Command = job.host.command(node);
    node.args(["--input-type=module", "-e", SCRIPT, "--", &hex, &job.url]).current_dir(npm());
    Process::spawn("bittorrent-tracker", &mut node)
}
