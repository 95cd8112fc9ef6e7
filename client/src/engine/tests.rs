//! Sessions that trade over loopback, with real files.

mod versions;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;
use torrent_format::announce::{AnnounceEvent, AnnounceRequest};
use torrent_format::metainfo::Version;
use torrent_format::{Info, InfoHashes, PeerId};

use super::announce::Announcer;
use super::net::Outside;
use super::sample;
use super::session::{
    AddTorrent, Phase, Select, Session, SessionConfig, SessionError, TorrentEvent, TorrentFailure,
    TorrentHandle,
};
use super::storage::{Access, Allocate, Check, StorageError};
use crate::torrent::{Ablation, Encryption, Event, Stay, Transports};

/// How long a thing may take that normally takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

const FOREVER: Stay = Stay::Seed { ratio: None, time: None };
const LEAVE: Stay = Stay::Leave { linger: false };

/// A session with directories of its own, for data and for records.
struct Host {
    session: Session,
    data: TempDir,
    state: TempDir,
}

fn config(state: &Path, ip: IpAddr) -> SessionConfig {
    SessionConfig {
        port: Some(0),
        via: ip.into(),
        encryption: Encryption::default(),
        transports: Transports::default(),
        upload_limit: None,
        download_limit: None,
        memory: 16 * 1024 * 1024,
        max_peers: 50,
        pex: false,
        lsd: false,
        dht: None,
        port_mapping: false,
        state_dir: state.to_owned(),
    }
}

impl Host {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(adapt: impl FnOnce(&mut SessionConfig)) -> Self {
        let (data, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut config = config(state.path(), Ipv4Addr::LOCALHOST.into());
        adapt(&mut config);
        Self { session: Session::start(config).await.unwrap(), data, state }
    }

    fn addr(&self) -> String {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.session.port())).to_string()
    }

    /// Where this host keeps the data of a torrent, and how it would seed it.
    fn seed(&self, info: &Info) -> AddTorrent {
        AddTorrent { access: Access::Seed, stay: FOREVER, ..self.get(info, &[]) }
    }

    fn get(&self, info: &Info, peers: &[&Host]) -> AddTorrent {
        AddTorrent { info: Some(info.clone()), ..self.magnet(info.hashes(), peers) }
    }

    fn magnet(&self, hashes: impl Into<InfoHashes>, peers: &[&Host]) -> AddTorrent {
        AddTorrent {
            hashes: hashes.into(),
            info: None,
            trackers: vec![],
            peers: peers.iter().map(|peer| peer.addr()).collect(),
            nodes: vec![],
            dir: self.data.path().to_owned(),
            access: Access::Download { force: false },
            check: Check::Needed,
            allocate: Allocate::Sparse,
            select: Select::all(),
            stay: LEAVE,
            sequential: false,
            super_seed: false,
            ablation: Ablation::default(),
        }
    }
}

/// Files of a torrent named `t`, as noise.
struct Tree {
    info: Info,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Tree {
    fn new(piece_length: usize, files: &[(&'static str, usize)]) -> Self {
        Self::of(Version::V1, piece_length, files)
    }

    fn of(version: Version, piece_length: usize, files: &[(&'static str, usize)]) -> Self {
        let mut noise = fastrand::Rng::with_seed(piece_length as u64);
        let files: Vec<(&str, Vec<u8>)> = files
            .iter()
            .map(|&(path, length)| (path, std::iter::repeat_with(|| noise.u8(..)).take(length).collect()))
            .collect();
        Self { info: sample::info(version, piece_length, &files), files }
    }

    /// A few files whose borders lie within pieces, an empty one, and a short last piece.
    fn small() -> Self {
        Self::new(32_768, &[("a", 100_000), ("b/empty", 0), ("b/c", 1), ("b/d/e", 1_500_000), ("z", 77)])
    }

    fn write(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            let path = dir.join("t").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn assert_whole(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            let there = std::fs::read(dir.join("t").join(path));
            assert!(there.is_ok_and(|there| there == *bytes), "{path} is not as it should be");
        }
    }

    fn bytes(&self) -> u64 {
        self.info.layout().total()
    }
}

impl TorrentHandle {
    async fn next(&mut self) -> TorrentEvent {
        timeout(PATIENCE, self.events.recv())
            .await
            .expect("it has news in time")
            .expect("`Stopped` is the last news")
    }

    /// All news up to this one.
    async fn until(&mut self, last: impl Fn(&TorrentEvent) -> bool) -> Vec<TorrentEvent> {
        let mut all = Vec::new();
        loop {
            let event = self.next().await;
            let found = last(&event);
            assert!(found || !matches!(event, TorrentEvent::Stopped), "it stopped early: {all:#?}");
            all.push(event);
            if found {
                return all;
            }
        }
    }

    async fn until_stopped(&mut self) -> Vec<TorrentEvent> {
        self.until(|event| matches!(event, TorrentEvent::Stopped)).await
    }

    async fn until_checked(&mut self) -> Vec<TorrentEvent> {
        self.until(|event| matches!(event, TorrentEvent::Checked { .. })).await
    }
}

/// The story of a download in the order that a user may count on.
fn milestones(events: &[TorrentEvent]) -> Vec<&'static str> {
    let name = |event: &TorrentEvent| match event {
        TorrentEvent::Info(_) => Some("info"),
        TorrentEvent::Checked { .. } => Some("checked"),
        TorrentEvent::Core(Event::Complete) => Some("complete"),
        TorrentEvent::Durable => Some("durable"),
        TorrentEvent::Failed(_) => Some("failed"),
        TorrentEvent::Stopped => Some("stopped"),
        _ => None,
    };
    events.iter().filter_map(name).collect()
}

fn files_done(events: &[TorrentEvent]) -> usize {
    events.iter().filter(|event| matches!(event, TorrentEvent::FileDone(_))).count()
}

#[tokio::test]
async fn a_tree_goes_from_one_session_to_another() {
    let tree = Tree::small();
    let (from, to) = (Host::new().await, Host::new().await);
    tree.write(from.data.path());
    let mut seeding = from.session.add(from.seed(&tree.info));
    seeding.until_checked().await;
    let mut getting = to.session.add(to.get(&tree.info, &[&from]));
    let events = getting.until_stopped().await;
    assert_eq!(milestones(&events), ["info", "checked", "complete", "durable", "stopped"]);
    assert_eq!(files_done(&events), tree.files.len());
    let durable = events.iter().position(|event| matches!(event, TorrentEvent::Durable)).unwrap();
    assert_eq!(files_done(&events[..durable]), tree.files.len(), "every file before the whole");
    tree.assert_whole(to.data.path());
    let snapshot = getting.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.stats.bytes_done, snapshot.stats.complete),
        (Phase::Stopped, tree.bytes(), true)
    );
    let [peer] = &snapshot.peers[..] else { panic!("one peer was met: {:?}", snapshot.peers) };
    assert_eq!((peer.downloaded, peer.peer_id), (tree.bytes(), from.session.peer_id()));
    seeding.stop(PATIENCE);
    assert_eq!(milestones(&seeding.until_stopped().await).last(), Some(&"stopped"));
    let snapshot = seeding.snapshot();
    assert_eq!((snapshot.stats.uploaded, snapshot.stats.downloaded), (tree.bytes(), 0));
    assert_eq!(
        std::fs::read_dir(to.state.path()).unwrap().flatten().filter(|entry| entry.path().is_file()).count(),
        0
    );
}

#[tokio::test]
async fn a_magnet_becomes_a_tree() {
    let tree = Tree::small();
    let (from, to) = (Host::new().await, Host::new().await);
    tree.write(from.data.path());
    let mut seeding = from.session.add(from.seed(&tree.info));
    seeding.until_checked().await;
    let mut getting = to.session.add(to.magnet(tree.info.info_hash(), &[&from]));
    assert_eq!(getting.snapshot().phase, Phase::FetchingInfo);
    let events = getting.until_stopped().await;
    assert_eq!(milestones(&events), ["info", "checked", "complete", "durable", "stopped"]);
    tree.assert_whole(to.data.path());
}

#[tokio::test]
async fn downloaders_that_dial_only_one_another_are_served_through_the_one_in_the_middle() {
    let tree = Tree::new(65_536, &[("one", 3_000_000), ("two", 200_000)]);
    let (seed, middle, last) = (Host::new().await, Host::new().await, Host::new().await);
    tree.write(seed.data.path());
    let mut seeding = seed.session.add(seed.seed(&tree.info));
    seeding.until_checked().await;
    let mut relaying = middle.session.add(AddTorrent { stay: FOREVER, ..middle.get(&tree.info, &[&seed]) });
    let mut getting = last.session.add(last.get(&tree.info, &[&middle]));
    getting.until_stopped().await;
    tree.assert_whole(last.data.path());
    relaying.until(|event| matches!(event, TorrentEvent::Durable)).await;
    tree.assert_whole(middle.data.path());
}

#[tokio::test]
async fn only_what_is_selected_comes() {
    let tree = Tree::new(16_384, &[("big", 500_000), ("small", 20_000), ("other", 300_000)]);
    let (from, to) = (Host::new().await, Host::new().await);
    tree.write(from.data.path());
    let mut seeding = from.session.add(from.seed(&tree.info));
    seeding.until_checked().await;
    let second = Select(std::sync::Arc::new(|info: &Info| {
        Ok((0..info.files().len()).map(|file| file == 1).collect())
    }));
    let mut getting = to.session.add(AddTorrent { select: second, ..to.get(&tree.info, &[&from]) });
    let events = getting.until_stopped().await;
    assert_eq!((files_done(&events), milestones(&events).contains(&"durable")), (1, true));
    assert_eq!(std::fs::read(to.data.path().join("t/small")).unwrap(), tree.files[1].1);
    assert!(!to.data.path().join("t/big").exists() && !to.data.path().join("t/other").exists());
}

#[tokio::test]
async fn a_stopped_download_goes_on_where_it_was() {
    let tree = Tree::new(16_384, &[("one", 120 * 16_384)]);
    let from = Host::new().await;
    // So slow that it is stopped on the way, whatever the machine.
    let to = Host::with(|config| config.download_limit = Some(50_000)).await;
    tree.write(from.data.path());
    let mut seeding = from.session.add(from.seed(&tree.info));
    seeding.until_checked().await;

    let mut first = to.session.add(to.get(&tree.info, &[&from]));
    for _ in 0..4 {
        first.until(|event| matches!(event, TorrentEvent::Core(Event::PieceVerified(_)))).await;
    }
    first.stop(PATIENCE);
    assert!(!milestones(&first.until_stopped().await).contains(&"failed"));
    let got = first.stats().bytes_done;
    assert!((4 * 16_384..tree.bytes()).contains(&got), "{got}");

    let unlimited = config(to.state.path(), Ipv4Addr::LOCALHOST.into());
    let session = Session::start(unlimited).await.unwrap();
    let mut second = session.add(to.get(&tree.info, &[&from]));
    let events = second.until_stopped().await;
    let checked = events.iter().find_map(|event| match event {
        TorrentEvent::Checked { bytes_done } => Some(*bytes_done),
        _ => None,
    });
    assert_eq!(checked, Some(got));
    tree.assert_whole(to.data.path());
    let stats = second.stats();
    assert_eq!(stats.downloaded - stats.wasted, tree.bytes() - got, "nothing was fetched twice");
}

#[tokio::test]
async fn what_is_whole_already_needs_no_network() {
    let tree = Tree::small();
    let host = Host::new().await;
    tree.write(host.data.path());
    let mut getting = host.session.add(host.get(&tree.info, &[]));
    let events = getting.until_stopped().await;
    assert_eq!(milestones(&events), ["info", "checked", "complete", "durable", "stopped"]);
    assert_eq!(getting.stats().downloaded, 0);
}

#[tokio::test]
async fn a_seeder_that_lacks_its_data_says_so() {
    let tree = Tree::small();
    let host = Host::new().await;
    let mut seeding = host.session.add(host.seed(&tree.info));
    let events = seeding.until_stopped().await;
    assert_eq!(milestones(&events), ["info", "failed", "stopped"]);
    let failure = events.into_iter().find_map(|event| match event {
        TorrentEvent::Failed(failure) => Some(failure),
        _ => None,
    });
    assert!(matches!(failure, Some(TorrentFailure::Storage(StorageError::Mismatch { .. }))), "{failure:?}");
}

#[tokio::test]
async fn a_finished_file_that_goes_missing_ends_the_download_and_is_no_peers_fault() {
    let tree = Tree::new(32_768, &[("a", 4 * 32_768), ("b", 900_000)]);
    let ways: [fn(&Path); 2] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(70_000).unwrap(),
    ];
    for (lose, problem) in ways.into_iter().zip(["no such file", "shorter than it was"]) {
        let (seed, middle, last) = (Host::new().await, Host::new().await, Host::new().await);
        tree.write(seed.data.path());
        tree.write(middle.data.path());
        let (a, b) = (middle.data.path().join("t/a"), middle.data.path().join("t/b"));
        std::fs::remove_file(b).unwrap();
        // The second time the record is believed, so that the file is not open.
        let mut relaying = middle.session.add(middle.get(&tree.info, &[]));
        relaying.until_checked().await;
        relaying.stop(PATIENCE);
        relaying.until_stopped().await;
        let mut relaying = middle.session.add(middle.get(&tree.info, &[]));
        relaying.until_checked().await;
        lose(&a);
        let mut getting = last.session.add(last.get(&tree.info, &[&middle]));
        let events = relaying.until_stopped().await;
        let failures = events.iter().filter_map(|event| match event {
            TorrentEvent::Failed(TorrentFailure::Storage(error @ StorageError::Mismatch { .. })) => {
                Some(error.to_string())
            }
            _ => None,
        });
        assert_eq!(failures.collect::<Vec<_>>(), [format!("{problem}: {}", a.display())]);
        getting.stop(PATIENCE);
        let others = getting.until_stopped().await;
        let mut seeding = seed.session.add(seed.seed(&tree.info));
        seeding.until_checked().await;
        let mut again = middle.session.add(middle.get(&tree.info, &[&seed]));
        let rest = again.until_stopped().await;
        tree.assert_whole(middle.data.path());
        let banned = |event: &&TorrentEvent| matches!(event, TorrentEvent::Core(Event::PeerBanned(_)));
        assert_eq!(events.iter().chain(&others).chain(&rest).filter(banned).count(), 0);
    }
}

#[tokio::test]
async fn stopping_while_the_data_is_looked_at_is_no_failure() {
    let tree = Tree::small();
    let host = Host::new().await;
    tree.write(host.data.path());
    for torrent in [host.seed(&tree.info), host.get(&tree.info, &[])] {
        let mut handle = host.session.add(torrent);
        handle.stop(PATIENCE);
        let events = handle.until_stopped().await;
        assert!(!milestones(&events).contains(&"failed"), "{events:?}");
    }
}

#[tokio::test]
async fn a_selection_that_does_not_fit_is_refused() {
    let tree = Tree::small();
    let host = Host::new().await;
    let none = Select(std::sync::Arc::new(|_: &Info| Err("there is no file 9".to_owned())));
    let mut getting = host.session.add(AddTorrent { select: none, ..host.get(&tree.info, &[]) });
    let events = getting.until_stopped().await;
    let failed = |event: &TorrentEvent| matches!(event, TorrentEvent::Failed(TorrentFailure::Select(why)) if why == "there is no file 9");
    assert!(events.iter().any(failed), "{events:?}");
}

#[tokio::test]
async fn a_torrent_is_in_a_session_once_at_a_time() {
    let tree = Tree::small();
    let host = Host::new().await;
    let mut first = host.session.add(host.get(&tree.info, &[]));
    let mut second = host.session.add(host.get(&tree.info, &[]));
    let events = second.until_stopped().await;
    assert!(
        matches!(&events[..], [TorrentEvent::Failed(TorrentFailure::Twice(_)), TorrentEvent::Stopped]),
        "{events:?}"
    );
    first.until_checked().await;
    first.stop(PATIENCE);
    first.until_stopped().await;
    let mut third = host.session.add(host.get(&tree.info, &[]));
    third.until_checked().await;
}

#[tokio::test]
async fn a_torrent_whose_handle_is_dropped_stops() {
    let tree = Tree::small();
    let host = Host::new().await;
    tree.write(host.data.path());
    let mut seeding = host.session.add(host.seed(&tree.info));
    seeding.until_checked().await;
    let mut events = { seeding }.events;
    let stopped = async { while events.recv().await.is_some() {} };
    timeout(PATIENCE, stopped).await.expect("the torrent ends, and with it its news");
}

#[tokio::test]
async fn two_torrents_share_a_port() {
    let trees = [Tree::small(), Tree::new(65_536, &[("x", 700_000)])];
    let (from, to) = (Host::new().await, Host::new().await);
    let (others, aims) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut all = Vec::new();
    for (tree, (source, aim)) in
        trees.iter().zip([(from.data.path(), to.data.path()), (others.path(), aims.path())])
    {
        tree.write(source);
        let mut seeding = from.session.add(AddTorrent { dir: source.to_owned(), ..from.seed(&tree.info) });
        seeding.until_checked().await;
        let getting = to.session.add(AddTorrent { dir: aim.to_owned(), ..to.get(&tree.info, &[&from]) });
        all.push((tree, aim, seeding, getting));
    }
    for (tree, aim, _seeding, mut getting) in all {
        getting.until_stopped().await;
        tree.assert_whole(aim);
    }
}

#[tokio::test]
async fn a_tracker_makes_peers_known_and_hears_that_they_leave() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let tracker = tracker::Config::embedded(vec![any], Duration::from_secs(1800));
    let tracker = tracker::serve(tracker).await.unwrap();
    let url = format!("http://{}/announce", tracker.local_addrs()[0]);
    let closed = tokio::net::TcpListener::bind(any).await.unwrap().local_addr().unwrap();
    let (dead, alive) = (vec![format!("http://{closed}/announce")], vec![url.clone()]);
    let replied = |event: &TorrentEvent| matches!(event, TorrentEvent::Core(Event::TrackerReplied { url: from, .. }) if **from == *url);

    let tree = Tree::small();
    let (from, to) = (Host::new().await, Host::new().await);
    tree.write(from.data.path());
    let mut seeding =
        from.session.add(AddTorrent { trackers: vec![dead, alive.clone()], ..from.seed(&tree.info) });
    let events = seeding.until(replied).await;
    let refused = |event: &TorrentEvent| matches!(event, TorrentEvent::Core(Event::TrackerFailed { message, .. }) if message == "connection refused");
    assert!(events.iter().any(refused), "{events:?}");
    let mut getting =
        to.session.add(AddTorrent { trackers: vec![alive], ..to.magnet(tree.info.info_hash(), &[]) });
    getting.until_stopped().await;
    tree.assert_whole(to.data.path());
    seeding.stop(PATIENCE);
    seeding.until_stopped().await;

    let stranger = AnnounceRequest {
        info_hash: tree.info.info_hash(),
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
    let announced = Announcer::new(&Outside::default()).unwrap().announce(&url, &stranger).await;
    let reply = announced.reply.unwrap();
    assert_eq!((reply.peers, reply.complete, reply.downloaded), (vec![], Some(0), Some(1)));
}

#[tokio::test]
async fn everything_goes_encrypted_as_well() {
    let tree = Tree::small();
    let hidden = |config: &mut SessionConfig| config.encryption = Encryption::Require;
    let (from, to) = (Host::with(hidden).await, Host::with(hidden).await);
    tree.write(from.data.path());
    let mut seeding = from.session.add(from.seed(&tree.info));
    seeding.until_checked().await;
    let mut getting = to.session.add(to.get(&tree.info, &[&from]));
    getting.until_stopped().await;
    tree.assert_whole(to.data.path());
}

#[tokio::test]
async fn utp_carries_everything_where_there_is_no_tcp() {
    let tree = Tree::small();
    for (encryption, getter) in [
        (Encryption::Off, Transports::Utp),
        (Encryption::Require, Transports::Utp),
        // TCP is refused, uTP is not.
        (Encryption::Prefer, Transports::Both),
    ] {
        let with = |transports| {
            move |config: &mut SessionConfig| {
                (config.encryption, config.transports) = (encryption, transports);
            }
        };
        let (from, to) = (Host::with(with(Transports::Utp)).await, Host::with(with(getter)).await);
        tree.write(from.data.path());
        let mut seeding = from.session.add(from.seed(&tree.info));
        seeding.until_checked().await;
        let mut getting = to.session.add(to.get(&tree.info, &[&from]));
        getting.until_stopped().await;
        tree.assert_whole(to.data.path());
    }
}

#[tokio::test]
async fn it_works_over_ipv6() {
    if tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let tree = Tree::small();
    let localhost = |config: &mut SessionConfig| config.via = IpAddr::from(Ipv6Addr::LOCALHOST).into();
    let (from, to) = (Host::with(localhost).await, Host::with(localhost).await);
    tree.write(from.data.path());
    let mut seeding = from.session.add(from.seed(&tree.info));
    seeding.until_checked().await;
    let peers = vec![format!("[::1]:{}", from.session.port())];
    let mut getting = to.session.add(AddTorrent { peers, ..to.get(&tree.info, &[]) });
    getting.until_stopped().await;
    tree.assert_whole(to.data.path());
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let state = TempDir::new().unwrap();
    let config = config(state.path(), Ipv4Addr::LOCALHOST.into());
    let first = Session::start(config.clone()).await.unwrap();
    let second = Session::start(SessionConfig { port: Some(first.port()), ..config }).await;
    let Err(SessionError::Listen { addr, .. }) = second else { panic!("the port is taken: {second:?}") };
    assert_eq!(addr, SocketAddr::from((Ipv4Addr::LOCALHOST, first.port())));
}
