//! Local service discovery (BEP 14): the packets by which peers of one network find each other.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use torrent_format::InfoHash;

/// Where they are sent, IPv4 and IPv6: the scope of an organisation and of a site.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);
/// See [`GROUP_V4`].
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);
/// See [`GROUP_V4`].
pub const PORT: u16 = 6771;

/// Torrents in one packet, so that it fits into one of Ethernet (BEP 14: 1400 bytes).
pub const MAX_TORRENTS: usize = 20;

/// The longest packet that is read, in bytes.
pub const MAX_PACKET: usize = 1_500;

/// The longest cookie that is kept, in bytes: ours is shorter.
const MAX_COOKIE: usize = 64;

/// Somebody has these torrents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAnnounce {
    /// Where he listens, at the address that the packet came from; not 0.
    pub port: u16,
    /// Which torrents; one at least, [`MAX_TORRENTS`] at most.
    pub torrents: Vec<InfoHash>,
    /// What he knows his own packets by.
    pub cookie: Option<Vec<u8>>,
}

impl LocalAnnounce {
    /// The packet for this group.
    pub fn encode(&self, group: SocketAddr) -> Vec<u8> {
        let mut packet = format!("BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for info_hash in &self.torrents {
            let result = write!(packet, "Infohash: {info_hash}\r\n");
            debug_assert!(result.is_ok(), "a string takes everything");
        }
        let mut packet = packet.into_bytes();
        if let Some(cookie) = &self.cookie {
            packet.extend_from_slice(b"cookie: ");
            packet.extend_from_slice(cookie);
            packet.extend_from_slice(b"\r\n");
        }
        packet.extend_from_slice(b"\r\n\r\n");
        packet
    }

    /// Reads one. `None`: it is none, or names no port or no torrent. Headers may come in any order and case; unknown ones, and info hashes
    /// that are none, are passed over.
    pub fn decode(packet: &[u8]) -> Option<Self> {
        let packet = packet.get(..packet.len().min(MAX_PACKET))?;
        let mut lines = packet.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let first = lines.next()?;
        if !first.starts_with(b"BT-SEARCH * HTTP/1.") {
            return None;
        }
        let (mut port, mut torrents, mut cookie) = (None, Vec::new(), None);
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"port") {
                port = str::from_utf8(value).ok()?.parse::<u16>().ok().filter(|&port| port != 0);
            } else if name.eq_ignore_ascii_case(b"infohash") {
                let hash: Option<InfoHash> = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                torrents.extend(hash.filter(|hash| !torrents.contains(hash)));
            } else if name.eq_ignore_ascii_case(b"cookie") {
                cookie = Some(value[..value.len().min(MAX_COOKIE)].to_vec());
            }
        }
        torrents.truncate(MAX_TORRENTS);
        let port = port.filter(|_| !torrents.is_empty())?;
        Some(Self { port, torrents, cookie })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announce() -> LocalAnnounce {
        LocalAnnounce {
            port: 6881,
            torrents: vec![InfoHash([0xab; 20]), InfoHash([1; 20])],
            cookie: Some(b"8dd0f1".to_vec()),
        }
    }

    #[test]
    fn the_packet_is_that_of_bep_14() {
        let hashes = ["ab".repeat(20), "01".repeat(20)];
        let expected = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\nInfohash: {}\r\nInfohash: {}\r\n\
             cookie: 8dd0f1\r\n\r\n\r\n",
            hashes[0], hashes[1]
        );
        let packet = announce().encode((GROUP_V4, PORT).into());
        assert_eq!(String::from_utf8_lossy(&packet), expected);
        assert_eq!(LocalAnnounce::decode(&packet), Some(announce()));
        let packet = announce().encode((GROUP_V6, PORT).into());
        assert!(packet.windows(29).any(|line| line == b"Host: [ff15::efc0:988f]:6771\r"));
        let many = LocalAnnounce { torrents: vec![InfoHash([9; 20]); MAX_TORRENTS], ..announce() };
        assert!(many.encode((GROUP_V6, PORT).into()).len() <= 1_400);
    }

    #[test]
    fn others_write_it_otherwise() {
        let hash = "AB".repeat(20);
        for (text, cookie) in [
            (format!("BT-SEARCH * HTTP/1.1\r\nHost: x\r\nPort:6881\r\nInfohash: {hash}\r\n\r\n\r\n"), None),
            (format!("BT-SEARCH * HTTP/1.0\nINFOHASH:{hash}\nport: 6881\nCookie: a b\n"), Some(&b"a b"[..])),
            (
                format!("BT-SEARCH * HTTP/1.1\r\nport: 6881\r\nx\r\ninfohash: zz\r\ninfohash: {hash}\r\n"),
                None,
            ),
        ] {
            let decoded = LocalAnnounce::decode(text.as_bytes()).unwrap();
            assert_eq!((decoded.port, &decoded.torrents[..]), (6881, &[InfoHash([0xab; 20])][..]), "{text}");
            assert_eq!(decoded.cookie.as_deref(), cookie);
        }
    }

    #[test]
    fn e25_what_is_no_announce_is_none() {
        let hash = "ab".repeat(20);
        for text in [
            "",
            "\r\n",
            "GET / HTTP/1.1\r\n",
            "BT-SEARCH * HTTP/1.1\r\n\r\n",
            &format!("BT-SEARCH * HTTP/1.1\r\nInfohash: {hash}\r\n"),
            &format!("BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: {hash}\r\n"),
            &format!("BT-SEARCH * HTTP/1.1\r\nPort: 70000\r\nInfohash: {hash}\r\n"),
            &format!("BT-SEARCH * HTTP/1.1\r\nPort: -1\r\nInfohash: {hash}\r\n"),
            "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n",
            "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\nInfohash: ab\r\n",
            &format!("BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n\r\nInfohash: {hash}\r\n"),
        ] {
            assert_eq!(LocalAnnounce::decode(text.as_bytes()), None, "{text:?}");
        }
        let long = format!("BT-SEARCH * HTTP/1.1\r\nPort: 1\r\ncookie: {}\r\n", "c".repeat(100));
        let hashes: String = (0..99).map(|n| format!("Infohash: {n:040}\r\n")).collect();
        let decoded = LocalAnnounce::decode((long + &hashes).as_bytes()).unwrap();
        assert_eq!((decoded.torrents.len(), decoded.cookie.unwrap().len()), (MAX_TORRENTS, MAX_COOKIE));
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = fastrand::Rng::with_seed(9);
        let good = announce().encode((GROUP_V4, PORT).into());
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                bytes[at] = random.u8(..);
            }
            if let Some(decoded) = LocalAnnounce::decode(&bytes) {
                assert!(decoded.port > 0 && !decoded.torrents.is_empty());
            }
        }
    }
}
