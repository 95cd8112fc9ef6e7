//! The trackers, each set up for one core, for torrents of anybody, and to give as many peers as it is asked for; everything else
//! as its authors ship it.

use std::fmt::{self, Write as _};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::bench::version;
use harness::process::Process;
use harness::require::find;
use harness::wait::{self, SOON};

use crate::options::Options;
use crate::packet;

/// A tracker, or what stands in for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A server that does no tracker's work.
    Floor,
    Sprat,
    Opentracker,
    Aquatic,
    Torrust,
    BittorrentTracker,
}

/// How it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    Udp,
    Udp6,
    Http,
    /// A connection for each announce.
    HttpClose,
}

/// A running tracker.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// What is installed.
#[derive(Debug)]
pub(crate) struct Tools {
    found: Vec<(Kind, String)>,
    absent: Vec<&'static str>,
    aquatic_udp: Option<PathBuf>,
    aquatic_http: Option<PathBuf>,
    torrust: PathBuf,
    npm: PathBuf,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Floor, Self::Sprat, Self::Opentracker, Self::Aquatic, Self::Torrust, Self::BittorrentTracker];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name)
    }
}

impl Tools {
    /// Looks for all of them.
    pub(crate) fn find(options: &Options) -> Self {
        let program = |path: &Path| {
            let found = path.to_str().and_then(find).unwrap_or_else(|| path.to_owned());
            found.is_file().then_some(found)
        };
        let npm = fs::canonicalize(&options.npm).unwrap_or_else(|_| options.npm.clone());
        let mut tools = Self {
            found: vec![(Kind::Floor, String::new())],
            absent: Vec::new(),
            aquatic_udp: program(&options.aquatic_udp),
            aquatic_http: program(&options.aquatic_http),
            torrust: program(&options.torrust).unwrap_or_default(),
            npm,
        };
        let sprat = version(Command::new(harness::binary::sprat()).arg("--version"));
        tools.add(Kind::Sprat, "sprat", sprat);
        let opentracker = find("opentracker").and_then(|_| {
            version(Command::new("dpkg-query").args(["-W", "-f", "${Version}", "opentracker"]))
        });
        tools.add(Kind::Opentracker, "opentracker", opentracker);
        let aquatic = tools.aquatic_udp.as_ref().or(tools.aquatic_http.as_ref());
        let aquatic = aquatic.and_then(|program| version(Command::new(program).arg("--version")));
        tools.add(Kind::Aquatic, "aquatic", aquatic);
        let torrust = tools.torrust.is_file().then(|| installed_version(&tools.torrust)).flatten();
        tools.add(Kind::Torrust, "torrust-tracker", torrust);
        let package = tools.npm.join("node_modules/bittorrent-tracker/package.json");
        let package = fs::read_to_string(package).ok();
        let package: Option<serde_json::Value> = package.and_then(|text| serde_json::from_str(&text).ok());
        let npm = package.and_then(|package| Some(package.get("version")?.as_str()?.to_owned()));
        tools.add(Kind::BittorrentTracker, "bittorrent-tracker", npm);
        tools
    }

    fn add(&mut self, kind: Kind, name: &'static str, version: Option<String>) {
        match version {
            Some(version) => self.found.push((kind, format!("{name} {version}"))),
            None => self.absent.push(name),
        }
    }

    /// Who can be asked that way.
    pub(crate) fn kinds(&self, wire: Wire) -> Vec<Kind> {
        let can = |kind: Kind| match (kind, wire) {
            // Debian's drops a connection after one answer, and its UDP is of one family.
            (Kind::Opentracker, Wire::Http | Wire::Udp6) => false,
            (Kind::Aquatic, Wire::Udp | Wire::Udp6) => self.aquatic_udp.is_some(),
            (Kind::Aquatic, _) => self.aquatic_http.is_some(),
            (Kind::Floor, Wire::Udp6) => false,
            _ => true,
        };
        self.found.iter().map(|(kind, _)| *kind).filter(|&kind| can(kind)).collect()
    }

    /// Names and versions, as Markdown.
    pub(crate) fn describe(&self) -> String {
        let found: Vec<_> =
            self.found.iter().map(|(_, version)| version.as_str()).filter(|text| !text.is_empty()).collect();
        let mut text = found.join("; ");
        if !self.absent.is_empty() {
            let _ = write!(text, "; not installed, and so left out: {}", self.absent.join(", "));
        }
        text
    }

    /// Starts it on `core`, with `extra` arguments for sprat.
    pub(crate) fn start(&self, kind: Kind, wire: Wire, setup: &Setup<'_>) -> Result<Running, String> {
        let ip: IpAddr =
            if wire == Wire::Udp6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let address = SocketAddr::new(ip, free_port(ip));
        let udp = matches!(wire, Wire::Udp | Wire::Udp6);
        let work = setup.work.join(format!("{kind}-{}", address.port()));
        fs::create_dir_all(&work).expect("a directory can be made");
        let mut command = Command::new("taskset");
        command.args(["-c", &setup.core.to_string()]).current_dir(&work);
        match kind {
            Kind::Floor => {
                let this = std::env::current_exe().expect("it runs");
                command.arg(this).arg(if udp { "floor-udp" } else { "floor-http" }).arg(address.to_string());
            }
            Kind::Sprat => {
                for (name, _) in std::env::vars_os() {
                    if name.to_string_lossy().starts_with("SPRAT_") {
                        command.env_remove(&name);
                    }
                }
                command.env("HOME", &work).env("XDG_CONFIG_HOME", &work).env("XDG_STATE_HOME", &work);
                command.arg(harness::binary::sprat()).arg("tracker").args(setup.extra);
                command.args([if udp { "--udp" } else { "--http" }, &address.to_string()]);
            }
            Kind::Opentracker => {
                // Debian's refuses all that are not listed.
                let listed = setup.hashes.iter().fold(String::new(), |mut text, hash| {
                    hash.iter().for_each(|byte| {
                        let _ = write!(text, "{byte:02x}");
                    });
                    text.push('\n');
                    text
                });
                write(&work.join("whitelist"), &listed);
                let port = address.port().to_string();
                command.arg(find("opentracker").expect("it was found"));
                command.args([
                    "-i",
                    &ip.to_string(),
                    "-p",
                    &port,
                    "-P",
                    &port,
                    "-u",
                    "nobody",
                    "-w",
                    "whitelist",
                    "-d",
                ]);
                command.arg(&work);
            }
            Kind::Aquatic => {
                let program = if udp { &self.aquatic_udp } else { &self.aquatic_http };
                let config = if udp {
                    format!(
                        "[network]\naddress = \"{address}\"\n[protocol]\nmax_response_peers = {}\n",
                        setup.numwant
                    )
                } else {
                    format!("[network]\naddress = \"{address}\"\n[protocol]\nmax_peers = {}\n", setup.numwant)
                };
                write(&work.join("config.toml"), &config);
                command.arg(program.as_ref().expect("it was found")).args(["-c", "config.toml"]);
            }
            Kind::Torrust => {
                let section = if udp { "udp_trackers" } else { "http_trackers" };
                let config = format!(
                    "[metadata]\nschema_version = \"2.0.0\"\n[logging]\nthreshold = \"error\"\n\
                     [core]\nlisted = false\nprivate = false\n[core.database]\ndriver = \"sqlite3\"\npath = \"db\"\n\
                     [[{section}]]\nbind_address = \"{address}\"\n\
                     [health_check_api]\nbind_address = \"127.0.0.1:{}\"\n",
                    free_port(Ipv4Addr::LOCALHOST.into()),
                );
                write(&work.join("config.toml"), &config);
                command.env("TORRUST_TRACKER_CONFIG_TOML_PATH", work.join("config.toml")).arg(&self.torrust);
            }
            Kind::BittorrentTracker => {
                let options = if udp { "http: false, udp: true" } else { "http: true, udp: false" };
                let script = format!(
                    "import Server from '{}'\nconst server = new Server({{{options}, ws: false, stats: false}})\n\
                     server.on('error', error => {{ console.error(error); process.exit(1) }})\n\
                     server.listen({}, {{http: '{ip}', udp: '127.0.0.1', udp6: '::1'}})\n",
                    self.npm.join("node_modules/bittorrent-tracker/server.js").display(),
                    address.port(),
                );
                write(&work.join("server.mjs"), &script);
                command.arg(find("node").ok_or("node is not installed")?).arg("server.mjs");
            }
        }
        let mut process = Process::spawn(&kind.to_string(), &mut command);
        let ready = wait::try_until(SOON, || {
            if !process.is_running() {
                return Some(false);
            }
            let answers =
                if udp { answers_udp(address) } else { std::net::TcpStream::connect(address).is_ok() };
            answers.then_some(true)
        });
        match ready {
            Some(true) => Ok(Running { kind, address, process }),
            _ => {
                let said: Vec<String> = process.lines().into_iter().map(|line| line.text).collect();
                Err(format!("it does not run: {}", said.join(" / ")))
            }
        }
    }
}

/// What a tracker is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) work: &'a Path,
    pub(crate) core: usize,
    pub(crate) numwant: i32,
    /// Of all torrents.
    pub(crate) hashes: &'a [[u8; 20]],
    /// Arguments of `sprat tracker`.
    pub(crate) extra: &'a [String],
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file can be written");
}

/// One that is free for both protocols; whoever is started next gets it.
fn free_port(ip: IpAddr) -> u16 {
    let port = || {
        let tcp = TcpListener::bind((ip, 0)).ok()?;
        let address = tcp.local_addr().ok()?;
        UdpSocket::bind(address).ok().map(|_| address.port())
    };
    wait::until("a free port", SOON, port)
}

fn answers_udp(address: SocketAddr) -> bool {
    let ip: IpAddr = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ask = || {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
        socket.connect(address)?;
        let mut request = [0; packet::CONNECT];
        packet::connect(&mut request, 1);
        socket.send(&request)?;
        socket.recv(&mut [0; 64])
    };
    ask().is_ok_and(|length| length == packet::CONNECT)
}

/// What cargo wrote down of a program that it installed: it has no `--version`.
fn installed_version(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    let list = fs::read_to_string(program.parent()?.parent()?.join(".crates.toml")).ok()?;
    let line = list.lines().find(|line| line.starts_with(&format!("\"{name} ")))?;
    line.split(' ').nth(1).map(str::to_owned)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor",
            Self::Sprat => "sprat",
            Self::Opentracker => "opentracker",
            Self::Aquatic => "aquatic",
            Self::Torrust => "torrust",
            Self::BittorrentTracker => "bittorrent-tracker",
        })
    }
}
