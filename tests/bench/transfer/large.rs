//! Torrents so large that only their number of pieces matters: sparse files of zeros.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::bench::{median, usage};
use harness::bencode::Value;
use harness::process::{Process, Signal};
use harness::sandbox::free_port;
use harness::wait;
use torrent_format::hash::Sha1State;

use crate::clients::{Client, Job, Role, Tools};
use crate::measure::peak;
use crate::options::Options;

/// To hash all of it once.
const CHECKED: Duration = Duration::from_secs(600);

/// From loaded until it is at rest.
const AT_REST: Duration = Duration::from_secs(3);

/// A file of zeros, of no weight on the disk, and its torrent.
struct Zeros {
    data: std::path::PathBuf,
    torrent: std::path::PathBuf,
    size: u64,
    pieces: u64,
}

impl Zeros {
    fn new(work: &Path, size: u64, piece_length: u64) -> Self {
        let data = work.join("zeros");
        fs::create_dir_all(&data).expect("a directory can be made");
        let file = File::create(data.join("zeros.bin")).and_then(|file| file.set_len(size));
        file.expect("--dir takes sparse files of this size");
        let chunk = vec![0; 1 << 20];
        let hash = |length: u64| {
            let mut state = Sha1State::new();
            let mut left = length;
            while left > 0 {
                let part = left.min(chunk.len() as u64);
                state.update(&chunk[..part as usize]);
                left -= part;
            }
            state.finish()
        };
        let pieces = size.div_ceil(piece_length);
        let mut hashes = hash(piece_length).repeat(pieces as usize - 1);
        hashes.extend(hash(size - (pieces - 1) * piece_length));
        let info = Value::dict([
            ("length", Value::Int(size.into())),
            ("name", Value::bytes("zeros.bin")),
            ("piece length", Value::Int(piece_length.into())),
            ("pieces", Value::Bytes(hashes)),
        ]);
        let torrent = work.join("zeros.torrent");
        fs::write(&torrent, Value::dict([("info", info)]).encode()).expect("a .torrent can be written");
        Self { data, torrent, size, pieces }
    }

    fn job<'a>(&'a self, work: &'a Path, more: &'a [&'a str]) -> Job<'a> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Job {
            role: Role::Seeder,
            torrent: &self.torrent,
            data: &self.data,
            work,
            addr,
            control: free_port(),
            more,
        }
    }

    fn describe(&self) -> String {
        format!("{} GiB of zeros, {} pieces", self.size >> 30, self.pieces)
    }
}

/// How long `sprat seed` takes to seed what it has checked before.
pub(crate) fn start(tools: &Tools, options: &Options, work: &Path) -> String {
    let zeros = Zeros::new(work, options.size(100 << 30), 16 << 20);
    let mut text = format!("### start: {}\n\n", zeros.describe());
    text.push_str("| seeder | first start, which checks, s | later starts, ms | range |\n| --- | ---: | ---: | ---: |\n");
    for client in
        [Client::Sprat, Client::Old].into_iter().filter(|client| tools.has(*client) && options.wants(*client))
    {
        let place = work.join(format!("start-{client}"));
        let run = || {
            let job = zeros.job(&place, &[]);
            seconds_until_seeding(&mut client.command(tools, &job))
        };
        let first = run();
        let mut later: Vec<f64> = (0..options.runs).map(|_| 1000.0 * run()).collect();
        later.sort_by(f64::total_cmp);
        eprintln!("start {client}: {first:.2} s, then {later:.0?} ms");
        let _ = writeln!(
            text,
            "| {client} | {first:.2} | {:.0} | {:.0}..{:.0} |",
            median(later.iter().copied()).unwrap_or(f64::NAN),
            later.first().unwrap_or(&f64::NAN),
            later.last().unwrap_or(&f64::NAN),
        );
    }
    fs::remove_dir_all(&zeros.data).expect("what was written can be removed");
    let _ = writeln!(
        text,
        "\nFrom the start of the process until it says that it seeds. Median of {} starts.",
        options.runs
    );
    text
}

fn seconds_until_seeding(command: &mut Command) -> f64 {
    let process = Process::spawn("sprat seed", command);
    let at = process.wait_for("seeding", CHECKED, |lines| {
        lines.iter().find(|line| line.text.starts_with("seeding ")).map(|line| line.at)
    });
    // Its record is written at the latest now.
    process.signal(Signal::INT);
    process.wait_exit(wait::SOON);
    at.as_secs_f64()
}

/// What an idle seeder of a large torrent holds.
pub(crate) fn idle(tools: &Tools, options: &Options, work: &Path) -> String {
    let zeros = Zeros::new(work, options.size(1 << 40), 8 << 20);
    let mut text = format!("### idle: {}\n\n", zeros.describe());
    text.push_str("| seeder | resident MiB at rest | peak since its start |\n| --- | ---: | ---: |\n");
    let clients = [Client::Sprat, Client::Old, Client::Libtorrent].into_iter();
    for client in clients.filter(|client| tools.has(*client) && options.wants(*client)) {
        let place = work.join(format!("idle-{client}"));
        let seeder = client.start(tools, &zeros.job(&place, &["--no-check"]));
        wait::moment(AT_REST);
        let pid = seeder.process.pid();
        let (resident, peak) = (usage::resident(pid) as f64 / f64::from(1 << 20), peak(pid) as f64 / 1024.0);
        eprintln!("idle {client}: {resident:.1} MiB, peak {peak:.1}");
        let _ = writeln!(text, "| {client} | {resident:.1} | {peak:.1} |");
        seeder.process.kill();
    }
    fs::remove_dir_all(&zeros.data).expect("what was written can be removed");
    let _ = writeln!(
        text,
        "\nSeeding {} s without a peer. libtorrent's is that of a Python that holds it.",
        AT_REST.as_secs()
    );
    text
}
