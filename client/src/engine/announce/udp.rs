#![expect(clippy::disallowed_methods, reason = "a connection id lives for a minute of real time")]
//! Trackers over UDP (BEP 15, with the URL of BEP 41): [`Udp`].
//!
//! One socket an exchange, connected to the tracker's address: the kernel lets through what comes from there, and says when nobody is there.
//! What else is no answer to the question (another transaction, another kind of packet, half of one) is passed over, and the wait goes on.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;
use torrent_format::InfoHash;
use torrent_format::announce::http::{MAX_PEERS, ScrapeEntry};
use torrent_format::announce::udp::{self, Reply};
use torrent_format::announce::{AnnounceEvent, AnnounceReply, AnnounceRequest};
use url::Url;

use super::super::net::Outside;
use super::{Announced, failure, in_words, is_local, trouble};
use crate::torrent::AnnounceFailure;

/// How long a connection id is good for (BEP 15).
const ID_LIFE: Duration = Duration::from_secs(60);

/// Connection ids that are remembered: more trackers than a session speaks to within a minute.
const MAX_IDS: usize = 1_024;

/// The longest answer that is read, in bytes: as many IPv6 peers as are kept of one reply.
const MAX_ANSWER: usize = 20 + 18 * MAX_PEERS;

/// The longest path and query that are sent, in bytes: so that the packet fits into one of Ethernet.
const MAX_PATH: usize = 1_024;

/// How much longer the other family of addresses is waited for when one has answered.
const GRACE: Duration = Duration::from_secs(1);

/// How long a name may take to be found.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for an answer, and how often. The wait doubles each time.
#[derive(Clone, Copy, Debug)]
struct Patience {
    first: Duration,
    times: u32,
}

/// BEP 15 speaks of 15 · 2ⁿ s, with n up to 8: more than an hour. A tracker that has not answered twice has lost its turn.
const ANNOUNCE: Patience = Patience { first: Duration::from_secs(15), times: 2 };

/// Nobody waits longer for a goodbye; once more, since packets get lost.
const GOODBYE: Patience = Patience { first: Duration::from_secs(1), times: 2 };

/// A user waits for a scrape.
const SCRAPE: Patience = Patience { first: Duration::from_secs(2), times: 3 };

/// What is asked.
#[derive(Debug)]
enum Question {
    Announce(AnnounceRequest),
    Scrape(Vec<InfoHash>),
}

/// Where a tracker is.
#[derive(PartialEq, Eq, Debug)]
struct Place {
    host: String,
    port: u16,
    /// With the query; empty if it says nothing.
    path: String,
}

/// Asks UDP trackers. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Udp {
    way: Outside,
    ids: Arc<Mutex<HashMap<SocketAddr, Id>>>,
}

/// A connection id, which is good for a while.
#[derive(Clone, Copy, Debug)]
struct Id {
    number: u64,
    since: Instant,
}

impl Udp {
    /// See [`super::Announcer::new`].
    pub(super) fn new(way: Outside) -> Self {
        Self { way, ids: Arc::default() }
    }

    /// See [`super::Announcer::announce`]. Where the tracker has addresses of both families it is told by both: it knows us only by the
    /// address that a packet comes from, and answers with peers of that family.
    pub(super) async fn announce(&self, url: &str, request: &AnnounceRequest) -> Announced {
        let patience = if request.event == AnnounceEvent::Stopped { GOODBYE } else { ANNOUNCE };
        match self.ask(url, Question::Announce(request.clone()), patience).await {
            Ok(answers) => merged(answers),
            Err(failure) => Announced { local: false, reply: Err(failure) },
        }
    }

    /// See [`super::Announcer::scrape`].
    pub(super) async fn scrape(
        &self,
        url: &str,
        info_hashes: &[InfoHash],
    ) -> Result<Vec<(InfoHash, ScrapeEntry)>, AnnounceFailure> {
        let answers = self.ask(url, Question::Scrape(info_hashes.to_vec()), SCRAPE).await?;
        let entries = answers.into_iter().find_map(|(_, reply)| match reply {
            Reply::Scrape(entries) => Some(entries),
            _ => None,
        });
        Ok(info_hashes.iter().copied().zip(entries.into_iter().flatten()).collect())
    }

    /// The answers, one a family of addresses, with who gave them.
    async fn ask(
        &self,
        url: &str,
        question: Question,
        patience: Patience,
    ) -> Result<Vec<(SocketAddr, Reply)>, AnnounceFailure> {
        let Place { host, port, path } = place(url)?;
        let addrs = timeout(RESOLVE_TIMEOUT, self.way.resolve(&host, port)).await;
        let addrs = addrs.map_err(|_| failure("can't find its address: no answer"))?;
        let addrs = addrs.map_err(|error| failure(in_words(&error.to_string())))?;
        let (question, path) = (Arc::new(question), Arc::<str>::from(path));
        let mut asking = JoinSet::new();
        for is_ipv6 in [false, true] {
            let of_family: Vec<_> = addrs.iter().copied().filter(|addr| addr.is_ipv6() == is_ipv6).collect();
            let usable = self.way.via().bind.is_none_or(|bind| bind.is_ipv6() == is_ipv6);
            if usable && !of_family.is_empty() {
                let (udp, question, path) = (self.clone(), Arc::clone(&question), Arc::clone(&path));
                asking.spawn(async move {
                    (is_ipv6, udp.ask_one_of(&of_family, &question, &path, patience).await)
                });
            }
        }
        if asking.is_empty() {
            return Err(failure("it has no address of the kind that --bind names"));
        }
        let (mut answers, mut failed) = (Vec::new(), None);
        loop {
            let next = match answers.is_empty() {
                true => asking.join_next().await,
                false => timeout(GRACE, asking.join_next()).await.ok().flatten(),
            };
            match next {
                Some(Ok((_, Ok(answer)))) => answers.push(answer),
                // Of two failures IPv4's is told: many machines have no IPv6.
                Some(Ok((is_ipv6, Err(why)))) if failed.is_none() || !is_ipv6 => failed = Some(why),
                Some(Ok(_)) => {}
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => break,
            }
        }
        failed.filter(|_| answers.is_empty()).map_or(Ok(answers), Err)
    }

    /// Asks the tracker at these addresses, one after the other, until it answers or patience ends.
    async fn ask_one_of(
        &self,
        addrs: &[SocketAddr],
        question: &Question,
        path: &str,
        patience: Patience,
    ) -> Result<(SocketAddr, Reply), AnnounceFailure> {
        let (mut wait, mut waited) = (patience.first, Duration::ZERO);
        let mut attempts = patience.times;
        // Addresses that were not refused yet.
        let mut left = addrs.to_vec();
        while let Some(&addr) = left.first().filter(|_| attempts > 0) {
            match timeout(wait, self.exchange(addr, question, path)).await {
                Ok(Ok(Reply::Error(text))) => return Err(failure(text)),
                Ok(Ok(reply)) => return Ok((addr, reply)),
                Ok(Err(error)) if left.len() == 1 => {
                    let words = trouble(error.kind()).map(str::to_owned);
                    return Err(failure(words.unwrap_or_else(|| error.to_string())));
                }
                Ok(Err(_)) => drop(left.remove(0)),
                Err(_) => {
                    // A tracker that was started anew may pass over what bears an id of before.
                    self.forget(addr);
                    left.rotate_left(1);
                    waited += wait;
                    wait *= 2;
                    attempts -= 1;
                }
            }
        }
        Err(failure(format!("no answer within {} s", waited.as_secs())))
    }

    async fn exchange(&self, addr: SocketAddr, question: &Question, path: &str) -> io::Result<Reply> {
        let socket = self.open(addr).await?;
        let known = self.known_id(addr);
        let id = match known {
            Some(id) => id,
            None => match self.connect(&socket, addr).await? {
                Ok(id) => id,
                Err(refusal) => return Ok(refusal),
            },
        };
        match transact(&socket, |transaction| question.packet(id, transaction, path), question.kind()).await?
        {
            // Perhaps only of the id, which it has forgotten.
            Reply::Error(_) if known.is_some() => match self.connect(&socket, addr).await? {
                Ok(id) => {
                    let packet = |transaction| question.packet(id, transaction, path);
                    transact(&socket, packet, question.kind()).await
                }
                Err(refusal) => Ok(refusal),
            },
            reply => Ok(reply),
        }
    }

    async fn open(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        let any: IpAddr =
            if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = self.way.udp_socket(SocketAddr::new(any, 0))?;
        socket.connect(addr).await?;
        Ok(socket)
    }

    /// Asks for a connection id; or what the tracker said instead of one.
    async fn connect(&self, socket: &UdpSocket, addr: SocketAddr) -> io::Result<Result<u64, Reply>> {
        let reply = transact(socket, |transaction| udp::connect(transaction).to_vec(), Kind::Connect).await?;
        let Reply::Connect(number) = reply else { return Ok(Err(reply)) };
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= MAX_IDS {
            ids.retain(|_, id| id.since.elapsed() < ID_LIFE);
        }
        if ids.len() < MAX_IDS {
            ids.insert(addr, Id { number, since: Instant::now() });
        }
        Ok(Ok(number))
    }

    fn known_id(&self, addr: SocketAddr) -> Option<u64> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(&addr).filter(|id| id.since.elapsed() < ID_LIFE).map(|id| id.number)
    }

    fn forget(&self, addr: SocketAddr) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&addr);
    }
}

/// What an answer is to be about.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Connect,
    Announce,
    Scrape,
}

impl Kind {
    fn fits(self, reply: &Reply) -> bool {
        matches!(
            (self, reply),
            (_, Reply::Error(_))
                | (Self::Connect, Reply::Connect(_))
                | (Self::Announce, Reply::Announce(_))
                | (Self::Scrape, Reply::Scrape(_))
        )
    }
}

impl Question {
    fn packet(&self, id: u64, transaction: u32, path: &str) -> Vec<u8> {
        match self {
            Self::Announce(request) => udp::announce(id, transaction, request, path),
            Self::Scrape(info_hashes) => udp::scrape(id, transaction, info_hashes),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Announce(_) => Kind::Announce,
            Self::Scrape(_) => Kind::Scrape,
        }
    }
}

/// Sends a packet with a transaction id that nobody can guess, and waits for the answer to it.
async fn transact(socket: &UdpSocket, packet: impl FnOnce(u32) -> Vec<u8>, kind: Kind) -> io::Result<Reply> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).expect("the system has random bytes");
    let transaction = u32::from_be_bytes(random);
    let is_ipv6 = socket.peer_addr()?.is_ipv6();
    socket.send(&packet(transaction)).await?;
    let mut answer = vec![0; MAX_ANSWER];
    loop {
        let length = socket.recv(&mut answer).await?;
        match udp::parse_reply(&answer[..length], is_ipv6) {
            Some((to, reply)) if to == transaction && kind.fits(&reply) => return Ok(reply),
            _ => tracing::debug!("{length} bytes from a tracker are no answer"),
        }
    }
}

fn place(url: &str) -> Result<Place, AnnounceFailure> {
    let url = Url::parse(url).map_err(|error| failure(error.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
    let port = url.port().filter(|&port| port != 0);
    let port = port.ok_or_else(|| failure("its URL names no port: udp://HOST:PORT/announce"))?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = match format!("{}{query}", url.path()) {
        path if path.len() > MAX_PATH => {
            return Err(failure(format!("its URL is longer than {MAX_PATH} bytes")));
        }
        path if path == "/" => String::new(),
        path => path,
    };
    Ok(Place { host, port, path })
}

/// What a tracker said over both families.
fn merged(answers: Vec<(SocketAddr, Reply)>) -> Announced {
    let local = answers.iter().all(|(addr, _)| is_local(addr.ip()));
    let replies = answers.into_iter().filter_map(|(_, reply)| match reply {
        Reply::Announce(reply) => Some(reply),
        _ => None,
    });
    let both = replies.reduce(|mut one, other| {
        one.interval = one.interval.max(other.interval);
        one.complete = one.complete.max(other.complete);
        one.incomplete = one.incomplete.max(other.incomplete);
        one.peers.extend(other.peers);
        one
    });
    let reply = both.map(|reply| {
        let mut peers = reply.peers;
        peers.truncate(MAX_PEERS);
        AnnounceReply { peers, ..reply }
    });
    Announced { local, reply: reply.ok_or_else(|| failure("it did not answer")) }
}

#[cfg(test)]
mod tests;
