//! What is played: who takes part, on which lines, and what happens to them.

use std::time::Duration;

use harness::fluid;
use harness::sim::limits;

use crate::clients::Client;

pub(crate) const NAMES: [&str; 8] = [
    "orientation",
    "flash",
    "classes-stay",
    "classes-leave",
    "riders",
    "seed-leaves",
    "slow-source",
    "mixed",
];

/// In bits a second.
const MBIT: u64 = 1_000_000;

/// Everybody's downlink.
const DOWN: u64 = 40 * MBIT;

/// One swarm.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Of the payload, in bytes.
    pub(crate) size: u64,
    /// In bytes.
    pub(crate) piece_length: u32,
    /// The seeder's uplink, in bits a second.
    pub(crate) seed_up: u64,
    pub(crate) leechers: Vec<Leecher>,
    /// Whether who has all of it leaves; the seeder stays.
    pub(crate) leave: bool,
    pub(crate) incident: Option<Incident>,
    /// Whether there is a second client.
    pub(crate) mixed: bool,
    /// Whether sprat alone plays it.
    pub(crate) sprat_alone: bool,
}

/// A downloader. Rates in bits a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Leecher {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) kind: Kind,
}

/// Whose program a downloader runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// That which the scenario is played for.
    Contender,
    /// That which it is mixed with.
    Other,
    /// One that uploads nothing, the same whoever the contender is.
    Rider,
}

/// What happens to the seeder.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Incident {
    /// It is killed once it has sent so many copies of the payload.
    Leaves { copies: f64 },
    /// Its uplink falls to a share of its rate once the leechers have a share of the payload.
    Slows { at: f64, to: f64 },
}

/// For whom a scenario is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Contender {
    pub(crate) client: Client,
    /// Half of the leechers, if mixed.
    pub(crate) other: Option<Client>,
}

/// What no swarm can beat, for data that takes all of the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// T_F, in seconds.
    pub(crate) fluid: f64,
    /// T_G, in seconds.
    pub(crate) granular: f64,
}

impl Scenario {
    /// The one of this name.
    pub(crate) fn named(name: &str, size: u64, copies: f64) -> Option<Self> {
        let flash = Self {
            name: "flash",
            size,
            piece_length: 256 << 10,
            seed_up: 4 * MBIT,
            leechers: leechers(20, 4),
            leave: false,
            incident: None,
            mixed: false,
            sprat_alone: false,
        };
        let classes = Self {
            seed_up: 10 * MBIT,
            // In turn: who comes first would else be all of one kind.
            leechers: (0..30).map(|number| leecher([1, 3, 10][number % 3])).collect(),
            ..flash.clone()
        };
        Some(match name {
            "orientation" => {
                Self { name: "orientation", seed_up: 20 * MBIT, leechers: leechers(8, 10), ..flash }
            }
            "flash" => flash,
            "b0" => Self { name: "b0", sprat_alone: true, ..flash },
            "classes-stay" => Self { name: "classes-stay", ..classes },
            "classes-leave" => Self { name: "classes-leave", leave: true, ..classes },
            "riders" => Self { name: "riders", ..flash.with_every(4, Kind::Rider) },
            "seed-leaves" => Self {
                name: "seed-leaves",
                leave: true,
                incident: Some(Incident::Leaves { copies }),
                ..flash
            },
            "slow-source" => Self {
                name: "slow-source",
                // At the pace of the others it would have the last pieces to itself still, and everybody would wait for them.
                seed_up: 8 * MBIT,
                incident: Some(Incident::Slows { at: 0.98, to: 0.01 }),
                ..flash
            },
            "mixed" => Self { name: "mixed", mixed: true, ..flash.with_every(2, Kind::Other) },
            _ => return None,
        })
    }

    /// Makes every n-th leecher one of these.
    fn with_every(mut self, n: usize, kind: Kind) -> Self {
        self.leechers.iter_mut().skip(n - 1).step_by(n).for_each(|leecher| leecher.kind = kind);
        self
    }

    /// For whom it can be played, with what is there.
    pub(crate) fn contenders(&self, clients: &[Client]) -> Vec<Contender> {
        let has = |client| clients.contains(&client);
        if self.mixed {
            let others = [Client::Libtorrent, Client::Transmission].into_iter().filter(|&other| has(other));
            let pair = |other| Contender { client: Client::Sprat, other: Some(other) };
            return if has(Client::Sprat) { others.map(pair).collect() } else { Vec::new() };
        }
        let allowed = clients.iter().filter(|&&client| !self.sprat_alone || client == Client::Sprat);
        allowed.map(|&client| Contender { client, other: None }).collect()
    }

    /// Whether it needs a peer that only takes.
    pub(crate) fn has_riders(&self) -> bool {
        self.leechers.iter().any(|leecher| leecher.kind == Kind::Rider)
    }

    /// The limits for those who contribute.
    pub(crate) fn bounds(&self) -> Bounds {
        let peers: Vec<_> = self
            .contributors()
            .map(|leecher| limits::Peer { up: leecher.up / 8, down: Some(leecher.down / 8) })
            .collect();
        let granular = limits::granular(self.size, self.piece_length, self.seed_up / 8, &peers);
        Bounds {
            fluid: limits::fluid(self.size, self.seed_up / 8, &peers).as_secs_f64(),
            granular: granular.as_secs_f64(),
        }
    }

    /// When each contributor has all of it in an ideal tit-for-tat, in seconds, in the order of the leechers.
    pub(crate) fn tit_for_tat(&self) -> Vec<f64> {
        let peers: Vec<_> = self
            .contributors()
            .map(|leecher| fluid::Peer { up: leecher.up as f64 / 8.0, down: leecher.down as f64 / 8.0 })
            .collect();
        fluid::tit_for_tat(self.size as f64, self.seed_up as f64 / 8.0, &peers, !self.leave)
    }

    /// Those who upload.
    fn contributors(&self) -> impl Iterator<Item = &Leecher> {
        self.leechers.iter().filter(|leecher| leecher.kind != Kind::Rider)
    }

    /// When it has failed.
    pub(crate) fn deadline(&self) -> Duration {
        let ideal = self.tit_for_tat().into_iter().fold(self.bounds().granular, f64::max);
        Duration::from_secs_f64(60.0 + 5.0 * ideal)
    }

    /// In a sentence.
    pub(crate) fn describe(&self) -> String {
        let mut groups: Vec<(u64, usize)> = Vec::new();
        for leecher in &self.leechers {
            match groups.iter_mut().find(|(up, _)| *up == leecher.up) {
                Some((_, count)) => *count += 1,
                None => groups.push((leecher.up, 1)),
            }
        }
        let groups: Vec<_> =
            groups.iter().map(|(up, count)| format!("{count} of {} Mbit/s up", up / MBIT)).collect();
        let riders = self.leechers.iter().filter(|leecher| leecher.kind == Kind::Rider).count();
        let mut text = format!(
            "{} MiB in pieces of {} KiB; leechers: {}, {} down; seeder: {} up; who has all of it {}",
            self.size >> 20,
            self.piece_length >> 10,
            groups.join(", "),
            DOWN / MBIT,
            self.seed_up / MBIT,
            if self.leave { "leaves" } else { "stays" },
        );
        if riders > 0 {
            text.push_str(&format!("; {riders} upload nothing"));
        }
        match self.incident {
            Some(Incident::Leaves { copies }) => {
                text.push_str(&format!("; the seeder is killed after {copies} copies"));
            }
            Some(Incident::Slows { at, to }) => {
                text.push_str(&format!(
                    "; at {:.0} % the seeder slows down to {:.0} %",
                    at * 100.0,
                    to * 100.0
                ));
            }
            None => {}
        }
        text
    }
}

fn leechers(count: usize, mbit: u64) -> Vec<Leecher> {
    vec![leecher(mbit); count]
}

fn leecher(mbit: u64) -> Leecher {
    Leecher { up: mbit * MBIT, down: DOWN, kind: Kind::Contender }
}

impl std::fmt::Display for Contender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.other {
            None => write!(f, "{}", self.client),
            Some(other) => write!(f, "{} + {other}", self.client),
        }
    }
}
