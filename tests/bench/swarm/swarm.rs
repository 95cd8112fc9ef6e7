//! One run: a network, a tracker, a seeder, and leechers that all begin at one moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::netns::{Host, Network, Traffic};
use harness::process::{Process, Signal};
use harness::sandbox::{Sandbox, info_hash};
use harness::wait::Stopwatch;

use crate::clients::{Client, Job, Peer, Role, Tools};
use crate::machine_load::{self, Load};
use crate::options::Options;
use crate::payload;
use crate::scenario::{Contender, Incident, Kind, Scenario};

/// How often it is looked who is done.
const TICK: Duration = Duration::from_millis(100);

/// How often the counters of all interfaces are read.
const SAMPLE: Duration = Duration::from_millis(500);

/// Who has all of it and does not leave by itself is told to, and after this long made to.
const GRACE: Duration = Duration::from_secs(5);

/// A swarm without its seeder is given up once it has been still for this long. Its rule for hangs is the same (60 s).
const STILL: f64 = 60.0;

/// Still: all together send fewer bytes a second than this, which is less than keep-alives and announcements of thirty peers and far less
/// than any of them would send that had something to send.
const STILL_RATE: f64 = 20_000.0;

/// All that was seen of one run. Times in seconds, from the moment when the leechers began.
#[derive(Debug)]
pub(crate) struct Run {
    /// In the order of the scenario's leechers.
    pub(crate) leechers: Vec<Outcome>,
    pub(crate) samples: Vec<Sample>,
    /// When the incident came, if the scenario has one and it did.
    pub(crate) incident: Option<f64>,
    /// The share of all processors' time that anybody used, ourselves and others.
    pub(crate) load: f64,
    /// How often the kernel had no room for a neighbour's address: then the figures are about that.
    pub(crate) neighbours_refused: u64,
    /// Leechers whose copies differ from the payload.
    pub(crate) damaged: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) client: Client,
    pub(crate) kind: Kind,
    /// In bits a second.
    pub(crate) up: u64,
    /// When it had its last piece.
    pub(crate) finished: Option<f64>,
}

/// What had passed all interfaces at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: f64,
    pub(crate) seeder: Traffic,
    pub(crate) leechers: Vec<Traffic>,
    /// Bytes that each leecher is known to have; 0 of a client that does not say.
    pub(crate) had: Vec<u64>,
}

/// What all runs share.
pub(crate) struct Stage<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) options: &'a Options,
    /// A directory for data.
    pub(crate) work: &'a Path,
    /// The file that is passed on.
    pub(crate) payload: &'a Path,
    /// What of the wire's rate is left for payload.
    pub(crate) efficiency: f64,
}

struct Swarm<'a> {
    scenario: &'a Scenario,
    network: Network,
    seed_host: Host,
    seeder: Option<Peer>,
    /// `None`: it has left.
    leechers: Vec<Option<Peer>>,
    run: Run,
}

/// Plays `scenario` once.
///
/// # Panics
/// If a program can't be started.
pub(crate) fn play(scenario: &Scenario, contender: Contender, stage: &Stage<'_>, label: &str) -> Run {
    let refused_before = machine_load::neighbours_refused();
    let network = Network::new();
    let host = || {
        let host = network.host();
        host.set_congestion_control(&stage.options.congestion);
        host
    };
    let (tracker_host, seed_host) = (host(), host());
    let hosts: Vec<_> = scenario.leechers.iter().map(|_| host()).collect();
    seed_host.shape(scenario.seed_up, scenario.leechers[0].down);
    for (host, leecher) in hosts.iter().zip(&scenario.leechers) {
        host.shape(leecher.up, leecher.down);
    }
    let sandbox = Sandbox::new();
    let tracker = sandbox.tracker(Some(&tracker_host));
    let torrent = sandbox.create(stage.payload, [tracker.url().as_str()], scenario.piece_length);

    let dir = |number: usize| stage.work.join(format!("peer-{number}"));
    let seeder = start_seeder(contender.client, &seed_host, &torrent, &dir(0), stage);
    tracker.wait_seeds(info_hash(&torrent), 1);

    let client = |kind| match kind {
        Kind::Contender => contender.client,
        Kind::Other => contender.other.unwrap_or(contender.client),
        Kind::Rider => Client::Libtorrent,
    };
    let start = |number: usize| {
        let kind = scenario.leechers[number].kind;
        let role = match kind {
            Kind::Rider => Role::Rider,
            Kind::Contender | Kind::Other => Role::Leecher { leaves: scenario.leave },
        };
        let job = Job { host: &hosts[number], role, torrent: &torrent, work: &dir(number + 1) };
        client(kind).start(stage.tools, &job)
    };
    let mut leechers: Vec<Option<Peer>> = scenario
        .leechers
        .iter()
        .enumerate()
        .map(|(number, leecher)| client(leecher.kind).waits().then(|| start(number)))
        .collect();
    let clock = Stopwatch::start();
    for (number, peer) in leechers.iter_mut().enumerate() {
        peer.get_or_insert_with(|| start(number)).go(&torrent);
    }

    let outcome = |leecher: &crate::scenario::Leecher| Outcome {
        client: client(leecher.kind),
        kind: leecher.kind,
        up: leecher.up,
        finished: None,
    };
    let run = Run {
        leechers: scenario.leechers.iter().map(outcome).collect(),
        samples: Vec::new(),
        incident: None,
        load: 0.0,
        neighbours_refused: 0,
        damaged: 0,
    };
    let mut swarm = Swarm { scenario, network, seed_host, seeder: Some(seeder), leechers, run };
    swarm.watch(clock, stage);
    swarm.run.neighbours_refused = machine_load::neighbours_refused() - refused_before;
    swarm.end(stage, label)
}

fn start_seeder(client: Client, host: &Host, torrent: &Path, work: &Path, stage: &Stage<'_>) -> Peer {
    let data = work.join("data");
    fs::create_dir_all(&data)
        .and_then(|()| fs::copy(stage.payload, data.join(payload::NAME)))
        .expect("there is room for the seeder's copy");
    let seeder = client.start(stage.tools, &Job { host, role: Role::Seeder, torrent, work });
    seeder.go(torrent);
    seeder
}

impl Swarm<'_> {
    /// Until everybody has all of it, or time is up.
    fn watch(&mut self, clock: Stopwatch, stage: &Stage<'_>) {
        let load = Load::start();
        let mut next_sample = Duration::ZERO;
        loop {
            let now = clock.elapsed();
            self.look(now);
            let done = self.run.leechers.iter().all(|leecher| leecher.finished.is_some());
            let over = done || self.is_still() || now > self.scenario.deadline();
            if now >= next_sample || over {
                next_sample = now + SAMPLE;
                self.sample(clock.elapsed());
                self.strike(stage.efficiency);
            }
            if over {
                break;
            }
            std::thread::sleep(TICK.saturating_sub(clock.elapsed() - now));
        }
        self.run.load = load.share();
    }

    fn look(&mut self, now: Duration) {
        for (peer, outcome) in self.leechers.iter_mut().zip(&mut self.run.leechers) {
            let Some(ago) = peer.as_mut().filter(|_| outcome.finished.is_none()).and_then(Peer::finished_ago)
            else {
                continue;
            };
            outcome.finished = Some(now.saturating_sub(ago).as_secs_f64());
            // sprat leaves by itself, after it has given a little back; a rider gives nothing either way.
            if self.scenario.leave
                && outcome.client != Client::Sprat
                && let Some(peer) = peer.take()
            {
                peer.process.signal(Signal::TERM);
                std::thread::spawn(move || {
                    let mut process = peer.process;
                    harness::wait::try_until(GRACE, || (!process.is_running()).then_some(()));
                });
            }
        }
    }

    fn sample(&mut self, now: Duration) {
        let traffic = self.network.traffic();
        // The tracker is the first host, the seeder the second.
        let (seeder, leechers) = (traffic[1], traffic[2..].to_vec());
        let last = self.run.samples.last();
        let had = self.leechers.iter().enumerate().map(|(number, peer)| {
            let before = last.map_or(0, |last| last.had[number]);
            match self.run.leechers[number].finished {
                Some(_) => self.scenario.size,
                None => peer.as_ref().map_or(before, |peer| peer.had),
            }
        });
        let had = had.collect();
        self.run.samples.push(Sample { at: now.as_secs_f64(), seeder, leechers, had });
    }

    /// Whether it has stopped without its seeder.
    fn is_still(&self) -> bool {
        let (None, Some(left), [.., last]) = (&self.seeder, self.run.incident, &self.run.samples[..]) else {
            return false;
        };
        let sent = |sample: &Sample| sample.leechers.iter().map(|traffic| traffic.sent).sum::<u64>();
        let before = self.run.samples.iter().rev().find(|sample| sample.at <= last.at - STILL);
        before.is_some_and(|before| {
            before.at > left && ((sent(last) - sent(before)) as f64) < STILL_RATE * (last.at - before.at)
        })
    }

    /// Lets the incident happen, once its time has come.
    fn strike(&mut self, efficiency: f64) {
        let (Some(incident), None, Some(now)) =
            (self.scenario.incident, self.run.incident, self.run.samples.last())
        else {
            return;
        };
        let size = self.scenario.size as f64;
        match incident {
            Incident::Leaves { copies } => {
                if now.seeder.sent as f64 * PAYLOAD_SHARE < copies * size {
                    return;
                }
                // Dropped, it is killed.
                self.seeder = None;
            }
            Incident::Slows { at, to } => {
                let received: u64 = now.leechers.iter().map(|traffic| traffic.received).sum();
                if (received as f64) * efficiency < at * size * now.leechers.len() as f64 {
                    return;
                }
                self.seed_host
                    .shape((self.scenario.seed_up as f64 * to) as u64, self.scenario.leechers[0].down);
            }
        }
        self.run.incident = Some(now.at);
    }

    /// Stops everybody and looks at what they have.
    fn end(self, stage: &Stage<'_>, label: &str) -> Run {
        let mut run = self.run;
        let peers: Vec<(PathBuf, Process)> = self
            .seeder
            .map(Some)
            .into_iter()
            .chain(self.leechers)
            .flatten()
            .map(|peer| (peer.data(), peer.process))
            .collect();
        if let Some(keep) = &stage.options.keep {
            keep_logs(keep, label, &peers);
        }
        // Killed, each by its own id.
        drop(peers);
        for (number, outcome) in run.leechers.iter().enumerate() {
            let copy = stage.work.join(format!("peer-{}/data", number + 1)).join(payload::NAME);
            run.damaged += usize::from(outcome.finished.is_some() && !payload::is_same(stage.payload, &copy));
        }
        for number in 0..=run.leechers.len() {
            let dir = stage.work.join(format!("peer-{number}"));
            fs::remove_dir_all(dir).expect("what was made can be removed");
        }
        run
    }
}

/// Of what a seeder sends, what is payload: 1448 bytes of 1514, and 16 KiB of 16 KiB and 13 bytes.
pub(crate) const PAYLOAD_SHARE: f64 = 1448.0 / 1514.0 * (16_384.0 / 16_397.0);

fn keep_logs(keep: &Path, label: &str, peers: &[(PathBuf, Process)]) {
    let dir = keep.join(label);
    fs::create_dir_all(&dir).expect("a directory for logs can be made");
    for (data, process) in peers {
        let name = data.parent().and_then(Path::file_name).expect("a peer has a directory");
        let text: Vec<_> = process
            .lines()
            .iter()
            .map(|line| format!("{:9.3} {:?} {}\n", line.at.as_secs_f64(), line.stream, line.text))
            .collect();
        fs::write(dir.join(name).with_extension("log"), text.concat()).expect("a log can be written");
    }
}
