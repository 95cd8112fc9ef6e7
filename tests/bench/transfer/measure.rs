//! Time, processor time and memory of the two sides of a transfer.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Add, Sub};
use std::path::Path;
use std::time::Duration;

use harness::bench::usage::kib;
use harness::process::Signal;
use harness::sandbox::free_port;
use harness::wait::{self, Stopwatch};

use crate::clients::{Client, Job, Role, Tools};
use crate::options::Pair;
use crate::payload::Payload;

/// A transfer that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(600);

/// The unit of times in /proc, whatever the kernel's own tick (Linux, `USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

/// Processor seconds.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

/// What one side has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: Cpu,
    /// `VmHWM`, in KiB.
    pub(crate) peak: u64,
}

/// One transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From the downloader's start until it has all of it.
    pub(crate) seconds: f64,
    /// What it took then to write what was in its cache, and to sync what was not on the disk yet.
    pub(crate) sync: f64,
    pub(crate) seeder: Usage,
    pub(crate) downloader: Usage,
    pub(crate) sound: bool,
}

impl Cpu {
    /// What all threads of a process have used so far; nothing if it is gone.
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Two fields before: the pid, and a name that may hold anything but ends with the last parenthesis.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let values: Vec<&str> = rest.split_whitespace().collect();
        let ticks =
            |field: usize| values.get(field - 2).and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
        Self { user: ticks(13) / TICKS_A_SECOND, system: ticks(14) / TICKS_A_SECOND }
    }

    pub(crate) fn sum(self) -> f64 {
        self.user + self.system
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { user: self.user - other.user, system: self.system - other.system }
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

/// `VmHWM` of a process (proc(5)), in KiB.
pub(crate) fn peak(pid: u32) -> u64 {
    kib(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmHWM:")
}

/// Moves `payload` once, and looks at the copy afterwards. `route` gives the address at which the downloader finds a seeder.
pub(crate) fn transfer(
    pair: Pair,
    payload: &Payload,
    tools: &Tools,
    work: &Path,
    route: impl Fn(SocketAddr) -> SocketAddr,
) -> Run {
    let stage = tempfile::Builder::new().prefix("run-").tempdir_in(work).expect("a directory can be made");
    let ip = [pair.seeder, pair.downloader].into_iter().map(Client::address).find(|ip| !ip.is_loopback());
    let ip = ip.unwrap_or(Ipv4Addr::LOCALHOST);
    let addr = || SocketAddr::from((ip, free_port()));
    let copy = stage.path().join("copy");
    let seed = Job {
        role: Role::Seeder,
        torrent: &payload.torrent,
        data: &payload.data,
        work: &stage.path().join("seeder"),
        addr: addr(),
        control: free_port(),
        more: &["--no-check"],
    };
    let mut seeder = pair.seeder.start(tools, &seed);
    let found = route(seed.addr);
    let torrent =
        if pair.downloader.needs_tracker() { payload.tracked(found) } else { payload.torrent.clone() };
    let get = Job {
        role: Role::Downloader(found),
        torrent: &torrent,
        data: &copy,
        work: &stage.path().join("downloader"),
        addr: addr(),
        control: free_port(),
        more: &[],
    };
    let waiting = pair.downloader.waits().then(|| pair.downloader.start(tools, &get));
    seeder.begin_counting();
    let stopwatch = Stopwatch::start();
    let mut downloader = match waiting {
        Some(downloader) => {
            downloader.begin(&torrent);
            downloader
        }
        None => pair.downloader.start(tools, &get),
    };
    downloader.wait_finished(LIMIT);
    let seconds = stopwatch.elapsed().as_secs_f64();
    let (seeder_cpu, downloader_cpu) = (seeder.cpu(), downloader.cpu());
    let stopwatch = Stopwatch::start();
    let there = copy.join(&payload.name);
    downloader.wait_written(LIMIT);
    // What can't be synced is found to differ below.
    let _ = File::open(&there).and_then(|it| match payload.is_file() {
        true => it.sync_all(),
        false => Ok(rustix::fs::syncfs(&it)?),
    });
    let sync = stopwatch.elapsed().as_secs_f64();
    let peak =
        |pid: u32| kib(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmHWM:");
    let run = Run {
        seconds,
        sync,
        seeder: Usage { cpu: seeder_cpu, peak: peak(seeder.process.pid()) },
        downloader: Usage { cpu: downloader_cpu, peak: peak(downloader.process.pid()) },
        sound: true,
    };
    // Some have a cache of their own, which they empty in the end.
    downloader.process.signal(Signal::TERM);
    downloader.process.wait_exit(wait::SOON);
    seeder.process.kill();
    Run { sound: payload.is_same(&there), ..run }
}
