//! Whom to let go, so that newcomers find somebody: [`Turnover`] and [`least`].
//!
//! Were everybody to dial until all places are taken, those who came first would fill up with each other, and refuse whoever comes later:
//! the swarm becomes a chain in the order of arrival (Al-Hamra et al. 2007), and a newcomer that knows a few of the old is locked out.
//! Three rules against it. We dial up to a part of the places only, and leave the others to those who dial us. If all are taken and a
//! stranger dials, whoever is worth least makes room. And now and then, when we know of somebody new, a few that are worth little go
//! even so, which mixes what has grown.
//!
//! A stranger may be an enemy that would drive our neighbours out. So room is made for few at a time, for one of a network, and not by those
//! whom we dialled ourselves, nor by anybody with whom something passes; and who was let go does not come back in another's place.

use std::collections::VecDeque;
use std::time::Duration;

use torrent_format::{PeerId, PieceIndex};

use super::action::{Connected, Direction, Reason};
use super::allowed_fast::network;
use super::candidates::is_local;
use super::peer::Peer;
use super::peers::PeerKey;
use super::{Time, Torrent};

/// One place in so many is for those who dial us.
const OPEN_SHARE: usize = 4;

/// Nobody goes who gave or got something within this time, or came within it: two turns of the optimistic unchoke.
const IDLE: Duration = Duration::from_secs(60);

/// Room is made once in this time, and so often in a row after a pause. Who fills all our places with his own needs minutes for it.
const ROOM_PAUSE: Duration = Duration::from_secs(5);
const ROOM_BURST: u32 = 4;

/// Time between two turns in which a few go though nobody dialled, and how many of a hundred (libtorrent's figures).
const TURN: Duration = Duration::from_secs(300);
const TURN_PERCENT: usize = 4;

/// For so long who was let go is not dialled, and is nobody for whom another goes.
pub(super) const LET_GO_REDIAL: Duration = Duration::from_secs(10 * 60);

/// How many of them are remembered: as many as [`ROOM_PAUSE`] lets go within that time.
const MAX_LET_GO: usize = 128;

/// Up to how many connections we dial.
pub(super) fn dial_limit(max_peers: usize) -> usize {
    max_peers - max_peers / OPEN_SHARE
}

#[derive(Debug)]
pub(super) struct Turnover {
    /// When all of [`ROOM_BURST`] may be used again.
    room_rested: Time,
    next_turn: Time,
    /// Who was let go, and when, the latest last.
    let_go: VecDeque<(Time, PeerId)>,
}

/// What we would lose with a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Worth {
    /// Neither side wants anything of the other, or it takes and does not give.
    Nothing,
    /// Either may have use for the other yet.
    Hope,
    /// We lack something, and it has everything.
    Seed,
    /// Something passes, or it has what nobody else here has.
    Needed,
}

/// A connection as it is judged here.
#[derive(Clone, Copy, Debug)]
struct View {
    key: PeerKey,
    direction: Direction,
    worth: Worth,
    /// When something passed last, or it was connected.
    busy: Time,
}

/// Which of these goes first, if any may: the least worth, and of those alike the one that has had its chance longest. Since that is
/// somebody who has been in the swarm for long too, it has others.
fn least(now: Time, views: impl Iterator<Item = View>) -> Option<PeerKey> {
    let may_go = |view: &View| view.worth < Worth::Needed && now - view.busy >= IDLE;
    views.filter(may_go).min_by_key(|view| (view.worth, view.busy, view.key)).map(|view| view.key)
}

impl Turnover {
    pub(super) fn new(now: Time) -> Self {
        Self { room_rested: now, next_turn: now + TURN, let_go: VecDeque::new() }
    }

    /// Whether room may be made now. That it was tried counts: to look is work.
    fn takes_room(&mut self, now: Time) -> bool {
        let may = self.room_rested <= now + ROOM_PAUSE * (ROOM_BURST - 1);
        if may {
            self.room_rested = self.room_rested.max(now) + ROOM_PAUSE;
        }
        may
    }

    fn note(&mut self, now: Time, peer: PeerId) {
        if self.let_go.len() >= MAX_LET_GO {
            self.let_go.pop_front();
        }
        self.let_go.push_back((now, peer));
    }

    fn was_let_go(&self, now: Time, peer: PeerId) -> bool {
        self.let_go.iter().any(|&(at, gone)| gone == peer && now - at < LET_GO_REDIAL)
    }
}

impl Torrent {
    /// All places are taken, and a stranger dials: whether somebody made room for it.
    pub(super) fn make_room(&mut self, now: Time, stranger: Connected) -> bool {
        let has_open_places = dial_limit(self.config.max_peers) < self.config.max_peers;
        let ip = stranger.addr.ip();
        let is_neighbour = |peer: &Peer| network(peer.addr.ip()) == network(ip);
        if stranger.direction == Direction::Outgoing
            || !has_open_places
            || self.turnover.was_let_go(now, stranger.peer_id)
            || (!is_local(ip) && self.peers.iter().any(|(_, peer)| is_neighbour(peer)))
        {
            return false;
        }
        self.turnover.takes_room(now) && self.let_go(now, |view| view.direction == Direction::Incoming)
    }

    /// Lets a few go if there is somebody new to be dialled.
    pub(super) fn turn_over(&mut self, now: Time) {
        if now < self.turnover.next_turn {
            return;
        }
        self.turnover.next_turn = now + TURN;
        if self.peers.len() < dial_limit(self.config.max_peers) || !self.candidates.has_new(now) {
            return;
        }
        for _ in 0..(self.peers.len() * TURN_PERCENT / 100).max(1) {
            if !self.let_go(now, |_| true) {
                return;
            }
        }
    }

    /// Closes the connection that is worth least of those that may go; `false`: none may.
    fn let_go(&mut self, now: Time, may_go: impl Fn(&View) -> bool) -> bool {
        let last_copies = self.content().map_or(Vec::new(), |content| content.picker.last_copies());
        let views = self.peers.iter().map(|(key, peer)| View {
            key,
            direction: peer.direction,
            worth: self.worth(key, peer, &last_copies),
            busy: peer.connected.max(peer.download.last_block).max(peer.upload.busy),
        });
        let Some(key) = least(now, views.filter(may_go)) else { return false };
        if let Some(peer) = self.peers.get(key) {
            self.turnover.note(now, peer.peer_id);
        }
        self.disconnect(now, key, Reason::TooMany);
        true
    }

    /// `last_copies`: pieces that we need and that one peer alone has.
    fn worth(&self, key: PeerKey, peer: &Peer, last_copies: &[PieceIndex]) -> Worth {
        let (download, upload) = (&peer.download, &peer.upload);
        let gives = !download.outstanding.is_empty() && !download.snubs;
        let gets = upload.handed_over > 0 || (!upload.choked && !upload.queue.is_empty());
        let content = self.content();
        let has_some = peer.field().is_some_and(|field| !field.is_none());
        let alone = (has_some && last_copies.iter().any(|&piece| peer.has(piece)))
            || content.is_some_and(|content| content.first_copies.holds(key));
        let spent = content.is_some_and(|content| peer.is_spent(content.info.layout(), self.others_give));
        if gives || gets || alone {
            Worth::Needed
        } else if self.is_leeching() && peer.is_seed() {
            Worth::Seed
        } else if spent || download.snubs || !(download.interested || upload.interested) {
            Worth::Nothing
        } else {
            Worth::Hope
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    fn view(number: u32, worth: Worth, busy: u64) -> View {
        View { key: PeerKey::for_test(number), direction: Direction::Incoming, worth, busy: at(busy) }
    }

    #[test]
    fn one_place_in_four_is_for_those_who_dial_us_if_there_are_four() {
        assert_eq!([1, 2, 3, 4, 8, 55, 80].map(dial_limit), [1, 2, 3, 3, 6, 42, 60]);
    }

    #[test]
    fn the_least_worth_goes_and_of_those_alike_the_one_that_has_had_its_chance_longest() {
        let mut views = vec![
            view(0, Worth::Needed, 0),
            view(1, Worth::Seed, 1),
            view(2, Worth::Hope, 4),
            view(3, Worth::Hope, 3),
            view(4, Worth::Nothing, 6),
            view(5, Worth::Nothing, 5),
        ];
        let mut order = Vec::new();
        while let Some(key) = least(at(100), views.iter().copied()) {
            order.push(key);
            views.retain(|view| view.key != key);
        }
        assert_eq!(order, [5, 4, 3, 2, 1].map(PeerKey::for_test), "and who is needed stays");
    }

    #[test]
    fn nobody_goes_with_whom_something_passed_a_moment_ago() {
        let views = [view(0, Worth::Nothing, 41)];
        assert_eq!(least(at(100), views.into_iter()), None);
        assert_eq!(least(at(101), views.into_iter()), Some(PeerKey::for_test(0)));
    }

    #[test]
    fn room_is_made_a_few_times_in_a_row_and_then_now_and_then() {
        let mut turnover = Turnover::new(at(0));
        let made =
            |turnover: &mut Turnover, second| (0..100).filter(|_| turnover.takes_room(at(second))).count();
        let made: Vec<_> = [0, 4, 5, 7, 15, 1_000].map(|second| made(&mut turnover, second)).into();
        assert_eq!(made, [4, 0, 1, 0, 2, 4]);
    }

    #[test]
    fn who_was_let_go_is_remembered_for_a_while() {
        let mut turnover = Turnover::new(at(0));
        let id = |number: u8| PeerId([number; 20]);
        turnover.note(at(0), id(0));
        assert!(turnover.was_let_go(at(599), id(0)) && !turnover.was_let_go(at(600), id(0)));
        for number in 1..=MAX_LET_GO {
            turnover.note(at(0), id(number as u8));
        }
        assert!(!turnover.was_let_go(at(1), id(0)) && turnover.was_let_go(at(1), id(1)));
    }
}
