//! Nodes that deal out their uplink by a strategy of their own: requests to them never reach the core, which only downloads.
//!
//! [`Strategy::Tyrant`] is BitTyrant (Piatek et al. 2007): it keeps an estimate of what each peer costs (the rate at which it must be
//! uploaded to before it reciprocates) and of what it gives, and serves the best bargains until the uplink is used.
//! [`Strategy::Proportional`] is PropShare (Levin et al. 2008): it gives to each in proportion to what that one gave in the round before.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use client::torrent::PeerKey;
use client::wire::{BlockRequest, Message};
use torrent_format::BLOCK_LENGTH;

use super::super::behaviour::Strategy;
use super::super::event::{Event, NodeId};
use super::super::node::Connection;
use super::World;

/// How often blocks are handed out, and slots that became affordable are given.
const BEAT: Duration = Duration::from_millis(100);

/// Beats in a round, after which all is judged anew: 10 s.
const ROUND: u32 = 100;

/// Slots that others are taken to share their uplinks among.
const SLOTS: f64 = 4.0;

/// Rounds in a row in which a peer must reciprocate before it is tried for less.
const PATIENCE: u32 = 3;
/// By how much less, and by how much more one that does not reciprocate is given (Piatek et al., section 4.1).
const LESS: f64 = 0.9;
const MORE: f64 = 1.2;

/// Of a proportional sharer's uplink, what goes to one that gave nothing.
const NEWCOMERS: f64 = 0.2;

/// What a strategist knows of its peers.
#[derive(Debug, Default)]
pub struct Strategist {
    deals: BTreeMap<PeerKey, Deal>,
    beats: u32,
}

/// With one peer.
#[derive(Clone, Debug)]
struct Deal {
    /// Requests that wait.
    queue: VecDeque<BlockRequest>,
    unchoked: bool,
    unchokes_us: bool,
    /// What it takes, and what comes of it, bytes a second.
    cost: f64,
    gives: f64,
    /// Bytes that may be handed out.
    credit: f64,
    /// What it had sent by the last round.
    had_sent: u64,
    /// Pieces that it announced since the last round.
    haves: u32,
    /// Rounds in a row in which it reciprocated.
    faithful: u32,
}

impl World {
    /// A strategist joins.
    pub(super) fn start_strategy(&mut self, id: NodeId) {
        self.nodes[id].strategist = Some(Strategist::default());
        self.queue.push(self.now + BEAT, id, Event::Beat(id));
    }

    /// A message reaches a strategist. `false`: it is for the core.
    pub(super) fn strategist_takes(&mut self, id: NodeId, key: PeerKey, message: &Message) -> bool {
        let fair = self.nodes[id].spec.up as f64 / SLOTS;
        let Some(strategist) = &mut self.nodes[id].strategist else { return false };
        let deal = strategist.deals.entry(key).or_insert_with(|| Deal::new(fair));
        match message {
            Message::Have(_) => deal.haves += 1,
            Message::Choke => deal.unchokes_us = false,
            Message::Unchoke => deal.unchokes_us = true,
            Message::Request(block) if deal.unchoked => deal.queue.push_back(*block),
            Message::Request(block) => self.send(id, key, Message::Reject(*block)),
            Message::Cancel(block) => {
                if let Some(at) = deal.queue.iter().position(|queued| queued == block) {
                    deal.queue.remove(at);
                    self.send(id, key, Message::Reject(*block));
                }
            }
            _ => {}
        }
        matches!(message, Message::Request(_) | Message::Cancel(_))
    }

    /// A tenth of a second has passed.
    pub(super) fn beat(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let (Some(_), Some(mut strategist)) = (&node.torrent, node.strategist.take()) else { return };
        strategist.deals.retain(|&key, _| node.connections.get(key).is_some());
        let open: Vec<Connection> = node.connections.iter().copied().collect();
        let fair = node.spec.up as f64 / SLOTS;
        let wanting: Vec<Connection> =
            open.into_iter().filter(|open| self.links[open.link].end(open.side).wanted).collect();
        for connection in &wanting {
            strategist.deals.entry(connection.key).or_insert_with(|| Deal::new(fair));
        }
        if strategist.beats.is_multiple_of(ROUND) {
            self.judge(id, &mut strategist, &wanting);
        }
        strategist.beats += 1;
        let chosen = self.choose(id, &strategist, &wanting);
        for connection in &wanting {
            let unchoke = chosen.contains(&connection.key);
            let Some(deal) = strategist.deals.get_mut(&connection.key) else { continue };
            if deal.unchoked != unchoke {
                deal.unchoked = unchoke;
                self.send(id, connection.key, if unchoke { Message::Unchoke } else { Message::Choke });
                for block in deal.queue.drain(..) {
                    self.send(id, connection.key, Message::Reject(block));
                }
            }
            deal.credit =
                (deal.credit + deal.cost * BEAT.as_secs_f64()).min(deal.cost + f64::from(BLOCK_LENGTH));
            while let Some(&block) = deal.queue.front().filter(|block| deal.credit >= f64::from(block.length))
            {
                deal.credit -= f64::from(block.length);
                deal.queue.pop_front();
                self.send_block(id, connection.key, block);
            }
        }
        self.nodes[id].strategist = Some(strategist);
        self.queue.push(self.now + BEAT, id, Event::Beat(id));
        self.serve(id);
        self.watch(id);
    }

    /// A round is over: what each peer costs and gives.
    fn judge(&mut self, id: NodeId, strategist: &mut Strategist, wanting: &[Connection]) {
        let node = &self.nodes[id];
        let (up, strategy) = (node.spec.up as f64, node.spec.behaviour.strategy);
        let seeding = node.books.verified().is_all();
        let round = (BEAT * ROUND).as_secs_f64();
        let piece = f64::from(self.info.layout().piece_length());
        for connection in wanting {
            let sent = self.links[connection.link].end(connection.side.other()).sent;
            let Some(deal) = strategist.deals.get_mut(&connection.key) else { continue };
            let came = (sent - deal.had_sent) as f64 / round;
            deal.had_sent = sent;
            let announced = f64::from(std::mem::take(&mut deal.haves)) * piece / round;
            match (deal.unchokes_us, deal.unchoked) {
                (true, _) => {
                    deal.gives = came;
                    deal.faithful += 1;
                    if deal.faithful >= PATIENCE && strategy == Strategy::Tyrant {
                        deal.cost *= LESS;
                    }
                }
                (false, given) => {
                    // As much as it would give to each if it shares its own rate among as many as others do.
                    deal.gives = if announced > 0.0 { announced / SLOTS } else { deal.gives };
                    deal.faithful = 0;
                    if given && strategy == Strategy::Tyrant {
                        deal.cost *= MORE;
                    }
                }
            }
        }
        if seeding || strategy == Strategy::Proportional {
            let given = |deals: &BTreeMap<PeerKey, Deal>, connection: &Connection| {
                deals.get(&connection.key).map_or(0.0, |deal| if deal.unchokes_us { deal.gives } else { 0.0 })
            };
            let all: f64 = wanting.iter().map(|connection| given(&strategist.deals, connection)).sum();
            let idle: Vec<_> = wanting.iter().filter(|open| given(&strategist.deals, open) == 0.0).collect();
            let lucky = (!idle.is_empty()).then(|| idle[self.rng.usize(..idle.len())].key);
            for connection in wanting {
                let share = given(&strategist.deals, connection) / all.max(1.0);
                let Some(deal) = strategist.deals.get_mut(&connection.key) else { continue };
                deal.cost = match () {
                    () if seeding || all == 0.0 => up / SLOTS,
                    () if Some(connection.key) == lucky => up * NEWCOMERS,
                    () => up * (1.0 - NEWCOMERS) * share,
                };
            }
        }
    }

    /// Who is unchoked: the best bargains that the uplink can pay for. Between rounds those that are stay.
    fn choose(&self, id: NodeId, strategist: &Strategist, wanting: &[Connection]) -> Vec<PeerKey> {
        let node = &self.nodes[id];
        let (up, fresh) = (node.spec.up as f64, strategist.beats % ROUND == 1);
        let mut ranked: Vec<(bool, f64, PeerKey, f64)> = (wanting.iter())
            .filter_map(|connection| Some((connection.key, strategist.deals.get(&connection.key)?)))
            .filter(|(_, deal)| deal.cost > 0.0)
            .map(|(key, deal)| (!fresh && deal.unchoked, deal.gives / deal.cost, key, deal.cost))
            .collect();
        ranked.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
        let mut left = up * 1.001;
        let mut chosen = Vec::new();
        for (_, _, key, cost) in ranked {
            if cost > left {
                break;
            }
            left -= cost;
            chosen.push(key);
        }
        chosen
    }
}

impl Strategist {
    /// A peer has one piece more.
    pub(super) fn heard_have(&mut self, key: PeerKey) {
        if let Some(deal) = self.deals.get_mut(&key) {
            deal.haves += 1;
        }
    }
}

impl Deal {
    fn new(fair: f64) -> Self {
        Self {
            queue: VecDeque::new(),
            unchoked: false,
            unchokes_us: false,
            cost: fair,
            gives: fair,
            credit: 0.0,
            had_sent: 0,
            haves: 0,
            faithful: 0,
        }
    }
}
