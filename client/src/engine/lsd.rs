#![expect(clippy::disallowed_methods, reason = "what is said every five minutes is said by the clock")]
//! Local service discovery (BEP 14): says on our own network which torrents of the session are here, and hears who else has them.
//!
//! One socket a family, bound to the group itself, so that it hears nothing but what is sent to that; joined on every interface that counts.
//! What is heard counts if it comes from a network that one of those interfaces is in.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use if_addrs::{IfAddr, Interface};
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval};
use torrent_format::InfoHash;

use super::net::Via;
use super::session::{Found, Shared};
use crate::torrent::PeerSource;
use crate::wire::lsd::{GROUP_V4, GROUP_V6, LocalAnnounce, MAX_PACKET, MAX_TORRENTS, PORT};

/// Each torrent is announced when it comes, and again after this (BEP 14).
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How often it is looked whether something is to be said: so a packet a second and interface at most.
const TICK: Duration = Duration::from_secs(1);

/// Packets that are looked at between two ticks; a network of hundreds of peers sends some a second.
const MAX_HEARD: u32 = 100;

/// An interface to speak on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    ip: IpAddr,
    /// Bits of the address that are the network's.
    prefix: u32,
    index: u32,
}

/// Says and hears, for as long as it is polled.
pub(super) async fn serve(shared: Arc<Shared>) {
    let open = |group: IpAddr| match shared.outside.group_socket(SocketAddr::new(group, PORT)) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::debug!("no local service discovery in {group}: {error}");
            None
        }
    };
    let (v4, v6) = (open(GROUP_V4.into()), open(GROUP_V6.into()));
    if v4.is_none() && v6.is_none() {
        return;
    }
    let mut cookie = [0; 8];
    getrandom::fill(&mut cookie).expect("the system has random bytes");
    let cookie: Vec<u8> = cookie.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    let mut said = BTreeMap::new();
    let mut places = Vec::new();
    let mut left = MAX_HEARD;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut buffer4, mut buffer6) = ([0; MAX_PACKET], [0; MAX_PACKET]);
    loop {
        let (packet, from) = tokio::select! {
            _ = tick.tick() => {
                left = MAX_HEARD;
                let torrents = due(&mut said, &shared.lsd_torrents(), Instant::now());
                if !torrents.is_empty() {
                    places = interfaces(shared.outside.via());
                    let announce = LocalAnnounce { port: shared.port, torrents, cookie: Some(cookie.clone()) };
                    for socket in v4.iter().chain(&v6) {
                        say(socket, &places, &announce).await;
                    }
                }
                continue;
            }
            (length, from) = hear(v4.as_ref(), &mut buffer4) => (&buffer4[..length], from),
            (length, from) = hear(v6.as_ref(), &mut buffer6) => (&buffer6[..length], from),
        };
        left = left.saturating_sub(1);
        let announce = LocalAnnounce::decode(packet).filter(|_| left > 0 && is_near(&places, from.ip()));
        if let Some(announce) = announce.filter(|it| it.cookie.as_deref() != Some(&cookie)) {
            let peers = vec![SocketAddr::new(from.ip(), announce.port)];
            for name in announce.torrents {
                shared.found(Found { source: PeerSource::Lsd, name, peers: peers.clone() });
            }
        }
    }
}

/// The torrents whose turn it is, as many as fit into a packet.
fn due(said: &mut BTreeMap<InfoHash, Instant>, present: &[InfoHash], now: Instant) -> Vec<InfoHash> {
    said.retain(|torrent, _| present.contains(torrent));
    let is_due = |torrent: &InfoHash| said.get(torrent).is_none_or(|&last| now - last >= INTERVAL);
    let due: Vec<InfoHash> = present.iter().copied().filter(is_due).take(MAX_TORRENTS).collect();
    said.extend(due.iter().map(|&torrent| (torrent, now)));
    due
}

/// The interfaces that are allowed: the one that is named, those with the address that is, or all but loopback.
fn interfaces(via: &Via) -> Vec<Place> {
    let bind = via.bind;
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let counts = |it: &Interface| match bind.filter(|ip| !ip.is_unspecified()) {
        Some(ip) => it.ip() == ip,
        None => {
            !it.is_loopback() && it.is_oper_up() && bind.is_none_or(|any| any.is_ipv6() == it.ip().is_ipv6())
        }
    };
    let is_named = |it: &Interface| via.interface.as_ref().is_none_or(|name| *name == it.name);
    let place = |it: &Interface| {
        let prefix = match &it.addr {
            IfAddr::V4(v4) => u32::from(v4.netmask).count_ones(),
            IfAddr::V6(v6) => u128::from(v6.netmask).count_ones(),
        };
        Some(Place { ip: it.ip(), prefix, index: it.index? })
    };
    all.iter().filter(|it| is_named(it) && counts(it)).filter_map(place).collect()
}

/// Whether this address is in one of these networks, and can be dialled from here.
fn is_near(places: &[Place], ip: IpAddr) -> bool {
    // Of a link-local address it would have to be known on which link.
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !link_local
        && places.iter().any(|place| match (place.ip, ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u32::from(ours) ^ u32::from(theirs)).leading_zeros() >= place.prefix
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (u128::from(ours) ^ u128::from(theirs)).leading_zeros() >= place.prefix
            }
            _ => false,
        })
}

/// Says it on each interface of the socket's family, and joins the group there.
async fn say(socket: &UdpSocket, places: &[Place], announce: &LocalAnnounce) {
    let Ok(group) = socket.local_addr() else { return };
    let packet = announce.encode(SocketAddr::new(group.ip(), PORT));
    let mut indices = Vec::new();
    for place in places.iter().filter(|place| place.ip.is_ipv6() == group.is_ipv6()) {
        // An interface may have many addresses of version 6.
        if group.is_ipv6() && indices.contains(&place.index) {
            continue;
        }
        indices.push(place.index);
        let outcome = match choose(socket, *place) {
            Ok(()) => socket.send_to(&packet, group).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::debug!("can't say on {} what is here: {error}", place.ip);
        }
    }
}

/// Joins the group on this interface, and sends there from here on.
fn choose(socket: &UdpSocket, place: Place) -> io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    let joined = match place.ip {
        IpAddr::V4(ip) => socket.join_multicast_v4(&GROUP_V4, &ip),
        IpAddr::V6(_) => socket.join_multicast_v6(&GROUP_V6, place.index),
    };
    match joined {
        // Joined before.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        outcome => outcome?,
    }
    match place.ip {
        IpAddr::V4(ip) => socket.set_multicast_if_v4(&ip),
        IpAddr::V6(_) => socket.set_multicast_if_v6(place.index),
    }
}

/// The next packet; never, without a socket.
async fn hear(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = socket else { return std::future::pending().await };
    match socket.recv_from(buffer).await {
        Ok(heard) => heard,
        // Nothing that another attempt would not find out; but not at once again.
        Err(error) => {
            tracing::debug!("local service discovery hears nothing: {error}");
            tokio::time::sleep(TICK).await;
            (0, (Ipv4Addr::UNSPECIFIED, 0).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_is_announced_when_it_comes_and_every_five_minutes() {
        let (a, b) = (InfoHash([1; 20]), InfoHash([2; 20]));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut said = BTreeMap::new();
        assert_eq!(due(&mut said, &[a], after(0)), [a]);
        assert_eq!(due(&mut said, &[a, b], after(1)), [b]);
        assert_eq!(due(&mut said, &[a, b], after(299)), []);
        assert_eq!(due(&mut said, &[a, b], after(300)), [a]);
        assert_eq!(due(&mut said, &[], after(301)), []);
        assert_eq!(due(&mut said, &[a], after(302)), [a], "it went and came again");
        let many: Vec<InfoHash> = (10..60).map(|byte| InfoHash([byte; 20])).collect();
        let counts = [303, 304, 305, 306].map(|second| due(&mut said, &many, after(second)).len());
        assert_eq!(counts, [20, 20, 10, 0]);
    }

    #[test]
    fn e25_only_our_own_networks_are_near() {
        let place = |ip: &str, prefix| Place { ip: ip.parse().unwrap(), prefix, index: 1 };
        let places = [place("192.168.1.10", 24), place("2001:db8:0:1::10", 64)];
        for (ip, expected) in [
            ("192.168.1.200", true),
            ("192.168.2.1", false),
            ("203.0.113.1", false),
            ("127.0.0.1", false),
            ("2001:db8:0:1:ffff::1", true),
            ("2001:db8:0:2::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_near(&places, ip.parse().unwrap()), expected, "{ip}");
        }
        assert!(!is_near(&[], "192.168.1.200".parse().unwrap()));
        assert!(is_near(&[place("192.0.2.1", 0)], "203.0.113.1".parse().unwrap()));
    }

    #[test]
    fn a_bound_address_is_spoken_from_alone() {
        let places = interfaces(&IpAddr::from(Ipv4Addr::LOCALHOST).into());
        assert!(
            places.iter().all(|place| place.ip == Ipv4Addr::LOCALHOST) && places.len() == 1,
            "{places:?}"
        );
        let nowhere = Via { interface: Some("no such thing".into()), ..Via::default() };
        assert_eq!(interfaces(&nowhere), []);
        assert!(interfaces(&Via::default()).iter().all(|place| !place.ip.is_loopback()));
        assert!(
            interfaces(&IpAddr::from(Ipv4Addr::UNSPECIFIED).into()).iter().all(|place| place.ip.is_ipv4())
        );
    }
}
