//! Sending without a copy: [`Direct`] says where blocks lie, for the kernel to send them from there.
//!
//! Only what the kernel has in memory is sent so: a network thread must not wait for a disk. Anything else is read first, off the
//! network threads, and most of what comes after it is in memory then, since the kernel reads ahead.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::files::{OpenFile, Place};
use super::shared::Shared;
use crate::wire::BlockRequest;

/// Blocks that lie one behind the other in a file, in memory a moment ago. What has to be looked up and asked of the kernel for a block
/// is the same for its neighbours: the more there are, the less each costs.
#[derive(Debug)]
pub struct Direct {
    file: Arc<File>,
    /// Of the first.
    offset: u64,
    /// How many there are.
    blocks: usize,
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
    pub(super) fn direct(&self, parts: &[BlockRequest]) -> Option<Direct> {
        let &BlockRequest { index, begin, length } = parts.first()?;
        let layout = self.info.layout();
        let piece = layout.check_request(index, begin, length)?;
        let size = layout.piece_size(piece);
        let mut end = begin;
        let neighbours = parts.iter().map_while(|part| {
            let follows = part.index == index && part.begin == end && part.length > 0;
            end = end.checked_add(part.length).filter(|&end| follows && end <= size)?;
            Some(end)
        });
        let ends: SmallVec<[u32; 32]> = neighbours.collect();
        if !self.has(piece) {
            return None;
        }
        let span = self.spans(piece, begin..*ends.last()?).next()?;
        // Padding, or a part of another file: it has to be put together.
        let here = ends.iter().take_while(|&&end| u64::from(end - begin) <= span.length).count();
        if here == 0 || self.files.place(span.file) == Place::Pad {
            return None;
        }
        let (open, offset) = self.files.unchanged(span)?;
        let at_hand = |end: u32| is_in_memory(&open.file, offset + u64::from(end - begin) - 1);
        let blocks = if open.on_memory {
            here
        } else if is_in_memory(&open.file, offset) {
            ends[..here].iter().take_while(|&&end| at_hand(end)).count()
        } else {
            0
        };
        (blocks > 0).then_some(Direct { file: open.file, offset, blocks })
    }
}

impl Direct {
    /// How many of the blocks that were asked for, from the first on; at least one.
    pub fn blocks(&self) -> usize {
        self.blocks
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

    /// Sends some of these bytes, counted from the beginning of the first block.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&self, stream: &TcpStream, bytes: Range<u32>) -> Result<usize, SendError> {
        use rustix::io::Errno;
        let mut offset = self.offset + u64::from(bytes.start);
        let length = bytes.len();
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

/// While it lives, what is sent leaves in full packets only; the rest as soon as it is dropped. Else each block would be a packet of its
/// own: over loopback, where a packet may have 64 KiB, three times as many as there need be.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "it is made on Linux only"))]
pub struct Cork<'a>(&'a TcpStream);

#[cfg(target_os = "linux")]
impl<'a> Cork<'a> {
    /// `None` if that can't be, or does not pay: BBR spaces packets by a timer each, which costs more than is saved.
    pub fn new(stream: &'a TcpStream) -> Option<Self> {
        use rustix::net::sockopt::{set_tcp_cork, tcp_congestion};
        let paced = tcp_congestion(stream).is_ok_and(|name| name.starts_with("bbr"));
        (!paced && set_tcp_cork(stream, true).is_ok()).then_some(Self(stream))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Cork<'_> {
    fn drop(&mut self) {
        if let Err(error) = rustix::net::sockopt::set_tcp_cork(self.0, false) {
            tracing::debug!("can't tune a socket: {error}");
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Cork<'_> {
    /// Not on this system.
    pub fn new(_stream: &TcpStream) -> Option<Self> {
        None
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
    pub fn send(&self, _stream: &TcpStream, _bytes: Range<u32>) -> Result<usize, SendError> {
        Err(SendError::Source)
    }
}

/// Whether this byte can be had without waiting. If it is a block's last, so can the others, mostly: the kernel reads ahead in runs that
/// are longer than a block.
#[cfg(target_os = "linux")]
fn is_in_memory(file: &File, offset: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    preadv2(file, &mut [io::IoSliceMut::new(&mut [0])], offset, ReadWriteFlags::NOWAIT) == Ok(1)
}

impl OpenFile {
    /// Fills `out` without waiting for a disk; false if that can't be.
    #[cfg(target_os = "linux")]
    pub(super) fn read_at_hand(&self, out: &mut [u8], offset: u64) -> bool {
        use rustix::io::{ReadWriteFlags, preadv2};
        // Not every file system that has all in memory knows the flag.
        let flags = if self.on_memory { ReadWriteFlags::empty() } else { ReadWriteFlags::NOWAIT };
        let wanted = out.len();
        preadv2(&*self.file, &mut [io::IoSliceMut::new(out)], offset, flags) == Ok(wanted)
    }

    /// Not on this system.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read_at_hand(&self, _out: &mut [u8], _offset: u64) -> bool {
        false
    }
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
fn is_in_memory(_file: &File, _offset: u64) -> bool {
    false
}
