//! From a socket to a peer that has said which torrent it means and who it is: dialled by [`dial`], or come in by [`accept`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use torrent_format::{InfoHash, InfoHashes, PeerId};

use super::net::Outside;
use crate::torrent::{Connected, Direction};
use crate::wire::handshake::HANDSHAKE_LENGTH;
use crate::wire::{Capabilities, Handshake, HandshakeError};

/// How long a connection may take to come about. Longer than three SYNs (0, 1 and 3 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer may take for its handshake, from the moment that the connection stands, however it dribbles.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a peer without a handshake can make us hold.
const FIRST_BUFFER: usize = 4096;

/// What a peer has said when its torrent is known: everything but its peer id.
const ENOUGH_TO_ROUTE: usize = HANDSHAKE_LENGTH - 20;

/// A connection whose handshakes are done.
#[derive(Debug)]
pub(super) struct Shaken {
    pub(super) stream: TcpStream,
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
    #[error("no torrent {0} here")]
    Unknown(InfoHash),
    #[error("it answered for another torrent, {0}")]
    OtherTorrent(InfoHash),
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
pub(super) async fn dial(
    addr: SocketAddr,
    outside: &Outside,
    names: Names,
    info_hash: InfoHash,
    peer_id: PeerId,
) -> Result<Shaken, HandshakeFailure> {
    let hashes = names.hashes;
    let mut stream = timeout(CONNECT_TIMEOUT, outside.tcp_socket(addr)?.connect(addr))
        .await
        .map_err(|_| HandshakeFailure::ConnectTimeout)??;
    let shake = async {
        let ours = Handshake { capabilities: offer(&hashes), info_hash, peer_id };
        stream.write_all(&ours.encode()).await?;
        let mut received = BytesMut::with_capacity(FIRST_BUFFER);
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

/// Answers a peer that dialled us, if `known` has all the names of a torrent that is here and has this one: by the same name, or, if the
/// peer says that it knows v2, by the v2 name.
///
/// The answer goes out as soon as the torrent is known: some clients send their peer id only after they have seen ours.
pub(super) async fn accept(
    mut stream: TcpStream,
    addr: SocketAddr,
    peer_id: PeerId,
    known: impl Fn(&InfoHash) -> Option<InfoHashes>,
) -> Result<(InfoHash, Shaken), HandshakeFailure> {
    let shake = async {
        let mut received = BytesMut::with_capacity(FIRST_BUFFER);
        let (info_hash, offered) = read_beginning(&mut stream, &mut received).await?;
        let hashes = known(&info_hash).ok_or(HandshakeFailure::Unknown(info_hash))?;
        let v2 = hashes.v2_swarm().filter(|&v2| v2 == info_hash || offered.v2);
        let ours = Handshake { capabilities: offer(&hashes), info_hash: v2.unwrap_or(info_hash), peer_id };
        stream.write_all(&ours.encode()).await?;
        let theirs = read_handshake(&mut stream, &mut received).await?;
        let upgradable = hashes.v2().is_none() && theirs.capabilities.v2;
        Ok::<_, HandshakeFailure>((theirs, (ours.info_hash, v2.is_some(), upgradable), received))
    };
    let (theirs, name, received) =
        timeout(HANDSHAKE_TIMEOUT, shake).await.map_err(|_| HandshakeFailure::HandshakeTimeout)??;
    Ok((theirs.info_hash, shaken(stream, addr, Direction::Incoming, theirs, name, received)))
}

/// What we offer for a torrent.
fn offer(hashes: &InfoHashes) -> Capabilities {
    Capabilities { fast: true, extended: true, dht: false, v2: hashes.v2().is_some() }
}

/// `name`: of the torrent in the answer, whether that is the v2 name, and [`Shaken::upgradable`] if it is not. libtorrent takes hash messages on no other connection, so that neither do we send them there.
fn shaken(
    stream: TcpStream,
    addr: SocketAddr,
    direction: Direction,
    theirs: Handshake,
    (name, v2, upgradable): (InfoHash, bool, bool),
    received: BytesMut,
) -> Shaken {
    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let Handshake { capabilities, peer_id, .. } = theirs;
    let capabilities = Capabilities { v2, ..capabilities };
    let peer = Connected { addr, direction, capabilities, peer_id };
    Shaken { stream, peer, name, upgradable: upgradable && !v2, received }
}

/// All but the peer id, as soon as it is there; the bytes stay in `received`.
async fn read_beginning(
    stream: &mut TcpStream,
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

async fn read_handshake(
    stream: &mut TcpStream,
    received: &mut BytesMut,
) -> Result<Handshake, HandshakeFailure> {
    loop {
        if let Some(handshake) = Handshake::decode(received)? {
            received.advance(HANDSHAKE_LENGTH);
            return Ok(handshake);
        }
        read_more(stream, received).await?;
    }
}

/// Never grows the buffer: a handshake that is not whole leaves room in it.
async fn read_more(stream: &mut TcpStream, received: &mut BytesMut) -> Result<(), HandshakeFailure> {
    match stream.read_buf(received).await? {
        0 => Err(HandshakeFailure::Closed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
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
        accept(ours, addr, OURS, known).await
    }

    #[tokio::test]
    async fn the_answer_does_not_wait_for_the_peer_id() {
        let (ours, mut theirs) = pair().await;
        let addr = ours.peer_addr().unwrap();
        let accepting = tokio::spawn(accept(ours, addr, OURS, known));
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
            dial(addr, &Outside::default(), Names { hashes: HASH.into(), open: false }, HASH, OURS).await,
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
        let (_, shaken) = accept(ours, addr, OURS, known).await.unwrap();
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
            let shaken = dial(addr, &Outside::default(), names, dialled, OURS).await.unwrap();
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
            let shaken = dial(addr, &Outside::default(), names, HASH, OURS).await.unwrap();
            assert_eq!((shaken.name, shaken.peer.capabilities.v2), (answered, is_v2));
            answering.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_waited_for() {
        let (ours, _theirs) = pair().await;
        let addr = ours.peer_addr().unwrap();
        let outcome = accept(ours, addr, OURS, known).await;
        assert!(matches!(outcome, Err(HandshakeFailure::HandshakeTimeout)), "{outcome:?}");
    }
}
