//! The seeder that lives in the tracker's process: [`OwnSeeder`]. Pure.
//!
//! Which of this machine's addresses another one can reach, nobody knows but the other one: it has just connected to it. So
//! the seeder needs no announce to be found; the tracker lists it for each asker at the address that the asker connected to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use torrent_format::announce::http::ScrapeEntry;
use torrent_format::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest, canonical};
use torrent_format::{InfoHash, InfoHashes};

use crate::swarm::Swarms;

/// The seeder that lives in the tracker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnSeeder {
    /// Its torrent: a hybrid is seeded in two swarms.
    pub hashes: InfoHashes,
    /// Where it listens, at every address of this machine.
    pub port: u16,
}

impl OwnSeeder {
    /// As [`Swarms::announce`], for an asker that connected to the address `local`. This seeder comes first among the peers of
    /// those who lack something, and is counted. If it announces itself, it is answered, but not listed a second time.
    pub fn announce(
        self,
        swarms: &mut Swarms,
        now: Duration,
        asker: SocketAddr,
        local: IpAddr,
        request: &AnnounceRequest,
    ) -> AnnounceReply {
        if !self.is_in(&request.info_hash) {
            return swarms.announce(now, asker, request);
        }
        let local = local.to_canonical();
        let mut asker = canonical(asker);
        let is_itself = asker.port() == self.port && (asker.ip().is_loopback() || asker.ip() == local);
        if is_itself {
            // Port 0 is answered and not remembered.
            asker.set_port(0);
        }
        let mut reply = swarms.announce(now, asker, request);
        reply.complete = reply.complete.map(|complete| complete.saturating_add(1));
        let wants_it =
            request.left > 0 && request.numwant != Some(0) && request.event != AnnounceEvent::Stopped;
        if wants_it && !is_itself {
            let this = SocketAddr::new(local, self.port);
            let room = request.numwant.map_or(usize::MAX, |numwant| numwant as usize - 1);
            reply.peers.retain(|&peer| peer != this);
            reply.peers.truncate(room.min(crate::swarm::MAX_NUMWANT - 1));
            reply.peers.insert(0, this);
        }
        reply
    }

    /// As [`Swarms::scrape`], with this seeder counted.
    pub fn scrape(self, swarms: &Swarms, info_hash: &InfoHash) -> ScrapeEntry {
        let entry = swarms.scrape(info_hash);
        let own = u32::from(self.is_in(info_hash));
        ScrapeEntry { complete: entry.complete.saturating_add(own), ..entry }
    }

    fn is_in(self, swarm: &InfoHash) -> bool {
        self.hashes.swarms().any(|own| own == *swarm)
    }
}

#[cfg(test)]
mod tests {
    use torrent_format::{InfoHashV2, PeerId};

    use super::*;

    const SWARM: InfoHash = InfoHash([b'a'; 20]);

    fn own() -> OwnSeeder {
        OwnSeeder { hashes: SWARM.into(), port: 7000 }
    }

    fn request(left: u64, numwant: Option<u32>) -> AnnounceRequest {
        AnnounceRequest {
            info_hash: SWARM,
            peer_id: PeerId([b'p'; 20]),
            port: 1,
            uploaded: 0,
            downloaded: 0,
            left,
            event: AnnounceEvent::Regular,
            numwant,
            key: None,
            tracker_id: None,
        }
    }

    /// The peers and the number of seeds that `asker` is told, connected to `local`.
    fn announce(
        swarms: &mut Swarms,
        asker: &str,
        local: &str,
        request: &AnnounceRequest,
    ) -> (Vec<String>, Option<u32>) {
        let (asker, local) = (asker.parse().unwrap(), local.parse().unwrap());
        let reply = own().announce(swarms, Duration::ZERO, asker, local, request);
        (reply.peers.iter().map(ToString::to_string).collect(), reply.complete)
    }

    #[test]
    fn each_asker_sees_it_at_the_address_that_it_connected_to() {
        for (asker, local, expected) in [
            ("10.0.0.2:1", "10.0.0.1", "10.0.0.1:7000"),
            ("127.0.0.1:1", "127.0.0.1", "127.0.0.1:7000"),
            ("[2001:db8::2]:1", "2001:db8::1", "[2001:db8::1]:7000"),
            ("[::1]:1", "::1", "[::1]:7000"),
            ("[::ffff:10.0.0.2]:1", "::ffff:10.0.0.1", "10.0.0.1:7000"),
        ] {
            let mut swarms = Swarms::new(1);
            let told = announce(&mut swarms, asker, local, &request(1, None));
            assert_eq!(told, (vec![expected.to_owned()], Some(1)), "{asker}");
        }
    }

    #[test]
    fn its_own_announces_do_not_list_it_twice() {
        let mut swarms = Swarms::new(1);
        announce(&mut swarms, "10.0.0.2:5", "10.0.0.1", &request(1, None));
        for (itself, local) in [
            ("127.0.0.1:7000", "127.0.0.1"),
            ("[::1]:7000", "::1"),
            ("[::ffff:127.0.0.1]:7000", "::ffff:127.0.0.1"),
            ("10.0.0.1:7000", "10.0.0.1"),
        ] {
            let told = announce(&mut swarms, itself, local, &request(0, None));
            assert_eq!(told, (vec!["10.0.0.2:5".to_owned()], Some(1)), "it is told of others: {itself}");
        }
        for (asker, local, own) in
            [("127.0.0.1:5", "127.0.0.1", "127.0.0.1:7000"), ("10.0.0.3:5", "10.0.0.1", "10.0.0.1:7000")]
        {
            let (peers, complete) = announce(&mut swarms, asker, local, &request(1, None));
            assert_eq!((&peers[0], complete), (&own.to_owned(), Some(1)));
            assert_eq!(peers.iter().filter(|peer| peer.ends_with(":7000")).count(), 1, "{peers:?}");
        }
    }

    #[test]
    fn others_on_this_machine_and_on_its_port_elsewhere_are_peers_of_their_own() {
        let mut swarms = Swarms::new(1);
        announce(&mut swarms, "127.0.0.1:7001", "127.0.0.1", &request(1, None));
        announce(&mut swarms, "10.0.0.2:7000", "10.0.0.1", &request(1, None));
        let (peers, _) = announce(&mut swarms, "127.0.0.1:5", "127.0.0.1", &request(1, None));
        assert_eq!(peers[0], "127.0.0.1:7000");
        assert_eq!(peers.len(), 3, "{peers:?}");
    }

    #[test]
    fn it_is_not_for_seeds_nor_beyond_what_is_wanted() {
        let mut swarms = Swarms::new(1);
        for port in 1..=300 {
            announce(&mut swarms, &format!("10.0.0.2:{port}"), "10.0.0.1", &request(1, None));
        }
        for (left, numwant, length, listed) in
            [(0, None, 50, false), (1, Some(0), 0, false), (1, Some(1), 1, true), (1, Some(500), 200, true)]
        {
            let (peers, _) = announce(&mut swarms, "10.0.0.3:5", "10.0.0.1", &request(left, numwant));
            assert_eq!(peers.len(), length, "{numwant:?}");
            assert_eq!(peers.contains(&"10.0.0.1:7000".to_owned()), listed, "{numwant:?}");
        }
        let stopped = AnnounceRequest { event: AnnounceEvent::Stopped, ..request(1, None) };
        assert_eq!(announce(&mut swarms, "10.0.0.3:5", "10.0.0.1", &stopped), (vec![], Some(1)));
    }

    #[test]
    fn it_is_counted_in_its_own_torrent_only() {
        let swarms = Swarms::new(1);
        assert_eq!(own().scrape(&swarms, &SWARM).complete, 1);
        assert_eq!(own().scrape(&swarms, &InfoHash([b'b'; 20])).complete, 0);
        let mut swarms = swarms;
        let other = AnnounceRequest { info_hash: InfoHash([b'b'; 20]), ..request(1, None) };
        assert_eq!(announce(&mut swarms, "10.0.0.2:1", "10.0.0.1", &other), (vec![], Some(0)));
    }

    #[test]
    fn a_hybrid_is_seeded_in_both_of_its_swarms() {
        let v2 = InfoHashV2([b'c'; 32]);
        let own = OwnSeeder { hashes: InfoHashes::new(Some(SWARM), Some(v2)).unwrap(), port: 7000 };
        let mut swarms = Swarms::new(1);
        for info_hash in [SWARM, v2.truncated()] {
            let (asker, local) = ("10.0.0.2:1".parse().unwrap(), "10.0.0.1".parse().unwrap());
            let request = AnnounceRequest { info_hash, ..request(1, None) };
            let reply = own.announce(&mut swarms, Duration::ZERO, asker, local, &request);
            assert_eq!(reply.peers, ["10.0.0.1:7000".parse().unwrap()]);
            assert_eq!(own.scrape(&swarms, &info_hash).complete, 1);
        }
    }
}
