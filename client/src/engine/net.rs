//! The way out. Every socket that leads off this machine is made here, every name is looked up here, and every HTTP client begins here,
//! so that `--bind` and `--interface` hold for all of them, or nothing leaves: [`Outside`].
//!
//! `--bind` is a source address: no packet has another one. `--interface` is a device (`SO_BINDTODEVICE`): while it is down, or gone,
//! sockets can't be made and packets can't leave, whatever the routes say. Names go the same way. The system's resolver can't be told
//! which, so that with either flag a resolver asks through sockets of ours.
//!
//! With `--proxy`, connections are made by the proxy, and names are left to it. It carries no UDP and nobody comes in through it: there are
//! no such sockets then.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioHandle, TokioTime};
use hickory_resolver::system_conf::{parse_resolv_conf, read_system_conf};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::proxy::Proxy;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// How long a name server may take to take a connection: for the rare answer that is too long for UDP.
const NAME_SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an interface that is down is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Where systemd-resolved says which name servers it asks, for those who would rather ask them themselves.
const UPSTREAM_NAME_SERVERS: &str = "/run/systemd/resolve/resolv.conf";

/// Which way is allowed; by default, any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Via {
    /// `--bind`: the only source address.
    pub bind: Option<IpAddr>,
    /// `--interface`: the only device, by name.
    pub interface: Option<String>,
    /// `--proxy`: who makes all connections for us.
    pub proxy: Option<Proxy>,
}

impl Via {
    /// Whether anything is ruled out.
    fn is_limited(&self) -> bool {
        self.proxy.is_some() || self.interface.is_some() || self.bind.is_some_and(|ip| !ip.is_unspecified())
    }
}

impl From<IpAddr> for Via {
    fn from(bind: IpAddr) -> Self {
        Self { bind: Some(bind), ..Self::default() }
    }
}

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutsideError {
    /// A name that nothing here has.
    #[error("there is no network interface {0}: `ip link` lists them")]
    NoInterface(String),
    /// reqwest does not take it.
    #[error("can't use the proxy {0}")]
    Proxy(Proxy),
}

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outside {
    via: Arc<Via>,
    names: Names,
}

/// Who is asked for the addresses of names.
#[derive(Clone)]
enum Names {
    /// The system.
    System,
    /// The system's name servers, through our sockets.
    Bound(Arc<Resolver<Bound>>),
    /// Nobody: this machine names no server that can be asked.
    Nobody(Arc<str>),
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System => "System",
            Self::Bound(_) => "Bound",
            Self::Nobody(_) => "Nobody",
        })
    }
}

impl Default for Outside {
    fn default() -> Self {
        Self { via: Arc::default(), names: Names::System }
    }
}

impl Outside {
    /// Reads what the system says of its name servers, if that will matter.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn new(via: Via) -> Result<Self, OutsideError> {
        if let Some(name) = &via.interface
            && index_of(name).is_err()
        {
            return Err(OutsideError::NoInterface(name.clone()));
        }
        if let Some(proxy) = via.proxy.as_ref().filter(|proxy| proxy.for_http().is_err()) {
            return Err(OutsideError::Proxy(proxy.clone()));
        }
        let via = Arc::new(via);
        let names = if via.is_limited() { Names::bound(Arc::clone(&via)) } else { Names::System };
        Ok(Self { via, names })
    }

    /// Which way is allowed.
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// Waits while the interface of `--interface` is down, or gone. What is begun meanwhile would fail, and be held against whoever was
    /// to be reached.
    pub async fn ready(&self) {
        while let Some(name) = &self.via.interface
            && !is_up(name)
        {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Connects to `to`, through the proxy if there is one.
    ///
    /// # Errors
    /// If the way is closed: an interface that is gone, a source address that nothing here has, or of the other version of IP; or by the
    /// other end, or the proxy.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let Some(proxy) = &self.via.proxy else { return self.via.tcp_socket(to)?.connect(to).await };
        let (host, port) = proxy.place();
        let mut outcome = Err(io::Error::other(format!("the proxy {host} has no address")));
        for addr in self.addresses(host, port).await? {
            match self.via.tcp_socket(addr)?.connect(addr).await {
                Ok(stream) => return proxy.connect(stream, to).await,
                Err(error) => {
                    outcome = Err(io::Error::new(error.kind(), format!("the proxy {addr}: {error}")));
                }
            }
        }
        outcome
    }

    /// Listens at `at`; an address of one version of IP listens to that alone.
    ///
    /// # Errors
    /// As [`Self::connect`], if the port is taken, or always with a proxy: nobody comes in through it.
    pub fn tcp_listener(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.no_proxy()?;
        let socket = self.via.socket(at, Type::STREAM, Protocol::TCP)?;
        // Connections of an earlier run in TIME_WAIT don't keep the port.
        socket.set_reuse_address(true)?;
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }

    /// A UDP socket at `at`; with an unspecified address, at the address of `--bind`, if that is given.
    ///
    /// # Errors
    /// As [`Self::tcp_listener`].
    pub fn udp_socket(&self, at: SocketAddr) -> io::Result<UdpSocket> {
        self.no_proxy()?;
        self.via.udp_socket(at)
    }

    /// A UDP socket at a multicast group, where others on this machine may listen too.
    ///
    /// # Errors
    /// As [`Self::tcp_listener`].
    pub fn group_socket(&self, group: SocketAddr) -> io::Result<UdpSocket> {
        self.no_proxy()?;
        let socket = self.via.socket(group, Type::DGRAM, Protocol::UDP)?;
        socket.set_reuse_address(true)?;
        #[cfg(not(target_os = "linux"))]
        socket.set_reuse_port(true)?;
        socket.bind(&group.into())?;
        UdpSocket::from_std(socket.into())
    }

    fn no_proxy(&self) -> io::Result<()> {
        match &self.via.proxy {
            None => Ok(()),
            Some(proxy) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, format!("the proxy {proxy} can't carry this")))
            }
        }
    }

    /// The addresses of a name (or of an address, as text), with this port.
    ///
    /// # Errors
    /// If it has none, or nobody can be asked: names are a proxy's business where there is one.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match (&self.via.proxy, host.parse()) {
            (_, Ok(ip)) => Ok(vec![SocketAddr::new(ip, port)]),
            (Some(proxy), Err(_)) => {
                Err(io::Error::other(format!("its name is left to the proxy {proxy}: an address is needed")))
            }
            (None, Err(_)) => self.addresses(host, port).await,
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &self.names {
            Names::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            Names::Bound(resolver) => {
                let found = resolver.lookup_ip(host).await.map_err(io::Error::other)?;
                Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
            Names::Nobody(why) => match host.parse() {
                Ok(ip) => Ok(vec![SocketAddr::new(ip, port)]),
                Err(_) => Err(io::Error::other(why.to_string())),
            },
        }
    }

    /// The addresses of `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// As [`Self::resolve`], or if it is not that.
    pub async fn find(&self, endpoint: &str) -> io::Result<Vec<SocketAddr>> {
        let split = endpoint.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = split.ok_or_else(|| io::Error::other("it is not HOST:PORT"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        self.resolve(host, port).await
    }

    /// Begins an HTTP client that goes this way. If no way is ruled out, a proxy that the environment names is one, too.
    pub fn http(&self) -> ClientBuilder {
        self.client(false)
    }

    /// The same without a proxy of the environment's.
    pub fn http_alone(&self) -> ClientBuilder {
        self.client(true)
    }

    fn client(&self, alone: bool) -> ClientBuilder {
        // An error says that somebody has chosen a provider already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .user_agent(concat!("sprat/", env!("CARGO_PKG_VERSION")))
            .local_address(self.via.bind)
            .dns_resolver(Arc::new(self.clone()));
        let builder = match self.via.proxy.as_ref().map(Proxy::for_http) {
            Some(Ok(proxy)) => builder.proxy(proxy),
            // A URL that no client takes was refused at the start.
            Some(Err(_)) => unreachable!("it was looked at before"),
            None if self.via.is_limited() || alone => builder.no_proxy(),
            None => builder,
        };
        match &self.via.interface {
            #[cfg(any(target_os = "linux", target_os = "macos"))]
            Some(name) => builder.interface(name),
            _ => builder,
        }
    }
}

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let outside = self.clone();
        Box::pin(async move {
            // Of all names, with a proxy, only its own.
            let is_proxy = outside.via.proxy.as_ref().is_some_and(|proxy| proxy.is_at(name.as_str()));
            let addrs = if is_proxy {
                outside.addresses(name.as_str(), 0).await?
            } else {
                Self::resolve(&outside, name.as_str(), 0).await?
            };
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
}

impl Via {
    /// A socket that is held to the interface, not bound to an address yet.
    fn socket(&self, family: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(family), kind, Some(protocol))?;
        if family.is_ipv6() {
            // IPv4 has a socket of its own; one for both would show its peers as ::ffff:a.b.c.d.
            socket.set_only_v6(true)?;
        }
        if let Some(name) = &self.interface {
            hold_to(&socket, name, family.is_ipv6())?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    fn tcp_socket(&self, to: SocketAddr) -> io::Result<TcpSocket> {
        let socket = self.socket(to, Type::STREAM, Protocol::TCP)?;
        if let Some(bind) = self.bind {
            socket.bind(&SocketAddr::new(bind, 0).into())?;
        }
        Ok(TcpSocket::from_std_stream(socket.into()))
    }

    fn udp_socket(&self, at: SocketAddr) -> io::Result<UdpSocket> {
        let at = match self.bind {
            Some(bind) if bind.is_ipv4() != at.is_ipv4() => {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
            Some(bind) if at.ip().is_unspecified() => SocketAddr::new(bind, at.port()),
            _ => at,
        };
        let socket = self.socket(at, Type::DGRAM, Protocol::UDP)?;
        socket.bind(&at.into())?;
        UdpSocket::from_std(socket.into())
    }
}

/// Whether an interface is up and has an address.
fn is_up(interface: &str) -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().any(|it| it.name == interface && it.is_oper_up())
}

/// The kernel's number of an interface.
#[cfg(target_os = "linux")]
fn index_of(interface: &str) -> io::Result<u32> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(socket, interface)?)
}

/// The kernel's number of an interface that has an address.
#[cfg(not(target_os = "linux"))]
fn index_of(interface: &str) -> io::Result<u32> {
    let found = if_addrs::get_if_addrs()?.into_iter().find(|it| it.name == interface);
    found.and_then(|it| it.index).ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(target_os = "linux")]
fn hold_to(socket: &Socket, interface: &str, _v6: bool) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(target_os = "macos")]
fn hold_to(socket: &Socket, interface: &str, v6: bool) -> io::Result<()> {
    let index = std::num::NonZeroU32::new(index_of(interface)?).ok_or(io::ErrorKind::NotFound)?;
    if v6 { socket.bind_device_by_index_v6(Some(index)) } else { socket.bind_device_by_index_v4(Some(index)) }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn hold_to(_socket: &Socket, _interface: &str, _v6: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Names {
    fn bound(via: Arc<Via>) -> Self {
        match name_servers() {
            Ok((config, options)) => Self::asking(via, config, options),
            Err(why) => Self::Nobody(why.into()),
        }
    }

    fn asking(via: Arc<Via>, config: ResolverConfig, mut options: ResolverOpts) -> Self {
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = Resolver::builder_with_config(config, Bound { via, handle: TokioHandle::default() });
        match resolver.with_options(options).build() {
            Ok(resolver) => Self::Bound(Arc::new(resolver)),
            Err(error) => Self::Nobody(error.to_string().into()),
        }
    }
}

/// The system's name servers. One on this machine would ask others any way it likes: in its place, those that it asks, if it says which.
fn name_servers() -> Result<(ResolverConfig, ResolverOpts), String> {
    let (config, options) = read_system_conf().map_err(|error| format!("no name servers: {error}"))?;
    let near_by =
        |config: &ResolverConfig| config.name_servers().iter().all(|server| server.ip.is_loopback());
    if near_by(&config)
        && let Ok(text) = std::fs::read(UPSTREAM_NAME_SERVERS)
        && let Ok(upstream) = parse_resolv_conf(text)
        && !near_by(&upstream.0)
    {
        return Ok(upstream);
    }
    Ok((config, options))
}

/// Gives the resolver its sockets.
#[derive(Clone)]
struct Bound {
    via: Arc<Via>,
    handle: TokioHandle,
}

type Coming<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl RuntimeProvider for Bound {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> TokioHandle {
        self.handle.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _bind: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Coming<Self::Tcp> {
        let socket = self.via.tcp_socket(server);
        Box::pin(async move {
            let connecting = timeout(limit.unwrap_or(NAME_SERVER_TIMEOUT), socket?.connect(server));
            Ok(AsyncIoTokioAsStd(connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??))
        })
    }

    fn bind_udp(&self, _local: SocketAddr, server: SocketAddr) -> Coming<UdpSocket> {
        let any =
            if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = self.via.udp_socket(SocketAddr::new(any, 0));
        Box::pin(std::future::ready(socket))
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};

    use super::*;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let via = Via { interface: Some("sprat0".into()), ..Via::default() };
        let error = Outside::new(via).unwrap_err();
        assert_eq!(error.to_string(), "there is no network interface sprat0: `ip link` lists them");
    }

    // All of 127.0.0.0/8 is this machine, on Linux.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn every_socket_has_the_bound_address_or_is_not_made() {
        let bound: IpAddr = Ipv4Addr::new(127, 0, 0, 3).into();
        let outside = Outside::new(bound.into()).unwrap();
        let listener = Outside::default().tcp_listener(SocketAddr::new(LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let stream = outside.connect(to).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, stream.local_addr().unwrap());
        assert_eq!(stream.local_addr().unwrap().ip(), bound);
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        assert_eq!(outside.udp_socket(any).unwrap().local_addr().unwrap().ip(), bound);
        let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9);
        assert!(outside.connect(v6).await.is_err());
        let any_v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        assert!(outside.udp_socket(any_v6).is_err());
        let nobodys = Outside::new(IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)).into()).unwrap();
        assert_eq!(nobodys.connect(to).await.unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_interface_leads_only_where_it_leads() {
        let lo = Outside::new(Via { interface: Some("lo".into()), ..Via::default() }).unwrap();
        let listener = lo.tcp_listener(SocketAddr::new(LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        lo.connect(to).await.unwrap();
        let socket = lo.udp_socket(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)).unwrap();
        assert_eq!(socket2::SockRef::from(&socket).device().unwrap().as_deref(), Some(&b"lo"[..]));
    }

    #[tokio::test]
    async fn a_proxy_leaves_no_other_way() {
        // Nobody listens there.
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let proxy: Proxy = format!("socks5://{dead}").parse().unwrap();
        let outside = Outside::new(Via { proxy: Some(proxy), ..Via::default() }).unwrap();
        let listener = Outside::default().tcp_listener(SocketAddr::new(LOCALHOST, 0)).unwrap();
        let there = listener.local_addr().unwrap();
        let error = outside.connect(there).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&dead.to_string()), "{error}");
        let client = outside.http().build().unwrap();
        assert!(client.get(format!("http://{there}/")).send().await.is_err());
        let any = SocketAddr::new(LOCALHOST, 0);
        assert_eq!(outside.udp_socket(any).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert_eq!(outside.tcp_listener(any).unwrap_err().kind(), io::ErrorKind::Unsupported);
        assert!(outside.find("localhost:1").await.is_err());
        assert_eq!(outside.find("192.0.2.1:1").await.unwrap(), ["192.0.2.1:1".parse().unwrap()]);
        // It came to nobody's door.
        assert!(timeout(LOOK_AGAIN, listener.accept()).await.is_err());
    }

    /// The answer to a query for the address of a name: 192.0.2.7.
    fn answer(query: &[u8]) -> Vec<u8> {
        let question = query[12..].iter().position(|&byte| byte == 0).unwrap() + 12 + 5;
        let v4 = query[question - 3] == 1;
        let mut answer = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(v4), 0, 0, 0, 0]].concat();
        answer.extend_from_slice(&query[12..question]);
        if v4 {
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        }
        answer
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn names_are_asked_for_from_the_bound_address() {
        let server = UdpSocket::bind((LOCALHOST, 0)).await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = server.local_addr().unwrap().port();
        let config = NameServerConfig::new(LOCALHOST, true, vec![connection]);
        let config = ResolverConfig::from_parts(None, vec![], vec![config]);
        let bound: IpAddr = Ipv4Addr::new(127, 0, 0, 3).into();
        let via = Arc::new(Via::from(bound));
        let names = Names::asking(Arc::clone(&via), config, ResolverOpts::default());
        let outside = Outside { via, names };
        let serving = tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (length, from) = server.recv_from(&mut query).await.unwrap();
                assert_eq!(from.ip(), bound);
                server.send_to(&answer(&query[..length]), from).await.unwrap();
            }
        });
        let found = outside.find("tracker.example:80").await.unwrap();
        assert_eq!(found, ["192.0.2.7:80".parse().unwrap()]);
        assert!(!serving.is_finished());
        assert_eq!(outside.find("[2001:db8::1]:7").await.unwrap(), ["[2001:db8::1]:7".parse().unwrap()]);
        assert!(outside.find("tracker.example").await.is_err());
    }
}
