//! Traps 19 to 22: whose address is listed.

use std::net::{IpAddr, SocketAddr};

use harness::sandbox::Sandbox;
use harness::tracker::http::{Client, failure, peers, query};
use harness::tracker::udp::{self, Announce};
use harness::tracker::{BOTH_FAMILIES, Tracker};

const HASH: &[u8; 20] = b"addresses of peers!!";

/// Where the tracker has put the peer on port 1.
fn stored(client: &Client) -> Vec<IpAddr> {
    let peers = peers(&client.join(HASH, 9, "left=1&numwant=200"));
    client.join(HASH, 9, "left=1&event=stopped");
    peers.iter().filter(|peer| peer.port() == 1).map(SocketAddr::ip).collect()
}

#[test]
fn trap_19_addresses_in_a_request_are_ignored() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::with(&sandbox, &BOTH_FAMILIES);
    let client = tracker.client();
    let localhost = IpAddr::from([127, 0, 0, 1]);
    for more in
        ["ip=192.0.2.1", "ipv4=192.0.2.1:5", "ipv6=[2001:db8::1]:5", "ipv6=2001:db8::1", "ip=victim.example"]
    {
        client.join(HASH, 1, &format!("left=1&{more}"));
        assert_eq!(stored(&client), [localhost], "{more}");
    }
    let udp = tracker.udp_client();
    udp.join(&Announce { ip: 0xc000_0201, ..Announce::leecher(*HASH, 1) });
    assert_eq!(stored(&client), [localhost]);
    // Over IPv6 the field has 32 bits all the same.
    let udp = udp::Client::connected(tracker.udp[1]);
    udp.join(&Announce { ip: 0xc000_0201, ..Announce::leecher(*HASH, 1) });
    let mut both = stored(&client);
    both.sort();
    assert_eq!(both, [localhost, "::1".parse().unwrap()]);
}

#[test]
fn trap_20_x_forwarded_for_is_believed_of_trusted_proxies_alone_from_the_right() {
    let sandbox = Sandbox::new();
    // 127.0.0.1 and 192.0.2.0/24 are ours.
    let tracker =
        Tracker::start(&sandbox, &["--trust-proxy", "127.0.0.1/32", "--trust-proxy", "192.0.2.0/24"]);
    let proxy = tracker.client();
    let announce = |client: Client| client.announce(&query(HASH, 1, "left=1"));
    let leave = |client: Client| client.announce(&query(HASH, 1, "left=1&event=stopped"));
    for (headers, expected) in [
        (&["X-Forwarded-For: 203.0.113.7"][..], "203.0.113.7"),
        (&["x-forwarded-for:203.0.113.7"], "203.0.113.7"),
        // What the client itself has written stands on the left.
        (&["X-Forwarded-For: 10.0.0.1, 203.0.113.7"], "203.0.113.7"),
        (&["X-Forwarded-For: 8.8.8.8,203.0.113.7 , 192.0.2.9"], "203.0.113.7"),
        (&["X-Forwarded-For: 8.8.8.8", "X-Forwarded-For: 203.0.113.7, 192.0.2.9"], "203.0.113.7"),
        (&["X-Forwarded-For: 203.0.113.7:4711"], "203.0.113.7"),
        (&["X-Forwarded-For: [2001:db8::7]:4711"], "2001:db8::7"),
        (&["X-Forwarded-For: 2001:db8::7"], "2001:db8::7"),
        // No header: the proxy itself asks.
        (&[], "127.0.0.1"),
    ] {
        let client = headers.iter().fold(proxy.clone(), |client, header| client.header(header));
        assert_eq!(failure(&announce(client.clone())), None, "{headers:?}");
        assert_eq!(stored(&proxy), [expected.parse::<IpAddr>().unwrap()], "{headers:?}");
        leave(client);
    }
    for garbage in ["unknown", "203.0.113.7, garbage", "999.1.1.1", "", "203.0.113.7:port", "_hidden"] {
        let client = proxy.clone().header(&format!("X-Forwarded-For: {garbage}"));
        assert!(failure(&announce(client)).is_some(), "{garbage:?}");
        assert!(stored(&proxy).is_empty(), "{garbage:?}");
    }
    // From anyone else the header is nothing.
    let stranger = tracker.client().from([127, 0, 0, 2]).header("X-Forwarded-For: 203.0.113.7");
    assert_eq!(failure(&announce(stranger)), None);
    assert_eq!(stored(&proxy), [IpAddr::from([127, 0, 0, 2])]);
}

#[test]
fn trap_21_mapped_addresses_are_ipv4_and_answers_come_from_where_they_were_asked() {
    let sandbox = Sandbox::new();
    let port = harness::sandbox::free_port();
    let any = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    let tracker = Tracker::with(
        &sandbox,
        &[
            "--http",
            &any[0],
            "--http",
            &any[1],
            "--udp",
            &any[0],
            "--udp",
            &any[1],
            "--trust-proxy",
            "127.0.0.1/32",
        ],
    );
    let at = |ip: [u8; 4]| SocketAddr::from((ip, port));
    let client = Client::new(at([127, 0, 0, 1]));
    let mapped = client.clone().header("X-Forwarded-For: ::ffff:203.0.113.7");
    mapped.join(HASH, 1, "left=1");
    client.clone().header("X-Forwarded-For: 203.0.113.7").join(HASH, 1, "left=1");
    assert_eq!(stored(&client), [IpAddr::from([203, 0, 113, 7])], "one peer, not two");
    // Both families stand on one port without one swallowing the other.
    let v6 = Client::new(SocketAddr::new("::1".parse().unwrap(), port));
    assert_eq!(v6.get("/health").status, 200);
    // The socket takes answers from that address alone.
    for ip in [[127, 0, 0, 1], [127, 0, 0, 5], [127, 9, 8, 7]] {
        let udp = udp::Client::connected(at(ip));
        udp.join(&Announce::leecher(*HASH, 3));
    }
    udp::Client::connected(SocketAddr::new("::1".parse().unwrap(), port));
    assert_eq!(tracker.udp.len(), 2);
}

#[test]
fn trap_22_families_are_kept_apart_before_peers_are_counted_off() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::with(&sandbox, &BOTH_FAMILIES);
    let [v4, v6] = [tracker.udp[0], tracker.udp[1]].map(udp::Client::connected);
    for port in 1..=60 {
        v4.join(&Announce { num_want: 0, ..Announce::leecher(*HASH, port) });
        v6.join(&Announce { num_want: 0, key: 1000 + u32::from(port), ..Announce::leecher(*HASH, port) });
    }
    // Each family's list is of that family, and as long as was asked for.
    let want = |num_want| Announce { num_want, ..Announce::leecher(*HASH, 99) };
    for num_want in [1, 50, 60] {
        let [four, six] = [v4.join(&want(num_want)), v6.join(&want(num_want))];
        assert_eq!((four.len(), six.len()), (num_want as usize, num_want as usize));
        assert!(four.iter().all(SocketAddr::is_ipv4) && six.iter().all(SocketAddr::is_ipv6));
    }
    for announce in [&v4, &v6] {
        announce.join(&Announce { event: 3, ..want(0) });
    }
    // Over HTTP both are told, and a length is what says which is which.
    let reply = tracker.client().announce(&format!("{}&compact=1", query(HASH, 99, "left=1&numwant=200")));
    let listed = peers(&reply);
    assert_eq!(reply.string("peers").map(<[u8]>::len), Some(6 * 60));
    assert_eq!(reply.string("peers6").map(<[u8]>::len), Some(18 * 60));
    assert!(listed[..60].iter().all(SocketAddr::is_ipv4) && listed[60..].iter().all(SocketAddr::is_ipv6));
    let few = peers(&tracker.client().announce(&query(HASH, 98, "left=1&numwant=50")));
    assert!((1..=50).contains(&few.len()), "{}", few.len());
}
