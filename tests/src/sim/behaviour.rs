//! Those who do not play by the rules: [`Behaviour`] says how, as data. Each is a real core whose actions are tampered with on their way out.

use std::net::SocketAddr;
use std::time::Duration;

use client::wire::Message;
use client::wire::extension::UT_PEX_ID;
use client::wire::ut_pex::{PexFlags, PexMessage};
use torrent_format::Bitfield;

/// How a node cheats. The default is honest.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Behaviour {
    /// It never unchokes anybody and never serves a block.
    pub free_rider: bool,
    /// What it says it has.
    pub claims: Claims,
    /// It closes everything and comes back under a new peer id, again and again.
    pub rejoins: Option<Rejoins>,
    /// How it deals out its uplink.
    pub strategy: Strategy,
    /// It connects and says nothing.
    pub silent: bool,
    /// All that it tells of others (PEX) are addresses of nobody.
    pub lies_by_pex: bool,
}

/// How many addresses of nobody a liar tells of at a time: as many as are believed.
const LIES: u32 = 50;

/// How a node deals out its uplink.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    /// As the core wants.
    #[default]
    Core,
    /// As little to each as it takes, best bargains first (BitTyrant).
    Tyrant,
    /// To each in proportion to what it gave (PropShare).
    Proportional,
}

/// What a node says that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Claims {
    /// The truth.
    #[default]
    True,
    /// Nothing, ever: it looks like a newcomer.
    Nothing,
    /// Every second piece from the start, and no other: it looks like somebody with much to trade.
    Half,
}

/// How a node comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejoins {
    /// How long it takes part each time.
    pub every: Duration,
    /// Whether it throws away what it has, so that it is hungry for ever.
    pub forgets: bool,
}

impl Behaviour {
    /// It takes and does not give.
    pub fn free_rider() -> Self {
        Self { free_rider: true, ..Self::default() }
    }

    /// Whether what it says about itself is a lie, for which others may well drop it.
    pub fn lies(&self) -> bool {
        self.claims != Claims::True
    }

    /// What becomes of a message that its core wants to send.
    pub(super) fn tamper(&self, message: Message, pieces: u32) -> Option<Message> {
        if self.silent {
            return None;
        }
        match (message, self.claims) {
            (Message::Extended { id: UT_PEX_ID, payload }, _) if self.lies_by_pex => {
                // Others each time, since what it had to say is never the same.
                let first =
                    payload.iter().fold(0_u32, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
                let nobody = |number: u32| {
                    let [_, _, high, low] = (first.wrapping_add(number)).to_be_bytes();
                    (SocketAddr::from(([10, 255, high, low], 6881)), PexFlags::REACHABLE)
                };
                let lies = PexMessage { added: (0..LIES).map(nobody).collect(), dropped: Vec::new() };
                Some(Message::Extended { id: UT_PEX_ID, payload: lies.encode() })
            }
            (Message::Choke | Message::Unchoke | Message::AllowedFast(_), _)
                if self.free_rider || self.strategy != Strategy::Core =>
            {
                None
            }
            (message, Claims::True) => Some(message),
            (Message::Have(_), _) => None,
            (Message::Bitfield(_) | Message::HaveAll | Message::HaveNone, Claims::Nothing) => {
                Some(Message::HaveNone)
            }
            (Message::Bitfield(_) | Message::HaveAll | Message::HaveNone, Claims::Half) => {
                let mut field = Bitfield::none(pieces).as_wire().to_vec();
                for number in (0..pieces).step_by(2) {
                    field[number as usize / 8] |= 0x80 >> (number % 8);
                }
                Some(Message::Bitfield(field))
            }
            (message, _) => Some(message),
        }
    }
}
