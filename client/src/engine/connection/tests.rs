use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use torrent_format::{InfoHash, PeerId};

use super::*;
use crate::engine::stream::Stream;
use crate::torrent::{Ablation, Config, Connected, Direction, Start, Stay, Time, Torrent};
use crate::wire::Capabilities;
use crate::wire::message::block_header;

/// A connection, the other end of its socket, and its news.
struct Rig {
    connection: Connection,
    theirs: TcpStream,
    events: mpsc::Receiver<(PeerKey, PeerEvent)>,
    pool: BufferPool,
}

async fn rig(memory: usize) -> Rig {
    rig_with(memory, Arc::default()).await.0
}

/// The same with something to send, and our end of the socket, to look at: the socket stays open as long as that is held.
async fn rig_with(memory: usize, storage: Arc<OnceLock<Storage>>) -> (Rig, socket2::Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(addr));
    let (theirs, (stream, addr)) = (theirs.unwrap(), ours.unwrap());
    theirs.set_nodelay(true).unwrap();
    let peer = Connected {
        addr,
        direction: Direction::Incoming,
        capabilities: Capabilities::default(),
        peer_id: PeerId([1; 20]),
        utp: false,
    };
    let (sender, events) = mpsc::channel(16);
    let pool = BufferPool::new(memory);
    let link = Link {
        events: sender,
        storage,
        pool: pool.clone(),
        upload_memory: Arc::new(Semaphore::new(memory)),
        upload: Limiter::new(None),
        download: Limiter::new(None),
    };
    let name = InfoHash([0; 20]);
    let ours = socket2::SockRef::from(&stream).try_clone().unwrap();
    let stream = Stream::from(stream);
    let shaken = Shaken { stream, peer, name, upgradable: false, received: BytesMut::with_capacity(64) };
    let connection = Connection::start(key(peer), shaken, link);
    (Rig { connection, theirs, events, pool }, ours)
}

/// Only a torrent gives out keys.
fn key(peer: Connected) -> PeerKey {
    let config = Config {
        hashes: InfoHash([0; 20]).into(),
        peer_id: PeerId([0; 20]),
        listen_port: 1,
        public_port: 1,
        utp: false,
        seed: 0,
        max_peers: 1,
        upload_limit: None,
        trackers: vec![],
        stay: Stay::Seed { ratio: None, time: None },
        sequential: false,
        super_seed: false,
        pex: false,
        dht: false,
        ablation: Ablation::default(),
    };
    Torrent::new(Time::default(), config, Start::Magnet { info: None })
        .handle_connected(Time::default(), peer)
        .unwrap()
}

impl Rig {
    async fn next(&mut self) -> PeerEvent {
        self.events.recv().await.unwrap().1
    }
}

fn block(length: u32) -> (BlockRequest, Vec<u8>) {
    let block = BlockRequest { index: 3, begin: 16_384, length };
    let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&block_header(block));
    bytes.extend_from_slice(&payload);
    (block, bytes)
}

#[tokio::test]
async fn frames_are_the_same_however_they_are_cut() {
    let (request, mut bytes) = block(16_000);
    let bitfield = Message::Bitfield(vec![0xaa; 100_000]);
    for message in [&Message::KeepAlive, &bitfield, &Message::Have(7)] {
        message.encode(&mut bytes);
    }
    bytes.extend_from_slice(&block(0).1);
    for cut in [1, 13, 14, 4_096, 16_384, usize::MAX] {
        let mut rig = rig(1 << 20).await;
        let (head, tail) = bytes.split_at(16_100);
        // Single bytes only where frames begin and end, for the time it takes.
        let pieces: Vec<Vec<u8>> =
            head[..40].chunks(cut).chain([&head[40..15_990]]).map(<[u8]>::to_vec).collect();
        let rest: Vec<Vec<u8>> =
            head[15_990..].chunks(cut).chain(tail.chunks(cut.max(1_000))).map(<[u8]>::to_vec).collect();
        let (mut theirs, mut expected) = (rig.theirs, 0);
        let writing = tokio::spawn(async move {
            for piece in pieces.into_iter().chain(rest) {
                theirs.write_all(&piece).await.unwrap();
            }
        });
        let mut got = Vec::new();
        while let Some((_, event)) = rig.events.recv().await {
            expected += 1;
            got.push(match event {
                PeerEvent::Block(block, payload) => format!("{block:?} {}", payload.len()),
                PeerEvent::Message(Message::Bitfield(field)) => format!("bitfield {}", field.len()),
                other => format!("{other:?}"),
            });
        }
        writing.await.unwrap();
        let empty = BlockRequest { length: 0, ..request };
        let all = [
            format!("{request:?} 16000"),
            "Message(KeepAlive)".to_owned(),
            "bitfield 100000".to_owned(),
            "Message(Have(7))".to_owned(),
            format!("{empty:?} 0"),
            "Closed".to_owned(),
        ];
        assert_eq!(got, all, "cut every {cut} bytes, {expected} events");
    }
}

#[tokio::test]
async fn a_payload_comes_as_it_was_sent() {
    let mut rig = rig(1 << 20).await;
    let (request, bytes) = block(16 * 1024);
    rig.theirs.write_all(&bytes).await.unwrap();
    let PeerEvent::Block(got, payload) = rig.next().await else { panic!("a block was sent") };
    assert_eq!(got, request);
    assert!(payload[..] == bytes[13..]);
}

#[tokio::test]
async fn an_empty_pool_stops_the_reading() {
    let mut rig = rig(2 * 16_384).await;
    let bytes = block(16_384).1.repeat(3);
    rig.theirs.write_all(&bytes).await.unwrap();
    let (first, second) = (rig.next().await, rig.next().await);
    assert_eq!(rig.pool.available(), 0);
    assert!(rig.events.try_recv().is_err());
    drop(first);
    assert!(matches!(rig.next().await, PeerEvent::Block(..)));
    drop(second);
}

#[tokio::test]
async fn an_endless_frame_ends_the_connection() {
    let mut rig = rig(1 << 20).await;
    rig.theirs.write_all(&[0xff; 5]).await.unwrap();
    assert!(matches!(rig.next().await, PeerEvent::Closed));
}

#[tokio::test]
async fn a_connection_that_breaks_within_a_block_gives_no_block() {
    let mut rig = rig(1 << 20).await;
    rig.theirs.write_all(&block(16_384).1[..9_000]).await.unwrap();
    rig.theirs.shutdown().await.unwrap();
    assert!(matches!(rig.next().await, PeerEvent::Closed));
    assert_eq!(rig.pool.available(), 1 << 20);
}

#[tokio::test]
async fn messages_leave_in_order_until_the_driver_lets_go() {
    let mut rig = rig(1 << 20).await;
    let messages =
        [Message::Bitfield(vec![1; 200_000]), Message::Unchoke, Message::KeepAlive, Message::Have(1)];
    let mut expected = Vec::new();
    for message in &messages {
        rig.connection.send(message).unwrap();
        message.encode(&mut expected);
    }
    rig.connection.flush();
    let mut got = vec![0; expected.len()];
    rig.theirs.read_exact(&mut got).await.unwrap();
    assert!(got == expected);
    drop(rig.connection);
    assert_eq!(rig.theirs.read(&mut got).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_finishes_a_block_does_not_keep_its_buffer() {
    let mut rig = rig(1 << 20).await;
    rig.theirs.write_all(&block(16_384).1[..9_000]).await.unwrap();
    assert!(matches!(rig.next().await, PeerEvent::Closed));
    assert_eq!(rig.pool.available(), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_left() {
    let mut rig = rig(1 << 20).await;
    // Far more than the kernel's buffers hold for a peer that does not read.
    let long = Message::Bitfield(vec![0; 256 * 1024]);
    loop {
        if rig.connection.send(&long).is_err() {
            break;
        }
        rig.connection.flush();
        tokio::task::yield_now().await;
    }
    assert!(matches!(rig.next().await, PeerEvent::Closed));
}

#[tokio::test]
async fn blocks_that_come_in_a_stream_come_as_they_were_sent_whatever_is_between_them() {
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..20 {
        let mut rig = rig(4 << 20).await;
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for index in 0..60 {
            let length = if random.u32(..10) == 0 { random.u32(..16_384) } else { 16_384 };
            let request = BlockRequest { index, begin: 16_384, length };
            let payload: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length as usize).collect();
            bytes.extend_from_slice(&block_header(request));
            bytes.extend_from_slice(&payload);
            expected.push(format!("{request:?} {:x}", crc32fast::hash(&payload)));
            if random.u32(..8) == 0 {
                Message::Have(index).encode(&mut bytes);
                expected.push(format!("{:?}", Message::Have(index)));
            }
        }
        let mut theirs = rig.theirs;
        let most = [200_000, 1_000_000, 30_000][round % 3];
        let writing = tokio::spawn(async move {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (some, after) = rest.split_at(fastrand::usize(1..most).min(rest.len()));
                theirs.write_all(some).await.unwrap();
                rest = after;
            }
            theirs
        });
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let (_, event) = rig.events.recv().await.unwrap();
            got.push(match event {
                PeerEvent::Block(block, payload) => format!("{block:?} {:x}", crc32fast::hash(&payload)),
                PeerEvent::Message(message) => format!("{message:?}"),
                other => format!("{other:?}"),
            });
        }
        assert_eq!(got, expected);
        drop(writing.await.unwrap());
        assert!(matches!(rig.events.recv().await, Some((_, PeerEvent::Closed))));
        assert_eq!(rig.pool.available(), 4 << 20);
    }
}

/// What the cork holds back counts as unsent, and over loopback, where a packet may have 64 KiB, it may be all that the kernel takes on.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nothing_is_held_back_to_fill_a_packet_while_room_is_waited_for() {
    use std::ops::ControlFlow;

    use torrent_format::metainfo::Version;

    use crate::engine::sample;
    use crate::engine::storage::{Access, Allocate, Check, OpenStorage};

    const PIECE: usize = 256 * 1024;
    const BLOCK: usize = 16 * 1024;
    // Far more than the kernel's buffers hold for a peer that does not read.
    const LENGTH: usize = 32 << 20;
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bytes = vec![7; LENGTH];
    std::fs::create_dir(dir.path().join("t")).unwrap();
    std::fs::write(dir.path().join("t/a"), &bytes).unwrap();
    let options = OpenStorage {
        info: sample::info(Version::V1, PIECE, &[("a", bytes)]),
        dir: dir.path().to_owned(),
        state_dir: state.path().to_owned(),
        access: Access::Seed,
        check: Check::Needed,
        selected: Vec::new(),
        allocate: Allocate::Sparse,
        pool: BufferPool::new(4 << 20),
    };
    let (news, _storage_events) = mpsc::unbounded_channel();
    let (storage, _) = Storage::open(options, news, |_| ControlFlow::Continue(())).unwrap();
    let (Rig { connection, theirs, mut events, .. }, ours) =
        rig_with(4 << 20, Arc::new(OnceLock::from(storage))).await;
    for at in (0..LENGTH).step_by(BLOCK) {
        let (index, begin) = ((at / PIECE) as u32, (at % PIECE) as u32);
        connection.send_block(BlockRequest { index, begin, length: BLOCK as u32 }).unwrap();
    }
    connection.flush();
    let mut sent = 0;
    // The first of them may take their time on a busy machine.
    let patience = |sent| Duration::from_millis(if sent < 2 { 60_000 } else { 500 });
    while let Ok(event) = tokio::time::timeout(patience(sent), events.recv()).await {
        assert!(matches!(event, Some((_, PeerEvent::BlockSent(_)))));
        sent += 1;
    }
    assert!(sent > 1 && sent < LENGTH / BLOCK, "it waits: {sent}");
    assert!(!rustix::net::sockopt::tcp_cork(&ours).unwrap());
    drop(theirs);
}
