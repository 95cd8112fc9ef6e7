//! The bytes of a connection, whatever carries them: [`Stream`] while hands are shaken, then an [`Inlet`] and an [`Outlet`] of it.
//!
//! Plain TCP goes straight through: parts read by one system call into as many buffers, files sent by the kernel. So does uTP, but for
//! files. Encrypted, what came is decrypted where it was read to, and what goes is encrypted in a copy. Which it is stands fast once hands
//! are shaken.

use std::io::{self, IoSlice, IoSliceMut};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::utp::UtpStream;
use crate::wire::mse::{Cipher, Ciphers};

/// Bytes that are encrypted at a time: held by each connection beside the budget for payload.
const MAX_STAGED: usize = 32 * 1024;

/// See the module.
pub(super) struct Stream {
    carrier: Carrier,
    ciphers: Option<Box<Ciphers>>,
    /// On its way out, encrypted.
    staged: BytesMut,
}

enum Carrier {
    Tcp(TcpStream),
    Utp(UtpStream),
}

impl Carrier {
    fn try_read_vectored(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => {
                let room = parts.iter().map(|part| part.len()).sum();
                read_all_there_is(tcp, room, || Ok(rustix::io::readv(tcp, parts)?))
            }
            Self::Utp(utp) => utp.try_read_vectored(parts),
        }
    }

    /// At most `most` bytes, to the end of `into`.
    fn try_read(&self, into: &mut BytesMut, most: usize) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_read_buf(&mut into.limit(most)),
            Self::Utp(utp) => {
                let held = into.len();
                into.resize(held + most, 0);
                let read = utp.try_read_vectored(&mut [IoSliceMut::new(&mut into[held..])]);
                into.truncate(held + read.as_ref().map_or(0, |read| *read));
                read
            }
        }
    }

    fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write_vectored(parts),
            Self::Utp(utp) => utp.try_write_vectored(parts),
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.readable().await,
            Self::Utp(utp) => {
                utp.readable().await;
                Ok(())
            }
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.writable().await,
            Self::Utp(utp) => {
                utp.writable().await;
                Ok(())
            }
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Utp(_) => None,
        }
    }
}

/// Calls `read`, which has room for so many bytes. If fewer came, nothing is left: the runtime is told so, as if it had been asked for more,
/// which would cost a system call.
fn read_all_there_is(
    tcp: &TcpStream,
    room: usize,
    mut read: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut short = None;
    let outcome = tcp.try_io(Interest::READABLE, || match read()? {
        some if some > 0 && some < room => {
            short = Some(some);
            Err(io::ErrorKind::WouldBlock.into())
        }
        some => Ok(some),
    });
    short.map_or(outcome, Ok)
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (&self.carrier, &self.ciphers) {
            (Carrier::Tcp(_), None) => "TCP",
            (Carrier::Tcp(_), Some(_)) => "TCP, encrypted",
            (Carrier::Utp(_), None) => "uTP",
            (Carrier::Utp(_), Some(_)) => "uTP, encrypted",
        })
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::over(Carrier::Tcp(tcp))
    }
}

impl From<UtpStream> for Stream {
    fn from(utp: UtpStream) -> Self {
        Self::over(Carrier::Utp(utp))
    }
}

impl Stream {
    fn over(carrier: Carrier) -> Self {
        Self { carrier, ciphers: None, staged: BytesMut::new() }
    }

    /// From here on both directions are encrypted.
    pub(super) fn encrypt(&mut self, ciphers: Ciphers) {
        self.ciphers = Some(Box::new(ciphers));
    }

    /// Whether datagrams carry it.
    pub(super) fn is_utp(&self) -> bool {
        matches!(self.carrier, Carrier::Utp(_))
    }

    /// Whether what follows is encrypted.
    #[cfg(test)]
    pub(super) fn is_encrypted(&self) -> bool {
        self.ciphers.is_some()
    }

    /// The socket, for settings, if it has one of its own.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        self.carrier.tcp()
    }

    /// Reads at least one byte into what room there is in `into`; says how many, 0 if the peer has closed.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn read_some(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let room = (into.capacity() - into.len()).max(1);
        self.split().0.read(into, room).await
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut outlet = self.split().1;
        let mut rest = bytes;
        while !rest.is_empty() {
            match outlet.try_write_vectored(&[IoSlice::new(rest)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => outlet.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Its two directions.
    pub(super) fn split(&mut self) -> (Inlet<'_>, Outlet<'_>) {
        let (inbound, outbound) = match &mut self.ciphers {
            None => (None, None),
            Some(ciphers) => (Some(&mut ciphers.inbound), Some(&mut ciphers.outbound)),
        };
        let inlet = Inlet { carrier: &self.carrier, cipher: inbound };
        (inlet, Outlet { carrier: &self.carrier, cipher: outbound, staged: &mut self.staged })
    }
}

/// What comes.
pub(super) struct Inlet<'a> {
    carrier: &'a Carrier,
    cipher: Option<&'a mut Cipher>,
}

impl Inlet<'_> {
    /// Reads what is there into these parts, one after the other; 0 bytes if the peer has closed.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::WouldBlock`] if nothing is there.
    pub(super) fn try_read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = self.carrier.try_read_vectored(parts)?;
        if let Some(cipher) = &mut self.cipher {
            let mut left = read;
            for part in parts {
                let here = left.min(part.len());
                cipher.apply(&mut part[..here]);
                left -= here;
            }
        }
        Ok(read)
    }

    /// Waits for something to read. May return early.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn readable(&mut self) -> io::Result<()> {
        self.carrier.readable().await
    }

    /// Reads at least one byte, at most `most`, to the end of `into`; says how many, 0 if the peer has closed.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn read(&mut self, into: &mut BytesMut, most: usize) -> io::Result<usize> {
        let held = into.len();
        loop {
            self.readable().await?;
            match self.carrier.try_read(into, most) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    if let Some(cipher) = &mut self.cipher {
                        cipher.apply(&mut into[held..]);
                    }
                    return Ok(read);
                }
            }
        }
    }
}

/// What goes.
pub(super) struct Outlet<'a> {
    carrier: &'a Carrier,
    cipher: Option<&'a mut Cipher>,
    /// The beginning of what was offered to [`Outlet::try_write_vectored`] and has not left, encrypted.
    staged: &'a mut BytesMut,
}

impl<'a> Outlet<'a> {
    /// The socket, if bytes may be put into it as they are.
    pub(super) fn plain(&self) -> Option<&'a TcpStream> {
        self.tcp().filter(|_| self.cipher.is_none())
    }

    /// The socket, for settings, if it has one of its own.
    pub(super) fn tcp(&self) -> Option<&'a TcpStream> {
        self.carrier.tcp()
    }

    /// Writes what there is room for, and says how much that is. What has not left has to be offered again, from its first byte on:
    /// it may be encrypted by now.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::WouldBlock`] if there is no room.
    pub(super) fn try_write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(cipher) = &mut self.cipher else { return self.carrier.try_write_vectored(parts) };
        if self.staged.is_empty() {
            for part in parts {
                let here = part.len().min(MAX_STAGED - self.staged.len());
                self.staged.extend_from_slice(&part[..here]);
            }
            cipher.apply(self.staged);
        }
        let written = self.carrier.try_write_vectored(&[IoSlice::new(self.staged)])?;
        self.staged.advance(written);
        Ok(written)
    }

    /// Waits for room. May return early.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn writable(&mut self) -> io::Result<()> {
        self.carrier.writable().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use torrent_format::InfoHash;

    use super::*;
    use crate::wire::mse::{Initiator, KeyPair, Methods, Progress, Responder};

    /// The ends of one connection, which encrypt by the same keys.
    async fn pair() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(listener.accept(), TcpStream::connect(addr));
        let (mut one, mut other) = (Stream::from(one.unwrap().0), Stream::from(other.unwrap()));
        let torrent = InfoHash([1; 20]);
        let mut initiator = Initiator::new(KeyPair::new([1; 20]), torrent, Methods::RC4, vec![], 1);
        let mut responder = Responder::new(KeyPair::new([2; 20]), Methods::RC4, 2);
        let (mut to_responder, mut to_initiator) = (vec![], vec![]);
        let (mut ours, mut theirs) = (None, None);
        while ours.is_none() || theirs.is_none() {
            match initiator.handle(&std::mem::take(&mut to_initiator)).unwrap() {
                Progress::Wait => {}
                Progress::Send(bytes) => to_responder.extend(bytes),
                Progress::Done(agreed) => ours = agreed.ciphers,
            }
            match responder.handle(&std::mem::take(&mut to_responder), |_| Some(torrent)).unwrap() {
                Progress::Wait => {}
                Progress::Send(bytes) => to_initiator.extend(bytes),
                Progress::Done(agreed) => theirs = agreed.ciphers,
            }
        }
        one.encrypt(ours.unwrap());
        other.encrypt(theirs.unwrap());
        (one, other)
    }

    #[tokio::test]
    async fn what_is_encrypted_comes_as_it_was_sent_however_it_is_cut() {
        let (mut one, mut other) = pair().await;
        let mut rng = fastrand::Rng::with_seed(3);
        let sent: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(3_000_000).collect();
        one.write_all(&sent[..5]).await.unwrap();
        let mut received = BytesMut::with_capacity(5);
        other.read_some(&mut received).await.unwrap();
        assert_eq!(received, sent[..5]);

        let writing = async {
            let (_, mut outlet) = one.split();
            assert!(outlet.plain().is_none());
            let mut at = 5;
            while at < sent.len() {
                let rest = &sent[at..];
                let (first, second) = rest.split_at(rest.len().min(10_001));
                match outlet.try_write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) {
                    Ok(written) => at += written,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        outlet.writable().await.unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let reading = async {
            let (mut inlet, _) = other.split();
            let mut received = received;
            while received.len() < sent.len() {
                let (mut first, mut second) = ([0; 13], [0; 20_000]);
                let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                match inlet.try_read_vectored(&mut parts) {
                    Ok(read) => {
                        received.extend_from_slice(&first[..read.min(13)]);
                        received.extend_from_slice(&second[..read.saturating_sub(13)]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        // Now and then the other way to read.
                        inlet.read(&mut received, 100).await.map(|_| ()).unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            received
        };
        let ((), received) = tokio::join!(writing, reading);
        assert!(received == sent);
    }
}
