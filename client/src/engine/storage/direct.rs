//! Sending without a copy: [`Direct`] says where a block lies, for the kernel to send it from there.
//!
//! Only what the kernel has in memory is sent so: a network thread must not wait for a disk. Anything else is read first, off the
//! network threads, and most of what comes after it is in memory then, since the kernel reads ahead.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::shared::Shared;
use crate::wire::BlockRequest;

/// A block in its file, in memory a moment ago.
#[derive(Debug)]
pub struct Direct {
    file: Arc<File>,
    offset: u64,
    length: u32,
}

/// Why a part of a block did not leave.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The socket: among others, it has no room ([`io::ErrorKind::WouldBlock`]).
    #[error(transparent)]
    Socket(io::Error),
    /// The file can't be sent from, or no longer has these bytes.
    #[error("the file can't be sent from")]
    Source,
}

impl Shared {
    /// See [`super::Storage::direct`].
    pub(super) fn direct(&self, part: BlockRequest) -> Option<Direct> {
        let BlockRequest { index, begin, length } = part;
        let layout = self.info.layout();
        let piece = layout.check_request(index, begin, length)?;
        // Padding, or a part of another file: it has to be put together.
        let one_file = |span: &torrent_format::FileSpan| span.length == u64::from(length);
        if length == 0 || begin + length > layout.piece_size(piece) || !self.has(piece) {
            return None;
        }
        let span = self.spans(piece, begin..begin + length).next().filter(one_file)?;
        if self.files.place(span.file) == super::files::Place::Pad {
            return None;
        }
        let (open, offset) = self.files.unchanged(span)?;
        let in_memory = open.on_memory || is_in_memory(&open.file, offset, length);
        in_memory.then_some(Direct { file: open.file, offset, length })
    }
}

#[cfg(target_os = "linux")]
impl Direct {
    /// Sends some of a block's header, of which the block itself follows.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::WouldBlock`] if it has no room.
    pub fn send_header(&self, stream: &TcpStream, header: &[u8]) -> io::Result<usize> {
        use rustix::net::SendFlags;
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        stream.try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, header, flags)?))
    }

    /// Sends some of the block from its byte `from` on.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, stream: &TcpStream, from: u32) -> Result<usize, SendError> {
        use rustix::io::Errno;
        let mut offset = self.offset + u64::from(from);
        let length = (self.length - from) as usize;
        let sent = stream.try_io(Interest::WRITABLE, || {
            Ok(rustix::fs::sendfile(stream, &*self.file, Some(&mut offset), length)?)
        });
        match sent {
            Ok(0) => Err(SendError::Source),
            Ok(sent) => Ok(sent),
            Err(error) => Err(match Errno::from_io_error(&error) {
                Some(Errno::IO | Errno::INVAL | Errno::NOSYS | Errno::OVERFLOW | Errno::STALE) => {
                    SendError::Source
                }
                _ => SendError::Socket(error),
            }),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Direct {
    /// Not on this system.
    ///
    /// # Errors
    /// Always.
    pub fn send_header(&self, _stream: &TcpStream, _header: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Not on this system.
    ///
    /// # Errors
    /// Always.
    pub fn send(&self, _stream: &TcpStream, _from: u32) -> Result<usize, SendError> {
        Err(SendError::Source)
    }
}

/// Whether the first and the last of these bytes can be had without waiting. Those in between, mostly: the kernel reads ahead in runs
/// that are longer than a block.
#[cfg(target_os = "linux")]
fn is_in_memory(file: &File, offset: u64, length: u32) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let at_hand = |offset| {
        let mut byte = [0];
        preadv2(file, &mut [io::IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) == Ok(1)
    };
    at_hand(offset) && at_hand(offset + u64::from(length) - 1)
}

/// Whether the file is on a file system that has everything in memory.
#[cfg(target_os = "linux")]
pub(super) fn is_on_memory(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|it| it.f_type == TMPFS_MAGIC)
}

/// What `statfs` calls a tmpfs (linux/magic.h).
#[cfg(target_os = "linux")]
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

#[cfg(not(target_os = "linux"))]
pub(super) fn is_on_memory(_file: &File) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_file: &File, _offset: u64, _length: u32) -> bool {
    false
}
