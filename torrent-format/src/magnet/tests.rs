//! The cases are those of the project's table of hostile input, by their ids (G…).

use super::*;

const HEX: &str = "c9e15763f722f23e98a29decdfae341b98d53056";
const BASE32: &str = "ZHQVOY7XELZD5GFCTXWN7LRUDOMNKMCW";
const V2: &str = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e";

fn hash() -> InfoHash {
    HEX.parse().unwrap()
}

fn read(fields: &str) -> Magnet {
    format!("magnet:?xt=urn:btih:{HEX}&{fields}").parse().unwrap()
}

fn error(text: &str) -> MagnetError {
    text.parse::<Magnet>().unwrap_err()
}

#[test]
fn a_magnet_with_everything_is_read() {
    let magnet = read(
        "dn=A+b%20c%26&tr=http%3A%2F%2Ft.example%2Fa%3Fk%3Dv&tr=udp://u.example:80&ws=https%3A%2F%2Fw.example%2F&\
         x.pe=10.0.0.1:6881&x.pe=[2001:db8::1]:1&x.pe=host.example:65535&so=0,2,4-6&xl=12345&kt=ignored&novalue",
    );
    let expected = Magnet {
        name: Some("A b c&".to_owned()),
        trackers: vec!["http://t.example/a?k=v".to_owned(), "udp://u.example:80".to_owned()],
        peers: vec![
            "10.0.0.1:6881".to_owned(),
            "[2001:db8::1]:1".to_owned(),
            "host.example:65535".to_owned(),
        ],
        web_seeds: vec!["https://w.example/".to_owned()],
        select: vec![0..=0, 2..=2, 4..=6],
        length: Some(12345),
        ..Magnet::new(hash())
    };
    assert_eq!(magnet, expected);
}

#[test]
fn magnets_are_read_as_people_paste_them() {
    for text in [
        format!("magnet:?xt=urn:btih:{HEX}"),
        format!("magnet:?xt=urn:btih:{}", HEX.to_uppercase()),
        format!("magnet:?xt=urn:btih:{BASE32}"),
        format!("magnet:?xt=urn:btih:{}", BASE32.to_lowercase()),
        format!("MAGNET:?XT=URN:BTIH:{HEX}"),
        format!("magnet:?xt.1=urn:btih:{HEX}"),
        format!("magnet:?xt=urn%3Abtih%3A{HEX}"),
        format!(" \"magnet:?kt=x&amp;xt=urn:btih:{HEX}\"\r\n"),
        format!("'magnet:?xt=urn:btih:{HEX}'"),
        format!("<magnet:?xt=urn:btih:{HEX}>"),
        format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btih:{BASE32}"),
        format!("magnet:?xt=urn:sha1:{BASE32}&xt=urn:btih:{HEX}"),
        format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btmh:1220{V2}"),
    ] {
        assert_eq!(text.parse(), Ok(Magnet::new(hash())), "{text}");
    }
    assert_eq!(
        read("tr.1=http://a.example/&amp;TR.2=http://b.example/").trackers,
        ["http://a.example/", "http://b.example/"]
    );
}

#[test]
fn a_magnet_that_names_no_torrent_or_two_is_refused() {
    for (id, text, expected) in [
        ("", "http://x/".to_owned(), MagnetError::NotAMagnet),
        ("", "magnet".to_owned(), MagnetError::NotAMagnet),
        ("", "ümagnet:?".to_owned(), MagnetError::NotAMagnet),
        ("G1", "magnet:?dn=x".to_owned(), MagnetError::NoInfoHash),
        ("G5", format!("magnet:?xt=urn:sha1:{BASE32}"), MagnetError::NoInfoHash),
        ("G5", "magnet:?xt=urn:ed2k:31D6CFE0D16AE931B73C59D7E0C089C0".to_owned(), MagnetError::NoInfoHash),
        ("", format!("magnet:?xt=urn:btmh:1220{V2}"), MagnetError::V2Only),
        (
            "G8",
            format!("magnet:?xt=urn:btih:{HEX}&xt.2=urn:btih:{}", "0".repeat(40)),
            MagnetError::TwoInfoHashes(hash(), InfoHash([0; 20])),
        ),
        ("G12", format!("magnet:?xt=urn:btih:{HEX}&dn={}", "x".repeat(10 << 20)), MagnetError::TooLong),
    ] {
        assert_eq!(error(&text), expected, "{id}");
    }
    for (id, topic) in [
        ("G2", format!("urn:btih:{}", &HEX[1..])),
        ("G2", format!("urn:btih:{HEX}0")),
        ("G3", format!("urn:btih:{}", "g".repeat(40))),
        ("G4", format!("urn:btih:{}", &BASE32[1..])),
        ("G4", format!("urn:btih:{BASE32}A")),
        ("G6", format!("urn:btmh:1120{V2}")),
        ("G7", format!("urn:btmh:1220{}", &V2[1..])),
        ("G7", format!("urn:btmh:1220{V2}0")),
        ("G10", "urn:btih:%zz".to_owned()),
    ] {
        assert_eq!(error(&format!("magnet:?xt={topic}")), MagnetError::BadInfoHash(topic), "{id}");
    }
}

#[test]
fn fields_that_can_not_be_used_are_left_out() {
    for fields in [
        "dn=%",
        "dn=a%zz",
        "dn=a%4",
        "dn=a%00b",
        "dn=%ff",
        "tr=%68%zz", // G10
        "so=5-1",
        "so=-1",
        "so=1000000000000000000",
        "so=a",
        "so=0-1000000000000",
        "so=",
        "so=1-",
        "so=+1",
        "so=0-1-2", // G13
        "x.pe=h:0",
        "x.pe=h:70000",
        "x.pe=h",
        "x.pe=h:",
        "x.pe=:1",
        "x.pe=h:+1",
        "x.pe=::1:80",
        "x.pe=a b:1",
        "x.pe=[h]:1", // G14
        "x.pe=127.0.0.1:1",
        "x.pe=[::1]:1",
        "x.pe=[::ffff:127.0.0.1]:1",
        "x.pe=0.0.0.0:1",
        "x.pe=localhost:1",
        "x.pe=224.0.0.1:1",
        "x.pe=255.255.255.255:1",
        "x.pe=-rf%20$(x):1", // G17
        "ws=file:///etc/passwd",
        "ws=ftp://x/", // G16
        "tr=javascript:x",
        "tr=http://a%0d%0ab/",
        "tr=x",
        "xl=-1",
        "xl=x",
        "xl=99999999999999999999",
    ] {
        assert_eq!(read(fields), Magnet::new(hash()), "{fields}");
    }
    // The others of a list stay.
    assert_eq!(read("so=5-1,3,x,7-8").select, [3..=3, 7..=8]);
    // G15: for display only.
    assert_eq!(read("dn=../%1b[31m").name.as_deref(), Some("../\u{1b}[31m"));
}

#[test]
fn many_trackers_are_capped() {
    // G11
    let fields: Vec<_> = (0..2_000).map(|i| format!("tr=http://{i}.example/")).collect();
    assert_eq!(read(&fields.join("&")).trackers.len(), 64);
}

#[test]
fn what_is_written_reads_back_equal() {
    let magnet = Magnet {
        name: Some("50% + ä/&=?#[x] \u{1b}".to_owned()),
        trackers: vec!["http://t.example/a?k=%2f+&x=y".to_owned()],
        peers: vec!["10.0.0.1:6881".to_owned(), "[2001:db8::1]:1".to_owned()],
        web_seeds: vec!["https://w.example/a%20b".to_owned()],
        select: vec![0..=0, 4..=6],
        length: Some(0),
        ..Magnet::new(hash())
    };
    let text = magnet.to_string();
    assert_eq!(
        text,
        format!(
            "magnet:?xt=urn:btih:{HEX}&dn=50%25%20%2B%20%C3%A4%2F%26%3D%3F%23%5Bx%5D%20%1B&xl=0\
             &tr=http%3A%2F%2Ft.example%2Fa%3Fk%3D%252f%2B%26x%3Dy&ws=https%3A%2F%2Fw.example%2Fa%2520b\
             &x.pe=10.0.0.1:6881&x.pe=[2001:db8::1]:1&so=0,4-6"
        )
    );
    assert_eq!(text.parse(), Ok(magnet));
}

#[test]
fn the_magnet_of_a_torrent_has_its_name_length_and_trackers() {
    let torrent = b"d8:announce17:http://a.example/4:infod6:lengthi5e4:name3:a\0b12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhee";
    let metainfo = Metainfo::from_bytes(torrent).unwrap();
    let magnet = Magnet::from_metainfo(&metainfo);
    assert_eq!(magnet.hashes.primary(), metainfo.info.info_hash());
    assert_eq!((magnet.name.as_deref(), magnet.length), (Some("a\u{fffd}b"), Some(5)));
    assert_eq!(magnet.trackers, ["http://a.example/"]);
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

#[test]
fn random_text_never_panics_and_what_is_read_is_written_the_same() {
    // G18
    let mut rng = fastrand::Rng::with_seed(0x6001);
    let parts = [
        "xt=",
        "urn:btih:",
        HEX,
        BASE32,
        "dn=",
        "tr=",
        "ws=",
        "x.pe=",
        "so=",
        "xl=",
        "&",
        "&amp;",
        "=",
        "%",
        "%41",
        "%00",
        "%ff",
        "ä",
        "http://a/",
        "1-3",
        ",",
        "[::2]:5",
        "h:1",
        "9",
        ".1",
        "\u{202e}",
        "+",
        "#",
        "\"",
    ];
    for _ in 0..100_000 {
        let mut text = String::from("magnet:?");
        if rng.bool() {
            text += &format!("xt=urn:btih:{HEX}&");
        }
        for _ in 0..rng.usize(0..12) {
            text += rng.choice(parts).unwrap();
        }
        if let Ok(magnet) = text.parse::<Magnet>() {
            assert_eq!(magnet.to_string().parse(), Ok(magnet), "{text}");
        }
    }
}
