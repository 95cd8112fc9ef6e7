//! What the machine can do: two bare processes, this program itself run twice, that move, hash and write one file as tightly as one can,
//! with the hash kernels that sprat uses. There is no protocol but the order of the bytes: strips of sixteen pieces in turn, so that
//! sixteen pieces can be hashed at a time while they are in the core's own cache. Whole pieces one after another, hashed sixteen at a time
//! from memory, took a fifth to a half longer, and so did everything in one thread.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};

use torrent_format::Metainfo;
use torrent_format::hash::{Sha1State, finish_each, update_each};

use crate::clients::{Job, Role};

pub(crate) const SETTINGS: &str = "two bare processes, of two threads where it writes: sendfile, TCP, recv into reused buffers, SHA-1 by \
                                   sprat's kernel over 16 pieces at a time, pwrite, 64 KiB of each piece in turn";

const SEND: &str = "floor-send";
const RECEIVE: &str = "floor-receive";

/// Pieces that are moved at a time, as many as the widest kernel has lanes.
const LANES: usize = 16;

/// Bytes of each of them in one step: all together fit into the cache of a core.
const STRIP: u64 = 64 << 10;

/// Steps that wait to be hashed and written.
const STEPS: usize = 4;

pub(crate) fn command(program: &Path, job: &Job<'_>) -> Command {
    let mut command = Command::new(program);
    match job.role {
        Role::Seeder => command.arg(SEND).arg(job.addr.to_string()),
        Role::Downloader(seeder) => command.arg(RECEIVE).arg(seeder.to_string()),
    };
    command.arg(job.torrent).arg(job.data);
    command
}

/// Plays one of the two, if these are its arguments; then it does not return before it is killed.
pub(crate) fn act(arguments: &[String]) -> bool {
    let [role, addr, torrent, data] = arguments else { return false };
    let Ok(addr) = addr.parse() else { return false };
    let floor = |torrent: &str| {
        let bytes = std::fs::read(torrent).expect("the .torrent can be read");
        Floor::new(Metainfo::from_bytes(&bytes).expect("it is a torrent"), Path::new(data))
    };
    match role.as_str() {
        SEND => floor(torrent).send(addr),
        RECEIVE => floor(torrent).receive(addr),
        _ => return false,
    }
    println!("finished");
    loop {
        std::thread::park();
    }
}

struct Floor {
    torrent: Metainfo,
    file: PathBuf,
    piece_length: u64,
    size: u64,
}

impl Floor {
    fn new(torrent: Metainfo, data: &Path) -> Self {
        let layout = torrent.info.layout();
        let (piece_length, size) = (u64::from(layout.piece_length()), layout.total());
        Self { file: data.join(torrent.info.name()), torrent, piece_length, size }
    }

    /// All steps, each with the next strip of each piece of a group that still has one.
    fn steps(&self) -> impl Iterator<Item = Vec<Range<u64>>> + '_ {
        let group = LANES as u64 * self.piece_length;
        let starts = (0..self.size).step_by(group as usize);
        starts.flat_map(move |start| {
            let pieces: Vec<_> =
                (start..self.size.min(start + group)).step_by(self.piece_length as usize).collect();
            (0..self.piece_length).step_by(STRIP as usize).map(move |within| {
                let strip = |piece: &u64| piece + within..self.size.min(piece + within + STRIP);
                pieces.iter().map(strip).filter(|strip| !strip.is_empty()).collect()
            })
        })
    }

    fn send(&self, addr: SocketAddr) {
        let file = File::open(&self.file).expect("the payload can be opened");
        let listener = TcpListener::bind(addr).expect("the port is free");
        println!("listening");
        let (stream, _) = listener.accept().expect("the other process dials");
        for strip in self.steps().flatten() {
            let mut at = strip.start;
            while at < strip.end {
                let left = (strip.end - at) as usize;
                rustix::fs::sendfile(&stream, &file, Some(&mut at), left).expect("it can be sent");
            }
        }
    }

    /// One thread receives, the other hashes and writes.
    fn receive(&self, addr: SocketAddr) {
        let mut stream = TcpStream::connect(addr).expect("the other process listens");
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&self.file);
        let file = file.expect("the copy can be made");
        file.set_len(self.size).expect("the copy can be made");
        let (free, freed) = channel();
        for _ in 0..STEPS {
            free.send(vec![0; LANES * STRIP as usize]).expect("it is taken below");
        }
        std::thread::scope(|scope| {
            let (full, filled) = channel::<Vec<u8>>();
            scope.spawn(|| self.hash_and_write(&file, filled, free));
            for strips in self.steps() {
                let mut buffer: Vec<u8> = freed.recv().expect("the other thread gives buffers back");
                let length: u64 = strips.iter().map(|strip| strip.end - strip.start).sum();
                stream.read_exact(&mut buffer[..length as usize]).expect("the other process sends all of it");
                full.send(buffer).expect("the other thread takes all of it");
            }
        });
    }

    fn hash_and_write(&self, file: &File, filled: Receiver<Vec<u8>>, free: Sender<Vec<u8>>) {
        let mut states = vec![Sha1State::new(); LANES];
        let mut digests = Vec::new();
        for (strips, buffer) in self.steps().zip(filled) {
            let mut rest = &buffer[..];
            let parts: Vec<&[u8]> = strips
                .iter()
                .map(|strip| rest.split_off(..(strip.end - strip.start) as usize).unwrap_or_default())
                .collect();
            update_each(&mut states[..parts.len()], &parts);
            for (part, strip) in parts.iter().zip(&strips) {
                file.write_all_at(part, strip.start).expect("the copy can be written");
            }
            // Nobody wants it any more when all has been received.
            let _ = free.send(buffer);
            if strips[0].end % self.piece_length == 0 {
                self.finish(&mut states, &mut digests);
            }
        }
        self.finish(&mut states, &mut digests);
        let count = self.torrent.info.layout().piece_count() as usize;
        assert_eq!(digests.len(), count, "the bytes of each piece are hashed");
    }

    /// Ends the pieces that were begun, and checks them.
    fn finish(&self, states: &mut [Sha1State], digests: &mut Vec<[u8; 20]>) {
        let begun = states.iter().filter(|state| state.length() > 0).count();
        let first = digests.len();
        finish_each(&states[..begun], digests);
        for (index, digest) in (first as u32..).zip(&digests[first..]) {
            let piece = self.torrent.info.layout().piece(index).expect("there are no more pieces than that");
            assert_eq!(self.torrent.info.piece_hash(piece), Some(digest), "the hash of piece {index}");
        }
        states.fill(Sha1State::new());
    }
}
