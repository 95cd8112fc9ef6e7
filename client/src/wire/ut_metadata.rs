//! Metadata exchange (BEP 9): the info dictionary, in parts of 16 KiB.

use serde_bencode::value::Value;

use super::extension::{ExtensionError, decode_dictionary, encode_dictionary, integer};

/// Bytes of a part of the metadata; the last may be shorter.
pub const METADATA_PART_LENGTH: u32 = 16 * 1024;

/// The longest info dictionary that we fetch, in bytes.
pub const MAX_METADATA_LENGTH: u32 = 10 * 1024 * 1024;

/// A `ut_metadata` message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataMessage {
    /// 0: send me this part.
    Request {
        /// Part, from 0; may be one that doesn't exist.
        piece: u32,
    },
    /// 1: here it is.
    Data {
        /// Part, from 0; one that metadata of `total_size` bytes has.
        piece: u32,
        /// Bytes of the whole metadata; 1 to [`MAX_METADATA_LENGTH`].
        total_size: u32,
        /// The part: exactly as long as part `piece` of `total_size` bytes is.
        data: Vec<u8>,
    },
    /// 2: I don't have it, or don't want to.
    Reject {
        /// Part, from 0; may be one that doesn't exist.
        piece: u32,
    },
}

impl MetadataMessage {
    /// A bencoded dictionary, followed by the data if there is any.
    pub fn encode(&self) -> Vec<u8> {
        let (msg_type, piece, total_size, data) = match self {
            Self::Request { piece } => (REQUEST, *piece, None, [].as_slice()),
            Self::Data { piece, total_size, data } => (DATA, *piece, Some(*total_size), data.as_slice()),
            Self::Reject { piece } => (REJECT, *piece, None, [].as_slice()),
        };
        let mut bytes = encode_dictionary([
            ("msg_type", Some(Value::Int(msg_type))),
            ("piece", Some(Value::Int(piece.into()))),
            ("total_size", total_size.map(|size| Value::Int(size.into()))),
        ]);
        bytes.extend_from_slice(data);
        bytes
    }

    /// Reads one. `Ok(None)`: a `msg_type` that we don't know, to be ignored.
    ///
    /// # Errors
    /// If it is no dictionary, a number is missing or out of range, or the data is not as long as its part must be.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, ExtensionError> {
        let (said, data) = decode_dictionary(payload)?;
        let msg_type: i64 = integer(said, "msg_type").ok_or_else(|| bad("no msg_type"))?;
        if ![REQUEST, DATA, REJECT].contains(&msg_type) {
            return Ok(None);
        }
        let piece = integer(said, "piece").ok_or_else(|| bad("no part number, or one out of range"))?;
        match msg_type {
            REQUEST => Ok(Some(Self::Request { piece })),
            DATA => {
                let total_size = integer(said, "total_size")
                    .filter(|size| (1..=MAX_METADATA_LENGTH).contains(size))
                    .ok_or_else(|| bad("no total_size, or one out of range"))?;
                if part_length(piece, total_size) != Some(data.len()) {
                    let length = data.len();
                    return Err(bad(format!("{length} bytes can't be part {piece} of {total_size} bytes")));
                }
                Ok(Some(Self::Data { piece, total_size, data: data.to_vec() }))
            }
            _ => Ok(Some(Self::Reject { piece })),
        }
    }
}

/// Bytes of this part of metadata of `total_size` bytes, if it has such a part.
pub fn part_length(piece: u32, total_size: u32) -> Option<usize> {
    let start = piece.checked_mul(METADATA_PART_LENGTH)?;
    let rest = total_size.checked_sub(start).filter(|&rest| rest > 0)?;
    Some(rest.min(METADATA_PART_LENGTH) as usize)
}

const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

fn bad(what: impl Into<String>) -> ExtensionError {
    ExtensionError(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_bep_9() {
        let data = vec![b'x'; 16 * 1024];
        let cases = [
            (MetadataMessage::Request { piece: 0 }, b"d8:msg_typei0e5:piecei0ee".to_vec()),
            (
                MetadataMessage::Data { piece: 0, total_size: 34_256, data: data.clone() },
                [b"d8:msg_typei1e5:piecei0e10:total_sizei34256ee".to_vec(), data].concat(),
            ),
            (
                MetadataMessage::Data { piece: 2, total_size: 2 * 16_384 + 2, data: b"ee".to_vec() },
                b"d8:msg_typei1e5:piecei2e10:total_sizei32770eeee".to_vec(),
            ),
            (MetadataMessage::Reject { piece: 7 }, b"d8:msg_typei2e5:piecei7ee".to_vec()),
        ];
        for (message, bytes) in cases {
            assert_eq!(message.encode(), bytes);
            assert_eq!(MetadataMessage::decode(&bytes), Ok(Some(message)));
        }
    }

    #[test]
    fn a_type_that_we_dont_know_is_ignored_whatever_else_it_says() {
        for payload in ["d8:msg_typei3e5:piecei0ee", "d8:msg_typei-1ee", "d8:msg_typei256e5:piece1:xe"] {
            assert_eq!(MetadataMessage::decode(payload.as_bytes()), Ok(None), "{payload}");
        }
    }

    #[test]
    fn unsorted_and_unknown_keys_are_borne_with() {
        let bytes = b"d5:piecei1e8:msg_typei0e5:extrali1eee";
        assert_eq!(MetadataMessage::decode(bytes), Ok(Some(MetadataMessage::Request { piece: 1 })));
    }

    #[test]
    fn e9_a_request_for_no_possible_part_is_refused_and_for_a_huge_one_passed_on_to_be_rejected() {
        for piece in ["i-1e", "i4294967296e", "i9223372036854775807e", "1:0", "le", "de"] {
            let payload = format!("d8:msg_typei0e5:piece{piece}e");
            assert!(MetadataMessage::decode(payload.as_bytes()).is_err(), "{payload}");
        }
        let huge = MetadataMessage::Request { piece: u32::MAX };
        assert_eq!(MetadataMessage::decode(b"d8:msg_typei0e5:piecei4294967295ee"), Ok(Some(huge)));
    }

    #[test]
    fn e10_data_must_be_as_long_as_its_part() {
        let decode = |piece: i64, total_size: i64, length: usize| {
            let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total_size}ee");
            MetadataMessage::decode(&[head.into_bytes(), vec![0; length]].concat())
        };
        for (piece, total_size, length) in
            [(0, 1, 1), (0, 16_384, 16_384), (1, 16_385, 1), (639, 10_485_760, 16_384)]
        {
            let data = vec![0; length];
            let expected = MetadataMessage::Data { piece, total_size, data };
            assert_eq!(decode(piece.into(), total_size.into(), length), Ok(Some(expected)));
        }
        let refused = [
            ("total_size 0", 0, 0, 0),
            ("total_size -1", 0, -1, 16_384),
            ("total_size over the cap", 0, 10_485_761, 16_384),
            ("total_size 2^63 - 1", 0, i64::MAX, 16_384),
            ("piece -1", -1, 20_000, 16_384),
            ("piece past the end", 2, 20_000, 16_384),
            ("piece at the end", 1, 16_384, 0),
            ("piece whose offset overflows", 262_144, 16_384, 16_384),
            ("no data", 0, 20_000, 0),
            ("a byte short", 0, 20_000, 16_383),
            ("a byte long", 0, 20_000, 16_385),
            ("last part a byte short", 1, 20_000, 3_615),
            ("last part of full length", 1, 20_000, 16_384),
            ("100 KB", 0, 20_000, 100_000),
        ];
        for (case, piece, total_size, length) in refused {
            assert!(decode(piece, total_size, length).is_err(), "{case}");
        }
        let text = decode(1, 20_000, 5).unwrap_err().to_string();
        assert_eq!(text, "bad extension message: 5 bytes can't be part 1 of 20000 bytes");
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let deep = [b"d8:msg_typei0e5:piecei0e1:x".to_vec(), vec![b'l'; 50_000], vec![b'e'; 50_001]].concat();
        let cases: [&[u8]; 10] = [
            b"",
            b"i0e",
            b"le",
            b"de",
            b"d8:msg_type1:0e",
            b"d5:piecei0ee",
            b"d8:msg_typei0ee",
            b"d8:msg_typei1e5:piecei0eex",
            b"d8:msg_typei0e5:piecei0e",
            &deep,
        ];
        for payload in cases {
            let start = payload[..payload.len().min(30)].escape_ascii();
            assert!(MetadataMessage::decode(payload).is_err(), "{start}");
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let mut random = fastrand::Rng::with_seed(6);
        for _ in 0..1_000 {
            let total_size = random.u32(1..=MAX_METADATA_LENGTH);
            let piece = random.u32(..total_size.div_ceil(METADATA_PART_LENGTH));
            let length = part_length(piece, total_size).unwrap();
            let message = match random.u8(..3) {
                0 => MetadataMessage::Request { piece: random.u32(..) },
                1 => {
                    // The data may look like more of the dictionary.
                    let data =
                        std::iter::repeat_with(|| *random.choice(b"dile0:").unwrap()).take(length).collect();
                    MetadataMessage::Data { piece, total_size, data }
                }
                _ => MetadataMessage::Reject { piece: random.u32(..) },
            };
            assert_eq!(MetadataMessage::decode(&message.encode()), Ok(Some(message)));
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let good = b"d8:msg_typei1e5:piecei0e10:total_sizei8eeabcdefgh";
        let mut taken = 0;
        for _ in 0..100_000 {
            // Noise seldom gets past the first byte: half of them are a good message with a few wrong bytes.
            let mut bytes = good.to_vec();
            if random.bool() {
                bytes.truncate(random.usize(..bytes.len()));
                bytes.fill_with(|| random.u8(..));
            } else {
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..bytes.len());
                    bytes[at] = *random.choice(b"0123456789:deilx\xff-").unwrap();
                }
            }
            if let Ok(Some(MetadataMessage::Data { piece, total_size, data })) =
                MetadataMessage::decode(&bytes)
            {
                taken += 1;
                assert_eq!(part_length(piece, total_size), Some(data.len()));
            }
        }
        assert!(taken > 1_000, "only {taken} of the buffers said anything");
    }
}
