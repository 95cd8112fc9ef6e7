//! v2 and hybrid torrents between sessions.

use torrent_format::InfoHash;

use super::*;

const V2: [Version; 2] = [Version::V2, Version::Hybrid];

/// Files of many pieces, of one piece, of less, and of nothing.
fn tree(version: Version) -> Tree {
    let files = [("a", 100_000), ("b/c", 1), ("b/d/e", 1_500_000), ("b/empty", 0), ("y", 32_768), ("z", 77)];
    Tree::of(version, 32_768, &files)
}

/// Every set of names that such a torrent may be known by.
fn names(info: &Info) -> Vec<InfoHashes> {
    let (v1, v2) = (info.hashes().v1(), info.hashes().v2());
    let both = [InfoHashes::new(v1, None), InfoHashes::new(None, v2), InfoHashes::new(v1, v2)];
    if v1.is_some() { both.into_iter().flatten().collect() } else { vec![v2_name(info)] }
}

fn v2_name(info: &Info) -> InfoHashes {
    info.hashes().v2().expect("it has v2").into()
}

/// A host that seeds a tree.
async fn seeder(tree: &Tree) -> (Host, TorrentHandle) {
    let host = Host::new().await;
    tree.write(host.data.path());
    let mut seeding = host.session.add(host.seed(&tree.info));
    seeding.until_checked().await;
    (host, seeding)
}

fn has_all_layers(info: &Info) -> bool {
    info.missing_layers().next().is_none()
}

fn the_info(events: &[TorrentEvent]) -> Info {
    let info = events.iter().find_map(|event| match event {
        TorrentEvent::Info(info) => Some(info.clone()),
        _ => None,
    });
    info.expect("the info is told")
}

#[tokio::test]
async fn a_tree_goes_from_one_session_to_another() {
    for version in V2 {
        let tree = tree(version);
        let (from, mut seeding) = seeder(&tree).await;
        let to = Host::new().await;
        let mut getting = to.session.add(to.get(&tree.info, &[&from]));
        let events = getting.until_stopped().await;
        assert_eq!(milestones(&events), ["info", "checked", "complete", "durable", "stopped"], "{version:?}");
        assert_eq!(files_done(&events), tree.files.len());
        tree.assert_whole(to.data.path());
        let stats = getting.stats();
        assert_eq!((stats.bytes_done, stats.bytes_total), (tree.bytes(), tree.bytes()));
        let own: usize = tree.files.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(tree.bytes(), own as u64, "padding does not count");
        seeding.stop(PATIENCE);
        assert_eq!(milestones(&seeding.until_stopped().await).last(), Some(&"stopped"));
    }
}

#[tokio::test]
async fn every_kind_of_magnet_becomes_a_tree() {
    for version in V2 {
        let tree = tree(version);
        let (from, _seeding) = seeder(&tree).await;
        for hashes in names(&tree.info) {
            let to = Host::new().await;
            let mut getting = to.session.add(to.magnet(hashes, &[&from]));
            let events = getting.until_stopped().await;
            let expected = ["info", "checked", "complete", "durable", "stopped"];
            assert_eq!(milestones(&events), expected, "{version:?} by {hashes:?}: {events:#?}");
            assert_eq!(the_info(&events).hashes(), tree.info.hashes());
            assert!(has_all_layers(&the_info(&events)) || version == Version::Hybrid);
            tree.assert_whole(to.data.path());
        }
    }
}

#[tokio::test]
async fn a_torrent_without_its_piece_layers_has_them_from_peers() {
    for version in V2 {
        let tree = tree(version);
        let (from, _seeding) = seeder(&tree).await;
        let to = Host::new().await;
        let bare = sample::without_layers(&tree.info);
        let mut getting = to.session.add(to.get(&bare, &[&from]));
        let events = getting.until_stopped().await;
        let expected = ["info", "checked", "complete", "durable", "stopped"];
        assert_eq!(milestones(&events), expected, "{version:?}");
        tree.assert_whole(to.data.path());
    }
}

#[tokio::test]
async fn whoever_has_the_data_needs_no_piece_layers_to_seed_it() {
    for version in V2 {
        seeds_without_layers(version).await;
    }
}

async fn seeds_without_layers(version: Version) {
    let tree = tree(version);
    let (from, to) = (Host::new().await, Host::new().await);
    tree.write(from.data.path());
    let bare = sample::without_layers(&tree.info);
    let mut seeding = from.session.add(from.seed(&bare));
    seeding.until_checked().await;
    assert!(has_all_layers(&bare));
    let mut getting = to.session.add(to.magnet(tree.info.hashes(), &[&from]));
    getting.until_stopped().await;
    tree.assert_whole(to.data.path());
    let liar = Host::new().await;
    tree.write(liar.data.path());
    let mut wrong = tree.files[2].1.clone();
    wrong[40_000] ^= 1;
    std::fs::write(liar.data.path().join("t/b/d/e"), wrong).unwrap();
    let mut refused = liar.session.add(liar.seed(&sample::without_layers(&tree.info)));
    let events = refused.until_stopped().await;
    let mismatch = |event: &TorrentEvent| {
        matches!(event, TorrentEvent::Failed(TorrentFailure::Storage(StorageError::Mismatch { .. })))
    };
    assert!(events.iter().any(mismatch), "{events:?}");
}

#[tokio::test]
async fn whoever_learns_a_torrents_other_name_is_found_by_it() {
    let tree = tree(Version::Hybrid);
    let (seed, mut seeding) = seeder(&tree).await;
    let (middle, last) = (Host::new().await, Host::new().await);
    let [v1, v2, ..] = names(&tree.info)[..] else { panic!("it has both") };
    let mut relaying = middle.session.add(AddTorrent { stay: FOREVER, ..middle.magnet(v1, &[&seed]) });
    relaying.until(|event| matches!(event, TorrentEvent::Durable)).await;
    seeding.stop(PATIENCE);
    seeding.until_stopped().await;
    // By this name, the one in the middle was not known until it had the info. It has the piece layers from nobody but itself.
    let mut getting = last.session.add(last.magnet(v2, &[&middle]));
    getting.until_stopped().await;
    tree.assert_whole(last.data.path());
}

#[tokio::test]
async fn m104_a_torrent_is_in_a_session_once_by_whatever_name() {
    let tree = tree(Version::Hybrid);
    let (from, _seeding) = seeder(&tree).await;
    let twice = |event: &TorrentEvent| matches!(event, TorrentEvent::Failed(TorrentFailure::Twice(_)));
    for hashes in names(&tree.info) {
        let events = from.session.add(from.magnet(hashes, &[])).until_stopped().await;
        assert!(matches!(&events[..], [failed, TorrentEvent::Stopped] if twice(failed)), "{events:?}");
    }
    // Neither knows of the other until the info has come.
    let to = Host::new().await;
    let [v1, v2, ..] = names(&tree.info)[..] else { panic!("it has both") };
    let mut both = [v1, v2].map(|hashes| to.session.add(to.magnet(hashes, &[&from])));
    let mut failed = 0;
    for handle in &mut both {
        failed += usize::from(handle.until_stopped().await.iter().any(twice));
    }
    assert_eq!(failed, 1);
    tree.assert_whole(to.data.path());
}

#[tokio::test]
async fn a_look_finds_the_info_and_its_layers_and_opens_nothing() {
    let trees = V2.map(tree);
    let cases = trees.iter().flat_map(|tree| names(&tree.info).into_iter().map(move |name| (tree, name)));
    for (tree, hashes) in cases {
        let (from, _seeding) = seeder(tree).await;
        let to = Host::new().await;
        let mut looking = to.session.look(to.magnet(hashes, &[&from]));
        let mut events = looking.until(|event| matches!(event, TorrentEvent::Info(_))).await;
        let info = the_info(&events);
        if !has_all_layers(&info) {
            let complete = |event: &TorrentEvent| matches!(event, TorrentEvent::Core(Event::LayersComplete));
            events.extend(looking.until(complete).await);
        }
        assert!(has_all_layers(&info));
        assert_eq!((&info, milestones(&events)), (&tree.info, vec!["info"]), "{hashes:?}");
        looking.stop(PATIENCE);
        looking.until_stopped().await;
        assert_eq!(std::fs::read_dir(to.data.path()).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(to.state.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn layers_come_from_a_peer_that_was_found_when_only_v1_was_known() {
    let tree = tree(Version::Hybrid);
    let (from, _seeding) = seeder(&tree).await;
    let to = Host::new().await;
    let [v1, ..] = names(&tree.info)[..] else { panic!("it has both") };
    let mut looking = to.session.look(to.magnet(v1, &[&from]));
    let complete = |event: &TorrentEvent| matches!(event, TorrentEvent::Core(Event::LayersComplete));
    let events = looking.until(complete).await;
    assert!(has_all_layers(&the_info(&events)));
    assert_eq!(the_info(&events), tree.info);
    looking.stop(PATIENCE);
    looking.until_stopped().await;
    let missing = looking.stats().missing_layers;
    assert_eq!(missing, 0);
}

#[tokio::test]
async fn trackers_hear_of_both_swarms() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = tracker::Config::embedded(vec![any], Duration::from_secs(1800));
    let tracker = tracker::serve(config).await.unwrap();
    let url = format!("http://{}/announce", tracker.local_addrs()[0]);
    let trackers = vec![vec![url.clone()]];
    let tree = tree(Version::Hybrid);
    let from = Host::new().await;
    tree.write(from.data.path());
    let mut seeding = from.session.add(AddTorrent { trackers: trackers.clone(), ..from.seed(&tree.info) });
    let replied = |event: &TorrentEvent| matches!(event, TorrentEvent::Core(Event::TrackerReplied { .. }));
    seeding.until(replied).await;
    seeding.until(replied).await;
    for hashes in names(&tree.info) {
        let to = Host::new().await;
        let mut getting = to.session.add(AddTorrent { trackers: trackers.clone(), ..to.magnet(hashes, &[]) });
        getting.until_stopped().await;
        tree.assert_whole(to.data.path());
    }
    seeding.stop(PATIENCE);
    seeding.until_stopped().await;
    for swarm in tree.info.hashes().swarms() {
        assert_eq!(seeds(&url, swarm).await, Some(0), "{swarm}: everybody has said goodbye");
    }
}

/// How many seeds a tracker knows in a swarm.
async fn seeds(url: &str, swarm: InfoHash) -> Option<u32> {
    let stranger = AnnounceRequest {
        info_hash: swarm,
        peer_id: PeerId([9; 20]),
        port: 1,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: AnnounceEvent::Started,
        numwant: None,
        key: None,
        tracker_id: None,
    };
    Announcer::new(&Outside::default()).unwrap().announce(url, &stranger).await.reply.unwrap().complete
}
