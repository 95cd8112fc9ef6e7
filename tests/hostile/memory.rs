//! What reading a hostile .torrent costs: at its peak no more than four times the input and 1 MiB, or the bound that is named. A
//! program of its own, since the allocator counts for all of it.

use peak_alloc::PeakAlloc;
use torrent_format::Metainfo;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What many tiny files may cost, however short their entries are.
const MANY_FILES: usize = 512 << 20;

/// Long enough to tell a copy from two.
const LONG: usize = 4 << 20;

struct Case {
    name: &'static str,
    input: Vec<u8>,
    /// Whether it is a torrent.
    read: bool,
    /// Instead of four times the input and 1 MiB.
    bound: Option<usize>,
}

#[test]
fn no_torrent_costs_more_than_a_few_times_its_length() {
    let mut wrong = Vec::new();
    for case in cases() {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let read = Metainfo::from_bytes(&case.input);
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        if read.is_ok() != case.read {
            wrong.push(format!("{}: {:?}", case.name, read.err()));
        }
        let bound = case.bound.unwrap_or(4 * case.input.len() + (1 << 20));
        if peak > bound {
            let length = case.input.len();
            wrong.push(format!("{}: {length} bytes cost {peak}, and {bound} are allowed", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cases() -> Vec<Case> {
    let case = |name, read, input| Case { name, input, read, bound: None };
    let many = |name, read, input| Case { name, input, read, bound: Some(MANY_FILES) };
    vec![
        case("one file", true, around(b"", &info(b"6:lengthi1e", b"1:f", b""))),
        case("a long comment", true, around(&entry(b"comment", &string(&[b'c'; LONG])), &good())),
        case(
            "a comment that is not UTF-8",
            true,
            around(&entry(b"comment", &string(&[0xff; LONG])), &good()),
        ),
        case("a long unknown value", true, around(&entry(b"zoo", &string(&[b'z'; LONG])), &good())),
        case(
            "a long unknown value in the info",
            true,
            around(b"", &info(b"6:lengthi1e", b"1:f", &entry(b"zoo", &string(&[b'z'; LONG])))),
        ),
        case("a long name", false, around(b"", &info(b"6:lengthi1e", &string(&[0xff; LONG]), b""))),
        case(
            "a long source",
            true,
            around(b"", &info(b"6:lengthi1e", b"1:f", &entry(b"source", &string(&[0xff; LONG])))),
        ),
        case("many keys", true, [b"d".to_vec(), keys(false), b"e".to_vec()].concat()),
        case("many keys, unsorted", true, [b"d".to_vec(), keys(true), b"e".to_vec()].concat()),
        case("many keys in the info", true, around(b"", &info(b"6:lengthi1e", b"1:f", &keys(false)))),
        case("lists within each other", false, b"l".repeat(LONG)),
        case("dictionaries within each other", false, b"d1:a".repeat(LONG / 4)),
        case("a list of millions", false, [&b"d3:zool"[..], &b"0:".repeat(LONG / 2), b"ee"].concat()),
        case(
            "a path of millions",
            false,
            around(b"", &listed(&[&b"d6:lengthi1e4:pathl"[..], &b"0:".repeat(1_000_000), b"1:aee"].concat())),
        ),
        case(
            "a link to millions",
            true,
            around(
                b"",
                &listed(
                    &[
                        &b"d4:attr1:l6:lengthi0e4:pathl1:le12:symlink pathl"[..],
                        &b"0:".repeat(1_000_000),
                        b"ee",
                    ]
                    .concat(),
                ),
            ),
        ),
        case(
            "a link that is not UTF-8",
            true,
            around(
                b"",
                &listed(
                    &[
                        &b"d4:attr1:l6:lengthi0e4:pathl1:le12:symlink pathl"[..],
                        &string(&[0xff; LONG / 2]),
                        b"ee",
                    ]
                    .concat(),
                ),
            ),
        ),
        case("trackers", true, around(&entry(b"announce-list", &urls()), &good())),
        case(
            "nodes",
            true,
            around(&entry(b"nodes", &[&b"l"[..], &b"l1:ai1ee".repeat(400_000), b"e"].concat()), &good()),
        ),
        case(
            "a node with a long name",
            true,
            around(&entry(b"nodes", &[&b"ll"[..], &string(&[b'a'; LONG / 2]), b"i1eee"].concat()), &good()),
        ),
        case(
            "files in a tree",
            true,
            tree(100_000, &|i| format!("6:{i:06}d0:d6:lengthi1e11:pieces root32:{i:032}ee")),
        ),
        case(
            "one long piece layer",
            false,
            layers(&[(*b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1 << 18)], 1 << 18),
        ),
        case(
            "a piece layer of nobody",
            false,
            layers(&[(*b"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 1 << 18)], 1 << 18),
        ),
        many(
            "empty files",
            true,
            around(b"", &listed(&each(350_000, &|i| format!("d6:lengthi0e4:pathl5:{i:05x}ee")))),
        ),
        many(
            "files of a directory with a long name",
            true,
            around(
                b"",
                &named_listed(&[b'n'; 200], &each(300_000, &|i| format!("d6:lengthi0e4:pathl5:{i:05x}ee"))),
            ),
        ),
        many(
            "files of a directory with a longer name",
            false,
            around(
                b"",
                &named_listed(&[b'n'; 255], &each(300_000, &|i| format!("d6:lengthi0e4:pathl5:{i:05x}ee"))),
            ),
        ),
        many("empty files in a tree", true, tree(350_000, &|i| format!("5:{i:05x}d0:d6:lengthi0eee"))),
        many("empty files deep in a tree", false, deep_tree(300_000)),
    ]
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [bytes.len().to_string().as_bytes(), b":", bytes].concat()
}

fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&string(key), value].concat()
}

fn each(count: usize, text: &dyn Fn(usize) -> String) -> Vec<u8> {
    (0..count).flat_map(|i| text(i).into_bytes()).collect()
}

/// An info of v1 with one piece hash. What `rest` holds comes last, in the order of keys or not.
fn info(files: &[u8], name: &[u8], rest: &[u8]) -> Vec<u8> {
    let hash = string(&[b'h'; 20]);
    [b"d", files, b"4:name", name, b"12:piece lengthi16384e6:pieces", &hash, rest, b"e"].concat()
}

fn good() -> Vec<u8> {
    info(b"6:lengthi1e", b"1:f", b"")
}

/// An info of v1 with these entries of `files`, and one of a byte.
fn listed(files: &[u8]) -> Vec<u8> {
    named_listed(b"t", files)
}

fn named_listed(name: &[u8], files: &[u8]) -> Vec<u8> {
    let one = b"d6:lengthi1e4:pathl7:the oneee";

    let files = [&b"5:filesl"[..], files, one, b"e"].concat();
    info(&files, &string(name), b"")
}

/// A .torrent of this info, and of `rest`, whose keys come before `info` or after it.
fn around(rest: &[u8], info: &[u8]) -> Vec<u8> {
    let (before, after) = if rest.starts_with(b"3:zoo") || rest.starts_with(b"5:nodes") {
        (&b""[..], rest)
    } else {
        (rest, &b""[..])
    };
    [b"d", before, b"4:info", info, after, b"e"].concat()
}

fn keys(unsorted: bool) -> Vec<u8> {
    let mut keys = entry(b"info", &good());
    for i in 0..400_000_u32 {
        let i = if unsorted { 399_999 - i } else { i };
        keys.extend_from_slice(format!("5:{}0:", key(i)).as_bytes());
    }
    keys
}

/// Four letters that sort as the number does, after `info`.
fn key(number: u32) -> String {
    let letter = |shift: u32| char::from(b'0' + (number >> shift & 0x3f) as u8);
    ['z', letter(18), letter(12), letter(6), letter(0)].iter().collect()
}

fn urls() -> Vec<u8> {
    [b"ll".to_vec(), each(300_000, &|i| format!("19:http://{i:06}.a.b.c")), b"ee".to_vec()].concat()
}

/// A .torrent of v2 with these entries of its tree.
fn tree(count: usize, file: &dyn Fn(usize) -> String) -> Vec<u8> {
    v2(&each(count, file), 1 << 14, b"")
}

fn v2(tree: &[u8], piece_length: u32, after: &[u8]) -> Vec<u8> {
    let rest = format!("12:meta versioni2e4:name1:t12:piece lengthi{piece_length}e");
    [b"d4:infod9:file treed", tree, b"e", rest.as_bytes(), b"e", after, b"e"].concat()
}

/// 90 directories of 40 bytes each, and all files in the last.
fn deep_tree(count: usize) -> Vec<u8> {
    let names = [string(&[b'n'; 40]), b"d".to_vec()].concat().repeat(90);
    let files = each(count, &|i| format!("5:{i:05x}d0:d6:lengthi0eee"));
    v2(&[&names[..], &files, &b"e".repeat(90)].concat(), 1 << 14, b"")
}

/// A .torrent with a file of so many pieces, whose root is `a` 32 times, and with these piece layers of so many zeros.
fn layers(layers: &[([u8; 32], usize)], pieces: u64) -> Vec<u8> {
    let length = pieces << 14;
    let tree = format!("1:ad0:d6:lengthi{length}e11:pieces root32:{}ee", "a".repeat(32));
    let mut after = b"12:piece layersd".to_vec();
    for (root, count) in layers {
        after.extend(entry(root, &string(&vec![0; 32 * count])));
    }
    after.push(b'e');
    v2(tree.as_bytes(), 1 << 14, &after)
}
