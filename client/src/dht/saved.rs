//! What a node keeps for its next run: its ids and the nodes that it knows.

use torrent_format::bencode::{self, Limits, Raw};

use super::id::Id;
use super::packet::{Contact, compact_nodes, parse_nodes_v4, parse_nodes_v6};

/// More than is ever written, in bytes.
const LIMITS: Limits = Limits { length: 64 * 1024, depth: 4, tokens: 100, strict: false };

/// What was known of one version of IP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedTable {
    /// Our id.
    pub id: Id,
    /// Nodes, the best first.
    pub nodes: Vec<Contact>,
}

impl SavedTable {
    /// The same nodes for a node that goes by another id.
    pub fn rename(&mut self, rng: &mut fastrand::Rng) {
        self.id = Id::random(rng);
    }
}

/// What was known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Saved {
    /// In IPv4.
    pub v4: Option<SavedTable>,
    /// In IPv6.
    pub v6: Option<SavedTable>,
}

/// Bytes that are not what a node keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is not a list of DHT nodes")]
pub struct SavedError;

impl Saved {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"d".to_vec();
        for (key, table, v4) in [("2:v4", &self.v4, true), ("2:v6", &self.v6, false)] {
            let Some(SavedTable { id, nodes }) = table else { continue };
            let nodes = compact_nodes(nodes, v4);
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"d2:id20:");
            out.extend_from_slice(&id.0);
            out.extend_from_slice(format!("5:nodes{}:", nodes.len()).as_bytes());
            out.extend_from_slice(&nodes);
            out.push(b'e');
        }
        out.push(b'e');
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// If they are no such thing.
    pub fn decode(bytes: &[u8]) -> Result<Self, SavedError> {
        let scan = bencode::scan(bytes, &LIMITS).map_err(|_| SavedError)?;
        let saved = scan.root().as_dict().ok_or(SavedError)?;
        let table = |key: &str, parse: fn(&[u8]) -> Option<Vec<Contact>>| {
            let Some(table) = saved.get(key) else { return Ok(None) };
            let table = table.as_dict().ok_or(SavedError)?;
            let bytes_of = |key: &str| table.get(key).and_then(Raw::as_bytes).ok_or(SavedError);
            let id = Id(bytes_of("id")?.try_into().map_err(|_| SavedError)?);
            Ok(Some(SavedTable { id, nodes: parse(bytes_of("nodes")?).ok_or(SavedError)? }))
        };
        Ok(Self { v4: table("v4", parse_nodes_v4)?, v6: table("v6", parse_nodes_v6)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_reads_back_and_what_is_damaged_is_refused() {
        let saved = Saved {
            v4: Some(SavedTable {
                id: Id([1; 20]),
                nodes: vec![Contact { id: Id([2; 20]), addr: "198.51.100.1:6881".parse().unwrap() }],
            }),
            v6: Some(SavedTable {
                id: Id([3; 20]),
                nodes: vec![Contact { id: Id([4; 20]), addr: "[2001:db8::1]:6881".parse().unwrap() }],
            }),
        };
        let bytes = saved.encode();
        assert_eq!(Saved::decode(&bytes), Ok(saved));
        assert_eq!(Saved::decode(&Saved::default().encode()), Ok(Saved::default()));
        for length in 0..bytes.len() {
            assert_eq!(Saved::decode(&bytes[..length]), Err(SavedError), "{length} bytes");
        }
        assert_eq!(Saved::decode(b"d2:v4d2:id20:aaaaaaaaaaaaaaaaaaaa5:nodes3:abcee"), Err(SavedError));
    }
}
