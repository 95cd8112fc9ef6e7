//! From a socket to a peer that has said which torrent it means and who it is: dialled by [`dial`], or come in by [`accept`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use torrent_format::{InfoHash, PeerId};

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

/// What we offer.
const CAPABILITIES: Capabilities = Capabilities { fast: true, extended: true, dht: false, v2: false };

/// A connection whose handshakes are done.
#[derive(Debug)]
pub(super) struct Shaken {
    pub(super) stream: TcpStream,
    pub(super) peer: Connected,
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

/// Dials from `bind`, if it is given, and shakes hands.
pub(super) async fn dial(
    addr: SocketAddr,
    bind: Option<IpAddr>,
    info_hash: InfoHash,
    peer_id: PeerId,
) -> Result<Shaken, HandshakeFailure> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bind) = bind {
        socket.bind(SocketAddr::new(bind, 0))?;
    }
    let mut stream = timeout(CONNECT_TIMEOUT, socket.connect(addr))
        .await
        .map_err(|_| HandshakeFailure::ConnectTimeout)??;
    let shake = async {
        let ours = Handshake { capabilities: CAPABILITIES, info_hash, peer_id };
        stream.write_all(&ours.encode()).await?;
        let mut received = BytesMut::with_capacity(FIRST_BUFFER);
        let theirs = read_handshake(&mut stream, &mut received).await?;
        if theirs.info_hash != info_hash {
            return Err(HandshakeFailure::OtherTorrent(theirs.info_hash));
        }
        Ok((theirs, received))
    };
    let (theirs, received) =
        timeout(HANDSHAKE_TIMEOUT, shake).await.map_err(|_| HandshakeFailure::HandshakeTimeout)??;
    Ok(shaken(stream, addr, Direction::Outgoing, theirs, received))
}

/// Answers a peer that dialled us, if `known` says that its torrent is here.
///
/// The answer goes out as soon as the torrent is known: some clients send their peer id only after they have seen ours.
pub(super) async fn accept(
    mut stream: TcpStream,
    addr: SocketAddr,
    peer_id: PeerId,
    known: impl Fn(&InfoHash) -> bool,
) -> Result<(InfoHash, Shaken), HandshakeFailure> {
    let shake = async {
        let mut received = BytesMut::with_capacity(FIRST_BUFFER);
        let info_hash = read_info_hash(&mut stream, &mut received).await?;
        if !known(&info_hash) {
            return Err(HandshakeFailure::Unknown(info_hash));
        }
        let ours = Handshake { capabilities: CAPABILITIES, info_hash, peer_id };
        stream.write_all(&ours.encode()).await?;
        let theirs = read_handshake(&mut stream, &mut received).await?;
        Ok((theirs, received))
    };
    let (theirs, received) =
        timeout(HANDSHAKE_TIMEOUT, shake).await.map_err(|_| HandshakeFailure::HandshakeTimeout)??;
    Ok((theirs.info_hash, shaken(stream, addr, Direction::Incoming, theirs, received)))
}

fn shaken(
    stream: TcpStream,
    addr: SocketAddr,
    direction: Direction,
    theirs: Handshake,
    received: BytesMut,
) -> Shaken {
    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let Handshake { capabilities, peer_id, .. } = theirs;
    Shaken { stream, peer: Connected { addr, direction, capabilities, peer_id }, received }
}

/// The info hash, as soon as it is there; the bytes stay in `received`.
async fn read_info_hash(
    stream: &mut TcpStream,
    received: &mut BytesMut,
) -> Result<InfoHash, HandshakeFailure> {
    loop {
        let mut whole = [0; HANDSHAKE_LENGTH];
        let come = received.len().min(HANDSHAKE_LENGTH);
        whole[..come].copy_from_slice(&received[..come]);
        if come >= ENOUGH_TO_ROUTE {
            if let Some(handshake) = Handshake::decode(&whole)? {
                return Ok(handshake.info_hash);
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
        Handshake { capabilities: CAPABILITIES, info_hash, peer_id: THEIRS }.encode()
    }

    async fn answer(bytes: &[u8]) -> Result<(InfoHash, Shaken), HandshakeFailure> {
        let (ours, mut theirs) = pair().await;
        theirs.write_all(bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        let addr = ours.peer_addr().unwrap();
        accept(ours, addr, OURS, |hash| *hash == HASH).await
    }

    #[tokio::test]
    async fn the_answer_does_not_wait_for_the_peer_id() {
        let (ours, mut theirs) = pair().await;
        let addr = ours.peer_addr().unwrap();
        let accepting = tokio::spawn(accept(ours, addr, OURS, |hash| *hash == HASH));
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
        assert!(matches!(dial(addr, None, HASH, OURS).await, Err(HandshakeFailure::OtherTorrent(_))));
        answering.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_not_waited_for() {
        let (ours, _theirs) = pair().await;
        let addr = ours.peer_addr().unwrap();
        let outcome = accept(ours, addr, OURS, |_| true).await;
        assert!(matches!(outcome, Err(HandshakeFailure::HandshakeTimeout)), "{outcome:?}");
    }
}
