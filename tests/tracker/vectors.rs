//! The layouts of BEP 15, byte for byte, and BEP 41's.

use harness::sandbox::Sandbox;
use harness::tracker::Tracker;
use harness::tracker::udp::Client;

/// The bytes that these hexadecimal digits stand for; white space parts the fields.
fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn ask(client: &Client, packet: &[u8]) -> Vec<u8> {
    let transaction = u32::from_be_bytes(packet[12..16].try_into().unwrap());
    client.ask_raw(packet, transaction).0
}

#[test]
fn the_packets_of_bep_15() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let client = Client::new(tracker.udp[0]);
    // protocol_id, action 0, transaction_id
    let answer = ask(&client, &bytes("0000041727101980 00000000 1badcafe"));
    assert_eq!(answer.len(), 16);
    assert_eq!(answer[..8], bytes("00000000 1badcafe"));
    let id: String = answer[8..].iter().map(|byte| format!("{byte:02x}")).collect();

    let announce = |transaction: &str, peer: &str, left: &str, event: &str, key: &str, port: &str| {
        bytes(&format!(
            "{id} 00000001 {transaction}
             000102030405060708090a0b0c0d0e0f10111213
             {peer}
             0000000000000000 {left} 0000000000000000
             {event} 00000000 {key} ffffffff {port}"
        ))
    };
    // A seed, started.
    let seed = "2d5458 30303031 2d 736565642d736565642d7365";
    let packet = announce("00000001", seed, "0000000000000000", "00000002", "00000001", "1ae1");
    assert_eq!(packet.len(), 98);
    let answer = ask(&client, &packet);
    assert_eq!(answer[..8], bytes("00000001 00000001"));
    let interval = u32::from_be_bytes(answer[8..12].try_into().unwrap());
    assert!((1620..=1980).contains(&interval));
    // Leechers, then seeders.
    assert_eq!(answer[12..], bytes("00000000 00000001"));
    // A leecher gets the seed: 127.0.0.1, port 6881.
    let leech = "2d5458 30303031 2d 6c656563682d6c656563682d";
    let packet = announce("00000002", leech, "0000000000100000", "00000000", "00000002", "1ae2");
    assert_eq!(ask(&client, &packet)[12..], bytes("00000001 00000001 7f000001 1ae1"));
    // It completes, and as a seed gets nobody.
    let packet = announce("00000003", leech, "0000000000000000", "00000001", "00000002", "1ae2");
    assert_eq!(ask(&client, &packet)[12..], bytes("00000000 00000002"));
    // Scrape: seeders, completed, leechers for each hash.
    let scrape = bytes(&format!(
        "{id} 00000002 00000004
         000102030405060708090a0b0c0d0e0f10111213
         ffffffffffffffffffffffffffffffffffffffff"
    ));
    let expected = bytes("00000002 00000004 00000002 00000001 00000000 00000000 00000000 00000000");
    assert_eq!(ask(&client, &scrape), expected);
    // It leaves.
    let packet = announce("00000005", leech, "0000000000000000", "00000003", "00000002", "1ae2");
    assert_eq!(ask(&client, &packet)[12..], bytes("00000000 00000001"));
    // An error: action 3, the transaction, and text to the end.
    let packet = announce("00000006", leech, "0000000000000000", "00000000", "00000002", "0000");
    let answer = ask(&client, &packet);
    assert_eq!(answer[..8], bytes("00000003 00000006"));
    assert!(std::str::from_utf8(&answer[8..]).unwrap().contains("port"));
}

#[test]
fn the_options_of_bep_41_as_its_examples_have_them() {
    let sandbox = Sandbox::new();
    let tracker = Tracker::start(&sandbox, &[]);
    let client = tracker.udp_client();
    let id = client.id;
    let announce = |transaction: u32, options: &[u8]| {
        let head = bytes(&format!(
            "{id:016x} 00000001 {transaction:08x} 1111111111111111111111111111111111111111
             2d5458303030312d303030303030303030303030
             0000000000000000 0000000000000001 0000000000000000 00000000 00000000 00000001 ffffffff 1ae1"
        ));
        [&head[..], options].concat()
    };
    // The string /dir?a=b&c=d; the same split; with no-ops and an end.
    let whole = [&[2, 12][..], b"/dir?a=b&c=d"].concat();
    let split = [&[2, 5][..], b"/dir?", &[2, 7], b"a=b&c=d", &[0]].concat();
    let padded = [&[1, 1][..], &whole, &[1, 0]].concat();
    for (transaction, options) in (1..).zip([whole, split, padded]) {
        let answer = ask(&client, &announce(transaction, &options));
        assert_eq!(answer[..4], [0, 0, 0, 1], "{options:02x?}");
        assert_eq!(answer[12..], bytes("00000001 00000000"), "{options:02x?}");
    }
}
