//! Many peers at one seeder: what they get together, beside what one gets alone. The peers are light ones of this process: the active ask
//! for blocks as long as they are unchoked and drop what comes, the idle shake hands and stay.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use client::wire::{BlockRequest, Message};
use harness::bench::median;
use harness::peer::{self, PLAIN};
use harness::sandbox::{free_port, info_hash};
use harness::wait::{self, Stopwatch};
use torrent_format::BLOCK_LENGTH;

use crate::clients::{Client, Job, Role, Tools};
use crate::measure::{Cpu, peak};
use crate::options::Options;
use crate::payload::{PIECE_LENGTH, Payload};

const PEERS: usize = 200;
const ACTIVE: usize = 50;

/// What a peer has asked for and not got, in blocks: 2 MiB.
const ASKED: usize = 128;

/// Peers are let in, unchoked and brought up to speed first.
const BEFORE: Duration = Duration::from_secs(3);

/// For so long it is counted.
const COUNTED: Duration = Duration::from_secs(8);

/// Seeders whose upload slots and connections can be set to be enough, from the command line.
const SEEDERS: [Client; 3] = [Client::Sprat, Client::Old, Client::Libtorrent];

/// What a seeder gave.
#[derive(Clone, Copy, Debug)]
struct Given {
    bytes: f64,
    seconds: f64,
    cpu: Cpu,
    /// `VmHWM`, in KiB.
    peak: u64,
    /// Active peers that got anything.
    served: usize,
}

/// All runs; gives their table.
pub(crate) fn race(tools: &Tools, options: &Options, work: &Path) -> String {
    let payload = Payload::file(work, options.size(1 << 30), options.payload.as_deref(), tools);
    let seeders = SEEDERS.into_iter().filter(|client| tools.has(*client) && options.wants(*client));
    let mut rows: Vec<(Client, Vec<Given>, Vec<Given>)> =
        seeders.map(|client| (client, vec![], vec![])).collect();
    for round in 1..=options.runs {
        for (client, alone, together) in &mut rows {
            for (idle, active, given) in [(0, 1, &mut *alone), (PEERS - ACTIVE, ACTIVE, &mut *together)] {
                let run = || serve(*client, idle, active, &payload, tools, work);
                if let Ok(run) = catch_unwind(AssertUnwindSafe(run)) {
                    eprintln!(
                        "peers {client} {active} active {round}: {:.2} GiB/s, {} served",
                        run.rate(),
                        run.served
                    );
                    given.push(run);
                }
            }
        }
    }
    let mut text = format!("### peers: {PEERS} at one seeder, {ACTIVE} of them active, {payload}\n\n");
    std::fs::remove_dir_all(&payload.data).expect("what was written can be removed");
    text.push_str("| seeder | one peer, GiB/s | CPU s/GiB | all, GiB/s | % of one peer's | CPU s/GiB | peak MiB | got anything |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (client, alone, together) in &rows {
        let of =
            |runs: &[Given], figure: fn(&Given) -> f64| median(runs.iter().map(figure)).unwrap_or(f64::NAN);
        let (one, all) = (of(alone, Given::rate), of(together, Given::rate));
        let _ = writeln!(
            text,
            "| {client} | {one:.2} | {:.2} | {all:.2} | {:.0} | {:.2} | {:.0} | {:.0} |",
            of(alone, Given::cost),
            100.0 * all / one,
            of(together, Given::cost),
            of(together, |run| run.peak as f64 / 1024.0),
            of(together, |run| run.served as f64),
        );
    }
    let _ = writeln!(
        text,
        "\nMedians of {} runs each, in turn; {} s are counted. The peers share the processors with the seeder: each asks for 2 MiB in \
         advance, and drops what comes.",
        options.runs,
        COUNTED.as_secs(),
    );
    text
}

impl Given {
    fn rate(&self) -> f64 {
        self.bytes / self.seconds / (1u64 << 30) as f64
    }

    fn cost(&self) -> f64 {
        self.cpu.sum() / (self.bytes / (1u64 << 30) as f64)
    }
}

fn serve(client: Client, idle: usize, active: usize, payload: &Payload, tools: &Tools, work: &Path) -> Given {
    let stage = tempfile::Builder::new().prefix("run-").tempdir_in(work).expect("a directory can be made");
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let job = Job {
        role: Role::Seeder,
        torrent: &payload.torrent,
        data: &payload.data,
        work: &stage.path().join("seeder"),
        addr,
        control: free_port(),
        more: &["--no-check", "--max-peers", "250"],
    };
    let mut seeder = client.start(tools, &job);
    let info_hash = info_hash(&payload.torrent);
    let dial = || {
        let mut stream = wait::until("the seeder", wait::SOON, || TcpStream::connect(addr).ok());
        stream.write_all(&peer::handshake(info_hash, PLAIN)).expect("it takes a handshake");
        stream
    };
    let staying: Vec<TcpStream> = (0..idle).map(|_| dial()).collect();
    let ended = Arc::new(AtomicBool::new(false));
    let pieces = (payload.size / u64::from(PIECE_LENGTH)) as u32;
    let peers: Vec<(Arc<AtomicU64>, JoinHandle<()>)> = (0..active as u32)
        .map(|number| {
            let got = Arc::new(AtomicU64::new(0));
            let first = number * 17 % pieces;
            let active = Active {
                stream: dial(),
                got: Arc::clone(&got),
                ended: Arc::clone(&ended),
                pieces,
                next: (first, 0),
            };
            (got, thread::spawn(|| active.run()))
        })
        .collect();
    let got = || peers.iter().map(|(got, _)| got.load(Ordering::Relaxed)).collect::<Vec<_>>();
    wait::moment(BEFORE);
    seeder.begin_counting();
    let (before, stopwatch) = (got(), Stopwatch::start());
    wait::moment(COUNTED);
    let (after, seconds, cpu) = (got(), stopwatch.elapsed().as_secs_f64(), seeder.cpu());
    let bytes = after.iter().sum::<u64>() - before.iter().sum::<u64>();
    let given = Given {
        bytes: bytes as f64,
        seconds,
        cpu,
        peak: peak(seeder.process.pid()),
        served: after.iter().zip(&before).filter(|(after, before)| after > before).count(),
    };
    ended.store(true, Ordering::Relaxed);
    seeder.process.kill();
    drop(staying);
    for (_, peer) in peers {
        // One that was hung up on has ended by itself, as all do now.
        let _ = peer.join();
    }
    given
}

/// A peer that wants everything, again and again.
struct Active {
    stream: TcpStream,
    got: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    pieces: u32,
    /// The piece and offset to ask for next.
    next: (u32, u32),
}

impl Active {
    fn run(mut self) {
        let mut out = Vec::new();
        Message::Interested.encode(&mut out);
        let mut buffer = vec![0; 256 << 10];
        // What the seeder says first is its handshake.
        let (mut skip, mut head) = (client::wire::handshake::HANDSHAKE_LENGTH, Vec::new());
        let (mut unchoked, mut asked) = (false, 0);
        while !self.ended.load(Ordering::Relaxed) {
            if unchoked && asked <= 3 * ASKED / 4 {
                while asked < ASKED {
                    Message::Request(self.next_block()).encode(&mut out);
                    asked += 1;
                }
            }
            if !out.is_empty() && self.stream.write_all(&out).is_err() {
                return;
            }
            out.clear();
            let Ok(length @ 1..) = self.stream.read(&mut buffer) else { return };
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let skipped = skip.min(rest.len());
                (skip, rest) = (skip - skipped, &rest[skipped..]);
                let wanted = (5 - head.len()).min(rest.len());
                head.extend_from_slice(&rest[..wanted]);
                rest = &rest[wanted..];
                let Some((&prefix, behind)) = head.split_first_chunk::<4>() else { continue };
                let length = u32::from_be_bytes(prefix) as usize;
                if length == 0 {
                    // A keep-alive; the byte that was taken for its kind begins the next.
                    head = behind.to_vec();
                    continue;
                }
                let Some(&kind) = behind.first() else { continue };
                head.clear();
                skip = length - 1;
                match kind {
                    0 => (unchoked, asked) = (false, 0),
                    1 => unchoked = true,
                    7 => {
                        asked = asked.saturating_sub(1);
                        self.got.fetch_add(length as u64 - 9, Ordering::Relaxed);
                    }
                    _ => {}
                }
            }
        }
    }

    fn next_block(&mut self) -> BlockRequest {
        let (index, begin) = self.next;
        let after = begin + BLOCK_LENGTH;
        self.next = if after < PIECE_LENGTH { (index, after) } else { ((index + 1) % self.pieces, 0) };
        BlockRequest { index, begin, length: BLOCK_LENGTH }
    }
}
