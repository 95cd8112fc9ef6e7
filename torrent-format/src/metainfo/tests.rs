//! The cases M… are those of the project's table of hostile input: all of them stand in [`hostile`], and those of one kind also beside
//! what decides them: names at [`crate::safe_path`], URLs at [`super::urls`].

use super::*;

use build::*;

mod build;
mod changes;
mod hostile;
mod libtorrent;
mod random;

#[test]
fn what_is_wrong_around_the_info_is_refused_or_left_out() {
    let torrent = |text: &str| Metainfo::from_bytes(text.as_bytes()).err();
    assert_eq!(torrent("d8:announce3:abce"), Some(MetainfoError::Missing("info")), "M1");
    assert_eq!(torrent("d4:info3:abce"), Some(wrong_type("info", "a dictionary")), "M2");
    assert_eq!(torrent("l4:infoe"), Some(MetainfoError::NotADictionary));
    assert!(matches!(torrent("<html>"), Some(MetainfoError::Bencode(_))));
    let trailing = BencodeError { kind: BencodeErrorKind::TrailingBytes, offset: 2 };
    assert_eq!(torrent("de\r\nx"), Some(MetainfoError::Bencode(trailing)), "B41");
    let long = dict().with("comment", string(&"c".repeat(10 << 20))).around(&single());
    assert_eq!(long.err(), Some(MetainfoError::TooLong), "B45");

    let odd = dict()
        .with("comment", "i1e")
        .with("created by", "le")
        .with("creation date", "i-1e") // M102
        .with("announce", "i1e")
        .with("announce-list", "i1e") // M92
        .with("url-list", "i1e")
        .with("nodes", "i1e")
        .torrent();
    assert_eq!((odd.comment, odd.created_by, odd.creation_date), (None, None, None));
    assert_eq!((odd.trackers.len(), odd.web_seeds.len(), odd.nodes.len()), (0, 0, 0));
    let warnings = [
        "`announce-list` is not a list: ignored",
        "a tracker is not a string: ignored",
        "a web seed is not a string: ignored",
        "`nodes` is not a list: ignored",
        "`comment` is not a string: ignored",
        "`created by` is not a string: ignored",
        "`creation date` is not a time: ignored",
    ];
    assert_eq!(odd.warnings, warnings);
}

#[test]
fn a_single_file_and_a_directory_are_laid_out() {
    let info = single().with("private", "i1e").with("source", "1:S").info().unwrap();
    assert_eq!(info.raw(), single().with("private", "i1e").with("source", "1:S").text().as_bytes());
    assert_eq!(info.info_hash(), InfoHash::of_info(info.raw()));
    assert_eq!(
        (info.name(), info.is_single_file(), info.is_private(), info.source()),
        ("f", true, true, Some("S"))
    );
    assert_eq!(info.version(), Version::V1);
    let files: Vec<_> = info.files().iter().map(|file| (file.path.as_str(), file.length, file.pad)).collect();
    assert_eq!(files, [("f", 40_000, false)]);
    assert_eq!(info.layout().piece_count(), 3);
    assert!(info.layout().pieces().all(|piece| info.piece_hash(piece) == Some(&[b'h'; 20])));

    let info = multi(&[(20_000, "l1:ae"), (0, "l1:b1:ce"), (5, "l1:b1:de")]).info().unwrap();
    let files: Vec<_> = info.files().iter().map(|file| (file.path.as_str(), file.length)).collect();
    assert_eq!(files, [("t/a", 20_000), ("t/b/c", 0), ("t/b/d", 5)]);
    assert_eq!((info.is_single_file(), info.is_private(), info.source()), (false, false, None));
}

#[test]
fn a_torrent_without_a_byte_is_a_torrent_without_pieces() {
    // M22
    let info = multi(&[(0, "l1:ae"), (0, "l1:be")]).info().unwrap();
    assert_eq!((info.files().len(), info.layout().piece_count()), (2, 0));
}

#[test]
fn pad_files_have_no_place_on_disk_and_links_are_not_made() {
    // M65–M68, M58
    let pad = |length: i64, attr: &str| {
        let path = "l4:.pad1:5e";
        dict().with("attr", string(attr)).with("length", format!("i{length}e")).with("path", path).text()
    };
    let real = dict().with("length", "i5e").with("path", "l4:.pad1:5e").text();
    let files = format!("l{}{}{real}{}{}e", pad(5, "p"), pad(5, "xp"), pad(0, "l"), pad(0, "p"));
    let info = multi(&[]).with("files", files).with("pieces", hashes(1)).info().unwrap();
    let files: Vec<_> = info.files().iter().map(|file| (file.path.as_str(), file.length, file.pad)).collect();
    let path = "t/.pad/5";
    assert_eq!(files, [(path, 5, true), (path, 5, true), (path, 5, false), (path, 0, true), (path, 0, true)]);
    assert_eq!(info.layout().total(), 15);
    assert_eq!(info.warnings(), ["`t/.pad/5` is a symbolic link, which is not made"]);

    let huge =
        dict().with("attr", "1:p").with("length", format!("i{}e", 1_i64 << 40)).with("path", "l1:pe").text();
    let info = multi(&[]).with("files", format!("l{huge}e")).info();
    assert!(matches!(info, Err(MetainfoError::Layout(LayoutError::TooManyPieces(_)))), "M66");
}

#[test]
fn names_in_utf8_are_preferred_and_odd_ones_are_said() {
    let file = dict().with("length", "i5e").with("path", "l2:\u{7}xe").with("path.utf-8", "l3:äe").text();
    let odd = dict().with("length", "i5e").with("path", "l2:\u{7}xe").with("path.utf-8", "l0:e").text();
    let info = multi(&[])
        .with("files", format!("l{file}{odd}e"))
        .with("name.utf-8", "2:ö")
        .with("pieces", hashes(1));
    let info = info.text().replace("3:äe", "2:äe");
    let info = Info::from_bytes(info.as_bytes()).unwrap();
    let paths: Vec<_> = info.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!((info.name(), &paths[..]), ("ö", &["ö/ä", "ö/_x"][..]));
    assert_eq!(info.warnings(), ["file 2 has an unusual name: it is saved as `ö/_x`"]);
}

#[test]
fn a_version_to_come_is_read_by_its_v1_form() {
    let info = single().with("meta version", "i3e").info().unwrap(); // M82
    assert_eq!(info.version(), Version::V1);
    assert_eq!(info.warnings(), ["`meta version` is 3, which is too new: only the v1 form is used"]);
}

#[test]
fn anything_but_a_plain_no_is_private() {
    // M101
    for (value, private, warned) in [
        ("i0e", false, false),
        ("i1e", true, false),
        ("i2e", true, true),
        ("i-1e", true, true),
        ("1:1", true, true),
    ] {
        let info = single().with("private", value).info().unwrap();
        assert_eq!((info.is_private(), !info.warnings().is_empty()), (private, warned), "{value}");
    }
}

#[test]
fn trackers_are_tiers_and_bad_ones_are_dropped_one_by_one() {
    let announce = string("http://a.example/");
    let tiers = |torrent: Dict| torrent.torrent().trackers;
    assert_eq!(tiers(dict().with("announce", &announce)), [["http://a.example/"]]);
    assert_eq!(
        tiers(dict().with("announce", &announce).with("announce-list", "llelee")),
        [["http://a.example/"]]
    );
    let (b, c, d) = (string("udp://b.example:1"), string("https://c.example/"), string("wss://d.example/"));
    let list = format!("ll{b}{c}1:xi1eel{d}{b}ee");
    let read = dict().with("announce", &announce).with("announce-list", list).torrent();
    assert_eq!(read.trackers, [vec!["udp://b.example:1", "https://c.example/"], vec!["wss://d.example/"]]);
    assert_eq!(
        read.warnings,
        ["the tracker `x` is not a URL: ignored", "a tracker is not a string: ignored"]
    );
    // M92: a flat list is a list of tiers of one.
    assert_eq!(
        tiers(dict().with("announce-list", format!("l{b}{c}e"))),
        [["udp://b.example:1"], ["https://c.example/"]]
    );

    // M93, M98, M100
    let many: String = (0..100_000).map(|i| string(&format!("http://t{i}.example/"))).collect();
    let read = dict().with("announce-list", format!("ll{many}ee")).torrent();
    assert_eq!((read.trackers[0].len(), read.warnings.len()), (MAX_TRACKERS, 21));
    assert_eq!(read.warnings[20], "99780 more like these");
    let read = dict().with("announce", string("http://a.example/\r\n\u{1b}[31m")).torrent();
    let told = "the tracker `http://a.example/\u{fffd}\u{fffd}\u{fffd}[31m` contains white space or control characters: ignored";
    assert_eq!((read.trackers.len(), &read.warnings[..]), (0, &[told.to_owned()][..]));
}

#[test]
fn web_seeds_are_a_string_or_a_list() {
    // M99
    let (a, b) = (string("http://a.example/"), string("https://b.example/x"));
    let web_seeds = |value: String| dict().with("url-list", value).torrent().web_seeds;
    assert_eq!(web_seeds(a.clone()), ["http://a.example/"]);
    assert_eq!(web_seeds(format!("l{a}{b}{a}0:9:ftp://a/be")), ["http://a.example/", "https://b.example/x"]);
    assert!(web_seeds("0:".to_owned()).is_empty() && web_seeds("le".to_owned()).is_empty());
}

#[test]
fn nodes_are_hosts_with_ports() {
    let nodes = "ll9:127.0.0.1i6881eel3:::1i1eel1:ai0eel1:ai65536eel2:a/i1eel1:aei7el1:ai1ei2eee";
    let read = dict().with("nodes", nodes).torrent();
    assert_eq!(read.nodes, [("127.0.0.1".to_owned(), 6881), ("::1".to_owned(), 1)]); // M103: dialling is for others to refuse
    assert_eq!(read.warnings.len(), 6);
}

#[test]
fn what_was_read_is_written_with_the_same_info_bytes() {
    // Unsorted keys in the info are kept, since they are hashed.
    let raw = "d4:name1:f6:lengthi5e12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhe";
    let torrent = format!(
        "d13:announce-listll17:http://a.example/el17:http://b.example/ee7:comment1:c10:created by1:y13:creation datei7e\
         4:info{raw}5:nodesll1:hi1eee8:url-listl17:http://w.example/ee\n"
    );
    let read = Metainfo::from_bytes(torrent.as_bytes()).unwrap();
    assert_eq!(read.info.raw(), raw.as_bytes());
    let written = read.to_bytes();
    let expected = torrent.trim_end().replacen('d', "d8:announce17:http://a.example/", 1);
    assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
    assert_eq!(Metainfo::from_bytes(&written).unwrap(), read);
}

#[test]
fn keys_that_mean_nothing_here_are_kept() {
    let hash = |fill: u8| blob(&[fill; 20]);
    let info = single()
        .with("similar", [&b"l"[..], &hash(1), b"3:badi5ee"].concat())
        .with("collections", strings(&["inside"]))
        .info()
        .unwrap();
    let torrent = dict()
        .with("", "0:")
        .with("azureus_properties", "d1:xi1ee")
        .with("collections", "3:one")
        .with("encoding", "5:UTF-8")
        .with("httpseeds", "l17:http://a.example/e")
        .with("info", info.raw())
        .with("piece layers", "de")
        .with("similar", [&b"l"[..], &hash(2), b"e"].concat())
        .with("update-url", "17:http://u.example/")
        .with("zoo", "lli1eee");
    let mut read = Metainfo::from_bytes(&torrent.bytes()).unwrap();
    assert_eq!(read.warnings, [""; 0]);
    assert_eq!(read.to_bytes(), torrent.bytes());
    assert_eq!(read.extra.http_seeds(), ["http://a.example/"]);
    assert_eq!(read.extra.update_url().as_deref(), Some("http://u.example/"));
    assert_eq!(read.similar(), [InfoHash([1; 20]), InfoHash([2; 20])]);
    assert_eq!(read.collections(), ["inside", "one"]);
    assert_eq!(read.extra.get("encoding").and_then(bencode::Raw::as_bytes), Some(&b"UTF-8"[..]));

    // Keys that come to have a field of their own, and keys out of order.
    read.comment = Some("c".to_owned());
    read.trackers = vec![vec!["http://t/".to_owned()]];
    assert!(read.extra.remove("zoo") && read.extra.remove("") && !read.extra.remove("zoo"));
    let expected =
        torrent.clone().without("zoo").without("").with("comment", "1:c").with("announce", "9:http://t/");
    assert_eq!(read.to_bytes(), expected.bytes());
    let unsorted = format!("d3:zoo0:4:info{}1:b0:1:a0:e", single().text());
    let written = Metainfo::from_bytes(unsorted.as_bytes()).unwrap().to_bytes();
    assert_eq!(String::from_utf8(written).unwrap(), format!("d1:a0:1:b0:4:info{}3:zoo0:e", single().text()));
}

#[test]
fn one_tracker_is_written_without_a_list() {
    let metainfo =
        Metainfo { trackers: vec![vec!["http://a/".to_owned()]], ..Metainfo::new(single().info().unwrap()) };
    let expected = format!("d8:announce9:http://a/4:info{}e", single().text());
    assert_eq!(String::from_utf8(metainfo.to_bytes()).unwrap(), expected);
}

#[test]
fn half_a_million_files_are_read() {
    // M28: as many as fit the longest .torrent
    let files: String = (0..300_000).map(|i| format!("d6:lengthi0e4:pathl6:{i:06}ee")).collect();
    let info = multi(&[]).with("files", format!("l{files}e")).with("pieces", "0:").info().unwrap();
    assert_eq!(info.files().len(), 300_000);
}

#[test]
fn every_prefix_and_many_mutations_of_a_torrent_are_handled() {
    // B9
    let info = multi(&[(20_000, "l1:ae"), (20_000, "l1:b1:ce")]);
    let whole =
        dict().with("announce", string("http://a.example/")).with("info", info.text()).text().into_bytes();
    for end in 0..whole.len() {
        let error = Metainfo::from_bytes(&whole[..end]).err();
        let expected = BencodeError { kind: BencodeErrorKind::Truncated, offset: end };
        assert_eq!(error, Some(MetainfoError::Bencode(expected)));
    }
    let mut rng = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..50_000 {
        let mut bytes = whole.clone();
        for _ in 0..rng.usize(1..5) {
            let at = rng.usize(0..bytes.len());
            bytes[at] = if rng.bool() { rng.u8(..) } else { *rng.choice(b"ilde0123456789:-/.").unwrap() };
        }
        if let Ok(read) = Metainfo::from_bytes(&bytes) {
            assert_eq!(Metainfo::from_bytes(&read.to_bytes()).unwrap().info, read.info);
        }
    }
}
