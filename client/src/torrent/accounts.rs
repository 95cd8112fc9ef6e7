//! What those who are gone had of us: [`Accounts`]. Whoever comes again, under another name too, goes on where it left off.
//!
//! A free first taste for every new peer id would be a torrent for nothing: connect, taste, come again as somebody else. So the books are
//! kept by network, as allowed-fast sets are (BEP 6): a /24, or a /56 of IPv6; a single address on our own network. Who comes from where
//! somebody left takes over what that one owed, and what it had given.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::allowed_fast::network;
use super::candidates::is_local;

/// Networks that are remembered, the latest.
const MAX_ACCOUNTS: usize = 4_096;

/// What passed between us and somebody.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Account {
    /// Bytes that it had of us.
    pub(super) got: u64,
    /// Bytes that it gave us.
    pub(super) gave: u64,
    /// First copies that went with it: see [`FirstCopies`](super::first_copies::FirstCopies).
    pub(super) kept: u32,
    /// It had passed others on.
    pub(super) proven: bool,
}

#[derive(Debug, Default)]
pub(super) struct Accounts {
    accounts: BTreeMap<IpAddr, Account>,
    /// Whose they are, the latest last.
    order: VecDeque<IpAddr>,
}

impl Accounts {
    /// Somebody left.
    pub(super) fn close(&mut self, ip: IpAddr, left: Account) {
        let Some(holder) = holder(ip).filter(|_| left != Account::default()) else { return };
        self.order.retain(|&other| other != holder);
        self.order.push_back(holder);
        let account = self.accounts.entry(holder).or_default();
        account.got += left.got;
        account.gave += left.gave;
        account.kept += left.kept;
        account.proven |= left.proven;
        if self.order.len() > MAX_ACCOUNTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.accounts.remove(&oldest);
        }
    }

    /// Somebody comes, and takes over what was left there. Only one does: of two that share a router the other begins with nothing.
    pub(super) fn open(&mut self, ip: IpAddr) -> Account {
        let Some(account) = holder(ip).and_then(|holder| self.accounts.remove(&holder)) else {
            return Account::default();
        };
        self.order.retain(|&other| Some(other) != holder(ip));
        account
    }
}

/// Whose account an address belongs to. On this machine nobody has one: any number of peers have the one address there.
fn holder(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        ip if is_local(ip) => Some(ip),
        ip => Some(network(ip)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn got(bytes: u64) -> Account {
        Account { got: bytes, ..Account::default() }
    }

    #[test]
    fn who_comes_from_where_somebody_left_takes_its_account_over_and_only_one_does() {
        let mut accounts = Accounts::default();
        accounts.close(ip("80.4.4.200"), got(5));
        accounts.close(ip("80.4.4.7"), Account { gave: 1, kept: 2, ..got(2) });
        assert_eq!(accounts.open(ip("80.4.5.7")), got(0), "another network");
        assert_eq!(accounts.open(ip("80.4.4.1")), Account { gave: 1, kept: 2, ..got(7) });
        assert_eq!(accounts.open(ip("80.4.4.1")), got(0));
        accounts.close(ip("2001:db8:1:200::1"), got(3));
        assert_eq!(accounts.open(ip("2001:db8:1:2ff::9")), got(3));
    }

    #[test]
    fn neighbours_at_home_are_told_apart_and_peers_on_this_machine_are_not_counted() {
        let mut accounts = Accounts::default();
        accounts.close(ip("192.168.1.2"), got(5));
        accounts.close(ip("127.0.0.1"), got(5));
        assert_eq!(accounts.open(ip("192.168.1.3")), got(0));
        assert_eq!(accounts.open(ip("127.0.0.1")), got(0));
        assert_eq!(accounts.open(ip("192.168.1.2")), got(5));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut accounts = Accounts::default();
        let address = |n: usize| IpAddr::from([80, (n >> 8) as u8, n as u8, 1]);
        (0..=MAX_ACCOUNTS).for_each(|n| accounts.close(address(n), got(1)));
        assert_eq!(accounts.open(address(0)), got(0));
        assert_eq!(accounts.open(address(1)), got(1));
    }
}
