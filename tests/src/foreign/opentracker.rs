//! opentracker.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use torrent_format::InfoHash;

use crate::http;
use crate::netns::Host;
use crate::process::Process;
use crate::require::require_peer;
use crate::wait::{self, SOON};

/// A running opentracker.
#[derive(Debug)]
pub struct Opentracker {
    host: Host,
    addr: SocketAddr,
    // Killed when dropped.
    _process: Process,
}

/// Whether it is installed.
pub fn require() -> bool {
    require_peer("opentracker")
}

impl Opentracker {
    /// Starts it on `host` for these torrents: Debian's refuses all that are not listed.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(host: &Host, work: &Path, torrents: &[InfoHash]) -> Self {
        std::fs::create_dir_all(work).expect("a test directory can be made");
        let listed: String = torrents.iter().map(|hash| format!("{hash}\n")).collect();
        std::fs::write(work.join("whitelist"), listed).expect("a test file can be written");
        let addr = SocketAddr::new(host.address(), 6969);
        let mut command = host.command("opentracker");
        command
            .args([
                "-i",
                &host.address().to_string(),
                "-p",
                "6969",
                "-P",
                "6969",
                "-u",
                "nobody",
                "-w",
                "whitelist",
                "-d",
            ])
            .arg(work);
        let process = Process::spawn("opentracker", command.current_dir(work));
        wait::until("a listening opentracker", SOON, || host.run(|| TcpStream::connect(addr)).ok());
        Self { host: host.clone(), addr, _process: process }
    }

    /// The announce URL.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.addr)
    }

    /// The announce URL over UDP (BEP 15).
    pub fn udp_url(&self) -> String {
        format!("udp://{}/announce", self.addr)
    }

    /// Waits until this many seeds have announced themselves.
    ///
    /// # Panics
    /// If they never do.
    #[track_caller]
    pub fn wait_seeds(&self, info_hash: InfoHash, seeds: u64) {
        wait::until(&format!("{seeds} seeds at opentracker"), SOON, || {
            let scrape = self.host.run(|| http::scrape(self.addr, info_hash.as_bytes()))?;
            (scrape.complete >= seeds).then_some(())
        });
    }
}
