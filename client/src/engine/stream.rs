//! The bytes of a connection, whatever carries them: [`Stream`] while hands are shaken, then an [`Inlet`] and an [`Outlet`] of it.
//!
//! Plain TCP goes straight through: parts read by one system call into as many buffers, files sent by the kernel. Encrypted, what came is
//! decrypted where it was read to, and what goes is encrypted in a copy. uTP has a copy in either direction. Which it is stands fast once
//! hands are shaken.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;

use bytes::{Buf as _, BufMut as _, BytesMut};
use librqbit_utp::{UtpStream, UtpStreamReadHalf, UtpStreamWriteHalf};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wire::mse::{Cipher, Ciphers};

/// Bytes that are copied at a time, to be encrypted, or for uTP: held by each connection beside the budget for payload.
const MAX_STAGED: usize = 32 * 1024;

/// See the module.
pub(super) struct Stream {
    carrier: Carrier,
    ciphers: Option<Box<Ciphers>>,
    /// On its way in.
    arrived: BytesMut,
    /// On its way out.
    staged: BytesMut,
}

enum Carrier {
    Tcp(TcpStream),
    Utp(Box<(UtpStreamReadHalf, UtpStreamWriteHalf)>),
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
        Self::over(Carrier::Utp(Box::new(utp.split())))
    }
}

impl Stream {
    fn over(carrier: Carrier) -> Self {
        Self { carrier, ciphers: None, arrived: BytesMut::new(), staged: BytesMut::new() }
    }

    /// From here on both directions are encrypted.
    pub(super) fn encrypt(&mut self, ciphers: Ciphers) {
        self.ciphers = Some(Box::new(ciphers));
    }

    /// Whether what follows is encrypted.
    #[cfg(test)]
    pub(super) fn is_encrypted(&self) -> bool {
        self.ciphers.is_some()
    }

    /// The socket, for settings, if it has one of its own.
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match &self.carrier {
            Carrier::Tcp(tcp) => Some(tcp),
            Carrier::Utp(_) => None,
        }
    }

    /// Reads at least one byte into what room there is in `into`; says how many, 0 if the peer has closed.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn read_some(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let held = into.len();
        let room = (into.capacity() - held).max(1);
        let mut limited = (&mut *into).limit(room);
        let read = match &mut self.carrier {
            Carrier::Tcp(tcp) => tcp.read_buf(&mut limited).await?,
            Carrier::Utp(utp) => utp.0.read_buf(&mut limited).await?,
        };
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.inbound.apply(&mut into[held..]);
        }
        Ok(read)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sealed;
        let bytes = match &mut self.ciphers {
            None => bytes,
            Some(ciphers) => {
                sealed = bytes.to_vec();
                ciphers.outbound.apply(&mut sealed);
                &sealed
            }
        };
        match &mut self.carrier {
            Carrier::Tcp(tcp) => tcp.write_all(bytes).await,
            Carrier::Utp(utp) => utp.1.write_all(bytes).await,
        }
    }

    /// Its two directions.
    pub(super) fn split(&mut self) -> (Inlet<'_>, Outlet<'_>) {
        let (inbound, outbound) = match &mut self.ciphers {
            None => (None, None),
            Some(ciphers) => (Some(&mut ciphers.inbound), Some(&mut ciphers.outbound)),
        };
        let (source, sink) = match &mut self.carrier {
            Carrier::Tcp(tcp) => (Source::Tcp(tcp), Sink::Tcp(tcp)),
            Carrier::Utp(utp) => {
                let (reader, writer) = &mut **utp;
                let source = Source::Utp { reader, arrived: &mut self.arrived, ended: false };
                (source, Sink::Utp { writer, written: 0 })
            }
        };
        let inlet = Inlet { source, cipher: inbound };
        (inlet, Outlet { sink, cipher: outbound, staged: &mut self.staged })
    }
}

/// What comes.
pub(super) struct Inlet<'a> {
    source: Source<'a>,
    cipher: Option<&'a mut Cipher>,
}

enum Source<'a> {
    Tcp(&'a TcpStream),
    /// What has arrived is taken out of the library before it is asked for.
    Utp {
        reader: &'a mut UtpStreamReadHalf,
        arrived: &'a mut BytesMut,
        ended: bool,
    },
}

impl Inlet<'_> {
    /// Reads what is there into these parts, one after the other; 0 bytes if the peer has closed.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::WouldBlock`] if nothing is there.
    pub(super) fn try_read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Tcp(tcp) => tcp.try_read_vectored(parts)?,
            Source::Utp { arrived, ended, .. } if arrived.is_empty() && !*ended => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Source::Utp { arrived, .. } => {
                let mut read = 0;
                for part in parts.iter_mut() {
                    let here = arrived.len().min(part.len());
                    arrived.copy_to_slice(&mut part[..here]);
                    read += here;
                }
                read
            }
        };
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
        match &mut self.source {
            Source::Tcp(tcp) => tcp.readable().await,
            Source::Utp { reader, arrived, ended } => {
                if arrived.is_empty() && !*ended {
                    arrived.reserve(MAX_STAGED);
                    *ended = reader.read_buf(&mut (&mut **arrived).limit(MAX_STAGED)).await? == 0;
                }
                Ok(())
            }
        }
    }

    /// Reads at least one byte, at most `most`, to the end of `into`; says how many, 0 if the peer has closed.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn read(&mut self, into: &mut BytesMut, most: usize) -> io::Result<usize> {
        let held = into.len();
        loop {
            self.readable().await?;
            let read = match &mut self.source {
                Source::Tcp(tcp) => tcp.try_read_buf(&mut (&mut *into).limit(most)),
                Source::Utp { arrived, .. } => {
                    let here = arrived.len().min(most);
                    into.extend_from_slice(&arrived.split_to(here));
                    Ok(here)
                }
            };
            match read {
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
    sink: Sink<'a>,
    cipher: Option<&'a mut Cipher>,
    /// The beginning of what is offered to [`Outlet::try_write_vectored`] and has not left, encrypted if anything is.
    staged: &'a mut BytesMut,
}

enum Sink<'a> {
    Tcp(&'a TcpStream),
    /// `written`: what the library has taken while it was waited for.
    Utp {
        writer: &'a mut UtpStreamWriteHalf,
        written: usize,
    },
}

impl<'a> Outlet<'a> {
    /// The socket, if bytes may be put into it as they are.
    pub(super) fn plain(&self) -> Option<&'a TcpStream> {
        self.tcp().filter(|_| self.cipher.is_none())
    }

    /// The socket, for settings, if it has one of its own.
    pub(super) fn tcp(&self) -> Option<&'a TcpStream> {
        match self.sink {
            Sink::Tcp(tcp) => Some(tcp),
            Sink::Utp { .. } => None,
        }
    }

    /// Writes what there is room for, and says how much that is. What has not left has to be offered again, from its first byte on:
    /// it may be encrypted by now.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::WouldBlock`] if there is no room.
    pub(super) fn try_write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(tcp) = self.plain() {
            return tcp.try_write_vectored(parts);
        }
        if let Sink::Utp { written: written @ 1.., .. } = &mut self.sink {
            return Ok(std::mem::take(written));
        }
        if self.staged.is_empty() {
            for part in parts {
                let here = part.len().min(MAX_STAGED - self.staged.len());
                self.staged.extend_from_slice(&part[..here]);
            }
            if let Some(cipher) = &mut self.cipher {
                cipher.apply(self.staged);
            }
        }
        match &self.sink {
            Sink::Tcp(tcp) => {
                let written = tcp.try_write(self.staged)?;
                self.staged.advance(written);
                Ok(written)
            }
            Sink::Utp { .. } => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Waits for room. May return early.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn writable(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Tcp(tcp) => tcp.writable().await,
            Sink::Utp { writer, written } => {
                let some =
                    poll_fn(|context| Pin::new(&mut **writer).poll_write(context, self.staged)).await?;
                self.staged.advance(some);
                *written += some;
                if some == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
            }
        }
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
