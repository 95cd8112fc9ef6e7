//! Networks that a test makes for itself: a bridge in a namespace of its own, and one more namespace with one address a host.
//! Nothing of it touches the machine's own interfaces, and addresses (198.18.0.0/15, RFC 2544) repeat from network to network.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

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
    number: u32,
    // The bridge stays as long as someone is plugged into it.
    hub: Arc<Namespace>,
}

/// A host behind a router that translates addresses.
#[derive(Clone, Debug)]
pub struct BehindNat {
    /// The host.
    pub inside: Host,
    /// What others see of it.
    pub router: Host,
}

/// What the router does, as `nft` takes it.
const NAT: &str = r#"
add table ip nat
add chain ip nat out { type nat hook postrouting priority srcnat; }
add rule ip nat out oifname "eth0" masquerade
add chain ip nat to { type filter hook input priority filter; }
add rule ip nat to iifname "eth0" ct state { new, invalid } drop
add chain ip nat through { type filter hook forward priority filter; }
add rule ip nat through iifname "eth0" ct state { new, invalid } drop
"#;

/// What a host has sent and received, in bytes of whole Ethernet frames: what came through its uplink and its downlink, not what was
/// dropped before them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// By the host.
    pub sent: u64,
    /// By the host.
    pub received: u64,
}

/// The address of the router of [`Network::home`].
const ROUTER: &str = "198.19.255.254/15";

/// What waits in a shaper's queue at most, in time at its rate.
const QUEUE: &str = "50ms";

/// Ticks a second of the slowest kernels: a shaper that wakes up late must be allowed to catch up.
const TICKS: u64 = 250;

/// Two of the largest Ethernet frames, in bytes.
const TWO_FRAMES: u64 = 2 * 1514;

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
        let port = port(number);
        self.hub.ip(["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace.0])?;
        self.hub.ip(["link", "set", &port, "master", "br0", "up"])?;
        namespace.ip(["address", "add", &format!("{address}/15"), "dev", "eth0"])?;
        namespace.ip(["link", "set", "lo", "up"])?;
        namespace.ip(["link", "set", "eth0", "up"])?;
        Ok(Host { namespace: Arc::new(namespace), address, number, hub: Arc::clone(&self.hub) })
    }

    /// Plugs in a router with the next address, and one host behind it, whose own address nobody here can reach. The router has what the host
    /// sends bear its address, with the same port where that is free, and lets in nothing but answers: what comes from where something was sent
    /// to. Needs `nft`.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn host_behind_nat(&self) -> BehindNat {
        let router = self.host();
        let number = router.number;
        let (gateway, address) =
            (Ipv4Addr::new(10, 0, number as u8, 1), Ipv4Addr::new(10, 0, number as u8, 2));
        let steps = || {
            let namespace = Namespace::new()?;
            let outer = &router.namespace;
            outer.ip([
                "link",
                "add",
                "eth1",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                &namespace.0,
            ])?;
            outer.ip(["address", "add", &format!("{gateway}/24"), "dev", "eth1"])?;
            outer.ip(["link", "set", "eth1", "up"])?;
            namespace.ip(["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
            namespace.ip(["link", "set", "lo", "up"])?;
            namespace.ip(["link", "set", "eth0", "up"])?;
            namespace.ip(["route", "add", "default", "via", &gateway.to_string()])?;
            outer.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).map_err(|e| e.to_string())?;
            check(router.command("nft").arg(NAT))?;
            Ok(namespace)
        };
        let namespace = steps().unwrap_or_else(|problem: String| panic!("{problem}"));
        let inside = Host { namespace: Arc::new(namespace), address, number, hub: Arc::clone(&self.hub) };
        BehindNat { inside, router }
    }

    /// A new host that reaches the others through a router, whose line to them takes so many bits a second and holds so much time's packets:
    /// as at home. On a line of the sender's own the kernel would have TCP put next to nothing into the queue (TCP small queues), as nobody's
    /// modem does.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn home(&self, rate: u64, queue: Duration) -> Host {
        let host = self.host();
        let (port, address) = (port(host.number), format!("{}/32", host.address));
        let steps = || {
            self.hub.ip(["link", "set", &port, "nomaster"])?;
            self.hub.ip(["address", "add", ROUTER, "dev", "br0"])?;
            self.hub.ip(["route", "add", &address, "dev", &port])?;
            // The router answers for whoever is on its other side, so that nobody needs to know that it is there.
            let settings =
                ["ip_forward".into(), "conf/br0/proxy_arp".into(), format!("conf/{port}/proxy_arp")];
            self.hub.run(|| {
                settings.iter().try_for_each(|name: &String| {
                    std::fs::write(format!("/proc/sys/net/ipv4/{name}"), "1")
                        .map_err(|e| format!("{name}: {e}"))
                })
            })?;
            host.namespace.whole_frames("eth0")?;
            self.hub.try_shape("br0", rate, &format!("{}ms", queue.as_millis()))
        };
        steps().unwrap_or_else(|problem: String| panic!("{problem}"));
        host
    }

    /// Plugs a host of another network in here as well, by another interface, where everything goes that has no better way. The host
    /// says nothing on it unasked. Here it counts as one more host.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn plug(&self, host: &Host, interface: &str) {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let (port, namespace) = (port(number), &host.namespace);
        let made = ["link", "add", &port, "type", "veth", "peer", "name", interface, "netns", &namespace.0];
        let steps = || {
            self.hub.ip(made)?;
            self.hub.ip(["link", "set", &port, "master", "br0", "up"])?;
            // Without an address of IPv6 there are no neighbours to be looked for.
            namespace.ip(["link", "set", "dev", interface, "addrgenmode", "none"])?;
            namespace.ip(["address", "add", &format!("192.0.2.{number}/24"), "dev", interface])?;
            namespace.ip(["link", "set", interface, "up"])?;
            namespace.ip(["route", "add", "default", "dev", interface])
        };
        steps().unwrap_or_else(|problem: String| panic!("{problem}"));
    }

    /// What every host has sent and received so far, all at one moment, in the order of [`Self::host`]'s calls.
    ///
    /// # Panics
    /// If the kernel does not tell.
    pub fn traffic(&self) -> Vec<Traffic> {
        let table =
            self.hub.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").expect("Linux has /proc"));
        let mut traffic = vec![Traffic::default(); self.hosts.load(Ordering::Relaxed) as usize];
        for line in table.lines() {
            // `port3: RECEIVED-BYTES 7 more, SENT-BYTES 7 more`, as the bridge sees it.
            let Some((name, numbers)) = line.trim().split_once(':') else { continue };
            let number = name.strip_prefix(PORT).and_then(|number| number.parse::<usize>().ok());
            let numbers: Vec<u64> =
                numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            if let (Some(number), [sent, _, _, _, _, _, _, _, received, ..]) = (number, &numbers[..]) {
                traffic[number - 1] = Traffic { sent: *sent, received: *received };
            }
        }
        traffic
    }
}

impl Host {
    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// Puts its interface up, or down.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn set_link(&self, up: bool) {
        let state = if up { "up" } else { "down" };
        self.namespace.ip(["link", "set", "eth0", state]).unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Gives it an IPv6 address too, which every other host that has one can reach.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn add_ipv6(&self) -> IpAddr {
        // Unique local addresses (RFC 4193); nobody else has it, so that nobody needs to be asked. Zeros behind the first colon, where
        // rtorrent looks for a port.
        let address = Ipv6Addr::new(0xfd5a, 0, 0, 0, 0, 0, 0, self.number as u16);
        let add = ["-6", "address", "add", &format!("{address}/64"), "dev", "eth0", "nodad"];
        self.namespace.ip(add).unwrap_or_else(|problem| panic!("{problem}"));
        address.into()
    }

    /// What is not on its network goes to this other host.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn set_gateway(&self, router: IpAddr) {
        let add = ["route", "add", "default", "via", &router.to_string()];
        self.namespace.ip(add).unwrap_or_else(|problem| panic!("{problem}"));
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

    /// Limits what it sends and what it receives, in bits a second, each by a token bucket of its own with a queue of 50 ms, and
    /// has every frame be one packet: without that the kernel would hand packets of up to 64 KiB through the buckets. May be called
    /// again, with other rates.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn shape(&self, up: u64, down: u64) {
        for (namespace, interface, rate) in
            [(&self.namespace, "eth0".into(), up), (&self.hub, port(self.number), down)]
        {
            namespace.shape(&interface, rate, QUEUE);
        }
    }

    /// Has its TCP use this congestion control from now on.
    ///
    /// # Panics
    /// If the kernel does not have it.
    pub fn set_congestion_control(&self, name: &str) {
        // By route: the sysctl of a namespace takes only what the machine allows to unprivileged sockets.
        let address = self.address.to_string();
        let route = ["198.18.0.0/15", "dev", "eth0", "proto", "kernel", "scope", "link", "src", &address];
        let set = ["route", "replace"].into_iter().chain(route).chain(["congctl", name]);
        self.namespace.ip(set).unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Runs `work` on a thread whose sockets are this host's.
    ///
    /// # Panics
    /// If `work` does, or the namespace can't be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.run(work)
    }
}

impl Namespace {
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.0)).expect("the namespace is there");
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

    fn new() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", namespace_prefix());
        check(ip().args(["netns", "add", &name]))?;
        Ok(Self(name))
    }

    fn shape(&self, interface: &str, rate: u64, queue: &str) {
        self.try_shape(interface, rate, queue).unwrap_or_else(|problem| panic!("{problem}"));
    }

    fn try_shape(&self, interface: &str, rate: u64, queue: &str) -> Result<(), String> {
        let (rate, burst) = (rate.to_string(), (rate / 8 / TICKS).max(TWO_FRAMES).to_string());
        let mut tc = Command::new(require::find("tc").unwrap_or_else(|| "tc".into()));
        tc.args(["-netns", &self.0, "qdisc", "replace", "dev", interface, "root", "tbf"]);
        tc.args(["rate", &rate, "burst", &burst, "latency", queue]);
        check(&mut tc)?;
        self.whole_frames(interface)
    }

    /// Has every frame be one packet.
    fn whole_frames(&self, interface: &str) -> Result<(), String> {
        self.ip(["link", "set", "dev", interface, "gso_max_segs", "1", "gso_max_size", "1514"])
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

/// How the names of all namespaces begin that this process makes.
pub fn namespace_prefix() -> String {
    format!("sprat-test-{}-", std::process::id())
}

/// How the bridge's interfaces are called, before their numbers.
const PORT: &str = "port";

/// The bridge's interface to a host.
fn port(number: u32) -> String {
    format!("{PORT}{number}")
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
