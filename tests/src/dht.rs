//! A DHT of many nodes in virtual time: the pure `client::dht`, and a network between them that has latency and loses packets. The same seed
//! gives the same run, bit for bit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use client::dht::{Action, Config, Dht, Id, Outcome, Saved, SearchId};
use client::torrent::Time;

/// Between two nodes, one way: 100 ms there and back in the median.
const LATENCY: std::ops::Range<u64> = 20..80;

/// The wait between two nodes that come.
const ARRIVAL: Duration = Duration::from_millis(200);

/// After which a search must have ended, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct World {
    now: Time,
    nodes: Vec<Node>,
    by_address: BTreeMap<SocketAddr, usize>,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    sequence: u64,
    /// Of a hundred packets.
    loss: u32,
    rng: fastrand::Rng,
}

#[derive(Debug)]
struct Node {
    dht: Dht,
    addr: SocketAddr,
    dead: bool,
    found: Vec<SocketAddr>,
    finished: Option<(Time, Outcome)>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    Packet { from: SocketAddr, to: usize, bytes: Vec<u8> },
    Wake(usize),
}

/// How one search went.
#[derive(Clone, Debug)]
pub struct Searched {
    /// What was found.
    pub peers: Vec<SocketAddr>,
    /// Until it was over, in virtual time.
    pub took: Duration,
    /// What it took.
    pub outcome: Outcome,
}

impl World {
    /// So many nodes, each of which came with one earlier node for a router.
    pub fn new(seed: u64, count: usize, loss: u32) -> Self {
        let mut world = Self {
            now: Time::default(),
            nodes: Vec::new(),
            by_address: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            loss,
            rng: fastrand::Rng::with_seed(seed),
        };
        for _ in 0..count {
            world.join();
            world.run_for(ARRIVAL);
        }
        world
    }

    /// Where a node is.
    pub fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].addr
    }

    /// A node that lives, by chance.
    pub fn any_node(&mut self) -> usize {
        loop {
            let node = self.rng.usize(..self.nodes.len());
            if !self.nodes[node].dead {
                return node;
            }
        }
    }

    /// A torrent, by chance.
    pub fn any_torrent(&mut self) -> Id {
        Id(std::array::from_fn(|_| self.rng.u8(..)))
    }

    /// From now on nothing is heard of this node.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].dead = true;
    }

    /// Nodes whose id is one that their address may have.
    pub fn fitting(&self) -> usize {
        self.nodes.iter().filter(|node| node.dht.id(true).is_some_and(|id| id.fits(node.addr.ip()))).count()
    }

    /// Good nodes in the table of a node.
    pub fn good(&self, node: usize) -> usize {
        self.nodes[node].dht.stats(self.now).good
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Searches, to the end.
    ///
    /// # Panics
    /// If there is none.
    pub fn search(&mut self, node: usize, info_hash: Id, announce: Option<u16>) -> Searched {
        let begun = self.now;
        self.sequence += 1;
        let (search, now) = (SearchId(self.sequence), self.now);
        self.nodes[node].found.clear();
        self.nodes[node].finished = None;
        self.nodes[node].dht.search(now, search, info_hash, announce);
        self.drain(node);
        while self.nodes[node].finished.is_none() {
            assert!(self.now - begun < PATIENCE, "the search does not end");
            self.step();
        }
        let (ended, outcome) = self.nodes[node].finished.expect("it is finished");
        if announce.is_some() {
            // The announces are on their way.
            self.run_for(Duration::from_secs(1));
        }
        Searched { peers: self.nodes[node].found.clone(), took: ended - begun, outcome }
    }

    fn join(&mut self) {
        let addr = loop {
            // Each in a network of its own, none of them private.
            let ip = [self.rng.u8(11..100), self.rng.u8(..), self.rng.u8(..), self.rng.u8(1..255)];
            let addr = SocketAddr::from((ip, 6881));
            if !self.by_address.keys().any(|other| same_network(*other, addr)) {
                break addr;
            }
        };
        let mut secret = [0; 32];
        secret.fill_with(|| self.rng.u8(..));
        let config = Config {
            seed: self.rng.u64(..),
            secret,
            v4: true,
            v6: false,
            read_only: false,
            saved: Saved::default(),
        };
        let number = self.nodes.len();
        let mut dht = Dht::new(config);
        if number > 0 {
            let router = self.any_node();
            dht.set_routers(self.now, vec![self.nodes[router].addr], false);
        }
        self.by_address.insert(addr, number);
        self.nodes.push(Node { dht, addr, dead: false, found: Vec::new(), finished: None });
        self.drain(number);
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, event))) = self.queue.pop() else { return };
        self.now = at;
        let node = match event {
            Event::Packet { from, to, bytes } => {
                if self.nodes[to].dead {
                    return;
                }
                self.nodes[to].dht.handle_packet(at, from, &bytes);
                to
            }
            Event::Wake(node) => {
                if self.nodes[node].dead || self.nodes[node].dht.poll_timeout() > at {
                    return;
                }
                self.nodes[node].dht.handle_timeout(at);
                node
            }
        };
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        let from = self.nodes[node].addr;
        while let Some(action) = self.nodes[node].dht.poll_action() {
            match action {
                Action::Send(to, bytes) => {
                    let Some(&to) = self.by_address.get(&to) else { continue };
                    if self.rng.u32(..100) >= self.loss {
                        let at = self.now + Duration::from_millis(self.rng.u64(LATENCY));
                        self.schedule(at, Event::Packet { from, to, bytes });
                    }
                }
                Action::Found { peers, .. } => self.nodes[node].found.extend(peers),
                Action::Forgotten(_) => {}
                Action::Finished { outcome, .. } => self.nodes[node].finished = Some((self.now, outcome)),
            }
        }
        let wake = self.nodes[node].dht.poll_timeout().max(self.now);
        self.schedule(wake, Event::Wake(node));
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, event)));
    }
}

fn same_network(one: SocketAddr, other: SocketAddr) -> bool {
    match (one, other) {
        (SocketAddr::V4(one), SocketAddr::V4(other)) => one.ip().octets()[..3] == other.ip().octets()[..3],
        _ => false,
    }
}
