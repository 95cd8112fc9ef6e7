//! Whole commands, run in this process: what they print, what they leave, how they exit.

use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::{Env, Exit, run};

mod edit;
mod versions;

/// What a command did.
#[derive(Debug)]
struct Done {
    exit: Exit,
    stdout: String,
    stderr: String,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Runs `sprat` with these arguments, this on standard input, and these variables.
fn sprat_with(args: &[&str], stdin: &[u8], vars: &[(&str, &str)]) -> Done {
    let (stdout, stderr) = (Buffer::default(), Buffer::default());
    let vars: Vec<(String, String)> = vars.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let env = Env {
        stdin: Box::new(Cursor::new(stdin.to_vec())),
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        vars: Box::new(move |name| vars.iter().find(|(key, _)| key == name).map(|(_, value)| value.into())),
    };
    let exit = run(["sprat"].iter().chain(args), env);
    Done { exit, stdout: stdout.text(), stderr: stderr.text() }
}

fn sprat(args: &[&str]) -> Done {
    sprat_with(args, b"", &[])
}

/// A directory `tree` with two files of 40,000 and 7 bytes, and room for more.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("tree/sub")).unwrap();
        let content: Vec<u8> = (0..40_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(dir.path().join("tree/a.bin"), content).unwrap();
        std::fs::write(dir.path().join("tree/sub/b.txt"), "content").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// With `tree.torrent` beside the tree.
    fn with_torrent() -> Self {
        let place = Self::new();
        let done = sprat(&["create", &place.path("tree"), "-o", &place.path("tree.torrent"), "-t", TRACKER]);
        assert_eq!((done.exit, done.stdout), (Exit::Ok, format!("{}\n", place.path("tree.torrent"))));
        place
    }
}

const TRACKER: &str = "http://tracker.example/announce";

/// The info hashes of the tree as a hybrid, and its files' roots; libtorrent's are the same.
const V1: &str = "60094137824ea600627ce423c0e138ae948dfe69";
const ROOTS: [&str; 2] = [
    "ab671631a9fa97a1fdac651fff6c68773b9acf0735b9c7f6ecdd54cbf1bf5dc2",
    "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
];
const V2: &str = "f1fd5f0bbeed3cdadc0a253a29bfeda2ab9b73e16e398f496c7242be32b158e4";

#[test]
fn bad_command_lines_are_usage_errors_and_say_what_helps() {
    for args in [
        &["frobnicate"][..],
        &["get"],
        &["get", "--prot", "1", "x"],
        &["get", "x", "--port", "70000"],
        &["get", "x", "--max-upload-limit", "fast"],
        &["get", "x", "-t", "wss://tracker.example:80"],
        &["get", "x", "--timeout", "5"],
        &["get", "x", "y", "--select-file", "1"],
        &["get", "x", "--check", "--no-check"],
        &["share", "x", "--advertise", "http://h"],
        &["share", "x", "--advertise", "h:80"],
        &["share", "x", "--advertise="],
        &["create", "x", "--piece-length", "1KB"],
        &["create", "x", "--format", "v3"],
        &["create", "x", "--allow-lint", "nonsense"],
        &["edit", "x", "--in-place"],
        &["edit", "x", "-c", "no place"],
        &["edit", "x", "-c", "two places", "--in-place", "-o", "y"],
        &["edit", "x", "-n", "--private", "maybe"],
        &["edit", "x", "-n", "--replace-tracker", "http://alone.example/"],
        &["edit", "-", "--in-place", "-c", "nowhere"],
        &["edit", "x", "y", "-o", "z", "-c", "one place for two"],
        &["tracker", "--http", "6969"],
        &["-q", "-v", "show", "x"],
    ] {
        let done = sprat(args);
        assert_eq!((done.exit, done.stdout.as_str()), (Exit::Usage, ""), "{args:?} {done:?}");
        assert!(done.stderr.starts_with("error: "), "{args:?} {done:?}");
    }
}

#[test]
fn help_and_version_are_data() {
    for args in [&["-h"][..], &["--help"], &["get", "-h"], &["create", "--help"], &["-V"]] {
        let done = sprat(args);
        assert_eq!((done.exit, done.stderr.as_str()), (Exit::Ok, ""), "{args:?}");
        assert!(!done.stdout.contains('\u{1b}') && done.stdout.ends_with('\n'), "{args:?}");
    }
    let done = sprat(&[]);
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Usage, ""));
    assert!(done.stderr.contains("sprat <COMMAND>") || done.stderr.contains("Usage: sprat"), "{done:?}");
}

#[test]
fn the_readme_names_every_command_and_every_one_has_examples() {
    let readme = include_str!("../../../README.md");
    let known: Vec<String> = Vec::from_iter(readme.lines().filter_map(|line| {
        let rest = line.strip_prefix("| `sprat ")?;
        Some(rest.split([' ', '`']).next()?.to_owned())
    }));
    let parser = super::parse::command(&["--help".into()]);
    let commands: Vec<String> = parser.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    assert_eq!(known, commands);
    for command in commands {
        let help = sprat(&[&command, "--help"]).stdout;
        assert!(help.contains(&format!("\n  sprat {command}")), "{help}");
    }
}

#[test]
fn inputs_that_are_no_torrents_are_named() {
    let place = Place::new();
    std::fs::write(place.path("page.torrent"), "<!doctype html><html>").unwrap();
    std::fs::write(place.path("cut.torrent"), "d8:announce").unwrap();
    for (source, stdin, named) in [
        (place.path("missing.torrent"), "", "missing.torrent: No such file or directory"),
        (place.path("tree"), "", "tree: is a directory"),
        (place.path("page.torrent"), "", "page.torrent: this is a web page"),
        (place.path("cut.torrent"), "", "cut.torrent: not a torrent"),
        ("magnet:?dn=x".into(), "", "names no torrent"),
        ("-".into(), "", "standard input: nothing was read"),
        ("-".into(), "spam", "standard input: not a torrent"),
        ("-".into(), "d4:infoi1ee", "standard input: "),
    ] {
        for command in [&["show"][..], &["magnet"], &["verify"], &["get", "--state", "/nonexistent"]] {
            let args = [command, &[source.as_str()]].concat();
            let done = sprat_with(&args, stdin.as_bytes(), &[]);
            assert_eq!((done.exit, done.stdout.as_str()), (Exit::Input, ""), "{args:?} {done:?}");
            assert!(done.stderr.starts_with("error: ") && done.stderr.contains(named), "{args:?} {done:?}");
            assert_eq!(done.stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{done:?}");
        }
    }
}

#[test]
fn create_refuses_to_overwrite_unless_forced() {
    let place = Place::with_torrent();
    let (tree, torrent) = (place.path("tree"), place.path("tree.torrent"));
    let before = std::fs::read(&torrent).unwrap();

    let done = sprat(&["create", &tree, "-o", &torrent, "-c", "other"]);
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Exists, ""));
    let expected =
        format!("error: {torrent} exists\nhint: --force overwrites it; --output names another place\n");
    assert_eq!(done.stderr, expected);
    assert_eq!(std::fs::read(&torrent).unwrap(), before);

    let done = sprat(&["create", &tree, "-o", &torrent, "-c", "other", "--force", "-q"]);
    assert_eq!((done.exit, done.stderr.as_str()), (Exit::Ok, ""));
    assert_ne!(std::fs::read(&torrent).unwrap(), before);
    let left: Vec<PathBuf> =
        std::fs::read_dir(place.dir.path()).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn create_says_what_it_is_asked_for_and_writes_nothing_on_a_dry_run() {
    let place = Place::new();
    std::fs::write(place.path("tree/.hidden"), "x").unwrap();
    let tree = place.path("tree");
    let dry = |print: &str| {
        sprat(&["create", &tree, "--dry-run", "-o", &place.path("x.torrent"), "--print", print])
    };

    let info_hash = dry("info-hash");
    assert_eq!(info_hash.exit, Exit::Ok);
    assert!(info_hash.stderr.contains("left out .hidden: hidden\n"), "{info_hash:?}");
    assert_eq!(info_hash.stdout, format!("{V1}\n{V2}\n"));
    let topics = format!("xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}");
    assert_eq!(dry("magnet").stdout, format!("magnet:?{topics}&dn=tree&xl=40007\n"));
    assert_eq!(dry("path").stdout, format!("{}\n", place.path("x.torrent")));
    assert!(!Path::new(&place.path("x.torrent")).exists());
}

#[test]
fn a_torrent_on_standard_output_is_the_very_file() {
    let place = Place::with_torrent();
    let (stdout, tree) = (Buffer::default(), place.path("tree"));
    let mut env = Env::of_process();
    (env.stdout, env.stderr) = (Box::new(stdout.clone()), Box::new(io::sink()));
    assert_eq!(run(["sprat", "create", &tree, "-o", "-", "-t", TRACKER], env), Exit::Ok);
    assert_eq!(*stdout.0.lock().unwrap(), std::fs::read(place.path("tree.torrent")).unwrap());
}

#[test]
fn the_date_is_none_unless_asked_for() {
    let place = Place::new();
    let date = |flags: &[&str], vars: &[(&str, &str)]| {
        let (tree, torrent) = (place.path("tree"), place.path("dated.torrent"));
        let args = [&["create", &tree, "-f", "-o", &torrent], flags].concat();
        let done = sprat_with(&args, b"", vars);
        (done.exit, sprat(&["show", &torrent, "--field", "creation_date"]).stdout)
    };
    let epoch = [("SOURCE_DATE_EPOCH", "951782400")];
    assert_eq!(date(&[], &[]), (Exit::Ok, String::new()));
    assert_eq!(date(&[], &epoch), (Exit::Ok, "951782400\n".into()));
    assert_eq!(date(&["--date", "none"], &epoch), (Exit::Ok, String::new()));
    assert_eq!(date(&["--date", "2000-02-29T00:00:01Z"], &epoch), (Exit::Ok, "951782401\n".into()));
    assert_eq!(date(&[], &[("SOURCE_DATE_EPOCH", "now")]).0, Exit::Configuration);
}

#[test]
fn lints_stop_create_unless_allowed() {
    let place = Place::new();
    let (tree, torrent) = (place.path("tree"), place.path("odd.torrent"));
    let args = ["create", &tree, "-o", &torrent, "--private", "--format", "v1", "-l", "20000"];
    let done = sprat(&args);
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Input, ""));
    assert!(done.stderr.contains("hint: --allow-lint private-trackerless"), "{done:?}");
    let allowed =
        [&args[..], &["--allow-lint", "private-trackerless", "--allow-lint", "uneven-piece-length"]].concat();
    assert_eq!(sprat(&allowed).exit, Exit::Ok);
    let done = sprat(&["show", &torrent, "--lint"]);
    assert_eq!(done.exit, Exit::Failure);
    let names: Vec<&str> = done.stdout.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["private-trackerless", "uneven-piece-length"]);
}

#[test]
fn show_json_has_every_key_of_the_contract() {
    let place = Place::with_torrent();
    let done = sprat(&["show", "--json", &place.path("tree.torrent")]);
    assert_eq!((done.exit, done.stderr.as_str()), (Exit::Ok, ""));
    let shown: Value = serde_json::from_str(&done.stdout).unwrap();
    let encoded = "http%3A%2F%2Ftracker.example%2Fannounce";
    let expected = serde_json::json!({
        "schema": 1, "name": "tree", "info_hash_v1": V1, "info_hash_v2": V2, "version": "hybrid",
        "piece_length": 16384, "piece_count": 4, "total_size": 40007, "padding": 25529, "pad_file_count": 2,
        "private": false,
        "trackers": [[TRACKER]], "web_seeds": [], "http_seeds": [], "nodes": [], "update_url": null,
        "similar": [], "collections": [], "comment": null, "source": null,
        "created_by": format!("sprat {}", env!("CARGO_PKG_VERSION")), "creation_date": null,
        "files": [
            {"path": "tree/a.bin", "length": 40000, "root": ROOTS[0]},
            {"path": "tree/sub/b.txt", "length": 7, "root": ROOTS[1]},
        ],
        "symlinks": [],
        "magnet": format!("magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}&dn=tree&xl=40007&tr={encoded}"),
        "lints": [],
    });
    assert_eq!(shown, expected);
}

#[test]
fn show_lists_files_as_select_file_numbers_them() {
    let place = Place::with_torrent();
    let torrent = place.path("tree.torrent");
    let files = "     1   39.1 KiB  tree/a.bin\n     2        7 B  tree/sub/b.txt\n";
    assert_eq!(sprat(&["show", "--files", &torrent]).stdout, files);
    assert_eq!(sprat(&["get", "-S", &torrent, "--state", "/nonexistent"]).stdout, files);
    let second = "     2        7 B  tree/sub/b.txt\n";
    let get = |flags: &[&str]| sprat(&[&["get", "-S", &torrent, "--state", "/nonexistent"], flags].concat());
    for flags in
        [&["--select-file", "2"][..], &["--include", "*.txt"], &["--exclude", "a.bin"], &["--include", "sub"]]
    {
        assert_eq!(get(flags).stdout, second, "{flags:?}");
    }
    assert_eq!(get(&["--select-file", "3"]).exit, Exit::Usage);
    assert_eq!(get(&["--exclude", "*"]).exit, Exit::Usage);
    let tree = "tree/  39.1 KiB\n├── a.bin  39.1 KiB\n└── sub/  7 B\n    └── b.txt  7 B\n";
    assert_eq!(sprat(&["show", "--tree", &torrent]).stdout, tree);
}

#[test]
fn a_pasted_magnet_is_read_with_what_clings_to_it() {
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let pasted = format!(" \"magnet:?xt=urn:btih:{hash}&amp;dn=a\" ");
    for source in [pasted.as_str(), "-"] {
        let done = sprat_with(&["show", source, "--field", "name"], pasted.as_bytes(), &[]);
        assert_eq!((done.exit, done.stdout.as_str()), (Exit::Ok, "a\n"), "{done:?}");
    }
    assert_eq!(sprat(&["magnet", hash]).stdout, format!("magnet:?xt=urn:btih:{hash}\n"));
    assert_eq!(sprat(&["magnet", V2]).stdout, format!("magnet:?xt=urn:btmh:1220{V2}\n"));
    let piped = sprat_with(&["magnet", "-"], V2.to_uppercase().as_bytes(), &[]);
    assert_eq!(piped.stdout, format!("magnet:?xt=urn:btmh:1220{V2}\n"));
    let peer = sprat(&["magnet", hash, "--peer", "[::1]:6881", "--select-file", "1,3-5"]);
    assert_eq!(peer.stdout, format!("magnet:?xt=urn:btih:{hash}&x.pe=[::1]:6881&so=0,2-4\n"));
}

#[test]
fn verify_names_what_is_bad() {
    let place = Place::with_torrent();
    let (torrent, here) = (place.path("tree.torrent"), place.dir.path().to_str().unwrap());
    let done = sprat(&["verify", &torrent, here]);
    let all_good = "tree: all 4 pieces match\n";
    assert_eq!((done.exit, done.stdout.as_str(), done.stderr.as_str()), (Exit::Ok, "", all_good));

    std::fs::write(place.path("tree/sub/b.txt"), "CONTENT").unwrap();
    std::fs::write(place.path("tree/a.bin"), "short").unwrap();
    let done = sprat(&["verify", &torrent, here, "--pieces"]);
    assert_eq!(done.exit, Exit::Mismatch);
    assert!(done.stdout.starts_with("tree/a.bin: 5 bytes instead of 40,000\n"), "{done:?}");
    assert!(done.stdout.ends_with("bad pieces: 0-3\n"), "{done:?}");

    let done = sprat(&["verify", "--json", &torrent, here]);
    assert_eq!((done.exit, done.stdout.lines().count()), (Exit::Mismatch, 1));
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&report["ok"], &report["files"][0]["status"]), (&false.into(), &"wrong_length".into()));
    assert_eq!(report["bad_pieces"], serde_json::json!([0, 1, 2, 3]));
}

#[test]
fn errors_are_json_too() {
    let done = sprat(&["show", "--json", "/nonexistent/x.torrent"]);
    let error: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&error["event"], &error["exit_code"], &error["schema"]),
        (&"error".into(), &4.into(), &1.into())
    );
    assert!(done.stderr.starts_with("error: can't read /nonexistent/x.torrent"), "{done:?}");
}

#[test]
fn quiet_twice_says_nothing_at_all() {
    let done = sprat(&["-qq", "show", "/nonexistent/x.torrent"]);
    assert_eq!((done.exit, done.stdout.as_str(), done.stderr.as_str()), (Exit::Input, "", ""));
}

#[test]
fn nothing_from_outside_reaches_the_terminal_as_a_command() {
    let torrent = b"d7:comment9:\x1b[31mred!4:infod6:lengthi1e4:name4:\x1b[0m12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    let done = sprat_with(&["show", "-"], torrent, &[]);
    assert_eq!(done.exit, Exit::Ok, "{done:?}");
    assert!(!done.stdout.contains('\u{1b}') && !done.stderr.contains('\u{1b}'), "{done:?}");
    let done = sprat(&["show", "/\u{1b}]0;x\u{7}"]);
    assert!(!done.stderr.contains('\u{1b}'), "{done:?}");
}

#[test]
fn without_a_place_for_records_a_download_is_a_configuration_error() {
    let place = Place::with_torrent();
    let done = sprat(&["get", &place.path("tree.torrent")]);
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Configuration, ""));
    assert!(done.stderr.contains("--state"), "{done:?}");
}

#[test]
fn a_port_in_use_is_a_network_error() {
    let place = Place::with_torrent();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let (port, state, tree) = (addr.port().to_string(), place.path("state"), place.path("tree"));
    let seed = ["seed", &tree, "--state", &state, "--bind", "127.0.0.1", "--port", &port];
    for args in [&seed[..], &["tracker", "--http", &addr.to_string()]] {
        let done = sprat(args);
        assert_eq!((done.exit, done.stdout.as_str()), (Exit::Network, ""), "{args:?} {done:?}");
        assert!(done.stderr.contains(&format!("can't listen on {addr}")), "{done:?}");
    }
}

#[test]
fn settings_are_weaker_than_flags_and_must_make_sense() {
    let place = Place::new();
    let (tree, config) = (place.path("tree"), place.path("config.toml"));
    let length = |flags: &[&str]| {
        let torrent = place.path("x.torrent");
        let args = [&["create", &tree, "-f", "-o", &torrent, "--config", &config], flags].concat();
        let done = sprat(&args);
        (done.exit, done.stderr, sprat(&["show", &torrent, "--field", "piece_length"]).stdout)
    };
    std::fs::write(&config, "[create]\npiece-length = '64K'\nprivate = false\n").unwrap();
    assert_eq!(length(&[]).2, "65536\n");
    assert_eq!(length(&["-l", "32K"]).2, "32768\n");
    std::fs::write(&config, "[create]\npiece-size = 1\n").unwrap();
    let (exit, stderr, _) = length(&[]);
    let expected = format!("error: {config}: [create] `piece-size` is no flag of this command\n");
    assert_eq!((exit, stderr), (Exit::Configuration, expected));
}

#[test]
fn an_output_inside_the_data_is_refused_before_anything_is_hashed() {
    let place = Place::new();
    let (tree, file) = (place.path("tree"), place.path("tree/a.bin"));
    let before = std::fs::read(&file).unwrap();
    std::os::unix::fs::symlink(&tree, place.path("link")).unwrap();
    std::os::unix::fs::symlink(place.path("outside"), place.path("tree/out")).unwrap();
    std::fs::write(place.path("outside"), "payload").unwrap();
    let state = place.path("state");
    for args in [
        vec!["create", &file, "-f", "-o", &file],
        vec!["create", &tree, "-o", &tree],
        vec!["create", &tree, "-f", "-o", &file],
        vec!["create", &tree, "-o", &place.path("link/x.torrent")],
        vec!["create", &place.path("link"), "-f", "-o", &place.path("link")],
        vec!["create", &tree, "--symlinks", "follow", "-f", "-o", &place.path("outside")],
        vec!["share", &file, "--state", &state, "-f", "-o", &file],
        vec!["share", &tree, "--state", &state, "-o", &place.path("tree/x.torrent")],
    ] {
        let done = sprat(&args);
        assert_eq!((done.exit, done.stdout.as_str()), (Exit::Usage, ""), "{args:?} {done:?}");
        assert!(done.stderr.contains("lies inside the data of"), "{args:?} {done:?}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(std::fs::read_to_string(place.path("outside")).unwrap(), "payload");
    assert_eq!(std::fs::read_dir(&tree).unwrap().count(), 3);
}

#[test]
fn standard_output_carries_one_thing() {
    let place = Place::new();
    let (tree, state) = (place.path("tree"), place.path("state"));
    for args in [
        &["create", &tree, "-o", "-", "--print", "magnet"][..],
        &["create", &tree, "-o", "-", "--json"],
        &["share", &tree, "-o", "-", "--state", &state],
    ] {
        assert_eq!(sprat(args).exit, Exit::Usage, "{args:?}");
    }
}

#[test]
fn errors_name_no_temporary_file() {
    let place = Place::new();
    let torrent = place.path("missing/x.torrent");
    let done = sprat(&["create", &place.path("tree"), "-o", &torrent]);
    let expected = format!("error: can't write {torrent}: No such file or directory\n");
    assert_eq!((done.exit, done.stderr), (Exit::Write, expected));
}

#[test]
fn several_sources_make_one_document() {
    let place = Place::with_torrent();
    let (torrent, hash) = (place.path("tree.torrent"), "0123456789abcdef0123456789abcdef01234567");
    let array = |args: &[&str]| match serde_json::from_str(&sprat(args).stdout) {
        Ok(Value::Array(items)) => items,
        other => panic!("{args:?}: {other:?}"),
    };
    let shown = array(&["show", "--json", &torrent, hash]);
    assert_eq!((shown.len(), &shown[0]["name"], &shown[1]["schema"]), (2, &"tree".into(), &1.into()));
    let failed = array(&["show", "--json", &torrent, "/nonexistent"]);
    assert_eq!((&failed[1]["event"], &failed[1]["exit_code"]), (&"error".into(), &4.into()));

    let one = |args: &[&str]| serde_json::from_str::<Value>(&sprat(args).stdout).unwrap();
    let field = one(&["show", "--json", "--field", "name", &torrent]);
    assert_eq!(field, serde_json::json!({"schema": 1, "name": "tree"}));
    let dump = one(&["show", "--json", "--dump", &torrent]);
    assert_eq!((&dump["schema"], &dump["bencode"]["info"]["name"]), (&1.into(), &"tree".into()));
    let usage = one(&["get", "--json", "--prot"]);
    assert_eq!((&usage["event"], &usage["exit_code"]), (&"error".into(), &2.into()));
}

#[test]
fn a_variable_stands_for_a_flag_and_is_named_if_it_is_bad() {
    let place = Place::with_torrent();
    let (tree, torrent) = (place.path("tree"), place.path("x.torrent"));
    let length = |flags: &[&str], vars: &[(&str, &str)]| {
        let done = sprat_with(&[&["create", &tree, "-f", "-o", &torrent], flags].concat(), b"", vars);
        (done.exit, sprat(&["show", &torrent, "--field", "piece_length"]).stdout)
    };
    let vars = [("SPRAT_CREATE_PIECE_LENGTH", "64K"), ("SPRAT_CREATE_HIDDEN", "0")];
    assert_eq!(length(&[], &vars), (Exit::Ok, "65536\n".into()));
    assert_eq!(length(&["-l", "32K"], &vars), (Exit::Ok, "32768\n".into()));
    assert_eq!(length(&[], &[("SPRAT_CREATE_PIECE_LENGTH", "")]), (Exit::Ok, "16384\n".into()));
    let get = ["get", &place.path("tree.torrent")];
    let done = sprat_with(&get, b"", &[("SPRAT_GET_TIMEOUT", "abc")]);
    assert_eq!(done.exit, Exit::Configuration);
    assert!(done.stderr.starts_with("error: SPRAT_GET_TIMEOUT: invalid value 'abc'"), "{done:?}");
    let other = sprat_with(&["show", &place.path("tree.torrent")], b"", &[("SPRAT_GET_TIMEOUT", "abc")]);
    assert_eq!(other.exit, Exit::Ok);
}

#[test]
fn a_scrape_that_nobody_answers_fails() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let magnet =
        format!("magnet:?xt=urn:btih:{hash}&tr=http://{closed}/announce&tr=udp://{closed}&tr=wss://{closed}");
    let done = sprat(&["show", "--scrape", "--json", &magnet]);
    assert_eq!(done.exit, Exit::Network, "{done:?}");
    let shown: Value = serde_json::from_str(&done.stdout).unwrap();
    for (number, error) in [(0, "connection refused"), (1, "connection refused"), (2, "not asked: wss")] {
        assert_eq!(shown["scrape"][number]["error"], error);
    }
}

#[test]
fn what_is_refused_is_refused_in_the_words_of_the_user() {
    let place = Place::new();
    let tree = place.path("tree");
    for (args, exit, said) in [
        (vec!["create", &tree, "-n", "-N", "../x"], Exit::Usage, "--name"),
        (vec!["create", &tree, "-n", "-N", ""], Exit::Usage, "--name"),
        (
            vec!["create", &tree, "-n", "--include", "nope"],
            Exit::Input,
            "--include and --exclude leave no file",
        ),
        (vec!["create", &tree, "-n", "-l", "20000"], Exit::Usage, "--format v1 takes any"),
        (vec!["magnet", V2, "--v1"], Exit::Input, "it has no v1 info hash"),
        (vec!["show", V1, V2, "--diff", V1], Exit::Usage, "--diff compares OTHER with one SOURCE"),
        (vec!["show", ""], Exit::Usage, "the source is empty"),
        (vec!["get", "x", "--encryption", "maybe"], Exit::Usage, "require, prefer, off"),
        (vec!["magnet", "x", "--port", "1"], Exit::Usage, "--resolve"),
        (vec!["demo", "--size", "0"], Exit::Usage, "nothing to share"),
    ] {
        let done = sprat(&args);
        assert_eq!(done.exit, exit, "{args:?} {done:?}");
        assert!(done.stderr.contains(said) && !done.stderr.contains("--hidden"), "{args:?} {done:?}");
    }
    let off = ["get", "-S", &tree, "--no-dht", "--no-pex", "--no-lsd", "--no-upnp", "--encryption", "off"];
    assert_eq!(sprat_with(&off, b"", &[("HOME", &tree)]).exit, Exit::Input);
}

#[test]
fn a_magnet_without_trackers_keeps_those_that_were_typed() {
    let place = Place::with_torrent();
    let done = sprat(&["magnet", &place.path("tree.torrent"), "--no-trackers", "-t", "udp://b.example:80"]);
    assert!(done.stdout.ends_with("&tr=udp%3A%2F%2Fb.example%3A80\n"), "{done:?}");
}

#[test]
fn every_shell_has_its_script_and_every_command_its_page() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = sprat(&["completions", shell]);
        assert_eq!(done.exit, Exit::Ok, "{}", done.stderr);
        assert!(done.stdout.contains("max-upload-limit"), "{shell}");
    }
    assert_eq!(sprat(&["completions", "dos"]).exit, Exit::Usage);

    let page = sprat(&["man"]).stdout;
    assert!(page.contains(".SH NAME") && page.contains("sprat\\-get(1)"), "{page}");
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for _ in 0..2 {
        let done = sprat(&["man", dir.path().to_str().unwrap()]);
        assert_eq!(done.exit, Exit::Ok, "{}", done.stderr);
        assert_eq!(done.stdout.lines().count(), std::fs::read_dir(dir.path()).unwrap().count());
    }
    let get = std::fs::read_to_string(path("sprat-get.1")).unwrap();
    assert!(
        get.contains("sprat get") && get.contains("\\-\\-no\\-upnp") && get.contains("SPRAT_GET_TIMEOUT"),
        "{get}"
    );
    assert!(path("sprat-tracker-token-create.1").exists() && path("sprat.1").exists());
    let nowhere = path("missing").join("deeper");
    assert_eq!(sprat(&["man", nowhere.to_str().unwrap()]).exit, Exit::Write);
}
