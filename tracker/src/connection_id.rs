//! Connection ids of BEP 15: [`ConnectionIds`]. Pure.
//!
//! An id is a keyed hash of the client's address and the minute that it was given out in, so a tracker remembers none of them.
//! It is good for the minute it was made in and for the next: one minute at least, as clients may use it, two at most, as
//! trackers may take it. The port is no part of it: behind a NAT it may change from packet to packet.

use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::Duration;

use siphasher::sip::SipHasher24;

/// Makes and checks connection ids.
#[derive(Clone, Debug)]
pub struct ConnectionIds {
    key: [u8; 16],
}

impl ConnectionIds {
    /// With a secret key: whoever knows it can claim to be at any address.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The id for a client at this address. `now`: since an epoch that is the same for all who share the key.
    pub fn issue(&self, ip: IpAddr, now: Duration) -> u64 {
        self.id(ip, minute(now))
    }

    /// Whether this id was given to this address, and not too long ago.
    pub fn is_valid(&self, id: u64, ip: IpAddr, now: Duration) -> bool {
        let minute = minute(now);
        // One comparison of 64 bits takes as long for every wrong id.
        id == self.id(ip, minute) || id == self.id(ip, minute.wrapping_sub(1))
    }

    fn id(&self, ip: IpAddr, minute: u64) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(minute);
        match ip {
            IpAddr::V4(ip) => hasher.write_u32(ip.to_bits()),
            IpAddr::V6(ip) => hasher.write_u128(ip.to_bits()),
        }
        hasher.finish()
    }
}

fn minute(now: Duration) -> u64 {
    now.as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> ConnectionIds {
        ConnectionIds::new([7; 16])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn trap_25_an_id_is_good_for_one_address_and_one_to_two_minutes() {
        for issued in [0, 1, 59, 60, 61, 119, 100_000] {
            let now = Duration::from_secs(issued);
            let id = ids().issue(ip("192.0.2.1"), now);
            for age in 0..=60 {
                assert!(ids().is_valid(id, ip("192.0.2.1"), now + Duration::from_secs(age)), "{age} s");
            }
            assert!(!ids().is_valid(id, ip("192.0.2.1"), now + Duration::from_secs(120)));
            assert!(!ids().is_valid(id, ip("192.0.2.2"), now));
            assert!(!ids().is_valid(id, ip("::ffff:192.0.2.1"), now));
            let before = now.checked_sub(Duration::from_secs(60));
            assert!(
                before.is_none_or(|before| !ids().is_valid(id, ip("192.0.2.1"), before)),
                "of the future"
            );
        }
    }

    #[test]
    fn another_key_makes_other_ids() {
        let id = ids().issue(ip("2001:db8::1"), Duration::ZERO);
        assert!(ids().is_valid(id, ip("2001:db8::1"), Duration::ZERO));
        assert!(!ConnectionIds::new([8; 16]).is_valid(id, ip("2001:db8::1"), Duration::ZERO));
    }
}
