//! Networks that a test makes for itself: a bridge in a namespace of its own, and one more namespace with one address a host.
//! Nothing of it touches the machine's own interfaces, and addresses (198.18.0.0/15, RFC 2544) repeat from network to network.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::LinkNameSpaceType;

use crate::require;

/// A switch to which hosts are plugged.
#[derive(Debug)]
pub struct Network {
    hub: Arc<Namespace>,
    hosts: AtomicU32,
}

/// A machine of its own, as far as the network goes: one interface `eth0`, one address, and loopback. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: Arc<Namespace>,
    address: Ipv4Addr,
    // The bridge stays as long as someone is plugged into it.
    _hub: Arc<Namespace>,
}

#[derive(Debug)]
struct Namespace(String);

impl Network {
    /// A new one. Not everybody may: see [`crate::require::require_networks`].
    ///
    /// # Panics
    /// If namespaces can't be made.
    #[expect(clippy::new_without_default, reason = "it makes something in the kernel")]
    pub fn new() -> Self {
        Self::build().unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// A new one, if this machine and user may.
    pub fn try_new() -> Option<Self> {
        Self::build().ok()
    }

    fn build() -> Result<Self, String> {
        let hub = Namespace::new()?;
        hub.ip(["link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0"])?;
        hub.ip(["link", "set", "br0", "up"])?;
        Ok(Self { hub: Arc::new(hub), hosts: AtomicU32::new(0) })
    }

    /// Plugs in a new host with the next address.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn host(&self) -> Host {
        self.plug_in().unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn plug_in(&self) -> Result<Host, String> {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        // Addresses far apart: no peer should look like a neighbour of another.
        let address = Ipv4Addr::new(198, 18 + (number % 2) as u8, (number / 2) as u8, 10);
        let namespace = Namespace::new()?;
        let port = format!("port{number}");
        self.hub.ip(["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace.0])?;
        self.hub.ip(["link", "set", &port, "master", "br0", "up"])?;
        namespace.ip(["address", "add", &format!("{address}/15"), "dev", "eth0"])?;
        namespace.ip(["link", "set", "lo", "up"])?;
        namespace.ip(["link", "set", "eth0", "up"])?;
        Ok(Host { namespace: Arc::new(namespace), address, _hub: Arc::clone(&self.hub) })
    }
}

impl Host {
    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// A command that runs on it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = ip();
        command.args(["netns", "exec", &self.namespace.0]).arg(program);
        command
    }

    /// Limits what it sends, in bits a second as `tc` writes them, such as `20mbit`.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn limit_rate(&self, rate: &str) {
        let mut tc = self.command("tc");
        tc.args([
            "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "64kb", "latency",
            "50ms",
        ]);
        check(&mut tc).unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Runs `work` on a thread whose sockets are this host's.
    ///
    /// # Panics
    /// If `work` does, or the namespace can't be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace =
            File::open(format!("/run/netns/{}", self.namespace.0)).expect("the namespace is there");
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                rustix::thread::move_into_link_name_space(
                    namespace.as_fd(),
                    Some(LinkNameSpaceType::Network),
                )
                .expect("root may enter a namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Namespace {
    fn new() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sprat-test-{}-{number}", std::process::id());
        check(ip().args(["netns", "add", &name]))?;
        Ok(Self(name))
    }

    fn ip<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        check(ip().args(["-netns", &self.0]).args(args))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The name goes; the namespace itself with the last process in it, which its owner kills.
        let _ = ip().args(["netns", "delete", &self.0]).output();
    }
}

fn ip() -> Command {
    Command::new(require::find("ip").unwrap_or_else(|| "ip".into()))
}

fn check(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
