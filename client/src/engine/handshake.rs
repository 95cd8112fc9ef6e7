//! From a socket to a peer that has said which torrent it means and who it is: dialled by [`dial`], or come in by [`accept`].

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use torrent_format::{InfoHash, InfoHashes, PeerId};

use super::datagrams::Datagrams;
use super::mse;
use super::net::Outside;
use super::stream::Stream;
use super::utp::Utp;
use crate::torrent::{Connected, Direction, Encryption, Opening, Transports};
use crate::wire::handshake::HANDSHAKE_LENGTH;
use crate::wire::mse::{MseError, Proof};
use crate::wire::{Capabilities, Handshake, HandshakeError};

/// How long a connection may take to come about. Longer than three SYNs (0, 1 and 3 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long TCP may take before uTP is tried beside it: most that will ever come about have by then.
const HEAD_START: Duration = Duration::from_secs(1);

/// How long uTP is tried where TCP was refused: mostly nobody is there yet, and to be dialled again soon is of more use.
const AFTER_REFUSAL: Duration = Duration::from_secs(3);

/// Peers that are remembered to be reached by uTP only. Forgetting them costs each a second.
const MAX_REMEMBERED: usize = 1_000;

/// How long a peer may take for its handshake, from the moment that the connection stands, however it dribbles.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a peer without a handshake can make us hold.
pub(super) const FIRST_BUFFER: usize = 4096;

/// So many bytes say that it is a handshake: the name of the protocol, and its length.
const PROTOCOL_LENGTH: usize = 20;

/// What a peer has said when its torrent is known: everything but its peer id.
const ENOUGH_TO_ROUTE: usize = HANDSHAKE_LENGTH - 20;

/// A connection whose handshakes are done.
#[derive(Debug)]
pub(super) struct Shaken {
    pub(super) stream: Stream,
    pub(super) peer: Connected,
    /// The name of the torrent in the answer.
    pub(super) name: InfoHash,
    /// The peer speaks v2 and we did not know the v2 name when we shook hands: by that name, hash messages could be exchanged.
    pub(super) upgradable: bool,
    /// What came after the handshake.
    pub(super) received: BytesMut,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeFailure {
    #[error("{0}")]
    Connect(io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout,
    #[error("no handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    HandshakeTimeout,
    #[error("closed before the handshake")]
    Closed,
    #[error(transparent)]
    Protocol(#[from] HandshakeError),
    #[error(transparent)]
    Mse(#[from] MseError),
    #[error("it does not encrypt, and --encryption require is given")]
    Plain,
    #[error("no torrent {0} here")]
    Unknown(InfoHash),
    #[error("it answered for another torrent, {0}")]
    OtherTorrent(InfoHash),
}

impl HandshakeFailure {
    /// Another way to begin may do better: the peer is there, and may not have understood this one.
    fn is_of_opening(&self) -> bool {
        match self {
            Self::Io(_) | Self::HandshakeTimeout | Self::Closed | Self::Protocol(_) | Self::Mse(_) => true,
            Self::Connect(_) | Self::ConnectTimeout | Self::Plain => false,
            Self::Unknown(_) | Self::OtherTorrent(_) => false,
        }
    }
}

/// What all handshakes of a session have in common.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) outside: Outside,
    pub(super) peer_id: PeerId,
    pub(super) encryption: Encryption,
    pub(super) transports: Transports,
    /// We have a node of the DHT.
    pub(super) dht: bool,
    /// `None`: not allowed, or not to be had.
    pub(super) utp: Option<Utp>,
    /// Peers to which only uTP led.
    by_utp: Mutex<HashSet<SocketAddr>>,
    /// Who dials us and wants to negotiate takes turns: see [`mse::respond`].
    turn: Semaphore,
}

impl Manner {
    /// Over TCP alone.
    pub(super) fn new(outside: Outside, peer_id: PeerId, encryption: Encryption) -> Self {
        Self {
            outside,
            peer_id,
            encryption,
            transports: Transports::Tcp,
            dht: false,
            utp: None,
            by_utp: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }

    /// Over these transports; uTP over these datagrams.
    pub(super) fn over(self, transports: Transports, datagrams: &Datagrams) -> Self {
        let utp = if transports.has_utp() { Utp::start(datagrams) } else { None };
        Self { transports, utp, ..self }
    }

    fn led_by_utp(&self, addr: SocketAddr) -> bool {
        self.by_utp.lock().unwrap_or_else(PoisonError::into_inner).contains(&addr)
    }

    fn remember_utp(&self, addr: SocketAddr) {
        let mut known = self.by_utp.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(addr);
    }
}

/// What is known of the torrent's names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) hashes: InfoHashes,
    /// There may be a v2 name that is not among them.
    pub(super) open: bool,
}

/// Dials and shakes hands by one of the torrent's names. The peer may answer by another: a dialler that knows v2
/// is led from the v1 swarm of a hybrid torrent to that of v2 so (BEP 52, "Upgrade Path"). libtorrent does that also to one that has not
/// said so, if it has known v2 at an earlier time: an answer by a name that nobody knows yet is taken for that, and the caller has to look
/// at [`Shaken::name`] when the info is known.
///
/// `transports`: those of them that the manner allows. How it begins, and how it begins anew if that was not understood, is [`Encryption::openings`]'s.
pub(super) async fn dial(
    addr: SocketAddr,
    manner: &Manner,
    transports: Transports,
    names: Names,
    info_hash: InfoHash,
) -> Result<Shaken, HandshakeFailure> {
    let openings = manner.encryption.openings(addr.ip());
    let mut outcome = Err(HandshakeFailure::Closed);
    for opening in openings {
        outcome = dial_once(addr, manner, transports, names, info_hash, *opening).await;
        match &outcome {
            Err(failure) if failure.is_of_opening() => {
                tracing::debug!(%addr, ?opening, "the beginning failed: {failure}");
            }
            _ => break,
        }
    }
    outcome
}

async fn dial_once(
    addr: SocketAddr,
    manner: &Manner,
    transports: Transports,
    names: Names,
    info_hash: InfoHash,
    opening: Opening,
) -> Result<Shaken, HandshakeFailure> {
    let hashes = names.hashes;
    let stream = timeout(CONNECT_TIMEOUT, connect(addr, manner, transports)).await;
    let mut stream =
        stream.map_err(|_| HandshakeFailure::ConnectTimeout)?.map_err(HandshakeFailure::Connect)?;
    let shake = async {
        let ours = Handshake { capabilities: offer(&hashes, manner.dht), info_hash, peer_id: manner.peer_id }
            .encode();
        let mut received = match opening {
            Opening::Plain => {
                stream.write_all(&ours).await?;
                BytesMut::with_capacity(FIRST_BUFFER)
            }
            Opening::Hidden => {
                mse::initiate(&mut stream, manner.encryption.methods(), info_hash, &ours).await?
            }
        };
        let theirs = read_handshake(&mut stream, &mut received).await?;
        if !names.open && !hashes.swarms().any(|known| known == theirs.info_hash) {
            return Err(HandshakeFailure::OtherTorrent(theirs.info_hash));
        }
        Ok((theirs, received))
    };
    let (theirs, received) =
        timeout(HANDSHAKE_TIMEOUT, shake).await.map_err(|_| HandshakeFailure::HandshakeTimeout)??;
    let (name, v1) = (theirs.info_hash, hashes.v1());
    let upgradable = hashes.v2().is_none() && theirs.capabilities.v2;
    Ok(shaken(stream, addr, Direction::Outgoing, theirs, (name, Some(name) != v1, upgradable), received))
}

/// As these transports allow: over TCP if that comes about soon; over uTP if it does not, and whichever is first. A peer to which only uTP led has both tried at once
/// the next time.
async fn connect(addr: SocketAddr, manner: &Manner, transports: Transports) -> io::Result<Stream> {
    let over_tcp = async { manner.outside.connect(addr).await.map(Stream::from) };
    let Some(utp) = &manner.utp else { return over_tcp.await };
    let over_utp = async { utp.connect(addr).await.map(Stream::from) };
    if !transports.has_tcp() {
        return over_utp.await;
    }
    let start = if manner.led_by_utp(addr) { Duration::ZERO } else { HEAD_START };
    tokio::pin!(over_tcp);
    tokio::pin!(over_utp);
    tokio::select! {
        biased;
        outcome = &mut over_tcp => match outcome {
            Ok(stream) => return Ok(stream),
            // Refused at once by a firewall, say, that lets UDP through.
            Err(refusal) => {
                let stream = timeout(AFTER_REFUSAL, over_utp).await.map_err(|_| refusal)??;
                manner.remember_utp(addr);
                return Ok(stream);
            }
        },
        () = sleep(start) => {}
    }
    let (stream, by_utp) = tokio::select! {
        biased;
        outcome = &mut over_tcp => match outcome {
            Ok(stream) => (stream, false),
            Err(_) => (over_utp.await?, true),
        },
        outcome = &mut over_utp => match outcome {
            Ok(stream) => (stream, true),
            Err(_) => (over_tcp.await?, false),
        },
    };
    if by_utp {
        manner.remember_utp(addr);
    }
    Ok(stream)
}

/// Answers a peer that dialled us, if `known` has all the names of a torrent that is here and has this one: by the same name, or, if the
/// peer says that it knows v2, by the v2 name. A peer that hides proves a name that `proven` finds, and then says it.
///
/// The answer goes out as soon as the torrent is known: some clients send their peer id only after they have seen ours.
pub(super) async fn accept(
    mut stream: Stream,
    addr: SocketAddr,
    manner: &Manner,
    known: impl Fn(&InfoHash) -> Option<InfoHashes>,
    proven: impl Fn(&Proof) -> Option<InfoHash>,
) -> Result<(InfoHash, Shaken), HandshakeFailure> {
    let shake = async {
        let mut received = BytesMut::with_capacity(FIRST_BUFFER);
        let opening = read_opening(&mut stream, &mut received).await?;
        if !manner.encryption.takes(opening) {
            return Err(match opening {
                Opening::Plain => HandshakeFailure::Plain,
                Opening::Hidden => HandshakeError::Protocol.into(),
            });
        }
        let mut hidden = None;
        if opening == Opening::Hidden {
            let accept = manner.encryption.methods();
            let (torrent, after) = mse::respond(&mut stream, accept, received, &manner.turn, proven).await?;
            (hidden, received) = (Some(torrent), after);
        }
        let (info_hash, offered) = read_beginning(&mut stream, &mut received).await?;
        let hashes = known(&info_hash).ok_or(HandshakeFailure::Unknown(info_hash))?;
        if hidden.is_some_and(|torrent| !hashes.swarms().any(|name| name == torrent)) {
            return Err(HandshakeFailure::OtherTorrent(info_hash));
        }
        let v2 = hashes.v2_swarm().filter(|&v2| v2 == info_hash || offered.v2);
        let name = v2.unwrap_or(info_hash);
        let ours =
            Handshake { capabilities: offer(&hashes, manner.dht), info_hash: name, peer_id: manner.peer_id };
        stream.write_all(&ours.encode()).await?;
        let theirs = read_handshake(&mut stream, &mut received).await?;
        let upgradable = hashes.v2().is_none() && theirs.capabilities.v2;
        Ok::<_, HandshakeFailure>((theirs, (name, v2.is_some(), upgradable), received))
    };
    let (theirs, name, received) =
        timeout(HANDSHAKE_TIMEOUT, shake).await.map_err(|_| HandshakeFailure::HandshakeTimeout)??;
    Ok((theirs.info_hash, shaken(stream, addr, Direction::Incoming, theirs, name, received)))
}

/// How the peer begins: the first byte that is not a handshake's makes it a negotiation, whose first bytes are anything.
async fn read_opening(stream: &mut Stream, received: &mut BytesMut) -> Result<Opening, HandshakeFailure> {
    loop {
        match Handshake::decode(received) {
            Err(HandshakeError::Protocol) => return Ok(Opening::Hidden),
            Ok(_) if received.len() >= PROTOCOL_LENGTH => return Ok(Opening::Plain),
            Ok(_) => read_more(stream, received).await?,
        }
    }
}

/// What we offer for a torrent.
fn offer(hashes: &InfoHashes, dht: bool) -> Capabilities {
    Capabilities { fast: true, extended: true, dht, v2: hashes.v2().is_some() }
}

/// `name`: of the torrent in the answer, whether that is the v2 name, and [`Shaken::upgradable`] if it is not. libtorrent takes hash messages on no other connection, so that neither do we send them there.
fn shaken(
    stream: Stream,
    addr: SocketAddr,
    direction: Direction,
    theirs: Handshake,
    (name, v2, upgradable): (InfoHash, bool, bool),
    received: BytesMut,
) -> Shaken {
    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let Handshake { capabilities, peer_id, .. } = theirs;
    let capabilities = Capabilities { v2, ..capabilities };
    let peer = Connected { addr, direction, capabilities, peer_id, utp: stream.is_utp() };
    Shaken { stream, peer, name, upgradable: upgradable && !v2, received }
}

/// All but the peer id, as soon as it is there; the bytes stay in `received`.
async fn read_beginning(
    stream: &mut Stream,
    received: &mut BytesMut,
) -> Result<(InfoHash, Capabilities), HandshakeFailure> {
    loop {
        let mut whole = [0; HANDSHAKE_LENGTH];
        let come = received.len().min(HANDSHAKE_LENGTH);
        whole[..come].copy_from_slice(&received[..come]);
        if come >= ENOUGH_TO_ROUTE {
            if let Some(handshake) = Handshake::decode(&whole)? {
                return Ok((handshake.info_hash, handshake.capabilities));
            }
        } else {
            // Only to refuse a wrong beginning at once.
            Handshake::decode(received)?;
        }
        read_more(stream, received).await?;
    }
}

async fn read_handshake(stream: &mut Stream, received: &mut BytesMut) -> Result<Handshake, HandshakeFailure> {
    loop {
        if let Some(handshake) = Handshake::decode(received)? {
            received.advance(HANDSHAKE_LENGTH);
            return Ok(handshake);
        }
        read_more(stream, received).await?;
    }
}

/// Never grows the buffer: a handshake that is not whole leaves room in it.
pub(super) async fn read_more(stream: &mut Stream, received: &mut BytesMut) -> Result<(), HandshakeFailure> {
    match stream.read_some(received).await? {
        0 => Err(HandshakeFailure::Closed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use torrent_format::InfoHashV2;

    use super::*;

    const HASH: InfoHash = InfoHash([7; 20]);
    const OURS: PeerId = PeerId(*b"-SR0100-abcdefghijkl");
    const THEIRS: PeerId = PeerId(*b"-XX0000-abcdefghijkl");

    /// Two ends of one loopback connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(addr));
        (ours.unwrap().0, theirs.unwrap())
    }

    /// All plain, so that these tests say every byte.
    fn manner() -> Manner {
        Manner::new(Outside::default(), OURS, Encryption::Off)
    }

    async fn take(
        stream: TcpStream,
        addr: SocketAddr,
        known: impl Fn(&InfoHash) -> Option<InfoHashes>,
    ) -> Result<(InfoHash, Shaken), HandshakeFailure> {
        accept(Stream::from(stream), addr, &manner(), known, |_| None).await
    }

    fn handshake(info_hash: InfoHash) -> [u8; HANDSHAKE_LENGTH] {
        by(info_hash, Capabilities { fast: true, extended: true, dht: false, v2: false })
    }

    fn by(info_hash: InfoHash, capabilities: Capabilities) -> [u8; HANDSHAKE_LENGTH] {
        Handshake { capabilities, info_hash, peer_id: THEIRS }.encode()
    }

    /// The torrent that is here, if it has this name.
    fn known(hash: &InfoHash) -> Option<InfoHashes> {
        (*hash == HASH).then(|| HASH.into())
    }

    const V2_HASH: InfoHashV2 = InfoHashV2([9; 32]);
    const V2_NAME: InfoHash = InfoHash([9; 20]);

    fn hybrid() -> InfoHashes {
        InfoHashes::new(Some(HASH), Some(V2_HASH)).unwrap()
    }

    async fn answer(bytes: &[u8]) -> Result<(InfoHash, Shaken), HandshakeFailure> {
        let (ours, mut theirs) = pair().await;
        theirs.write_all(bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        let addr = ours.peer_addr().unwrap();
        take(ours, addr, known).await
    }

    #[tokio::test]
    async fn the_answer_does_not_wait_for_the_peer_id() {
        let (ours, mut theirs) = pair().await;
        let addr = ours.peer_addr().unwrap();
        let accepting = tokio::spawn(take(ours, addr, known));
        let bytes = handshake(HASH);
        theirs.write_all(&bytes[..ENOUGH_TO_ROUTE]).await.unwrap();
        let mut answer = [0; HANDSHAKE_LENGTH];
        theirs.read_exact(&mut answer).await.unwrap();
        assert_eq!(Handshake::decode(&answer).unwrap().map(|h| (h.info_hash, h.peer_id)), Some((HASH, OURS)));
        theirs.write_all(&bytes[ENOUGH_TO_ROUTE..]).await.unwrap();
        theirs.write_all(b"more").await.unwrap();
        theirs.shutdown().await.unwrap();
        let (hash, shaken) = accepting.await.unwrap().unwrap();
        assert_eq!((hash, shaken.peer.peer_id, shaken.peer.direction), (HASH, THEIRS, Direction::Incoming));
    }

    #[tokio::test]
    async fn what_follows_the_handshake_is_kept() {
        let mut bytes = handshake(HASH).to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 0]);
        assert_eq!(&answer(&bytes).await.unwrap().1.received[..], [0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn strangers_are_refused() {
        let other = InfoHash([8; 20]);
        assert!(
            matches!(answer(&handshake(other)).await, Err(HandshakeFailure::Unknown(hash)) if hash == other)
        );
        assert!(matches!(answer(b"GET / HTTP/1.1\r\n\r\n").await, Err(HandshakeFailure::Protocol(_))));
        assert!(matches!(answer(&handshake(HASH)[..67]).await, Err(HandshakeFailure::Closed)));
        assert!(matches!(answer(&[]).await, Err(HandshakeFailure::Closed)));
    }

    #[tokio::test]
    async fn whoever_answers_for_another_torrent_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&handshake(InfoHash([8; 20]))).await.unwrap();
            stream
        });
        assert!(matches!(
            dial(addr, &manner(), Transports::Tcp, Names { hashes: HASH.into(), open: false }, HASH).await,
            Err(HandshakeFailure::OtherTorrent(_))
        ));
        answering.await.unwrap();
    }

    /// Our answer to a dialler of this handshake, by which name the torrent is known, and whether hash messages may follow.
    async fn answer_to(hashes: InfoHashes, bytes: &[u8]) -> (Handshake, bool) {
        let (ours, mut theirs) = pair().await;
        theirs.write_all(bytes).await.unwrap();
        let addr = ours.peer_addr().unwrap();
        let known = |name: &InfoHash| hashes.swarms().any(|known| known == *name).then_some(hashes);
        let (_, shaken) = take(ours, addr, known).await.unwrap();
        let mut answer = [0; HANDSHAKE_LENGTH];
        theirs.read_exact(&mut answer).await.unwrap();
        (Handshake::decode(&answer).unwrap().unwrap(), shaken.peer.capabilities.v2)
    }

    #[tokio::test]
    async fn whoever_knows_v2_is_answered_by_the_v2_name_and_nobody_else() {
        let knows = Capabilities { v2: true, ..Capabilities::default() };
        let not = Capabilities::default();
        let (v1, v2) = (InfoHashes::from(HASH), InfoHashes::from(V2_HASH));
        for (hashes, name, capabilities, answer, is_v2) in [
            (hybrid(), HASH, not, HASH, false),
            (hybrid(), HASH, knows, V2_NAME, true),
            // libtorrent does not set the bit beside the v2 name.
            (hybrid(), V2_NAME, not, V2_NAME, true),
            (v2, V2_NAME, not, V2_NAME, true),
            (v1, HASH, knows, HASH, false),
        ] {
            let (ours, v2) = answer_to(hashes, &by(name, capabilities)).await;
            let expected = (answer, hashes.v2().is_some(), is_v2);
            assert_eq!(
                (ours.info_hash, ours.capabilities.v2, v2),
                expected,
                "{hashes:?} {name} {capabilities:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_dialler_may_be_led_to_the_other_swarm_of_its_torrent() {
        for (dialled, answered, is_v2) in
            [(HASH, HASH, false), (HASH, V2_NAME, true), (V2_NAME, V2_NAME, true), (V2_NAME, HASH, false)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let answering = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(&by(answered, Capabilities::default())).await.unwrap();
                let mut theirs = [0; HANDSHAKE_LENGTH];
                stream.read_exact(&mut theirs).await.unwrap();
                (stream, Handshake::decode(&theirs).unwrap().unwrap())
            });
            let names = Names { hashes: hybrid(), open: false };
            let shaken = dial(addr, &manner(), Transports::Tcp, names, dialled).await.unwrap();
            let (_stream, heard) = answering.await.unwrap();
            assert_eq!((heard.info_hash, heard.capabilities.v2), (dialled, true));
            assert_eq!((shaken.name, shaken.peer.capabilities.v2), (answered, is_v2), "{dialled}");
        }
    }

    #[tokio::test]
    async fn a_dialler_that_knows_only_v1_yet_takes_another_name_for_the_v2_name() {
        for (answered, is_v2) in [(HASH, false), (V2_NAME, true)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let answering = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(&handshake(answered)).await.unwrap();
                stream
            });
            let names = Names { hashes: HASH.into(), open: true };
            let shaken = dial(addr, &manner(), Transports::Tcp, names, HASH).await.unwrap();
            assert_eq!((shaken.name, shaken.peer.capabilities.v2), (answered, is_v2));
            answering.await.unwrap();
        }
    }

    fn with(encryption: Encryption) -> Manner {
        Manner::new(Outside::default(), OURS, encryption)
    }

    /// What the torrents here have as a name that a proof is of.
    fn proven(proof: &Proof) -> Option<InfoHash> {
        Some(HASH).filter(|name| proof.is(*name))
    }

    /// How a dial by this flag ends at a listener of that flag, and how many connections it took.
    async fn meet(dialler: Encryption, listening: Encryption) -> (Result<Shaken, HandshakeFailure>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (told, mut shaken) = tokio::sync::mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, addr) = listener.accept().await.unwrap();
                let taken = accept(Stream::from(stream), addr, &with(listening), known, proven).await;
                told.send(taken.map(|(name, _)| name)).unwrap();
            }
        });
        let names = Names { hashes: HASH.into(), open: false };
        let outcome = dial(addr, &with(dialler), Transports::Tcp, names, HASH).await;
        serving.abort();
        let _ = serving.await;
        let mut connections = 0;
        while let Some(taken) = shaken.recv().await {
            connections += 1;
            assert_eq!(taken.is_ok(), outcome.is_ok() && shaken.is_empty(), "{taken:?}");
        }
        (outcome, connections)
    }

    #[tokio::test]
    async fn both_sides_meet_unless_one_insists_on_what_the_other_refuses() {
        use Encryption::{Off, Prefer, Require};
        for (dialler, listening, connections) in [
            (Require, Require, Some(1)),
            (Require, Prefer, Some(1)),
            // Plain at first, on a network of our own.
            (Prefer, Require, Some(2)),
            (Prefer, Prefer, Some(1)),
            (Prefer, Off, Some(1)),
            (Off, Prefer, Some(1)),
            (Off, Off, Some(1)),
            (Require, Off, None),
            (Off, Require, None),
        ] {
            let (outcome, tried) = meet(dialler, listening).await;
            match (outcome, connections) {
                (Ok(shaken), Some(connections)) => {
                    assert_eq!(tried, connections, "{dialler:?} dials {listening:?}");
                    assert_eq!((shaken.name, shaken.peer.peer_id), (HASH, OURS));
                    let encrypted = [dialler, listening].contains(&Require);
                    assert_eq!(shaken.stream.is_encrypted(), encrypted, "{dialler:?} dials {listening:?}");
                }
                (Err(failure), None) => assert!(failure.is_of_opening(), "{failure}"),
                (outcome, _) => panic!("{dialler:?} dials {listening:?}: {outcome:?}"),
            }
        }
    }

    #[tokio::test]
    async fn who_hides_must_ask_for_the_torrent_that_it_has_proven_to_know() {
        let other = InfoHash([8; 20]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let (stream, addr) = listener.accept().await.unwrap();
            let known = |name: &InfoHash| [HASH, other].contains(name).then(|| (*name).into());
            accept(Stream::from(stream), addr, &with(Encryption::Prefer), known, proven).await
        });
        let mut stream = Stream::from(TcpStream::connect(addr).await.unwrap());
        let initial = handshake(other);
        let negotiated =
            mse::initiate(&mut stream, Encryption::Prefer.methods(), HASH, &initial).await.unwrap();
        assert!(negotiated.is_empty());
        let outcome = accepting.await.unwrap();
        assert!(matches!(outcome, Err(HandshakeFailure::OtherTorrent(name)) if name == other), "{outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn p65_an_endless_beginning_is_not_read_on() {
        let (ours, mut theirs) = pair().await;
        let addr = ours.peer_addr().unwrap();
        theirs.write_all(&[0x55; 96 + 512 + 20]).await.unwrap();
        let outcome = accept(Stream::from(ours), addr, &with(Encryption::Prefer), known, proven).await;
        assert!(matches!(outcome, Err(HandshakeFailure::Mse(MseError::NoMark))), "{outcome:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_waited_for() {
        let (ours, _theirs) = pair().await;
        let addr = ours.peer_addr().unwrap();
        let outcome = take(ours, addr, known).await;
        assert!(matches!(outcome, Err(HandshakeFailure::HandshakeTimeout)), "{outcome:?}");
    }
}
