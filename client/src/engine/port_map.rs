//! Has the router before us let peers in: by PCP or NAT-PMP (crab_nat), else by UPnP (igd-next). A mapping is renewed while the session lasts and
//! removed at its end.
//!
//! Both libraries make sockets of their own. With `--bind` a router counts only if the way to it begins at that address; to an interface they can't
//! be held, so that with `--interface` nothing is mapped, nor with `--proxy`, where nobody can dial us anyway.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions, TimeoutConfig};
use igd_next::{AddPortError, Gateway, PortMappingProtocol, SearchOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::net::Via;

/// How long a mapping is asked for, in seconds: what is left behind by a crash is gone soon.
const LEASE: u32 = 3600;

/// A mapping is renewed after this.
const RENEW: Duration = Duration::from_secs(LEASE as u64 / 2);

/// The wait after a failure; it doubles. A router that has none of this won't have it soon.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// The longest such wait.
const LONGEST_RETRY: Duration = Duration::from_secs(30 * 60);

/// How long routers have to answer a search by UPnP.
const SEARCH: Duration = Duration::from_secs(3);

/// PCP and NAT-PMP: 0.25, 0.5 and 1 s. Routers that have it answer within milliseconds.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_secs(1)),
};

/// What the mapping is called in the router's list.
const DESCRIPTION: &str = "sprat";

/// Both protocols of the port.
const BOTH: [PortMappingProtocol; 2] = [PortMappingProtocol::TCP, PortMappingProtocol::UDP];

/// See the module. Lasts until [`Self::remove`].
#[derive(Debug)]
pub(super) struct PortMap {
    public: watch::Receiver<Option<u16>>,
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

/// Where a port is mapped.
#[derive(Debug)]
enum Mapped {
    /// By PCP or NAT-PMP.
    Asked { tcp: Box<PortMapping>, udp: Option<Box<PortMapping>> },
    /// By UPnP.
    Upnp { gateway: Box<Gateway>, local: SocketAddrV4, port: u16 },
}

impl PortMap {
    /// Begins, unless the way out rules it out.
    pub(super) fn start(port: u16, via: &Via) -> Option<Self> {
        let port = NonZeroU16::new(port)?;
        let bind = match via.bind {
            None => None,
            Some(IpAddr::V4(ip)) if !ip.is_loopback() => Some(ip).filter(|ip| !ip.is_unspecified()),
            Some(_) => return None,
        };
        if via.interface.is_some() || via.proxy.is_some() {
            return None;
        }
        let (public_sender, public) = watch::channel(None);
        let (stop, stopping) = mpsc::channel(1);
        tokio::spawn(run(port, bind, public_sender, stopping));
        Some(Self { public, stop })
    }

    /// The port at which others reach us, once it is known.
    pub(super) fn public(&self) -> watch::Receiver<Option<u16>> {
        self.public.clone()
    }

    /// Removes the mapping, if there is one.
    pub(super) async fn remove(&self) {
        let (done, removed) = oneshot::channel();
        if self.stop.send(done).await.is_ok() {
            let _ = removed.await;
        }
    }
}

async fn run(
    port: NonZeroU16,
    bind: Option<Ipv4Addr>,
    public: watch::Sender<Option<u16>>,
    mut stopping: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut mapped: Option<Mapped> = None;
    let mut retry = FIRST_RETRY;
    loop {
        let renewing = async {
            if let Some(mapped) = &mut mapped
                && mapped.renew().await
            {
                return None;
            }
            Some(map(port, bind).await)
        };
        let outcome = tokio::select! {
            outcome = renewing => outcome,
            // What is half done goes by itself within the hour.
            stop = stopping.recv() => return end(mapped, stop).await,
        };
        if let Some(new) = outcome {
            mapped = new;
        }
        public.send_replace(mapped.as_ref().map(Mapped::port));
        let wait = match &mapped {
            Some(mapped) => {
                retry = FIRST_RETRY;
                tracing::info!("the router lets peers in: {mapped}");
                RENEW
            }
            None => {
                tracing::debug!("no router here maps ports");
                let wait = retry;
                retry = (retry * 2).min(LONGEST_RETRY);
                wait
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            stop = stopping.recv() => return end(mapped, stop).await,
        }
    }
}

async fn end(mapped: Option<Mapped>, stop: Option<oneshot::Sender<()>>) {
    if let Some(mapped) = mapped {
        mapped.remove().await;
    }
    if let Some(stop) = stop {
        let _ = stop.send(());
    }
}

/// Asks the router that leads out of here, and looks for one that has UPnP meanwhile.
async fn map(port: NonZeroU16, bind: Option<Ipv4Addr>) -> Option<Mapped> {
    let searching = on_thread(move || {
        let mut options = SearchOptions::default();
        options.bind_addr = SocketAddr::from((bind.unwrap_or(Ipv4Addr::UNSPECIFIED), 0));
        options.timeout = Some(SEARCH);
        igd_next::search_gateway(options).inspect_err(|error| tracing::debug!("no UPnP: {error}")).ok()
    });
    if let Some(mapped) = ask_gateway(port, bind).await {
        return Some(mapped);
    }
    let gateway = searching.await.flatten()?;
    let IpAddr::V4(router) = gateway.addr.ip() else { return None };
    let local = way_to(router, bind)?;
    on_thread(move || add(gateway, SocketAddrV4::new(local, port.get()))).await.flatten()
}

/// PCP or NAT-PMP.
async fn ask_gateway(port: NonZeroU16, bind: Option<Ipv4Addr>) -> Option<Mapped> {
    let router = default_gateway()?;
    let local = way_to(router, bind)?;
    let options = PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: Some(LEASE),
        timeout_config: Some(PATIENCE),
    };
    let ask = |protocol| PortMapping::new(router.into(), local.into(), protocol, port, options);
    let tcp = ask(InternetProtocol::Tcp).await;
    let tcp = tcp.inspect_err(|error| tracing::debug!(%router, "neither PCP nor NAT-PMP: {error}")).ok()?;
    let udp = ask(InternetProtocol::Udp).await;
    let udp = udp.inspect_err(|error| tracing::debug!(%router, "UDP is not mapped: {error}")).ok();
    Some(Mapped::Asked { tcp: Box::new(tcp), udp: udp.map(Box::new) })
}

/// By UPnP; of a port that somebody else has, another one.
fn add(gateway: Gateway, local: SocketAddrV4) -> Option<Mapped> {
    let addr = SocketAddr::V4(local);
    let lease = Cell::new(LEASE);
    let add = |protocol, port| {
        let added = gateway.add_port(protocol, port, addr, lease.get(), DESCRIPTION);
        if matches!(added, Err(AddPortError::OnlyPermanentLeasesSupported)) {
            lease.set(0);
            return gateway.add_port(protocol, port, addr, 0, DESCRIPTION);
        }
        added
    };
    let port = match add(PortMappingProtocol::TCP, local.port()) {
        Ok(()) => Ok(local.port()),
        Err(AddPortError::PortInUse) => gateway
            .add_any_port(PortMappingProtocol::TCP, addr, lease.get(), DESCRIPTION)
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let port = port.inspect_err(|error| tracing::debug!("UPnP maps nothing: {error}")).ok()?;
    if let Err(error) = add(PortMappingProtocol::UDP, port) {
        tracing::debug!("UDP is not mapped: {error}");
    }
    Some(Mapped::Upnp { gateway: Box::new(gateway), local, port })
}

impl Mapped {
    fn port(&self) -> u16 {
        match self {
            Self::Asked { tcp, .. } => tcp.external_port().get(),
            Self::Upnp { port, .. } => *port,
        }
    }

    /// Whether it is good for another while.
    async fn renew(&mut self) -> bool {
        match self {
            Self::Asked { tcp, udp } => {
                if let Some(udp) = udp {
                    let _ = udp.renew().await;
                }
                tcp.renew().await.is_ok()
            }
            Self::Upnp { gateway, local, port } => {
                let (gateway, addr, port) = (gateway.clone(), SocketAddr::V4(*local), *port);
                let renewed = on_thread(move || {
                    let add = |protocol| gateway.add_port(protocol, port, addr, LEASE, DESCRIPTION).is_ok();
                    BOTH.map(add)[0]
                });
                renewed.await.unwrap_or(false)
            }
        }
    }

    async fn remove(self) {
        match self {
            Self::Asked { tcp, udp } => {
                let udp = async {
                    if let Some(udp) = udp {
                        let _ = udp.try_drop().await;
                    }
                };
                let _ = tokio::join!(tcp.try_drop(), udp);
            }
            Self::Upnp { gateway, port, .. } => {
                on_thread(move || BOTH.map(|protocol| gateway.remove_port(protocol, port).is_ok())).await;
            }
        }
    }
}

impl std::fmt::Display for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked { tcp, .. } => {
                let router = IpAddr::from(tcp.gateway());
                write!(f, "port {} of {router}, by PCP or NAT-PMP", tcp.external_port())
            }
            Self::Upnp { gateway, port, .. } => write!(f, "port {port} of {}, by UPnP", gateway.addr.ip()),
        }
    }
}

/// On a thread of its own: igd-next waits for its sockets, and the end of the program waits for none of these.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name("upnp".to_owned()).spawn(move || {
        // Nobody waits any more if the session has ended.
        let _ = done.send(work());
    });
    thread.inspect_err(|error| tracing::warn!("can't start a thread: {error}")).ok()?;
    outcome.await.ok()
}

/// The address from which packets go to the router; `None` if there is no way, or it is not the one that is allowed. Nothing is sent.
fn way_to(router: Ipv4Addr, bind: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((router, crab_nat::GATEWAY_PORT)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(local) if bind.is_none_or(|bind| bind == *local.ip()) => Some(*local.ip()),
        _ => None,
    }
}

/// The router of the default route.
#[cfg(target_os = "linux")]
fn default_gateway() -> Option<Ipv4Addr> {
    gateway_in(&std::fs::read_to_string("/proc/net/route").ok()?)
}

/// The router of the default route: where the system does not say it in a file, only UPnP is tried.
#[cfg(not(target_os = "linux"))]
fn default_gateway() -> Option<Ipv4Addr> {
    None
}

/// Reads Linux's table of routes: name, destination, gateway and so on, addresses as the machine's own numbers in hexadecimal.
#[cfg(target_os = "linux")]
fn gateway_in(table: &str) -> Option<Ipv4Addr> {
    let gateways = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let metric: u32 = fields.nth(3)?.parse().ok()?;
        let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        (destination == "00000000" && !gateway.is_unspecified()).then_some((metric, gateway))
    });
    gateways.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_endian = "little"))]
    fn the_router_is_that_of_the_best_default_route() {
        let table = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t00000000\tFE01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
";
        assert_eq!(gateway_in(table), Some(Ipv4Addr::new(192, 168, 1, 254)));
        assert_eq!(gateway_in(""), None);
        assert_eq!(gateway_in(table.lines().next().unwrap()), None);
    }

    #[tokio::test]
    async fn nothing_is_mapped_for_loopback_for_ipv6_for_an_interface_or_behind_a_proxy() {
        for via in [
            Via { bind: Some(Ipv4Addr::LOCALHOST.into()), ..Via::default() },
            Via { bind: Some("::1".parse().unwrap()), ..Via::default() },
            Via { interface: Some("eth0".into()), ..Via::default() },
            Via { proxy: Some("socks5://198.51.100.1:1080".parse().unwrap()), ..Via::default() },
        ] {
            assert!(PortMap::start(6881, &via).is_none(), "{via:?}");
        }
    }

    #[test]
    fn a_router_that_is_not_reached_from_the_bound_address_does_not_count() {
        let here = Ipv4Addr::LOCALHOST;
        assert_eq!(way_to(here, None), Some(here));
        assert_eq!(way_to(here, Some(here)), Some(here));
        assert_eq!(way_to(here, Some(Ipv4Addr::new(198, 51, 100, 1))), None);
    }
}
