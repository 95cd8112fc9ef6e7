//! Experiment 15 of the reference on swarms, in virtual time: what uTP leaves to others on a line of 4 Mbit/s with half a second of buffer.

use std::time::Duration;

use super::line::{FAST, Net, SLOW, Uplink, User};
use crate::utp::ConnectionKey;

const WARM_UP: Duration = Duration::from_secs(20);
const MEASURED: Duration = Duration::from_secs(60);

/// Bytes that each of the other hosts has read.
fn read(net: &Net) -> Vec<usize> {
    net.hosts[1..].iter().map(|host| host.users.values().map(|user| user.read_bytes).sum()).collect()
}

fn forget(net: &mut Net) {
    net.waits.clear();
    if let Some(reno) = &mut net.reno {
        reno.bytes = 0;
    }
    let users = net.hosts[1..].iter_mut().flat_map(|host| host.users.values_mut());
    users.for_each(|user| (user.read_bytes, user.keeps) = (0, false));
}

/// The share of the line that payload has.
fn used(bytes: usize) -> f64 {
    bytes as f64 / SLOW.rate / MEASURED.as_secs_f64()
}

/// Host 0 behind the slow line, and so many others.
fn network(others: usize, latency: u64) -> Net {
    let latency = Duration::from_millis(latency);
    let mut uplinks = vec![Uplink { latency, ..FAST }; others + 1];
    uplinks[0] = Uplink { latency, ..SLOW };
    Net::new(&uplinks)
}

fn send(net: &mut Net, to: usize) -> ConnectionKey {
    net.dial(0, to, User::endless())
}

/// Jain's index of fairness.
fn jain(shares: &[usize]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    sum * sum / squares / shares.len() as f64
}

#[test]
fn alone_it_uses_the_line_and_keeps_the_queue_short() {
    for latency in [1, 10, 50, 100] {
        let mut net = network(1, latency);
        send(&mut net, 1);
        net.run_for(WARM_UP);
        forget(&mut net);
        net.run_for(MEASURED);
        let (used, wait) = (used(read(&net)[0]), net.mean_wait());
        eprintln!("{latency} ms: {:.1} % of the line, a queue of {wait:?}", 100.0 * used);
        // 95 % of what is left by headers, 62 bytes of 1,434.
        assert!(used >= 0.95 * 0.957, "{latency} ms: {used}");
        assert!(wait <= Duration::from_millis(130), "{latency} ms: {wait:?}");
    }
}

#[test]
fn beside_tcp_it_takes_next_to_nothing() {
    let mut net = network(1, 10);
    send(&mut net, 1);
    net.run_for(WARM_UP);
    net.start_reno();
    net.run_for(WARM_UP);
    forget(&mut net);
    net.run_for(MEASURED);
    let tcp = net.reno.as_ref().unwrap().bytes;
    let utp = read(&net)[0];
    eprintln!("TCP keeps {:.1} %", 100.0 * tcp as f64 / (tcp + utp) as f64);
    assert!(tcp as f64 >= 0.8 * (tcp + utp) as f64, "{tcp}, {utp}");
    // And has the line back when TCP is gone.
    net.reno = None;
    net.run_for(WARM_UP);
    forget(&mut net);
    net.run_for(MEASURED);
    assert!(used(read(&net)[0]) >= 0.95 * 0.957);
}

#[test]
fn whoever_comes_to_a_queue_of_tcps_takes_little_more() {
    let mut net = network(1, 10);
    net.start_reno();
    net.run_for(WARM_UP);
    send(&mut net, 1);
    net.run_for(WARM_UP);
    forget(&mut net);
    net.run_for(MEASURED);
    let tcp = net.reno.as_ref().unwrap().bytes;
    let utp = read(&net)[0];
    eprintln!("TCP that was first keeps {:.1} %", 100.0 * tcp as f64 / (tcp + utp) as f64);
    assert!(tcp as f64 >= 0.8 * (tcp + utp) as f64, "{tcp}, {utp}");
}

#[test]
fn four_share_alike_whether_they_begin_together_or_one_by_one() {
    for apart in [0, 5] {
        let mut net = network(4, 10);
        for host in 1..=4 {
            send(&mut net, host);
            net.run_for(Duration::from_secs(apart));
        }
        net.run_for(2 * WARM_UP);
        forget(&mut net);
        net.run_for(MEASURED);
        let shares = read(&net);
        let (jain, wait) = (jain(&shares), net.mean_wait());
        let used = used(shares.iter().sum());
        eprintln!("{apart} s apart: {jain:.3}, {shares:?}, {:.1} %, a queue of {wait:?}", 100.0 * used);
        assert!(jain >= 0.9, "{apart} s apart: {shares:?}");
        assert!(used >= 0.95 * 0.957, "{apart} s apart: {used}");
        assert!(wait <= Duration::from_millis(130), "{apart} s apart: {wait:?}");
    }
}

/// Senders at home behind the slow line, and whom each of them sends to. Their machines are busy, and lose some acknowledgements.
fn home(flows: usize, latency: Duration, seed: u64) -> Net {
    let mut uplinks = vec![Uplink { latency, ..SLOW }; flows];
    uplinks.resize(2 * flows, Uplink { latency, faults: (1, 0, 0), ..FAST });
    let mut net = Net::new(&uplinks);
    for sender in 0..flows {
        net.share_uplink(sender, 0);
        net.hosts[sender].serves = true;
    }
    net.disturb(Duration::from_millis(5), Duration::from_millis(80), seed);
    net
}

#[test]
fn four_share_alike_however_busy_their_machines_are() {
    const FLOWS: usize = 4;
    // On a way that takes nothing, all that there is of a round trip is the queue.
    for (latency, seed) in [(50, 1), (1_000, 2), (1_000, 3), (50_000, 4)] {
        for apart in [0, 100, 10_000] {
            let mut net = home(FLOWS, Duration::from_micros(latency), seed);
            for sender in 0..FLOWS {
                net.dial(FLOWS + sender, sender, User::writing(b"hello"));
                net.run_for(Duration::from_millis(apart));
            }
            net.run_for(2 * WARM_UP);
            forget(&mut net);
            net.run_for(MEASURED);
            let shares = &read(&net)[FLOWS - 1..];
            let (jain, wait) = (jain(shares), net.mean_wait());
            let used = used(shares.iter().sum());
            let case = format!("{latency} us away, {apart} ms apart");
            eprintln!("{case}: {jain:.3}, {shares:?}, {:.1} %, a queue of {wait:?}", 100.0 * used);
            assert!(jain >= 0.9, "{case}: {shares:?}");
            assert!(used >= 0.95 * 0.957, "{case}: {used}");
            assert!(wait <= Duration::from_millis(130), "{case}: {wait:?}");
        }
    }
}
