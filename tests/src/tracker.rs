//! `sprat tracker` as its users see it: started by its command line, asked by bytes on sockets. What a client sends is written here
//! by hand, from the BEPs, and shares nothing with the product's own client.

pub mod http;
pub mod udp;

use std::net::SocketAddr;

use serde_json::Value;

use crate::process::{Process, Signal};
use crate::sandbox::{Sandbox, events};
use crate::wait::SOON;

/// A running tracker.
#[derive(Debug)]
pub struct Tracker {
    /// Its process, with JSON lines on standard output.
    pub process: Process,
    /// Where it listens for HTTP.
    pub http: Vec<SocketAddr>,
    /// Where it listens for UDP.
    pub udp: Vec<SocketAddr>,
    /// Where it tells its metrics.
    pub metrics: Option<SocketAddr>,
    /// Where its admin API is.
    pub admin: Option<SocketAddr>,
}

/// Both protocols on loopback, IPv4, and metrics.
pub const LOOPBACK: [&str; 6] = ["--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];

/// The same over IPv4 and IPv6.
pub const BOTH_FAMILIES: [&str; 10] = [
    "--http",
    "127.0.0.1:0",
    "--http",
    "[::1]:0",
    "--udp",
    "127.0.0.1:0",
    "--udp",
    "[::1]:0",
    "--metrics",
    "127.0.0.1:0",
];

impl Tracker {
    /// Both protocols on loopback with more arguments, ready to be asked.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn start(sandbox: &Sandbox, more: &[&str]) -> Self {
        Self::with(sandbox, &[&LOOPBACK[..], more].concat())
    }

    /// With these arguments alone.
    ///
    /// # Panics
    /// If it does not start.
    #[track_caller]
    pub fn with(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self::adopt(sandbox.sprat("tracker").arg("--json").args(arguments).spawn())
    }

    /// One that was started with `--json`.
    ///
    /// # Panics
    /// If it is not ready within a while.
    #[track_caller]
    pub fn adopt(process: Process) -> Self {
        let started = process.wait_for("a tracker that is ready", SOON, |lines| {
            events(lines).into_iter().find(|event| event["event"] == "started")
        });
        let one = |value: &Value| value.as_str().map(|text| text.parse().expect("an address and a port"));
        let all = |key: &str| started[key].as_array().expect("a list").iter().filter_map(one).collect();
        Self {
            http: all("http"),
            udp: all("udp"),
            metrics: one(&started["metrics"]),
            admin: one(&started["admin"]),
            process,
        }
    }

    /// An HTTP client of the first listener.
    pub fn client(&self) -> http::Client {
        http::Client::new(self.http[0])
    }

    /// A UDP client of the first listener, with a connection id.
    ///
    /// # Panics
    /// If it gets none.
    #[track_caller]
    pub fn udp_client(&self) -> udp::Client {
        udp::Client::connected(self.udp[0])
    }

    /// What `/stats` says.
    ///
    /// # Panics
    /// If it does not say it.
    #[track_caller]
    pub fn stats(&self) -> Value {
        let reply = http::Client::new(self.metrics.expect("it was started with --metrics")).get("/stats");
        assert_eq!(reply.status, 200);
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    /// The sum of a metric's samples whose labels hold all of these texts, such as `protocol="udp"`.
    ///
    /// # Panics
    /// If metrics can't be had.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let reply = http::Client::new(self.metrics.expect("it was started with --metrics")).get("/metrics");
        assert_eq!(reply.status, 200);
        let text = String::from_utf8(reply.body).expect("text");
        let samples = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (of, with) = series.split_once('{').unwrap_or((series, ""));
            (of == name && labels.iter().all(|label| with.contains(label)))
                .then(|| value.parse::<f64>().ok())?
        });
        samples.sum()
    }

    /// Fails if it does not answer both protocols as ever.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn assert_alive(&self) {
        if let Some(&addr) = self.http.first() {
            let reply = http::Client::new(addr).get("/health");
            assert_eq!((reply.status, &reply.body[..]), (200, &b"ok\n"[..]));
        }
        if !self.udp.is_empty() {
            self.udp_client();
        }
    }

    /// Stops it as a service manager would.
    ///
    /// # Panics
    /// If it does not end well.
    #[track_caller]
    pub fn stop(self) {
        self.process.signal(Signal::TERM);
        self.process.wait_exit(SOON).expect(0);
    }
}
