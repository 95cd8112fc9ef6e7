//! Negotiations of [`crate::wire::mse`] on a connection: [`initiate`] where we dialled, [`respond`] where we were dialled.

#![expect(clippy::disallowed_methods, reason = "keys are random")]

use bytes::BytesMut;
use tokio::sync::Semaphore;
use torrent_format::InfoHash;

use super::handshake::{FIRST_BUFFER, HandshakeFailure, read_more};
use super::stream::Stream;
use crate::wire::mse::{Agreed, Initiator, KeyPair, Methods, Progress, Proof, Responder, SECRET_LENGTH};

/// Begins with a negotiation for this torrent, and sends `initial` (a handshake) in it. Gives what has come after it, readable; what
/// follows on the stream is as was agreed.
pub(super) async fn initiate(
    stream: &mut Stream,
    offer: Methods,
    torrent: InfoHash,
    initial: &[u8],
) -> Result<BytesMut, HandshakeFailure> {
    let (keys, seed) = random_keys();
    let mut initiator = Initiator::new(keys, torrent, offer, initial.to_vec(), seed);
    let mut chunk = BytesMut::with_capacity(FIRST_BUFFER);
    loop {
        let progress = initiator.handle(&chunk)?;
        chunk.clear();
        match progress {
            Progress::Wait => read_more(stream, &mut chunk).await?,
            Progress::Send(bytes) => stream.write_all(&bytes).await?,
            Progress::Done(agreed) => return Ok(go_on(stream, *agreed)),
        }
    }
}

/// Answers a peer that began with `chunk`. `find` knows which torrent is meant. Gives that, and what has come after the negotiation.
///
/// `turn`: keys are worked out for one peer at a time, so that a thousand that dial at once take a thread, not the machine.
pub(super) async fn respond(
    stream: &mut Stream,
    accept: Methods,
    mut chunk: BytesMut,
    turn: &Semaphore,
    find: impl Fn(&Proof) -> Option<InfoHash>,
) -> Result<(InfoHash, BytesMut), HandshakeFailure> {
    let closed = |_| HandshakeFailure::Closed;
    let mut responder = {
        let _turn = turn.acquire().await.map_err(closed)?;
        let (keys, seed) = random_keys();
        Responder::new(keys, accept, seed)
    };
    loop {
        let progress = {
            let _turn = turn.acquire().await.map_err(closed)?;
            responder.handle(&chunk, &find)?
        };
        chunk.clear();
        match progress {
            Progress::Wait => read_more(stream, &mut chunk).await?,
            Progress::Send(bytes) => stream.write_all(&bytes).await?,
            Progress::Done(agreed) => {
                let torrent = responder.torrent().ok_or(HandshakeFailure::Closed)?;
                return Ok((torrent, go_on(stream, *agreed)));
            }
        }
    }
}

fn go_on(stream: &mut Stream, agreed: Agreed) -> BytesMut {
    if let Some(ciphers) = agreed.ciphers {
        stream.encrypt(ciphers);
    }
    let mut received = BytesMut::with_capacity(FIRST_BUFFER.max(agreed.received.len()));
    received.extend_from_slice(&agreed.received);
    received
}

/// And a seed for padding.
fn random_keys() -> (KeyPair, u64) {
    let mut random = [0; SECRET_LENGTH + 8];
    getrandom::fill(&mut random).expect("the system has random bytes");
    let (secret, seed) = random.split_first_chunk().expect("it is longer");
    (KeyPair::new(*secret), u64::from_le_bytes(*seed.first_chunk().expect("it is so long")))
}
