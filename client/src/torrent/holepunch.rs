//! Hole punching (BEP 55): a peer that can't be dialled is reached if it dials us at the same moment, by uTP, since a router lets in what comes
//! from where something was sent to. Whoever told us of it (BEP 11) is connected to it, and can tell it to.
//!
//! As the one who dials: a dial that nobody has answered for a while, or that failed, is told to a relay ([`Torrent::ask_relays`]). As the
//! relay: two messages, and no more of it. As the one who is told to dial: once, by uTP, if the relay's word is good for that
//! address at all, since whoever stands there has asked for nothing: a relay has so many tries a minute.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::action::{Action, Misbehaviour, PeerSource};
use super::candidates::may_dial;
use super::peer::Peer;
use super::peers::PeerKey;
use super::{Life, Time, Torrent};
use crate::wire::Message;
use crate::wire::ut_holepunch::{HolepunchError, HolepunchMessage};

/// How long a dial may go unanswered before a relay is asked. By then TCP would mostly have come about, and uTP is tried beside it.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Messages of one peer that are heard within [`WINDOW`]: each costs two of ours, or a dial. We dial at most thirty peers at a time.
const MAX_MESSAGES: usize = 30;

/// See [`MAX_MESSAGES`].
const WINDOW: Duration = Duration::from_secs(60);

/// What one peer and we do for each other.
#[derive(Debug, Default)]
pub(super) struct Punching {
    /// The number under which it takes our messages.
    id: Option<u8>,
    /// When its last messages came.
    times: VecDeque<Time>,
}

impl Punching {
    /// Under which number it takes our messages; `None`: not any more.
    pub(super) fn set_id(&mut self, id: Option<u8>) {
        self.id = id;
    }

    /// Whether it understands us.
    pub(super) fn is_possible(&self) -> bool {
        self.id.is_some()
    }

    /// A message came. Whether it is heard.
    fn hears(&mut self, now: Time) -> bool {
        while self.times.front().is_some_and(|&oldest| now - oldest >= WINDOW) {
            self.times.pop_front();
        }
        let heard = self.times.len() < MAX_MESSAGES;
        if heard {
            self.times.push_back(now);
        }
        heard
    }
}

impl Torrent {
    /// Whether we understand `ut_holepunch`. Where peers don't tell of peers there is nobody to be asked.
    pub(super) fn punches_holes(&self) -> bool {
        self.config.utp && self.exchanges_peers()
    }

    /// Dials that nobody has answered yet.
    pub(super) fn ask_relays(&mut self, now: Time) {
        if !self.punches_holes() {
            return;
        }
        for addr in self.candidates.unanswered(now, PATIENCE) {
            self.ask_relay(now, addr);
        }
    }

    /// Has whoever is connected to this peer tell it to dial us, if it is known to understand that and was not told yet.
    pub(super) fn ask_relay(&mut self, now: Time, addr: SocketAddr) {
        if !self.punches_holes() || !self.candidates.is_punchable(addr) {
            return;
        }
        let relay =
            self.peers.iter().find(|(_, peer)| peer.hearing.names(addr) && peer.punching.is_possible());
        if let Some((relay, _)) = relay {
            self.candidates.relay_asked(addr);
            self.send_holepunch(now, relay, HolepunchMessage::Rendezvous(addr));
        }
    }

    fn send_holepunch(&mut self, now: Time, key: PeerKey, message: HolepunchMessage) {
        let id = self.peers.get(key).and_then(|peer| peer.punching.id);
        if let Some(id) = id {
            self.send(now, key, Message::Extended { id, payload: message.encode() });
        }
    }

    /// A peer asks us for help, or helps.
    pub(super) fn holepunch_message(
        &mut self,
        now: Time,
        key: PeerKey,
        payload: &[u8],
    ) -> Result<(), Misbehaviour> {
        if !self.punches_holes() {
            return Ok(());
        }
        let message = HolepunchMessage::decode(payload).map_err(|_| Misbehaviour::BadExtension)?;
        let Some(peer) = self.peers.get_mut(key) else { return Ok(()) };
        if !peer.punching.hears(now) {
            return Ok(());
        }
        match message {
            HolepunchMessage::Rendezvous(target) => self.relay(now, key, target),
            HolepunchMessage::Connect(addr) => self.punch(now, key, addr),
            // The dial goes on, and is repeated.
            HolepunchMessage::Failed(..) => {}
        }
        Ok(())
    }

    /// Tells two peers to dial each other.
    fn relay(&mut self, now: Time, asker: PeerKey, target: SocketAddr) {
        match self.rendezvous(asker, target) {
            Ok((here, other, there)) => {
                self.send_holepunch(now, asker, HolepunchMessage::Connect(there));
                self.send_holepunch(now, other, HolepunchMessage::Connect(here));
            }
            Err(error) => self.send_holepunch(now, asker, HolepunchMessage::Failed(target, error)),
        }
    }

    /// Where the asker is, who the target is, and where that one is.
    fn rendezvous(
        &self,
        asker: PeerKey,
        target: SocketAddr,
    ) -> Result<(SocketAddr, PeerKey, SocketAddr), HolepunchError> {
        let here = self.peers.get(asker).map(endpoint).ok_or(HolepunchError::NoSuchPeer)?;
        if !may_dial(PeerSource::Given, target) || target == here {
            return Err(HolepunchError::NoSuchPeer);
        }
        if self.candidates.is_own(target) {
            return Err(HolepunchError::NoSelf);
        }
        let is_meant = |&(key, peer): &(PeerKey, &Peer)| {
            key != asker && (peer.dial_addr == Some(target) || endpoint(peer) == target)
        };
        let (other, peer) = self.peers.iter().find(is_meant).ok_or(HolepunchError::NotConnected)?;
        let there = endpoint(peer);
        // As with PEX: nobody is told of whom he could not dial, or should not.
        let may_tell = |whom: SocketAddr, of| may_dial(PeerSource::Pex { from: whom.ip() }, of);
        if !may_tell(here, there) || !may_tell(there, here) {
            return Err(HolepunchError::NotConnected);
        }
        if !peer.punching.is_possible() {
            return Err(HolepunchError::NoSupport);
        }
        Ok((here, other, there))
    }

    /// Dials at the word of a relay.
    fn punch(&mut self, now: Time, relay: PeerKey, addr: SocketAddr) {
        let Some(from) = self.peers.get(relay).map(|peer| peer.addr.ip()) else { return };
        let is_here = |peer: &Peer| peer.dial_addr == Some(addr) || peer.addr == addr;
        if self.life == Life::Stopping
            || self.peers.iter().any(|(_, peer)| is_here(peer))
            || self.peers.len() + self.candidates.half_open() >= self.config.max_peers
        {
            return;
        }
        if let Some(swarm) = self.candidates.punch(now, PeerSource::Pex { from }, addr) {
            self.actions.push_back(Action::Punch(addr, self.name_in(swarm)));
        }
    }
}

/// Where it is reached by uTP: where its datagrams come from, if there are any, else where it says that it listens.
fn endpoint(peer: &Peer) -> SocketAddr {
    peer.dial_addr.filter(|_| !peer.utp).unwrap_or(peer.addr)
}
