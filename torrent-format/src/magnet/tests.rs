//! The cases are those of the project's table of hostile input, by their ids (G…).

use super::*;

const HEX: &str = "c9e15763f722f23e98a29decdfae341b98d53056";
const BASE32: &str = "ZHQVOY7XELZD5GFCTXWN7LRUDOMNKMCW";
const HEX_V2: &str = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e";

fn v1() -> InfoHash {
    HEX.parse().unwrap()
}

fn v2() -> InfoHashV2 {
    HEX_V2.parse().unwrap()
}

fn hybrid() -> InfoHashes {
    InfoHashes::new(Some(v1()), Some(v2())).unwrap()
}

/// The magnet with the v1 info hash and these fields.
fn read(fields: &str) -> Magnet {
    format!("magnet:?xt=urn:btih:{HEX}&{fields}").parse().unwrap()
}

/// What a case of the table must give.
enum Outcome {
    /// Refused as no magnet, or for its info hashes.
    Refused(MagnetError),
    /// Read as if the fields behind the info hash were not there.
    Dropped,
    /// Read as this.
    Read(Magnet),
}

#[test]
fn every_case_of_the_table_has_its_outcome() {
    use MagnetError::{BadInfoHash, NoInfoHash, TooLong, TwoInfoHashes};
    use Outcome::{Dropped, Read, Refused};

    let other = "0".repeat(40);
    let other_v2 = "0".repeat(64);
    let plain = || Magnet::new(v1());
    let topic = |topic: &str| (format!("magnet:?xt={topic}"), Refused(BadInfoHash(excerpt(topic))));
    let foreign = |topic: &str| (format!("magnet:?xt={topic}"), Refused(NoInfoHash));
    let field = |field: &str| (format!("magnet:?xt=urn:btih:{HEX}&{field}"), Dropped);
    let many: Vec<String> = (0..100_000).map(|i| format!("tr=http://{i}.example/")).collect();
    let of_many = || (0..MAX_MAGNET_ENTRIES).map(|i| format!("http://{i}.example/")).collect::<Vec<_>>();

    let cases = [
        ("G1", ("magnet:?".to_owned(), Refused(NoInfoHash))),
        ("G1", ("magnet:?dn=x&tr=http://a.example/".to_owned(), Refused(NoInfoHash))),
        ("G1", ("magnet:?xt=".to_owned(), Refused(NoInfoHash))),
        ("G1", (format!("magnet:?xt={HEX}"), Refused(NoInfoHash))),
        ("G2", topic(&format!("urn:btih:{}", &HEX[1..]))),
        ("G2", topic(&format!("urn:btih:{HEX}0"))),
        ("G2", topic("urn:btih:")),
        ("G2", topic(&format!("urn:btih:{HEX_V2}"))),
        ("G3", topic(&format!("urn:btih:{}", "g".repeat(40)))),
        ("G3", topic(&format!("urn:btmh:1220{}", "g".repeat(64)))),
        ("G4", topic(&format!("urn:btih:{}", &BASE32[1..]))),
        ("G4", topic(&format!("urn:btih:{BASE32}A"))),
        ("G4", topic(&format!("urn:btih:{}1", &BASE32[1..]))),
        ("G5", foreign(&format!("urn:sha1:{BASE32}"))),
        ("G5", foreign("urn:ed2k:31D6CFE0D16AE931B73C59D7E0C089C0")),
        ("G5", foreign("urn:tree:tiger:7N5OAMRNGMSSEUE3ORHOKWN4WWIQ5X4EBOOTLJY")),
        ("G5", foreign(&format!("urn:bitprint:{BASE32}.7N5OAMRNGMSSEUE3ORHOKWN4WWIQ5X4EBOOTLJY"))),
        ("G5", foreign("urn:aich:D6EUDGK2DBTBEZ2XVN3G6H4CINSTZD7M")),
        (
            "G5",
            foreign("urn:kzhash:35759fdf77748ba01240b0d8901127bfaff929ed1849b9283f7694b37c192d038f535434"),
        ),
        ("G5", foreign("urn:md5:4e7bef74677be349ccffc6a178e38299")),
        ("G6", topic(&format!("urn:btmh:1120{HEX_V2}"))),
        ("G6", topic(&format!("urn:btmh:1221{HEX_V2}"))),
        ("G6", topic(&format!("urn:btmh:{HEX_V2}"))),
        ("G6", topic(&format!("urn:btmh:1114{HEX}"))),
        ("G7", topic(&format!("urn:btmh:1220{}", &HEX_V2[1..]))),
        ("G7", topic(&format!("urn:btmh:1220{HEX_V2}0"))),
        ("G7", topic("urn:btmh:1220")),
        (
            "G8",
            (
                format!("magnet:?xt=urn:btih:{HEX}&xt.2=urn:btih:{other}"),
                Refused(TwoInfoHashes(v1().into(), InfoHash([0; 20]).into())),
            ),
        ),
        (
            "G8",
            (
                format!("magnet:?xt=urn:btmh:1220{HEX_V2}&xt=urn:btih:{HEX}&xt=urn:btmh:1220{other_v2}"),
                Refused(TwoInfoHashes(v2().into(), InfoHashV2([0; 32]).into())),
            ),
        ),
        // Nothing can be said of it before the metadata is there: see `InfoHashes::match_info`.
        ("G9", (format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btmh:1220{HEX_V2}"), Read(Magnet::new(hybrid())))),
        ("G10", topic("urn:btih:%zz")),
        ("G10", field("dn=%")),
        ("G10", field("dn=a%zz")),
        ("G10", field("dn=a%4")),
        ("G10", field("dn=a%00b")),
        ("G10", field("dn=%ff")),
        ("G10", field("tr=%68%zz")),
        ("G10", field("tr=http://a.example/%00\0")),
        ("G10", field("so=%")),
        ("G10", field("x.pe=h%zz:1")),
        (
            "G11",
            (
                format!("magnet:?xt=urn:btih:{HEX}&{}", many[..2_000].join("&")),
                Read(Magnet { trackers: of_many(), ..plain() }),
            ),
        ),
        ("G11", (format!("magnet:?xt=urn:btih:{HEX}&{}", many.join("&")), Refused(TooLong))),
        ("G12", (format!("magnet:?xt=urn:btih:{HEX}&dn={}", "x".repeat(10 << 20)), Refused(TooLong))),
        ("G13", field("so=5-1")),
        ("G13", field("so=-1")),
        ("G13", field("so=1000000000000000000")),
        ("G13", field("so=99999999999999999999")),
        ("G13", field("so=a")),
        ("G13", field("so=0-1000000000000")),
        ("G13", field("so=")),
        ("G13", field("so=1-")),
        ("G13", field("so=+1")),
        ("G13", field("so=0-1-2")),
        ("G14", field("x.pe=h:0")),
        ("G14", field("x.pe=h:70000")),
        ("G14", field("x.pe=h")),
        ("G14", field("x.pe=h:")),
        ("G14", field("x.pe=:1")),
        ("G14", field("x.pe=h:+1")),
        ("G14", field("x.pe=::1:80")),
        ("G14", field("x.pe=a b:1")),
        ("G14", field("x.pe=[h]:1")),
        ("G14", field("x.pe=127.0.0.1:1")),
        ("G14", field("x.pe=[::1]:1")),
        ("G14", field("x.pe=[::ffff:127.0.0.1]:1")),
        ("G14", field("x.pe=0.0.0.0:1")),
        ("G14", field("x.pe=localhost:1")),
        ("G14", field("x.pe=224.0.0.1:1")),
        ("G14", field("x.pe=255.255.255.255:1")),
        // For display only: see `Magnet::name`.
        (
            "G15",
            (
                format!("magnet:?xt=urn:btih:{HEX}&dn=../%1b[31m"),
                Read(Magnet { name: Some("../\u{1b}[31m".to_owned()), ..plain() }),
            ),
        ),
        ("G16", field("ws=file:///etc/passwd")),
        ("G16", field("ws=ftp://x/")),
        ("G16", field("ws=gopher://x/")),
        ("G16", field("ws=http://a%0d%0aX:%20y/")),
        ("G17", field("x.pe=-rf%20$(x):1")),
        ("G17", field("x.pe=`x`:1")),
        (
            "G17",
            (
                format!("magnet:?xt=urn:btih:{HEX}&dn=-rf;$(x)|`y`;"),
                Read(Magnet { name: Some("-rf;$(x)|`y`;".to_owned()), ..plain() }),
            ),
        ),
    ];
    for (id, (text, expected)) in cases {
        let expected = match expected {
            Refused(error) => Err(error),
            Dropped => Ok(plain()),
            Read(magnet) => Ok(magnet),
        };
        assert_eq!(text.parse::<Magnet>(), expected, "{id} {}", excerpt(&text));
    }
}

#[test]
fn what_does_not_begin_like_a_magnet_is_none() {
    for text in ["", "http://x/", "magnet", "magnet:", "magnet?:xt=", "ümagnet:?", HEX] {
        assert_eq!(text.parse::<Magnet>(), Err(MagnetError::NotAMagnet), "{text}");
    }
}

#[test]
fn other_fields_that_can_not_be_used_are_left_out() {
    let long_name = format!("dn={}", "x".repeat(MAX_NAME_LENGTH + 1));
    for fields in [
        "tr=javascript:x",
        "tr=http://a%0d%0ab/",
        "tr=x",
        "xl=-1",
        "xl=+1",
        "xl=x",
        "xl=",
        "xl=99999999999999999999",
        "kt=keywords&xs=http://a.example/a.torrent&as=x&mt=x&dht=h:1&x.other=1",
        "novalue&&=&=x",
        &long_name,
    ] {
        assert_eq!(read(fields), Magnet::new(v1()), "{}", excerpt(fields));
    }
}

#[test]
fn a_magnet_with_everything_is_read() {
    let magnet = read(&format!(
        "dn=A+b%20c%26&tr=http%3A%2F%2Ft.example%2Fa%3Fk%3Dv&tr=udp://u.example:80&ws=https%3A%2F%2Fw.example%2F&\
         x.pe=10.0.0.1:6881&x.pe=[2001:db8::1]:1&x.pe=host.example:65535&so=0,2,4-6&xl=12345&xt=urn:btmh:1220{HEX_V2}&\
         kt=ignored&novalue",
    ));
    let expected = Magnet {
        hashes: hybrid(),
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
    ] {
        assert_eq!(text.parse(), Ok(Magnet::new(v1())), "{text}");
    }
    for text in [
        format!("magnet:?xt=urn:btmh:1220{HEX_V2}"),
        format!("magnet:?xt=urn:btmh:1220{}", HEX_V2.to_uppercase()),
        format!("magnet:?Xt.7=Urn%3aBtmh%3a1220{HEX_V2}&xt=urn:btmh:1220{HEX_V2}"),
    ] {
        assert_eq!(text.parse(), Ok(Magnet::new(v2())), "{text}");
    }
    for text in [
        format!("magnet:?xt=urn:btih:{HEX}&xt=urn:btmh:1220{HEX_V2}"),
        format!("magnet:?xt.1=urn:btmh:1220{HEX_V2}&amp;xt.2=urn:btih:{BASE32}"),
    ] {
        assert_eq!(text.parse(), Ok(Magnet::new(hybrid())), "{text}");
    }
    assert_eq!(
        read("tr.1=http://a.example/&amp;TR.2=http://b.example/&Tr.=x&tr.x=http://c.example/").trackers,
        ["http://a.example/", "http://b.example/"]
    );
}

#[test]
fn a_selection_is_read_in_ascending_order_and_what_can_not_be_is_left_out_alone() {
    for (so, expected) in [
        ("so=0,2,4-6", vec![0..=0, 2..=2, 4..=6]),
        ("so=5-1,3,x,7-8", vec![3..=3, 7..=8]),
        ("so=7-8,0&so=3%2C4", vec![0..=0, 3..=4, 7..=8]),
        ("so=2-9,3,0-1,9-12,14", vec![0..=12, 14..=14]),
        ("so=007", vec![7..=7]),
        ("so=3000000,3000001", vec![3_000_000..=3_000_000]),
    ] {
        assert_eq!(read(so).select, expected, "{so}");
    }
}

#[test]
fn what_is_written_reads_back_equal() {
    let magnet = Magnet {
        hashes: hybrid(),
        name: Some("50% + ä/&=?#[x] \u{1b}".to_owned()),
        trackers: vec!["http://t.example/a?k=%2f+&x=y".to_owned()],
        peers: vec!["10.0.0.1:6881".to_owned(), "[2001:db8::1]:1".to_owned()],
        web_seeds: vec!["https://w.example/a%20b".to_owned()],
        select: vec![0..=0, 4..=6],
        length: Some(0),
    };
    let fields = "&dn=50%25%20%2B%20%C3%A4%2F%26%3D%3F%23%5Bx%5D%20%1B&xl=0\
                  &tr=http%3A%2F%2Ft.example%2Fa%3Fk%3D%252f%2B%26x%3Dy&ws=https%3A%2F%2Fw.example%2Fa%2520b\
                  &x.pe=10.0.0.1:6881&x.pe=[2001:db8::1]:1&so=0,4-6";
    for (magnet, topics) in [
        (magnet.clone(), format!("xt=urn:btih:{HEX}&xt=urn:btmh:1220{HEX_V2}")),
        (magnet.v1_only().unwrap(), format!("xt=urn:btih:{HEX}")),
        (magnet.v2_only().unwrap(), format!("xt=urn:btmh:1220{HEX_V2}")),
    ] {
        let text = magnet.to_string();
        assert_eq!(text, format!("magnet:?{topics}{fields}"));
        assert_eq!(text.parse(), Ok(magnet));
    }
    assert_eq!(Magnet::new(v1()).v2_only(), None);
    assert_eq!(Magnet::new(v2()).v1_only(), None);
}

#[test]
fn a_link_that_is_read_is_never_written_longer_than_may_be_read() {
    // Every slash is three bytes once it is written.
    let urls: Vec<String> =
        (0..MAX_MAGNET_ENTRIES).map(|i| format!("tr=http://{i}.example{}", "/".repeat(900))).collect();
    let magnet = read(&format!("{}&so=5&dn=last", urls.join("&")));
    assert!(magnet.to_string().len() <= MAX_MAGNET_LENGTH);
    assert_eq!(magnet.trackers.len(), 23, "as many as fit");
    assert_eq!((&magnet.select, magnet.name.as_deref()), (&vec![5..=5], Some("last")));
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
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

    let url = |i: usize| format!("http://{i}.example{}", "/".repeat(1_900));
    let many = Metainfo { trackers: vec![(0..200).map(url).collect()], ..metainfo };
    let magnet = Magnet::from_metainfo(&many);
    assert_eq!(magnet.trackers.len(), 11, "as many as fit");
    assert_eq!(magnet.to_string().parse(), Ok(magnet));
}

#[test]
fn random_text_never_panics_and_what_is_read_is_written_the_same() {
    // G18
    let mut rng = fastrand::Rng::with_seed(0x6001);
    let parts = [
        "xt=",
        "urn:btih:",
        "urn:btmh:",
        "1220",
        HEX,
        HEX_V2,
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
    let mut read = 0;
    for _ in 0..100_000 {
        let mut text = String::from("magnet:?");
        if rng.bool() {
            text += &format!("xt=urn:btih:{HEX}&");
        }
        for _ in 0..rng.usize(0..12) {
            text += rng.choice(parts).unwrap();
        }
        if let Ok(magnet) = text.parse::<Magnet>() {
            read += 1;
            assert_eq!(magnet.to_string().parse(), Ok(magnet), "{text}");
        }
    }
    assert!(read > 10_000, "{read}");
}
