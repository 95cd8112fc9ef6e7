//! A peer by script: a plain socket, with every byte in the test's hand.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use client::wire::handshake::HANDSHAKE_LENGTH;
use client::wire::{BlockRequest, Capabilities, Frame, FrameDecoder, Handshake, Message};
use torrent_format::{InfoHash, PeerId};

use crate::content::Content;
use crate::wait::{self, Deadline, SOON};

/// What scripted peers offer unless a test says otherwise: Fast and extensions.
pub const CAPABLE: Capabilities = Capabilities { fast: true, extended: true, dht: false, v2: false };

/// BEP 3 and nothing else.
pub const PLAIN: Capabilities = Capabilities { fast: false, extended: false, dht: false, v2: false };

/// A connection to the program under test.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    decoder: FrameDecoder,
}

/// What the other side did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// It said something.
    Message(Message),
    /// It sent part of a piece.
    Block(BlockRequest, Vec<u8>),
    /// It closed the connection, with or without ceremony.
    Closed,
    /// Nothing, within the time that was given.
    Nothing,
}

impl Wire {
    /// Dials until somebody listens.
    ///
    /// # Panics
    /// If nobody does.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = wait::until(&format!("a listener at {addr}"), SOON, || TcpStream::connect(addr).ok());
        Self::new(stream)
    }

    /// Dials until somebody serves this torrent: its handshake is answered.
    ///
    /// # Panics
    /// If nobody does.
    #[track_caller]
    pub fn connect_to_torrent(addr: SocketAddr, info_hash: InfoHash, capabilities: Capabilities) -> Self {
        wait::until(&format!("a peer with this torrent at {addr}"), SOON, || {
            let mut wire = Self::connect(addr);
            wire.shake_hands(info_hash, capabilities).map(|_| wire)
        })
    }

    /// Around a connection that was accepted.
    pub fn new(stream: TcpStream) -> Self {
        // Small frames should arrive as the test wrote them, not glued together by the kernel.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_write_timeout(Some(SOON));
        Self { stream, buffer: Vec::new(), decoder: FrameDecoder }
    }

    /// Sends our handshake and reads theirs; `None` if they hang up on us.
    pub fn shake_hands(&mut self, info_hash: InfoHash, capabilities: Capabilities) -> Option<Handshake> {
        self.send_raw(&handshake(info_hash, capabilities));
        self.read_handshake()
    }

    /// Reads their handshake; `None` if they hang up, or send none.
    pub fn read_handshake(&mut self) -> Option<Handshake> {
        let deadline = Deadline::after(SOON);
        while self.buffer.len() < HANDSHAKE_LENGTH {
            match self.read(deadline) {
                Received::Nothing if deadline.remaining().is_some() => {}
                Received::Closed | Received::Nothing => return None,
                Received::Message(_) | Received::Block(..) => {}
            }
        }
        let bytes: Vec<u8> = self.buffer.drain(..HANDSHAKE_LENGTH).collect();
        Handshake::decode(&bytes).ok().flatten()
    }

    /// Sends a message. What becomes of it shows in what comes back.
    pub fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.send_raw(&bytes);
    }

    /// Sends part of a piece (message 7).
    pub fn send_block(&mut self, index: u32, begin: u32, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(13 + payload.len());
        bytes.extend((payload.len() as u32 + 9).to_be_bytes());
        bytes.push(7);
        bytes.extend(index.to_be_bytes());
        bytes.extend(begin.to_be_bytes());
        bytes.extend(payload);
        self.send_raw(&bytes);
    }

    /// Sends any bytes. A connection that is closed by now shows in the next [`Wire::receive`].
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next thing that they say.
    pub fn receive(&mut self, limit: Duration) -> Received {
        let deadline = Deadline::after(limit);
        loop {
            match self.next_frame() {
                Some(received) => return received,
                None => match self.read(deadline) {
                    Received::Closed => return Received::Closed,
                    _ if deadline.remaining().is_none() => return Received::Nothing,
                    _ => {}
                },
            }
        }
    }

    /// Reads past everything else to a message that `wanted` takes; `None` if they hang up or time runs out.
    pub fn receive_until<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Received) -> Option<T>,
    ) -> Option<T> {
        let deadline = Deadline::after(limit);
        loop {
            let received = self.receive(deadline.remaining()?);
            if let Some(found) = wanted(&received) {
                return Some(found);
            }
            if received == Received::Closed {
                return None;
            }
        }
    }

    /// Reads past everything, whatever it is, until they hang up: whether they did within `limit`.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let deadline = Deadline::after(limit);
        while deadline.remaining().is_some() {
            if self.read(deadline) == Received::Closed {
                return true;
            }
            self.buffer.clear();
        }
        false
    }

    /// A frame from the bytes that are here.
    fn next_frame(&mut self) -> Option<Received> {
        let (frame, taken) = self.decoder.decode(&self.buffer).expect("sprat sends proper frames")?;
        match frame {
            Frame::Message(message) => {
                self.buffer.drain(..taken);
                Some(Received::Message(message))
            }
            Frame::Block(block) => {
                let end = taken + block.length as usize;
                let payload = self.buffer.get(taken..end)?.to_vec();
                self.buffer.drain(..end);
                // A decoder has no bytes of its own, but may know where in the stream it is.
                Some(Received::Block(block, payload))
            }
        }
    }

    fn read(&mut self, deadline: Deadline) -> Received {
        let Some(left) = deadline.remaining() else { return Received::Nothing };
        let _ = self.stream.set_read_timeout(Some(left));
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Received::Closed,
            Ok(n) => {
                self.buffer.extend(&chunk[..n]);
                Received::Message(Message::KeepAlive)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Received::Nothing
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Received::Message(Message::KeepAlive),
            Err(_) => Received::Closed,
        }
    }
}

/// The 68 bytes of a peer with an id that no other had.
pub fn handshake(info_hash: InfoHash, capabilities: Capabilities) -> Vec<u8> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut random = [b'x'; 12];
    random[8..].copy_from_slice(&NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let peer_id = PeerId::azureus(*b"XX0001", random);
    Handshake { capabilities, info_hash, peer_id }.encode().to_vec()
}

/// Listens on a loopback port and runs `script` with every connection, one after another, until the test process ends.
///
/// # Panics
/// If there is no port.
pub fn listen(mut script: impl FnMut(Wire) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let addr = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            script(Wire::new(stream));
        }
    });
    addr
}

/// Answers requests until the other side hangs up; `spoil` may change the bytes of a block before they leave.
pub fn serve_requests(wire: &mut Wire, content: &Content, mut spoil: impl FnMut(BlockRequest, &mut Vec<u8>)) {
    loop {
        match wire.receive(wait::LONG) {
            Received::Message(Message::Request(request)) => match content.block(request) {
                Some(block) => {
                    let mut block = block.to_vec();
                    spoil(request, &mut block);
                    wire.send_block(request.index, request.begin, &block);
                }
                None => wire.send(&Message::Reject(request)),
            },
            Received::Closed | Received::Nothing => return,
            Received::Message(_) | Received::Block(..) => {}
        }
    }
}

/// Dials `addr` and serves `content` there honestly, from a thread, until the other side hangs up.
pub fn dial_and_serve(addr: SocketAddr, content: &Arc<Content>) -> JoinHandle<()> {
    let content = Arc::clone(content);
    std::thread::spawn(move || {
        let mut wire = Wire::connect_to_torrent(addr, content.info_hash(), CAPABLE);
        wire.send(&Message::HaveAll);
        wire.send(&Message::Unchoke);
        serve_requests(&mut wire, &content, |_, _| {});
    })
}
