//! What goes over the wire (BEP 29): a [`Header`], extensions, payload.

use super::seq::Seq;

/// Bytes of a header, without extensions.
pub(super) const HEADER: usize = 20;

/// The one version that is in use.
const VERSION: u8 = 1;

/// The extension that says which packets came early.
const SELECTIVE_ACK: u8 = 1;

/// The longest mask that is sent, in bytes: one bit for each packet that may come early.
pub(super) const MAX_MASK: usize = 64;

/// Extensions that a packet may have. Two are known to be in use, and one more to have been.
const MAX_EXTENSIONS: usize = 8;

/// What a packet is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Carries payload.
    Data,
    /// There will be no more payload.
    Fin,
    /// Says what has come, and nothing else.
    State,
    /// The connection is no more.
    Reset,
    /// Asks for a connection.
    Syn,
}

/// The fixed part of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The connection, as the receiver calls it; of a SYN, as its sender will be called.
    pub(super) id: u16,
    /// The sender's clock, in microseconds.
    pub(super) timestamp: u32,
    /// By how much the receiver's clock was ahead of the last packet's `timestamp` when that came, in microseconds; 0 before there was one.
    pub(super) difference: u32,
    /// Bytes that the sender has room for.
    pub(super) window: u32,
    /// Of this packet, if it is data, a FIN or a SYN; else of the next such.
    pub(super) seq: Seq,
    /// The last packet that came in order.
    pub(super) ack: Seq,
}

/// A packet that has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packet<'a> {
    pub(super) header: Header,
    /// Bit `i`, from the lowest bit of the first byte on: packet `ack + 2 + i` came early.
    pub(super) mask: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// Why something is no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// It ends too early.
    #[error("a uTP packet that ends too early")]
    Short,
    /// Of a version or a type that is not known.
    #[error("no uTP packet")]
    Unknown,
    /// More than anybody sends.
    #[error("a uTP packet of more than {MAX_EXTENSIONS} extensions")]
    Extensions,
}

impl<'a> Packet<'a> {
    /// Reads one; extensions that are not known are passed over.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let (head, mut rest) = bytes.split_first_chunk::<HEADER>().ok_or(PacketError::Short)?;
        let kind = match (head[0] & 0x0f, head[0] >> 4) {
            (VERSION, 0) => Kind::Data,
            (VERSION, 1) => Kind::Fin,
            (VERSION, 2) => Kind::State,
            (VERSION, 3) => Kind::Reset,
            (VERSION, 4) => Kind::Syn,
            _ => return Err(PacketError::Unknown),
        };
        let short = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let header = Header {
            kind,
            id: short(2),
            timestamp: long(4),
            difference: long(8),
            window: long(12),
            seq: Seq(short(16)),
            ack: Seq(short(18)),
        };
        let mut mask: &[u8] = &[];
        let mut extension = head[1];
        for _ in 0..MAX_EXTENSIONS {
            if extension == 0 {
                return Ok(Self { header, mask, payload: rest });
            }
            let [next, length, after @ ..] = rest else { return Err(PacketError::Short) };
            let (content, after) = after.split_at_checked((*length).into()).ok_or(PacketError::Short)?;
            if extension == SELECTIVE_ACK {
                mask = content;
            }
            (extension, rest) = (*next, after);
        }
        match extension {
            0 => Ok(Self { header, mask, payload: rest }),
            _ => Err(PacketError::Extensions),
        }
    }
}

impl Header {
    /// Appends it, and `mask` if it is not empty. Payload may follow.
    pub(super) fn encode(&self, mask: &[u8], out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::Fin => 1,
            Kind::State => 2,
            Kind::Reset => 3,
            Kind::Syn => 4,
        };
        out.extend([kind << 4 | VERSION, if mask.is_empty() { 0 } else { SELECTIVE_ACK }]);
        out.extend(self.id.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.difference.to_be_bytes());
        out.extend(self.window.to_be_bytes());
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.ack.0.to_be_bytes());
        if !mask.is_empty() {
            debug_assert!(mask.len() <= MAX_MASK);
            out.extend([0, mask.len() as u8]);
            out.extend_from_slice(mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Header = Header {
        kind: Kind::Data,
        id: 0x0102,
        timestamp: 0x0304_0506,
        difference: 0x0708_090a,
        window: 0x0b0c_0d0e,
        seq: Seq(0x0f10),
        ack: Seq(0x1112),
    };

    fn encoded(kind: Kind, mask: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Header { kind, ..HEAD }.encode(mask, &mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_packet_is_what_bep_29_says() {
        let bytes = encoded(Kind::State, &[0x80, 0, 0, 1], b"");
        let expected = b"\x21\x01\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12";
        assert_eq!(bytes[..HEADER], expected[..]);
        assert_eq!(bytes[HEADER..], *b"\x00\x04\x80\x00\x00\x01");
        for kind in [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn] {
            let (bytes, header) = (encoded(kind, &[1, 2, 3, 4], b"xy"), Header { kind, ..HEAD });
            let packet = Packet { header, mask: &[1, 2, 3, 4], payload: b"xy" };
            assert_eq!(Packet::decode(&bytes), Ok(packet));
        }
    }

    #[test]
    fn what_is_short_or_of_no_known_kind_is_refused_wherever_it_ends() {
        let whole = encoded(Kind::Data, &[1, 0, 0, 0], b"");
        for end in 0..whole.len() {
            assert_eq!(Packet::decode(&whole[..end]), Err(PacketError::Short), "{end} bytes");
        }
        for first in [0x00, 0x02, 0x51, 0xf1] {
            let mut bytes = whole.clone();
            bytes[0] = first;
            assert_eq!(Packet::decode(&bytes), Err(PacketError::Unknown));
        }
    }

    #[test]
    fn extensions_that_nobody_knows_are_passed_over_and_chains_of_them_end() {
        // The bits that older clients put into a SYN, then a mask, then something of tomorrow.
        let mut bytes = encoded(Kind::Syn, &[], b"");
        bytes[1] = 2;
        bytes.extend(b"\x01\x08\0\0\0\0\0\0\0\0\x63\x04\x05\0\0\0\x00\x02??payload");
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!((packet.mask, packet.payload), (&b"\x05\0\0\0"[..], &b"payload"[..]));

        let mut endless = encoded(Kind::Data, &[], b"");
        endless[1] = 9;
        endless.extend([9, 0].repeat(4_000));
        assert_eq!(Packet::decode(&endless), Err(PacketError::Extensions));
    }
}
