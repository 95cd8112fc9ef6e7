//! The messages of BEP 3, BEP 6 (Fast) and BEP 52 (v2), and the envelope of BEP 10, as values.

use torrent_format::merkle::Hash;

/// Three numbers that name a part of a piece, as they stand on the wire: nothing about them is checked yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockRequest {
    /// Piece.
    pub index: u32,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Bytes.
    pub length: u32,
}

impl From<torrent_format::Block> for BlockRequest {
    fn from(block: torrent_format::Block) -> Self {
        Self { index: block.piece.get(), begin: block.begin, length: block.length }
    }
}

/// What a hash request, its answer and its refusal have in common (BEP 52): nothing about it is checked yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HashRequest {
    /// The root of the file's hash tree.
    pub root: Hash,
    /// The lowest layer of hashes that are asked for; 0 is the leaves.
    pub base_layer: u32,
    /// The first hash in that layer.
    pub index: u32,
    /// How many of that layer.
    pub length: u32,
    /// How many layers above the base layer are proven.
    pub proof_layers: u32,
}

/// The numbers by which messages go on the wire.
pub(super) mod id {
    pub(in crate::wire) const CHOKE: u8 = 0;
    pub(in crate::wire) const UNCHOKE: u8 = 1;
    pub(in crate::wire) const INTERESTED: u8 = 2;
    pub(in crate::wire) const NOT_INTERESTED: u8 = 3;
    pub(in crate::wire) const HAVE: u8 = 4;
    pub(in crate::wire) const BITFIELD: u8 = 5;
    pub(in crate::wire) const REQUEST: u8 = 6;
    pub(in crate::wire) const PIECE: u8 = 7;
    pub(in crate::wire) const CANCEL: u8 = 8;
    pub(in crate::wire) const PORT: u8 = 9;
    pub(in crate::wire) const SUGGEST: u8 = 13;
    pub(in crate::wire) const HAVE_ALL: u8 = 14;
    pub(in crate::wire) const HAVE_NONE: u8 = 15;
    pub(in crate::wire) const REJECT: u8 = 16;
    pub(in crate::wire) const ALLOWED_FAST: u8 = 17;
    pub(in crate::wire) const EXTENDED: u8 = 20;
    pub(in crate::wire) const HASH_REQUEST: u8 = 21;
    pub(in crate::wire) const HASHES: u8 = 22;
    pub(in crate::wire) const HASH_REJECT: u8 = 23;
}

/// A message, but for `piece`, whose payload never passes through here (see [`super::Frame`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Length 0.
    KeepAlive,
    /// 0
    Choke,
    /// 1
    Unchoke,
    /// 2
    Interested,
    /// 3
    NotInterested,
    /// 4
    Have(u32),
    /// 5: raw bytes; their length is checked against the torrent later.
    Bitfield(Vec<u8>),
    /// 6
    Request(BlockRequest),
    /// 8
    Cancel(BlockRequest),
    /// 9 (BEP 5)
    Port(u16),
    /// 13 (BEP 6)
    Suggest(u32),
    /// 14 (BEP 6)
    HaveAll,
    /// 15 (BEP 6)
    HaveNone,
    /// 16 (BEP 6)
    Reject(BlockRequest),
    /// 17 (BEP 6)
    AllowedFast(u32),
    /// 20 (BEP 10): the message's own number, and what follows it.
    Extended {
        /// 0 is the handshake.
        id: u8,
        /// A bencoded dictionary, for some followed by bytes.
        payload: Vec<u8>,
    },
    /// 21 (BEP 52)
    HashRequest(HashRequest),
    /// 22 (BEP 52): the hashes of the base layer, then the uncles that prove them, upwards.
    Hashes(HashRequest, Vec<Hash>),
    /// 23 (BEP 52)
    HashReject(HashRequest),
    /// A number that we don't know, to be ignored (BEP 3); what the message said is gone.
    Unknown(u8),
}

impl Message {
    /// Appends the length-prefixed frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeepAlive => out.extend_from_slice(&0_u32.to_be_bytes()),
            Self::Choke => frame(out, id::CHOKE, &[]),
            Self::Unchoke => frame(out, id::UNCHOKE, &[]),
            Self::Interested => frame(out, id::INTERESTED, &[]),
            Self::NotInterested => frame(out, id::NOT_INTERESTED, &[]),
            Self::Have(piece) => frame(out, id::HAVE, &[&piece.to_be_bytes()]),
            Self::Bitfield(bits) => frame(out, id::BITFIELD, &[bits]),
            Self::Request(block) => block_frame(out, id::REQUEST, *block),
            Self::Cancel(block) => block_frame(out, id::CANCEL, *block),
            Self::Port(port) => frame(out, id::PORT, &[&port.to_be_bytes()]),
            Self::Suggest(piece) => frame(out, id::SUGGEST, &[&piece.to_be_bytes()]),
            Self::HaveAll => frame(out, id::HAVE_ALL, &[]),
            Self::HaveNone => frame(out, id::HAVE_NONE, &[]),
            Self::Reject(block) => block_frame(out, id::REJECT, *block),
            Self::AllowedFast(piece) => frame(out, id::ALLOWED_FAST, &[&piece.to_be_bytes()]),
            Self::Extended { id, payload } => frame(out, self::id::EXTENDED, &[&[*id], payload]),
            Self::HashRequest(request) => hash_frame(out, id::HASH_REQUEST, request, &[]),
            Self::Hashes(request, hashes) => hash_frame(out, id::HASHES, request, hashes),
            Self::HashReject(request) => hash_frame(out, id::HASH_REJECT, request, &[]),
            Self::Unknown(id) => frame(out, *id, &[]),
        }
    }
}

/// What goes before the bytes of a block in a `piece` message (7). The caller sends `block.length` bytes after it, straight from where they
/// lie. `block` is at most [`super::frame::MAX_BLOCK_LENGTH`] long.
pub fn block_header(block: BlockRequest) -> [u8; BLOCK_HEADER_LENGTH] {
    let mut header = [0; BLOCK_HEADER_LENGTH];
    header[..4].copy_from_slice(&(9 + block.length).to_be_bytes());
    header[4] = id::PIECE;
    header[5..9].copy_from_slice(&block.index.to_be_bytes());
    header[9..].copy_from_slice(&block.begin.to_be_bytes());
    header
}

/// Bytes of a `piece` message before the block: the length prefix, the number, piece and begin.
pub const BLOCK_HEADER_LENGTH: usize = 13;

fn block_frame(out: &mut Vec<u8>, id: u8, block: BlockRequest) {
    let BlockRequest { index, begin, length } = block;
    frame(out, id, &[&index.to_be_bytes(), &begin.to_be_bytes(), &length.to_be_bytes()]);
}

fn hash_frame(out: &mut Vec<u8>, id: u8, request: &HashRequest, hashes: &[Hash]) {
    let HashRequest { root, base_layer, index, length, proof_layers } = request;
    let numbers = [base_layer, index, length, proof_layers].map(|number| number.to_be_bytes());
    frame(out, id, &[root, numbers.as_flattened(), hashes.as_flattened()]);
}

fn frame(out: &mut Vec<u8>, id: u8, payload: &[&[u8]]) {
    let length = 1 + payload.iter().map(|part| part.len()).sum::<usize>();
    out.reserve(4 + length);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.push(id);
    for part in payload {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_the_bytes_that_its_bep_says() {
        let block = BlockRequest { index: 0x0102_0304, begin: 0x4000, length: 0x1234 };
        let request = HashRequest {
            root: *b"rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr",
            base_layer: 3,
            index: 512,
            length: 2,
            proof_layers: 9,
        };
        let hashes = vec![*b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", *b"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"];
        let cases: [(Message, &[u8]); 20] = [
            (Message::KeepAlive, b"\0\0\0\0"),
            (Message::Choke, b"\0\0\0\x01\0"),
            (Message::Unchoke, b"\0\0\0\x01\x01"),
            (Message::Interested, b"\0\0\0\x01\x02"),
            (Message::NotInterested, b"\0\0\0\x01\x03"),
            (Message::Have(0x0102_0304), b"\0\0\0\x05\x04\x01\x02\x03\x04"),
            (Message::Bitfield(vec![0xff, 0x80]), b"\0\0\0\x03\x05\xff\x80"),
            (Message::Request(block), b"\0\0\0\x0d\x06\x01\x02\x03\x04\0\0\x40\0\0\0\x12\x34"),
            (Message::Cancel(block), b"\0\0\0\x0d\x08\x01\x02\x03\x04\0\0\x40\0\0\0\x12\x34"),
            (Message::Port(6881), b"\0\0\0\x03\x09\x1a\xe1"),
            (Message::Suggest(7), b"\0\0\0\x05\x0d\0\0\0\x07"),
            (Message::HaveAll, b"\0\0\0\x01\x0e"),
            (Message::HaveNone, b"\0\0\0\x01\x0f"),
            (Message::Reject(block), b"\0\0\0\x0d\x10\x01\x02\x03\x04\0\0\x40\0\0\0\x12\x34"),
            (Message::AllowedFast(7), b"\0\0\0\x05\x11\0\0\0\x07"),
            (Message::Extended { id: 3, payload: b"de".to_vec() }, b"\0\0\0\x04\x14\x03de"),
            (
                Message::HashRequest(request),
                b"\0\0\0\x31\x15rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\0\0\0\x03\0\0\x02\0\0\0\0\x02\0\0\0\x09",
            ),
            (
                Message::Hashes(request, hashes),
                b"\0\0\0\x71\x16rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\0\0\0\x03\0\0\x02\0\0\0\0\x02\0\0\0\x09\
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            ),
            (
                Message::HashReject(request),
                b"\0\0\0\x31\x17rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\0\0\0\x03\0\0\x02\0\0\0\0\x02\0\0\0\x09",
            ),
            (Message::Unknown(99), b"\0\0\0\x01\x63"),
        ];
        for (message, bytes) in cases {
            let mut out = b"before".to_vec();
            message.encode(&mut out);
            assert_eq!(out, [b"before", bytes].concat(), "{message:?}");
        }
    }

    #[test]
    fn a_block_header_counts_the_bytes_that_the_caller_sends_after_it() {
        let mut out = Vec::new();
        out.extend_from_slice(&block_header(BlockRequest { index: 1, begin: 0x4000, length: 0x4000 }));
        assert_eq!(out, b"\0\0\x40\x09\x07\0\0\0\x01\0\0\x40\0");
    }
}
