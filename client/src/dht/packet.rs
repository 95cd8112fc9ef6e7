//! What nodes say to each other (KRPC, BEP 5, 32, 42, 43), as values and as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use torrent_format::announce::{canonical, compact_v4, compact_v6, parse_compact_v4, parse_compact_v6};
use torrent_format::bencode::{self, Dict, Limits, Raw};

use super::id::Id;

/// The longest packet that is looked at, in bytes: what others send stays below an Ethernet frame.
pub const MAX_PACKET: usize = 1500;

/// A packet is four deep, and the longest list of peers that fits into one has under 200.
const LIMITS: Limits = Limits { length: MAX_PACKET as u32, depth: 8, tokens: 1000, strict: false };

/// The longest transaction id that is echoed, in bytes: others use 2 to 8.
const MAX_TRANSACTION: usize = 32;

/// The longest token that is kept, in bytes: others use 4 to 20.
const MAX_TOKEN: usize = 64;

/// Our name in `v`: two letters and two of the version.
const VERSION: &[u8; 4] = b"SR01";

/// A node, as others are told of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Contact {
    /// Its id.
    pub id: Id,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// Are you there?
    Ping,
    /// Who is close to this?
    FindNode(Id),
    /// Who has this torrent, and who is close to it?
    GetPeers(Id),
    /// I have this torrent.
    AnnouncePeer {
        /// Which.
        info_hash: Id,
        /// At this port; `None`: at that which the packet came from.
        port: Option<u16>,
        /// What the answer to `get_peers` gave.
        token: Vec<u8>,
    },
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Who asks.
    pub id: Id,
    /// What.
    pub method: Method,
    /// Nodes of which versions of IP are wanted, 4 and 6 (BEP 32); neither: of that by which the packet came.
    pub want: (bool, bool),
    /// Who asks answers nothing, so is not to be remembered (BEP 43).
    pub read_only: bool,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// Who answers.
    pub id: Id,
    /// Nodes of both versions of IP.
    pub nodes: Vec<Contact>,
    /// Peers of the torrent that was asked for.
    pub peers: Vec<SocketAddr>,
    /// Without it nothing can be announced.
    pub token: Option<Vec<u8>>,
    /// How the one who answers sees the one who asked (BEP 42).
    pub seen_as: Option<SocketAddr>,
}

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Chosen by who asks, echoed by who answers.
    pub transaction: Vec<u8>,
    /// What it says.
    pub body: Body,
}

/// See [`Packet`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A question.
    Query(Query),
    /// Its answer.
    Response(Response),
    /// Or a refusal, with its number.
    Error(i64),
}

/// A packet that says nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// It deserves no answer.
    #[error("not a packet of the DHT")]
    Garbage,
    /// A question that lacks something: 203.
    #[error("a query that lacks something")]
    BadQuery(Vec<u8>),
    /// A question that we don't know: 204.
    #[error("a query of another kind")]
    UnknownMethod(Vec<u8>),
}

impl PacketError {
    /// The refusal to be sent, if there is anybody to send it to.
    pub(super) fn answer(&self) -> Option<Vec<u8>> {
        match self {
            Self::Garbage => None,
            Self::BadQuery(transaction) => Some(encode_error(transaction, 203, "Protocol Error")),
            Self::UnknownMethod(transaction) => Some(encode_error(transaction, 204, "Method Unknown")),
        }
    }
}

impl Packet {
    /// Reads a packet.
    ///
    /// # Errors
    /// If it is none, or a query without what it needs.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        let scan = bencode::scan(bytes, &LIMITS).map_err(|_| PacketError::Garbage)?;
        let packet = scan.root().as_dict().ok_or(PacketError::Garbage)?;
        let transaction = bytes_of(packet, "t").filter(|t| !t.is_empty() && t.len() <= MAX_TRANSACTION);
        let transaction = transaction.ok_or(PacketError::Garbage)?.to_vec();
        let body = match bytes_of(packet, "y") {
            Some(b"q") => Body::Query(decode_query(packet, &transaction)?),
            Some(b"r") => Body::Response(decode_response(packet).ok_or(PacketError::Garbage)?),
            Some(b"e") => {
                let error = packet.get("e").and_then(Raw::as_list);
                Body::Error(error.and_then(|list| list.iter().next()?.as_int()).unwrap_or(201))
            }
            _ => return Err(PacketError::Garbage),
        };
        Ok(Self { transaction, body })
    }
}

fn decode_query(packet: Dict<'_>, transaction: &[u8]) -> Result<Query, PacketError> {
    let bad = || PacketError::BadQuery(transaction.to_vec());
    let method = bytes_of(packet, "q").ok_or_else(bad)?;
    let said = packet.get("a").and_then(Raw::as_dict).ok_or_else(bad)?;
    let id = id_of(said, "id").ok_or_else(bad)?;
    let method = match method {
        b"ping" => Method::Ping,
        b"find_node" => Method::FindNode(id_of(said, "target").ok_or_else(bad)?),
        b"get_peers" => Method::GetPeers(id_of(said, "info_hash").ok_or_else(bad)?),
        b"announce_peer" => {
            let implied = int_of(said, "implied_port").is_some_and(|implied| implied != 0);
            let port =
                int_of(said, "port").and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
            Method::AnnouncePeer {
                info_hash: id_of(said, "info_hash").ok_or_else(bad)?,
                port: if implied { None } else { Some(port.ok_or_else(bad)?) },
                token: bytes_of(said, "token").ok_or_else(bad)?.to_vec(),
            }
        }
        _ => return Err(PacketError::UnknownMethod(transaction.to_vec())),
    };
    let wants = |family: &[u8]| {
        let want = said.get("want").and_then(Raw::as_list);
        want.is_some_and(|want| want.iter().any(|one| one.as_bytes() == Some(family)))
    };
    let read_only = int_of(packet, "ro").is_some_and(|flag| flag != 0);
    Ok(Query { id, method, want: (wants(b"n4"), wants(b"n6")), read_only })
}

/// Lists of nodes or peers that are no such lists count for nothing; the answer as a whole may still be of use.
fn decode_response(packet: Dict<'_>) -> Option<Response> {
    let said = packet.get("r").and_then(Raw::as_dict)?;
    let mut nodes = bytes_of(said, "nodes").and_then(parse_nodes_v4).unwrap_or_default();
    nodes.extend(bytes_of(said, "nodes6").and_then(parse_nodes_v6).unwrap_or_default());
    let peers = said.get("values").and_then(Raw::as_list);
    let peers = peers
        .into_iter()
        .flat_map(torrent_format::bencode::List::iter)
        .filter_map(|peer| endpoint(peer.as_bytes()?));
    Some(Response {
        id: id_of(said, "id")?,
        nodes,
        peers: peers.collect(),
        token: bytes_of(said, "token").filter(|token| token.len() <= MAX_TOKEN).map(<[u8]>::to_vec),
        seen_as: bytes_of(packet, "ip").and_then(endpoint),
    })
}

fn bytes_of<'a>(dictionary: Dict<'a>, key: &str) -> Option<&'a [u8]> {
    dictionary.get(key)?.as_bytes()
}

fn int_of(dictionary: Dict<'_>, key: &str) -> Option<i64> {
    dictionary.get(key)?.as_int()
}

fn id_of(dictionary: Dict<'_>, key: &str) -> Option<Id> {
    bytes_of(dictionary, key)?.try_into().ok().map(Id)
}

/// One address in compact form, of either version.
fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes.len() {
        6 => parse_compact_v4(bytes)?.next(),
        18 => parse_compact_v6(bytes)?.next(),
        _ => None,
    }
}

/// Nodes in compact form (BEP 5): 26 bytes each.
pub(super) fn parse_nodes_v4(bytes: &[u8]) -> Option<Vec<Contact>> {
    parse_nodes::<26>(bytes)
}

/// Nodes in compact form (BEP 32): 38 bytes each.
pub(super) fn parse_nodes_v6(bytes: &[u8]) -> Option<Vec<Contact>> {
    parse_nodes::<38>(bytes)
}

fn parse_nodes<const LENGTH: usize>(bytes: &[u8]) -> Option<Vec<Contact>> {
    let (nodes, rest) = bytes.as_chunks::<LENGTH>();
    let nodes = nodes.iter().filter_map(|node| {
        let (id, addr) = node.split_first_chunk()?;
        Some(Contact { id: Id(*id), addr: endpoint(addr)? })
    });
    rest.is_empty().then(|| nodes.collect())
}

/// Appends the address in compact form.
pub(super) fn put_endpoint(out: &mut Vec<u8>, addr: SocketAddr) {
    match canonical(addr) {
        SocketAddr::V4(addr) => out.extend_from_slice(&compact_v4(addr)),
        SocketAddr::V6(addr) => out.extend_from_slice(&compact_v6(addr)),
    }
}

/// The nodes of one version of IP in compact form.
pub(super) fn compact_nodes(nodes: &[Contact], v4: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for node in nodes.iter().filter(|node| node.addr.is_ipv4() == v4) {
        out.extend_from_slice(&node.id.0);
        put_endpoint(&mut out, node.addr);
    }
    out
}

/// A question as bytes.
pub fn encode_query(transaction: &[u8], query: &Query) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend_from_slice(b"d1:ad2:id");
    string(&mut out, &query.id.0);
    let method: &[u8] = match &query.method {
        Method::Ping => b"ping",
        Method::FindNode(target) => {
            out.extend_from_slice(b"6:target");
            string(&mut out, &target.0);
            b"find_node"
        }
        Method::GetPeers(info_hash) => {
            out.extend_from_slice(b"9:info_hash");
            string(&mut out, &info_hash.0);
            b"get_peers"
        }
        Method::AnnouncePeer { info_hash, port, token } => {
            out.extend_from_slice(
                format!("12:implied_porti{}e9:info_hash", u8::from(port.is_none())).as_bytes(),
            );
            string(&mut out, &info_hash.0);
            out.extend_from_slice(format!("4:porti{}e5:token", port.unwrap_or(0)).as_bytes());
            string(&mut out, token);
            b"announce_peer"
        }
    };
    out.extend_from_slice(match query.want {
        (false, false) => b"",
        (true, false) => b"4:wantl2:n4e",
        (false, true) => b"4:wantl2:n6e",
        (true, true) => b"4:wantl2:n42:n6e",
    });
    out.extend_from_slice(b"e1:q");
    string(&mut out, method);
    if query.read_only {
        out.extend_from_slice(b"2:roi1e");
    }
    end(&mut out, transaction, b'q');
    out
}

/// An answer as bytes.
pub fn encode_response(transaction: &[u8], response: &Response) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    out.push(b'd');
    if let Some(addr) = response.seen_as {
        let mut seen = Vec::with_capacity(18);
        put_endpoint(&mut seen, addr);
        out.extend_from_slice(b"2:ip");
        string(&mut out, &seen);
    }
    out.extend_from_slice(b"1:rd2:id");
    string(&mut out, &response.id.0);
    for (key, v4) in [("5:nodes", true), ("6:nodes6", false)] {
        let nodes = compact_nodes(&response.nodes, v4);
        if !nodes.is_empty() {
            out.extend_from_slice(key.as_bytes());
            string(&mut out, &nodes);
        }
    }
    if let Some(token) = &response.token {
        out.extend_from_slice(b"5:token");
        string(&mut out, token);
    }
    if !response.peers.is_empty() {
        out.extend_from_slice(b"6:valuesl");
        for peer in &response.peers {
            let mut compact = Vec::with_capacity(18);
            put_endpoint(&mut compact, *peer);
            string(&mut out, &compact);
        }
        out.push(b'e');
    }
    out.push(b'e');
    end(&mut out, transaction, b'r');
    out
}

/// A refusal as bytes.
pub(super) fn encode_error(transaction: &[u8], code: u16, message: &str) -> Vec<u8> {
    let mut out = format!("d1:eli{code}e{}:{message}e", message.len()).into_bytes();
    end(&mut out, transaction, b'e');
    out
}

fn end(out: &mut Vec<u8>, transaction: &[u8], kind: u8) {
    out.extend_from_slice(b"1:t");
    string(out, transaction);
    out.extend_from_slice(b"1:v");
    string(out, VERSION);
    out.extend_from_slice(&[b'1', b':', b'y', b'1', b':', kind, b'e']);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// How an address goes into a hash.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::octets(&ip).to_vec(),
        IpAddr::V6(ip) => Ipv6Addr::octets(&ip).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id(*b"abcdefghij0123456789");
    const TARGET: Id = Id(*b"mnopqrstuvwxyz123456");

    fn query(method: Method) -> Query {
        Query { id: ID, method, want: (false, false), read_only: false }
    }

    #[test]
    fn queries_are_those_of_bep_5_and_read_back() {
        let announce =
            Method::AnnouncePeer { info_hash: TARGET, port: Some(6881), token: b"aoeusnth".to_vec() };
        let cases: [(Query, &[u8]); 5] = [
            (query(Method::Ping), b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:v4:SR011:y1:qe"),
            (
                query(Method::FindNode(TARGET)),
                b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:v4:SR011:y1:qe",
            ),
            (
                Query { want: (true, true), ..query(Method::GetPeers(TARGET)) },
                b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:get_peers1:t2:aa1:v4:SR011:y1:qe",
            ),
            (
                query(announce),
                b"d1:ad2:id20:abcdefghij012345678912:implied_porti0e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:v4:SR011:y1:qe",
            ),
            (
                Query { read_only: true, ..query(Method::Ping) },
                b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:roi1e1:t2:aa1:v4:SR011:y1:qe",
            ),
        ];
        for (query, bytes) in cases {
            assert_eq!(encode_query(b"aa", &query), bytes, "{query:?}");
            let read = Packet::decode(bytes).unwrap();
            assert_eq!(read, Packet { transaction: b"aa".to_vec(), body: Body::Query(query) });
        }
    }

    #[test]
    fn answers_read_back_with_nodes_and_peers_of_both_versions_of_ip() {
        let response = Response {
            id: ID,
            nodes: vec![
                Contact { id: TARGET, addr: "198.51.100.1:6881".parse().unwrap() },
                Contact { id: ID, addr: "[2001:db8::1]:6881".parse().unwrap() },
            ],
            peers: vec!["203.0.113.7:1".parse().unwrap(), "[2001:db8::7]:2".parse().unwrap()],
            token: Some(b"token".to_vec()),
            seen_as: Some("203.0.113.9:1234".parse().unwrap()),
        };
        let bytes = encode_response(b"aa", &response);
        let read = Packet::decode(&bytes).unwrap();
        assert_eq!(read, Packet { transaction: b"aa".to_vec(), body: Body::Response(response) });
        assert_eq!(bencode::scan(&bytes, &LIMITS.strict()).map(|_| ()), Ok(()), "sorted keys");
    }

    #[test]
    fn a_refusal_reads_back() {
        let bytes = encode_error(b"aa", 203, "Protocol Error");
        assert_eq!(Packet::decode(&bytes).unwrap().body, Body::Error(203));
    }

    #[test]
    fn e21_what_is_no_packet_is_ignored_and_a_query_that_lacks_something_is_refused() {
        let bomb = [b"d1:a".as_slice(), &b"l".repeat(1000), &b"e".repeat(1000), b"1:t2:aa1:y1:qe"].concat();
        let garbage: [(&str, &[u8]); 9] = [
            ("nothing", b""),
            ("no dictionary", b"li1ee"),
            ("nested too deeply", &bomb),
            ("no transaction", b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe"),
            (
                "a long one",
                b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t33:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1:y1:qe",
            ),
            ("no kind", b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aae"),
            ("an answer by a short id", b"d1:rd2:id19:abcdefghij012345678e1:t2:aa1:y1:re"),
            ("an answer of nothing", b"d1:t2:aa1:y1:re"),
            ("more behind it", b"d1:t2:aa1:y1:ee7:garbage"),
        ];
        for (case, bytes) in garbage {
            assert_eq!(Packet::decode(bytes), Err(PacketError::Garbage), "{case}");
        }
        let bad: [(&str, &[u8]); 6] = [
            ("no arguments", b"d1:q4:ping1:t2:aa1:y1:qe"),
            ("an id of 21 bytes", b"d1:ad2:id21:abcdefghij0123456789ke1:q4:ping1:t2:aa1:y1:qe"),
            ("no target", b"d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe"),
            ("no hash", b"d1:ad2:id20:abcdefghij0123456789e1:q9:get_peers1:t2:aa1:y1:qe"),
            (
                "port 0",
                b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti0e5:token1:xe1:q13:announce_peer1:t2:aa1:y1:qe",
            ),
            (
                "no token",
                b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti1ee1:q13:announce_peer1:t2:aa1:y1:qe",
            ),
        ];
        for (case, bytes) in bad {
            assert_eq!(Packet::decode(bytes), Err(PacketError::BadQuery(b"aa".to_vec())), "{case}");
        }
        let put = b"d1:ad2:id20:abcdefghij0123456789e1:q3:put1:t2:aa1:y1:qe";
        assert_eq!(Packet::decode(put), Err(PacketError::UnknownMethod(b"aa".to_vec())));
    }

    #[test]
    fn e21_lists_of_the_wrong_length_count_for_nothing() {
        let bytes = b"d1:rd2:id20:abcdefghij01234567895:nodes25:1234567890123456789012345\
            6:valuesl5:123450:6:abcdefi1eee1:t2:aa1:y1:re";
        let Ok(Packet { body: Body::Response(response), .. }) = Packet::decode(bytes) else { panic!() };
        assert_eq!((response.nodes.len(), response.peers.len()), (0, 1));
    }
}
