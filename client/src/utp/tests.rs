//! Endpoints with each other, over good and bad lines.

mod hostile;
mod line;
mod sharing;

use std::time::Duration;

use self::line::{FAST, Net, SLOW, Uplink, User};
use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn payload(seed: u64, bytes: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect()
}

/// The one user at a host.
fn user(net: &Net, host: usize) -> &User {
    net.hosts[host].users.values().next().unwrap()
}

/// Both sides send, and then let go.
fn both_ways(uplinks: [Uplink; 2], bytes: usize, limit: Duration) -> Net {
    let (there, back) = (payload(1, bytes), payload(2, bytes));
    let mut net = Net::new(&uplinks);
    net.hosts[1].greeting = back.clone();
    net.dial(0, 1, User::writing(&there));
    let whole = |net: &Net| {
        let read = |host: usize| net.hosts[host].users.values().map(|user| user.read.len()).sum::<usize>();
        read(0) == bytes && read(1) == bytes
    };
    assert!(net.run_until(limit, whole), "{} of {bytes}", user(&net, 0).read.len());
    assert!(user(&net, 0).read == back && user(&net, 1).read == there);
    net
}

#[test]
fn a_megabyte_both_ways_over_a_good_line() {
    let net = both_ways([FAST; 2], 1_000_000, MINUTE);
    assert!(net.now - Time(Duration::from_secs(1)) < Duration::from_secs(2), "{:?}", net.now);
}

#[test]
fn a_megabyte_both_ways_whatever_the_line_does_to_packets() {
    for faults in [(1, 0, 0), (0, 5, 20), (10, 0, 0), (5, 10, 30), (30, 10, 30)] {
        both_ways([Uplink { faults, ..FAST }; 2], 1_000_000, 30 * MINUTE);
    }
    // A buffer of a few packets.
    both_ways([Uplink { buffer: 8_000, ..SLOW }; 2], 1_000_000, MINUTE);
}

#[test]
fn losses_of_one_in_a_hundred_do_not_stop_a_line() {
    let net = both_ways([Uplink { faults: (1, 0, 0), ..SLOW }; 2], 1_000_000, MINUTE);
    assert!(net.now.0 < Duration::from_secs(12), "{:?}", net.now);
}

#[test]
fn what_was_written_comes_before_the_end_and_nothing_is_left_behind() {
    for faults in [(0, 0, 0), (20, 10, 10)] {
        let sent = payload(3, 100_000);
        let mut net = Net::new(&[Uplink { faults, ..FAST }; 2]);
        let first = User { leaves_after: Some(0), ..User::writing(&sent) };
        net.dial(0, 1, first);
        net.run_until(MINUTE, |net| net.hosts[1].users.values().any(|user| user.ended.is_some()));
        let other = user(&net, 1);
        assert_eq!(other.ended, Some(Ok(())));
        assert!(other.read == sent);
        let key = *net.hosts[1].users.keys().next().unwrap();
        let now = net.time_of(1);
        net.hosts[1].endpoint.release(now, key);
        net.hosts[1].users.clear();
        net.run_for(MINUTE);
        for host in &net.hosts {
            assert!(host.endpoint.connections.is_empty() && host.endpoint.names.is_empty());
            assert!(host.endpoint.addresses.is_empty() && host.endpoint.timers.is_empty());
        }
    }
}

#[test]
fn one_who_does_not_read_is_sent_what_he_has_room_for_and_the_rest_when_he_reads() {
    let mut net = Net::new(&[FAST; 2]);
    net.dial(0, 1, User::writing(&payload(4, 2_000_000)));
    // The other accepts when the first bytes come, and reads nothing.
    assert!(net.run_until(MINUTE, |net| net.hosts[1].accepted == 1));
    net.hosts[1].users.values_mut().for_each(|user| user.reads = false);
    net.run_for(10 * MINUTE);
    assert!(user(&net, 1).read_bytes < 2_000_000);
    net.hosts[1].users.values_mut().for_each(|user| user.reads = true);
    assert!(net.run_until(MINUTE, |net| user(net, 1).read_bytes == 2_000_000));
    assert!(user(&net, 1).read == payload(4, 2_000_000));
}

#[test]
fn a_syn_is_sent_again_under_another_name_at_last_and_the_dial_given_up() {
    let mut net = Net::new(&[FAST, Uplink { faults: (100, 0, 0), ..FAST }]);
    net.records = true;
    net.dial(0, 1, User::default());
    let start = net.now;
    assert!(!net.run_until(29 * MINUTE / 60, |net| user(net, 0).ended.is_some()));
    assert!(net.run_until(MINUTE, |net| {
        let key = *net.hosts[0].users.keys().next().unwrap();
        net.hosts[0].endpoint.connected(key) == Err(Failure::TimedOut)
    }));
    assert!(net.now - start < Duration::from_secs(40));
    let ids: Vec<u16> = net.sent.iter().map(|syn| u16::from_be_bytes([syn[2], syn[3]])).collect();
    assert!((10..=13).contains(&ids.len()), "{ids:?}");
    for pair in ids.chunks(2) {
        assert!(pair.iter().all(|id| *id == pair[0]), "{ids:?}");
    }
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len().div_ceil(2));
    // The other never saw more than a SYN, and does not remember that for long.
    net.run_for(MINUTE);
    assert_eq!(net.hosts[1].accepted, 0);
    assert!(net.hosts[1].endpoint.connections.is_empty());
}

#[test]
fn two_that_dial_each_other_at_once_have_two_connections() {
    for faults in [(0, 0, 0), (30, 0, 10)] {
        let mut net = Net::new(&[Uplink { faults, ..FAST }; 2]);
        for (from, to) in [(0, 1), (1, 0)] {
            net.hosts[to].greeting = format!("welcome at {to}").into_bytes();
            net.dial(from, to, User::writing(format!("from {from}").as_bytes()));
        }
        let all_read = |net: &Net| {
            let users = || net.hosts.iter().flat_map(|host| host.users.values());
            users().count() == 4 && users().all(|user| !user.read.is_empty())
        };
        assert!(net.run_until(MINUTE, all_read));
        for (here, there) in [(0, 1), (1, 0)] {
            let read: Vec<_> = net.hosts[here].users.values().map(|user| user.read.clone()).collect();
            let expected = [format!("welcome at {there}"), format!("from {there}")];
            assert!(expected.iter().all(|text| read.contains(&text.clone().into_bytes())), "{read:?}");
        }
    }
}

#[test]
fn a_peer_that_is_gone_is_noticed_and_one_that_is_silent_is_kept() {
    let mut net = Net::new(&[FAST; 2]);
    net.records = true;
    let key = net.dial(0, 1, User::writing(b"hello"));
    net.run_for(MINUTE);
    net.sent.clear();
    net.run_for(10 * MINUTE);
    assert_eq!(net.hosts[0].endpoint.connected(key), Ok(true));
    assert!((18..=22).contains(&net.sent.len()), "signs of life: {}", net.sent.len());
    net.hosts[1].endpoint = Endpoint::new([9; 32]);
    net.hosts[1].users.clear();
    net.hosts[0].users.get_mut(&key).unwrap().to_write.extend(b"more");
    assert!(net.run_until(MINUTE, |net| user(net, 0).ended.is_some()));
    assert_eq!(user(&net, 0).ended, Some(Err(Failure::TimedOut)));
}

#[test]
fn at_the_end_everybody_is_told() {
    let mut net = Net::new(&[FAST; 2]);
    net.dial(0, 1, User::writing(b"hello"));
    net.run_for(MINUTE);
    let now = net.time_of(1);
    net.hosts[1].endpoint.farewell_all(now);
    assert!(net.run_until(MINUTE / 60, |net| user(net, 0).ended.is_some()));
    assert_eq!(user(&net, 0).ended, Some(Err(Failure::Reset)));
}

#[test]
fn small_packets_leave_at_once_and_are_acknowledged_together() {
    let mut net = Net::new(&[FAST; 2]);
    net.hosts[1].greeting = b"hello".to_vec();
    let key = net.dial(0, 1, User::writing(b"hi"));
    net.run_for(MINUTE);
    net.records = true;
    for _ in 0..10 {
        net.hosts[0].users.get_mut(&key).unwrap().to_write.extend(b"have");
        net.run_for(Duration::from_millis(5));
    }
    assert_eq!(net.sent.iter().filter(|packet| packet[0] >> 4 == 0).count(), 10);
    let acks = net.sent.len();
    net.run_for(MINUTE / 60);
    assert_eq!(user(&net, 1).read, b"hihavehavehavehavehavehavehavehavehavehave");
    assert_eq!(net.sent.len(), acks, "nobody acknowledges acknowledgements");
}
