//! `sprat edit`, and `show --diff`, which says what it did.

use serde_json::json;

use super::*;

/// Copies of the torrent by other names.
fn copies<const N: usize>(place: &Place) -> [String; N] {
    std::array::from_fn(|number| {
        let path = place.path(&format!("copy{number}.torrent"));
        std::fs::copy(place.path("tree.torrent"), &path).unwrap();
        path
    })
}

fn trackers(torrent: &str) -> String {
    sprat(&["show", torrent, "--field", "trackers"]).stdout
}

#[test]
fn trackers_are_cleared_removed_replaced_and_added_in_this_order() {
    let place = Place::with_torrent();
    for (flags, expected) in [
        (
            vec!["-t", "http://b/,http://c/", "-t", "http://d/"],
            format!("{TRACKER}\nhttp://b/,http://c/\nhttp://d/\n"),
        ),
        (vec!["--add-tracker", TRACKER], format!("{TRACKER}\n")),
        (vec!["--remove-tracker", TRACKER, "-t", "http://b/"], "http://b/\n".into()),
        (vec!["--clear-trackers"], String::new()),
        (vec!["-t", "http://b/", "--clear-trackers"], "http://b/\n".into()),
        (vec!["--replace-tracker", TRACKER, "http://b/", "-t", TRACKER], format!("http://b/\n{TRACKER}\n")),
        (vec!["--replace-tracker", TRACKER, TRACKER], format!("{TRACKER}\n")),
    ] {
        let [copy] = copies(&place);
        let done = sprat(&[&["edit", &copy, "--in-place"], &flags[..]].concat());
        assert_eq!((done.exit, trackers(&copy)), (Exit::Ok, expected), "{flags:?} {done:?}");
        assert_eq!(sprat(&["show", &copy, "--field", "info_hash_v2"]).stdout, format!("{V2}\n"));
    }
}

#[test]
fn a_tracker_takes_anothers_place_in_its_tier() {
    let place = Place::with_torrent();
    let torrent = place.path("tree.torrent");
    sprat(&["edit", &torrent, "--in-place", "-t", "http://b/,http://c/", "-t", "http://d/"]);
    let replace = |old, new| sprat(&["edit", &torrent, "--in-place", "--replace-tracker", old, new]);
    replace("http://c/", "http://e/");
    assert_eq!(trackers(&torrent), format!("{TRACKER}\nhttp://b/,http://e/\nhttp://d/\n"));
    // One that is there already is not there twice.
    let done = replace(TRACKER, "http://d/");
    assert_eq!(trackers(&torrent), "http://b/,http://e/\nhttp://d/\n");
    assert_eq!(done.stdout, format!("trackers     - {TRACKER}\n"));
    let missing = replace("http://nobody/", "http://f/");
    assert_eq!((missing.exit, missing.stdout.as_str()), (Exit::Ok, ""));
    let warning =
        format!("warning: {torrent}: there is no tracker http://nobody/\n{torrent}: nothing to change\n");
    assert_eq!(missing.stderr, warning);
    for bad in ["gopher://x/", "no url", "http://"] {
        let done = replace("http://d/", bad);
        assert_eq!(done.exit, Exit::Usage, "{bad} {done:?}");
        assert!(done.stderr.contains(bad), "{bad} {done:?}");
    }
}

#[test]
fn what_stands_around_the_info_is_changed_and_the_rest_stays_byte_for_byte() {
    let place = Place::with_torrent();
    let torrent = place.path("tree.torrent");
    let mut bytes = std::fs::read(&torrent).unwrap();
    // Keys that are nobody's we know, around the others.
    bytes.splice(..1, *b"d1:a3:one");
    bytes.splice(bytes.len() - 1.., *b"4:zzzzd1:xli7eeee");
    std::fs::write(&torrent, &bytes).unwrap();

    let set = ["-c", "text", "-w", "http://seed.example/", "--created-by", "nobody", "--date", "86400"];
    let done = sprat(&[&["edit", &torrent, "--in-place"], &set[..]].concat());
    let by = concat!("sprat ", env!("CARGO_PKG_VERSION"));
    let expected = format!(
        "comment      none → text\ncreated by   {by} → nobody\ncreated      none → 1970-01-02 00:00:00 UTC\n\
         web seeds    + http://seed.example/\n"
    );
    assert_eq!((done.exit, done.stdout), (Exit::Ok, expected), "{}", done.stderr);
    assert_ne!(std::fs::read(&torrent).unwrap(), bytes);

    let unset = ["-c", "", "--remove-web-seed", "http://seed.example/", "--created-by", by, "--date", "none"];
    assert_eq!(sprat(&[&["edit", &torrent, "--in-place"], &unset[..]].concat()).exit, Exit::Ok);
    assert_eq!(std::fs::read(&torrent).unwrap(), bytes);
}

#[test]
fn several_files_are_edited_or_none_if_one_cant_be() {
    let place = Place::with_torrent();
    let files: [String; 3] = copies(&place);
    let before = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[1], "spam").unwrap();
    let edit = |more: &[&str]| {
        let mut args = vec!["edit", "-c", "new"];
        args.extend(files.iter().map(String::as_str));
        args.extend(more);
        sprat(&args)
    };
    let done = edit(&["--in-place"]);
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Input, ""));
    assert!(done.stderr.contains("copy1.torrent: not a torrent"), "{done:?}");
    for unchanged in [&files[0], &files[2]] {
        assert_eq!(std::fs::read(unchanged).unwrap(), before);
    }

    std::fs::write(&files[1], &before).unwrap();
    let out = place.path("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(place.path("out/copy2.torrent"), "taken").unwrap();
    let done = edit(&["-o", &out]);
    assert_eq!(done.exit, Exit::Exists, "{done:?}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
    let done = edit(&["-o", &out, "--force"]);
    let line = |number| format!("{out}/copy{number}.torrent\n  comment      none → new\n");
    assert_eq!((done.exit, done.stdout), (Exit::Ok, (0..3).map(line).collect()));
    assert_eq!(std::fs::read(&files[0]).unwrap(), before);

    let twice = sprat(&["edit", &files[0], &files[0], "--in-place", "-c", "x"]);
    assert_eq!(twice.exit, Exit::Usage);
}

#[test]
fn a_file_in_place_keeps_its_permissions_and_a_link_stays_a_link() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::with_torrent();
    let (torrent, link) = (place.path("tree.torrent"), place.path("link.torrent"));
    std::fs::set_permissions(&torrent, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("tree.torrent", &link).unwrap();
    assert_eq!(sprat(&["edit", &link, "--in-place", "-c", "new"]).exit, Exit::Ok);
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("tree.torrent"));
    assert_eq!(std::fs::metadata(&torrent).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(sprat(&["show", &torrent, "--field", "comment"]).stdout, "new\n");
}

#[test]
fn edit_reads_and_writes_the_standard_streams() {
    let place = Place::with_torrent();
    let bytes = std::fs::read(place.path("tree.torrent")).unwrap();
    let out = place.path("out.torrent");
    let done = sprat_with(&["edit", "-", "-o", &out, "-c", "new"], &bytes, &[]);
    assert_eq!((done.exit, done.stdout.as_str()), (Exit::Ok, "comment      none → new\n"));
    assert_eq!(sprat(&["show", &out, "--field", "comment"]).stdout, "new\n");
    let magnet = format!("magnet:?xt=urn:btih:{V1}");
    let done = sprat_with(&["edit", "-", "-o", &out, "-f", "-c", "new"], magnet.as_bytes(), &[]);
    assert_eq!(done.exit, Exit::Input);
}

#[test]
fn a_new_info_hash_is_asked_for_by_name() {
    let place = Place::with_torrent();
    let torrent = place.path("tree.torrent");
    let before = std::fs::read(&torrent).unwrap();
    for inside in [["--private", "on"], ["--source", "x"], ["--name", "x"]] {
        let done = sprat(&["edit", &torrent, "--in-place", inside[0], inside[1]]);
        assert_eq!(done.exit, Exit::Usage);
        assert!(done.stderr.contains("--new-info-hash"), "{done:?}");
    }
    assert_eq!(std::fs::read(&torrent).unwrap(), before);

    let edit = |flags: &[&str]| {
        let done = sprat(&[&["edit", &torrent, "--in-place", "--new-info-hash", "--json"], flags].concat());
        (done.exit, serde_json::from_str::<Value>(&done.stdout).unwrap(), done.stderr)
    };
    let (exit, told, _) = edit(&["--private", "on", "--name", "other", "-s", "mine"]);
    assert_eq!((exit, &told["written"]), (Exit::Ok, &true.into()));
    let (v1, v2) = (told["info_hash_v1"].as_str().unwrap(), told["info_hash_v2"].as_str().unwrap());
    let change = |field: &str, old: Value, new: Value| json!({"field": field, "change": "changed", "old": old, "new": new});
    let changes = [
        change("name", "tree".into(), "other".into()),
        change("info_hash_v1", V1.into(), v1.into()),
        change("info_hash_v2", V2.into(), v2.into()),
        change("private", false.into(), true.into()),
        change("source", Value::Null, "mine".into()),
    ];
    assert_eq!(told["changes"], Value::from(changes.to_vec()), "the files are the same below another name");
    let (exit, told, stderr) = edit(&["--private", "off", "--name", "tree", "-s", ""]);
    assert_eq!((exit, &told["info_hash_v1"], stderr), (Exit::Ok, &V1.into(), String::new()));
    assert_eq!(std::fs::read(&torrent).unwrap(), before);

    let (_, _, stderr) = edit(&["--private", "on", "--clear-trackers"]);
    assert_eq!(stderr, format!("warning: {torrent}: a private torrent without a tracker finds no peers\n"));
    for name in ["", "a/b", ".."] {
        let done = sprat(&["edit", &torrent, "-n", "--new-info-hash", "--name", name]);
        assert_eq!(done.exit, Exit::Usage, "{name} {done:?}");
    }
}

#[test]
fn torrents_are_compared_field_by_field() {
    let place = Place::with_torrent();
    let old = place.path("tree.torrent");
    std::fs::write(place.path("tree/a.bin"), vec![1; 40_000]).unwrap();
    std::fs::write(place.path("tree/sub/b.txt"), "longer content").unwrap();
    std::fs::write(place.path("tree/c"), "new").unwrap();
    let new = place.path("new.torrent");
    let create = |format: &str, more: &[&str]| {
        let args = ["create", &place.path("tree"), "-f", "-o", &new, "--format", format, "-l", "16K"];
        assert_eq!(sprat(&[&args[..], more].concat()).exit, Exit::Ok);
    };
    create("hybrid", &["-t", "http://b/", "-t", TRACKER]);
    let done = sprat(&["show", &old, "--diff", &new]);
    let [v1, v2] = ["info_hash_v1", "info_hash_v2"].map(|key| sprat(&["show", &new, "--field", key]).stdout);
    let expected = format!(
        "info hash v1 {V1} → {v1}info hash v2 {V2} → {v2}\
         size         39.1 KiB (40,007) → 39.1 KiB (40,017)\n\
         pieces       4 → 5\n\
         trackers     + http://b/\n\
         files        + tree/c  3 B\n\
         files        ~ tree/a.bin  other content\n\
         files        ~ tree/sub/b.txt  7 B → 14 B\n"
    );
    assert_eq!((done.exit, done.stdout, done.stderr.as_str()), (Exit::Failure, expected, ""));

    let told: Value = serde_json::from_str(&sprat(&["show", &new, "--diff", &old, "--json"]).stdout).unwrap();
    assert_eq!(told["equal"], false);
    assert_eq!(told["changes"][4], json!({"field": "trackers", "change": "removed", "item": "http://b/"}));
    let same: Value = serde_json::from_str(&sprat(&["show", &new, "--diff", &new, "--json"]).stdout).unwrap();
    assert_eq!(same, json!({"schema": 1, "equal": true, "changes": []}));
}

#[test]
fn a_v1_torrent_of_other_bytes_has_other_pieces() {
    let place = Place::new();
    let tree = place.path("tree");
    let [old, new] = ["old.torrent", "new.torrent"].map(|name| place.path(name));
    sprat(&["create", &tree, "--format", "v1", "-o", &old]);
    std::fs::write(place.path("tree/sub/b.txt"), "CONTENT").unwrap();
    sprat(&["create", &tree, "--format", "v1", "-o", &new]);
    let done = sprat(&["show", &old, "--diff", &new]);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{done:?}");
    assert_eq!(lines[1], "pieces       ~ 1 of 3 have other hashes");
}

#[test]
fn a_magnet_differs_only_in_what_it_says() {
    let place = Place::with_torrent();
    let torrent = place.path("tree.torrent");
    for version in [&["--v1"][..], &["--v2"], &[]] {
        let magnet = sprat(&[&["magnet", &torrent], version].concat()).stdout;
        let done = sprat(&["show", &torrent, "--diff", &magnet]);
        assert_eq!((done.exit, done.stdout.as_str()), (Exit::Ok, ""), "{version:?}");
    }
    let other = format!("magnet:?xt=urn:btih:{}&dn=tree&tr=http://b/", "1".repeat(40));
    let done = sprat(&["show", &torrent, "--diff", &other]);
    let hash = "1".repeat(40);
    let expected =
        format!("info hash v1 {V1} → {hash}\ntrackers     - {TRACKER}\ntrackers     + http://b/\n");
    assert_eq!((done.exit, done.stdout), (Exit::Failure, expected));
}
