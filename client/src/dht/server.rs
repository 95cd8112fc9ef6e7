//! What others ask us.

use std::net::SocketAddr;

use super::Dht;
use super::id::Id;
use super::limits::AMPLIFICATION;
use super::packet::{Contact, Method, Query, Response, encode_error, encode_response};
use super::table::K;
use crate::torrent::{Time, is_local};

/// The longest answer, in bytes: it fits into one frame over any path (BEP 32 wants 1024).
const MAX_ANSWER: usize = 1024;

/// Bytes of a node in an answer, in IPv4 and IPv6.
const NODE: [usize; 2] = [26, 38];

/// Bytes of a peer in an answer.
const PEER: [usize; 2] = [8, 21];

/// Bytes around a list in an answer: `6:nodes6` and a length, `6:valuesl` and `e`.
const LIST: usize = 13;

impl Dht {
    /// Answers. `length` is that of the question.
    pub(super) fn serve(
        &mut self,
        now: Time,
        from: SocketAddr,
        length: usize,
        transaction: &[u8],
        query: Query,
    ) {
        let Some(own) = self.id(from.is_ipv4()).filter(|own| *own != query.id) else { return };
        let proven = self.family(from.is_ipv4()).is_some_and(|family| family.table.is_proven(from));
        let mut limit = if proven { MAX_ANSWER } else { MAX_ANSWER.min(AMPLIFICATION * length) };
        let mut response =
            Response { id: own, nodes: vec![], peers: vec![], token: None, seen_as: Some(from) };
        match query.method {
            Method::Ping => {}
            Method::FindNode(target) => {
                limit = limit.saturating_sub(encode_response(transaction, &response).len());
                response.nodes = self.nodes_for(from, query.want, target, limit);
            }
            Method::GetPeers(info_hash) => {
                response.token = Some(self.tokens.make(now, from.ip()).to_vec());
                limit = limit.saturating_sub(encode_response(transaction, &response).len());
                // Peers may take half of what there is; who gets few has nodes to go on with.
                let count = (limit / 2).saturating_sub(LIST) / PEER[usize::from(from.is_ipv6())];
                response.peers = self.store.peers(now, info_hash, from, count, &mut self.rng);
                if !response.peers.is_empty() {
                    limit -= LIST + response.peers.len() * PEER[usize::from(from.is_ipv6())];
                }
                response.nodes = self.nodes_for(from, query.want, info_hash, limit);
            }
            Method::AnnouncePeer { info_hash, port, token } => {
                if !self.tokens.knows(now, from.ip(), &token) {
                    let refusal = encode_error(transaction, 203, "Bad Token");
                    return self.send(from, refusal);
                }
                let peer = SocketAddr::new(from.ip(), port.unwrap_or(from.port()));
                self.store.add(now, own, info_hash, peer);
            }
        }
        self.send(from, encode_response(transaction, &response));
        if !query.read_only {
            self.heard_of(now, Contact { id: query.id, addr: from });
        }
    }

    /// The nodes closest to `target` that fit into `room` bytes. Those at home are told only to those at home.
    fn nodes_for(&self, from: SocketAddr, want: (bool, bool), target: Id, mut room: usize) -> Vec<Contact> {
        let families = match want {
            (false, false) => [from.is_ipv4(), from.is_ipv6()],
            (v4, v6) => [v4, v6],
        };
        let at_home = is_local(from.ip());
        let mut nodes = Vec::new();
        for (v4, wanted) in [true, false].into_iter().zip(families) {
            let Some(family) = self.family(v4).filter(|_| wanted) else { continue };
            // One more, for whoever asks may be among them.
            let closest = family.table.closest_proven(target, K + 1).into_iter();
            let fit = closest.filter(|node| node.addr != from && (at_home || !is_local(node.addr.ip())));
            let size = NODE[usize::from(!v4)];
            let count = (room.saturating_sub(LIST) / size).min(K);
            let told: Vec<_> = fit.take(count).collect();
            room = room.saturating_sub(LIST + told.len() * size);
            nodes.extend(told);
        }
        nodes
    }
}
