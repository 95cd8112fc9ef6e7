//! Symbolic links.

use std::os::unix::fs::symlink;

use super::*;
use crate::SafePath;

#[test]
fn links_are_skipped_or_followed_and_special_files_skipped() {
    let (dir, root) = tree(&[("f", b"x"), ("d/g", b"x")]);
    std::fs::write(dir.path().join("outside"), "y").unwrap();
    symlink("../outside", root.join("link")).unwrap();
    symlink("d", root.join("dirlink")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let plan = with_walk(&root, Walk::default());
    assert_eq!(paths(&plan), ["t/d/g", "t/f"]);
    let skipped: Vec<_> =
        plan.skipped().iter().map(|skipped| (skipped.path.to_str().unwrap(), skipped.reason)).collect();
    use SkipReason::{Special, Symlink};
    assert_eq!(skipped, [("dirlink", Symlink), ("link", Symlink), ("socket", Special)]);

    let follow = Walk { symlinks: Symlinks::Follow, ..Walk::default() };
    assert_eq!(paths(&with_walk(&root, follow.clone())), ["t/d/g", "t/dirlink/g", "t/f", "t/link"]);
    symlink("..", root.join("d/loop")).unwrap();
    let looped = Builder { walk: follow, ..Builder::new(&root) }.plan();
    assert!(matches!(looped, Err(CreateError::Io { path, .. }) if path.ends_with("loop")));
    // What is named on the command line is meant, link or not.
    assert_eq!(paths(&Builder::new(root.join("link")).plan().unwrap()), ["link"]);
    assert!(matches!(Builder::new(root.join("socket")).plan(), Err(CreateError::NotAFile { .. })));
}

#[test]
fn a_link_to_nothing_is_skipped_and_reported_also_when_links_are_followed() {
    let (_dir, root) = tree(&[("f", b"x")]);
    symlink("nowhere", root.join("dangling")).unwrap();
    let plan = with_walk(&root, Walk { symlinks: Symlinks::Follow, ..Walk::default() });
    assert_eq!(paths(&plan), ["t/f"]);
    let expected = [Skipped { path: "dangling".into(), reason: SkipReason::Symlink }];
    assert_eq!(plan.skipped(), expected);
}

/// What becomes of these links (where, what they say), beside `f`, `d/g` and `.hidden`: where each leads, or why it is not stored.
fn stored(links: &[(&str, &str)]) -> Vec<(String, Result<String, SkipReason>)> {
    let (dir, root) = tree(&[("f", b"x"), ("d/g", b"x"), (".hidden", b"x")]);
    std::fs::write(dir.path().join("outside"), "y").unwrap();
    std::fs::create_dir(root.join("empty")).unwrap();
    for (link, target) in links {
        symlink(target.replace("ROOT", root.to_str().unwrap()), root.join(link)).unwrap();
    }
    let plan = with_walk(&root, Walk { symlinks: Symlinks::Store, ..Walk::default() });
    let below = |path: &SafePath| path.as_str()[2..].to_owned();
    let kept = plan.files().iter().filter_map(|file| Some((below(&file.path), Ok(file.link.clone()?))));
    let skipped = plan.skipped().iter().filter(|skipped| skipped.reason != SkipReason::Hidden);
    let skipped = skipped.map(|entry| (entry.path.to_str().unwrap().to_owned(), Err(entry.reason)));
    let mut all: Vec<_> = kept.chain(skipped).collect();
    all.sort();
    all
}

#[test]
fn links_to_what_is_in_the_torrent_are_stored_by_their_path_from_the_root() {
    let found = stored(&[
        ("a", "f"),
        ("d/up", "../f"),
        ("d/here", "./g"),
        ("dir", "d/"),
        ("through", "dir/g"),
        ("chain", "a"),
        ("absolute", "ROOT/d/g"),
    ]);
    let expected = [
        ("a", "f"),
        ("absolute", "d/g"),
        ("chain", "a"),
        ("d/here", "d/g"),
        ("d/up", "f"),
        ("dir", "d"),
        ("through", "dir/g"),
    ];
    assert_eq!(found, expected.map(|(link, target)| (link.to_owned(), Ok(target.to_owned()))));
}

#[test]
fn other_links_are_left_out_with_the_reason() {
    // M58–M60, M63
    use SkipReason::{LinkOutside, LinkTarget};
    let found = stored(&[
        ("above", "../outside"),
        ("absolute", "/etc/passwd"),
        ("broken", "nothing"),
        ("broken above", "../nothing"),
        ("by the hidden", "over the hidden"),
        ("d/root", ".."),
        ("empty directory", "empty"),
        ("loop", "loop"),
        ("out and in", "../t/f"),
        ("over the hidden", ".hidden"),
        ("through above", "above"),
    ]);
    let expected = [
        ("above", Err(LinkOutside)),
        ("absolute", Err(LinkOutside)),
        ("broken", Err(LinkTarget)),
        ("broken above", Err(LinkOutside)),
        ("by the hidden", Err(LinkTarget)),
        ("d/root", Err(LinkTarget)),
        ("empty directory", Err(LinkTarget)),
        ("loop", Err(LinkTarget)),
        ("out and in", Ok("f".to_owned())),
        ("over the hidden", Err(LinkTarget)),
        ("through above", Err(LinkOutside)),
    ];
    assert_eq!(found, expected.map(|(link, result)| (link.to_owned(), result)));
}

#[test]
fn a_way_up_from_behind_a_link_is_stored_as_where_it_really_leads() {
    let (dir, root) = tree(&[("f", b"x"), ("d/e/g", b"x"), ("d/f", b"y")]);
    symlink("d/e", root.join("into")).unwrap();
    symlink("into/../f", root.join("way")).unwrap();
    let plan = with_walk(&root, Walk { symlinks: Symlinks::Store, ..Walk::default() });
    let link = plan.files().iter().find(|file| file.path.as_str() == "t/way").unwrap();
    assert_eq!(link.link.as_deref(), Some("d/f"));
    drop(dir);
}

#[test]
fn a_stored_link_is_written_out_in_full_and_takes_no_room() {
    let (_dir, root) = tree(&[("d/f", b"x")]);
    symlink("d/f", root.join("l")).unwrap();
    let made = |format| {
        let walk = Walk { symlinks: Symlinks::Store, ..Walk::default() };
        let piece_length = PieceLength::Exactly(16_384);
        let plan = Builder { format, walk, piece_length, ..Builder::new(&root) }.plan().unwrap();
        let pieces = plan.layout().piece_count();
        let info = info::info_bytes(&plan, &vec![[b'1'; 20]; pieces as usize], &[Some([b'2'; 32]), None]);
        String::from_utf8(info).unwrap()
    };
    let one = "1".repeat(20);
    let two = "2".repeat(32);
    let link = "d4:attr1:l6:lengthi0e4:pathl1:le12:symlink pathl1:d1:fee";
    let tree = format!(
        "9:file treed1:dd1:fd0:d6:lengthi1e11:pieces root32:{two}eee1:ld0:d4:attr1:l12:symlink pathl1:d1:feeee"
    );
    let pad = "d4:attr1:p6:lengthi16383e4:pathl4:.pad5:16383ee";
    let files = |pad: &str| format!("5:filesld6:lengthi1e4:pathl1:d1:fee{pad}{link}e");
    let rest = "4:name1:t12:piece lengthi16384e";
    assert_eq!(made(Format::V1), format!("d{}{rest}6:pieces20:{one}e", files("")));
    assert_eq!(made(Format::V2), format!("d{tree}12:meta versioni2e{rest}e"));
    assert_eq!(
        made(Format::Hybrid),
        format!("d{tree}{}12:meta versioni2e{rest}6:pieces20:{one}e", files(pad))
    );
}

#[test]
fn a_link_that_is_replaced_meanwhile_is_named() {
    let (_dir, root) = tree(&[("f", b"x"), ("g", b"x")]);
    symlink("f", root.join("l")).unwrap();
    let plan = with_walk(&root, Walk { symlinks: Symlinks::Store, ..Walk::default() });
    std::fs::remove_file(root.join("l")).unwrap();
    std::fs::write(root.join("l"), "xx").unwrap();
    assert!(matches!(plan.hash(&|_| {}), Err(CreateError::Changed { path }) if path == root.join("l")));
}
