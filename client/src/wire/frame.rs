//! Cuts a byte stream into messages: [`FrameDecoder`].

use torrent_format::BLOCK_LENGTH;

use super::message::{BLOCK_HEADER_LENGTH, BlockRequest, HashRequest, Message, id};

/// The longest frame that we take, in bytes after the length prefix: a bitfield of [`torrent_format::layout::MAX_PIECES`] pieces
/// (256 KiB), which is longer than any block or extension message that anyone sends.
pub const MAX_FRAME_LENGTH: u32 = MAX_BITFIELD_LENGTH + 1;

/// The longest block that we send, to those who ask for so much at once. We never ask for more than [`BLOCK_LENGTH`], so that a `piece`
/// message with more is refused.
pub const MAX_BLOCK_LENGTH: u32 = 128 * 1024;

/// The longest bitfield that we take, in bytes: one bit for each piece that a torrent may have.
pub const MAX_BITFIELD_LENGTH: u32 = torrent_format::layout::MAX_PIECES / 8;

/// The longest extended message that we take, in bytes after its own number. The longest honest ones are far shorter: a part of the
/// metadata is 16 KiB and its dictionary.
pub const MAX_EXTENDED_LENGTH: u32 = 128 * 1024;

/// The longest message with a number that we don't know, in bytes after the number. It is buffered before it is ignored.
pub const MAX_UNKNOWN_LENGTH: u32 = 16 * 1024;

/// Bytes of a hash request after its number.
const HASH_REQUEST_LENGTH: u32 = 48;

/// Bytes of a hash.
const HASH_LENGTH: u32 = 32;

/// The most hashes that we take in one message: 512 of the base layer, which is the most that BEP 52 wants to be asked for, and a proof
/// of as many as a tree can be high.
pub const MAX_HASHES: u32 = 512 + 64;

/// One thing that a peer said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A whole message.
    Message(Message),
    /// The header of a `piece` message (7). `length` bytes of payload follow on the stream; the caller takes them itself, straight
    /// into a buffer of its own, before it decodes on. `length` may be 0.
    Block(BlockRequest),
}

/// A fault that ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed for its kind.
    #[error("{} of {length} bytes is too long", described(*.id))]
    TooLong {
        /// The message number; `None` if the length alone is more than any message may have.
        id: Option<u8>,
        /// The length prefix.
        length: u32,
    },
    /// A message of a fixed size has another one, or one of any size is too short to be whole.
    #[error("message {id} can't be {length} bytes long")]
    WrongSize {
        /// The message number.
        id: u8,
        /// The length prefix.
        length: u32,
    },
}

/// Decodes frames from the front of a buffer. Holds no bytes itself, nor anything else: what it says depends on the bytes alone,
/// not on how they were cut on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameDecoder;

impl FrameDecoder {
    /// The next frame from the front of `bytes` and how many bytes it took; `Ok(None)`: more bytes are needed. Refuses a frame by
    /// its first five bytes, before anybody buffers the rest. For [`Frame::Block`] only the 13 bytes of header are taken.
    ///
    /// # Errors
    /// If the frame's length is not one that its kind may have. There is no way on from there: the stream can't be cut any more.
    pub fn decode(&self, bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
        let (wanted, length) = match Head::read(bytes)? {
            Head::Short { .. } => return Ok(None),
            Head::KeepAlive => return Ok(Some((Frame::Message(Message::KeepAlive), 4))),
            Head::Message { wanted, length } => (wanted, length),
        };
        let Some([_, _, _, _, id, payload @ ..]) = bytes.get(..wanted) else { return Ok(None) };
        Ok(parse(*id, payload, length).map(|frame| (frame, wanted)))
    }

    /// How many bytes [`FrameDecoder::decode`] needs in all, from the front of `bytes`, to give the next frame: what a read buffer
    /// must hold. While fewer than five bytes are there, only the next step towards knowing. At most [`MAX_FRAME_LENGTH`] and the
    /// prefix; for a frame that `decode` refuses, no more than are there.
    pub fn wanted(bytes: &[u8]) -> usize {
        match Head::read(bytes) {
            Ok(Head::Short { wanted } | Head::Message { wanted, .. }) => wanted,
            Ok(Head::KeepAlive) => 4,
            Err(_) => bytes.len().min(5),
        }
    }
}

/// What the first five bytes say.
enum Head {
    /// Not all here yet: this many bytes say more.
    Short {
        wanted: usize,
    },
    KeepAlive,
    Message {
        /// Bytes that `decode` needs, prefix included.
        wanted: usize,
        /// The length prefix.
        length: u32,
    },
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, FrameError> {
        let Some((prefix, rest)) = bytes.split_first_chunk() else { return Ok(Self::Short { wanted: 4 }) };
        let length = u32::from_be_bytes(*prefix);
        if length == 0 {
            return Ok(Self::KeepAlive);
        }
        // Without the number even where it has come: the error must not depend on how the bytes were cut.
        if length > MAX_FRAME_LENGTH {
            return Err(FrameError::TooLong { id: None, length });
        }
        let Some(&id) = rest.first() else { return Ok(Self::Short { wanted: 5 }) };
        let (min, max) = lengths(id);
        if length > max && min != max {
            return Err(FrameError::TooLong { id: Some(id), length });
        }
        let half_a_hash = id == id::HASHES && length >= min && !(length - min).is_multiple_of(HASH_LENGTH);
        if length < min || length > max || half_a_hash {
            return Err(FrameError::WrongSize { id, length });
        }
        let wanted = if id == id::PIECE { BLOCK_HEADER_LENGTH } else { 4 + length as usize };
        Ok(Self::Message { wanted, length })
    }
}

/// The least and the greatest length prefix that a message of this number may have.
fn lengths(id: u8) -> (u32, u32) {
    match id {
        id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => {
            (1, 1)
        }
        id::PORT => (3, 3),
        id::HAVE | id::SUGGEST | id::ALLOWED_FAST => (5, 5),
        id::REQUEST | id::CANCEL | id::REJECT => (13, 13),
        id::PIECE => (9, 9 + BLOCK_LENGTH),
        id::BITFIELD => (1, 1 + MAX_BITFIELD_LENGTH),
        id::EXTENDED => (2, 2 + MAX_EXTENDED_LENGTH),
        id::HASH_REQUEST | id::HASH_REJECT => (1 + HASH_REQUEST_LENGTH, 1 + HASH_REQUEST_LENGTH),
        id::HASHES => (1 + HASH_REQUEST_LENGTH, 1 + HASH_REQUEST_LENGTH + HASH_LENGTH * MAX_HASHES),
        _ => (1, 1 + MAX_UNKNOWN_LENGTH),
    }
}

/// Reads a payload whose size [`lengths`] has allowed; of a `piece`, only the header. `None` is never seen: it would take a size that
/// was not allowed.
fn parse(id: u8, payload: &[u8], length: u32) -> Option<Frame> {
    let message = match id {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have(number(payload)?),
        id::BITFIELD => Message::Bitfield(payload.to_vec()),
        id::REQUEST => Message::Request(block(payload)?),
        id::PIECE => {
            let (index, begin) = (number(payload)?, number(&payload[4..])?);
            return Some(Frame::Block(BlockRequest { index, begin, length: length - 9 }));
        }
        id::CANCEL => Message::Cancel(block(payload)?),
        id::PORT => Message::Port(u16::from_be_bytes(*payload.first_chunk()?)),
        id::SUGGEST => Message::Suggest(number(payload)?),
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(block(payload)?),
        id::ALLOWED_FAST => Message::AllowedFast(number(payload)?),
        id::EXTENDED => {
            let (&id, payload) = payload.split_first()?;
            Message::Extended { id, payload: payload.to_vec() }
        }
        id::HASH_REQUEST => Message::HashRequest(hash_request(payload)?),
        id::HASHES => {
            let (hashes, _) = payload.get(HASH_REQUEST_LENGTH as usize..)?.as_chunks();
            Message::Hashes(hash_request(payload)?, hashes.to_vec())
        }
        id::HASH_REJECT => Message::HashReject(hash_request(payload)?),
        unknown => Message::Unknown(unknown),
    };
    Some(Frame::Message(message))
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn block(payload: &[u8]) -> Option<BlockRequest> {
    Some(BlockRequest {
        index: number(payload)?,
        begin: number(&payload[4..])?,
        length: number(&payload[8..])?,
    })
}

fn hash_request(payload: &[u8]) -> Option<HashRequest> {
    Some(HashRequest {
        root: *payload.first_chunk()?,
        base_layer: number(payload.get(32..)?)?,
        index: number(payload.get(36..)?)?,
        length: number(payload.get(40..)?)?,
        proof_layers: number(payload.get(44..)?)?,
    })
}

fn described(id: Option<u8>) -> String {
    id.map_or_else(|| "a message".to_owned(), |id| format!("message {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::block_header;

    fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
        FrameDecoder.decode(bytes)
    }

    fn encoded(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn head(length: u32, id: u8) -> Vec<u8> {
        [&length.to_be_bytes(), [id].as_slice()].concat()
    }

    fn random_bytes(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    fn random_message(random: &mut fastrand::Rng) -> Message {
        let block = BlockRequest { index: random.u32(..), begin: random.u32(..), length: random.u32(..) };
        let length = random.usize(..40);
        let request = HashRequest {
            root: std::array::from_fn(|_| random.u8(..)),
            base_layer: random.u32(..),
            index: random.u32(..),
            length: random.u32(..),
            proof_layers: random.u32(..),
        };
        match random.u8(..20) {
            0 => Message::KeepAlive,
            1 => Message::Choke,
            2 => Message::Unchoke,
            3 => Message::Interested,
            4 => Message::NotInterested,
            5 => Message::Have(block.index),
            6 => Message::Bitfield(random_bytes(random, length)),
            7 => Message::Request(block),
            8 => Message::Cancel(block),
            9 => Message::Port(random.u16(..)),
            10 => Message::Suggest(block.index),
            11 => Message::HaveAll,
            12 => Message::HaveNone,
            13 => Message::Reject(block),
            14 => Message::AllowedFast(block.index),
            15 => Message::Extended { id: random.u8(..), payload: random_bytes(random, length) },
            16 => Message::HashRequest(request),
            17 => Message::Hashes(request, vec![request.root; length]),
            18 => Message::HashReject(request),
            _ => Message::Unknown(random.u8(24..)),
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself_and_leaves_what_follows() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let message = random_message(&mut random);
            let bytes = encoded(&message);
            assert_eq!(FrameDecoder::wanted(&bytes), bytes.len(), "{message:?}");
            let followed = [bytes.as_slice(), b"\0\0\0\x01\x02"].concat();
            assert_eq!(decode(&followed), Ok(Some((Frame::Message(message), bytes.len()))));
        }
    }

    #[test]
    fn p16_a_frame_split_at_any_byte_gives_the_identical_result() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..2_000 {
            let message = random_message(&mut random);
            let bytes = encoded(&message);
            for come in 0..bytes.len() {
                assert_eq!(decode(&bytes[..come]), Ok(None), "{message:?} at {come}");
                let wanted = FrameDecoder::wanted(&bytes[..come]);
                assert!(come < wanted && wanted <= bytes.len(), "{message:?} at {come}: {wanted}");
            }
        }
    }

    #[test]
    fn p16_a_refused_frame_is_refused_alike_wherever_it_is_split() {
        for (length, id) in [(u32::MAX, 5), (MAX_FRAME_LENGTH + 1, 5), (14, 6), (8, 7), (200_000, 7), (1, 20)]
        {
            let bytes = [head(length, id), vec![0; 100]].concat();
            let refused = decode(&bytes).unwrap_err();
            let first = (0..=bytes.len()).find(|&come| decode(&bytes[..come]).is_err()).unwrap();
            assert!(first <= 5, "{refused}: needed {first} bytes");
            for come in first..=bytes.len() {
                assert_eq!(decode(&bytes[..come]), Err(refused));
                assert!(FrameDecoder::wanted(&bytes[..come]) <= 5);
            }
        }
    }

    #[test]
    fn p17_a_block_is_known_by_its_13_bytes_of_header() {
        let block = BlockRequest { index: 3, begin: 0x8000, length: 0x4000 };
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&block_header(block));
        assert_eq!(bytes.len(), 13);
        for come in 0..13 {
            assert_eq!(decode(&bytes[..come]), Ok(None), "{come}");
        }
        assert_eq!(FrameDecoder::wanted(&bytes[..5]), 13);
        assert_eq!(decode(&bytes), Ok(Some((Frame::Block(block), 13))));
        bytes.extend_from_slice(&[0xaa; 0x4000]);
        assert_eq!(decode(&bytes), Ok(Some((Frame::Block(block), 13))));
    }

    #[test]
    fn p13_p14_p15_a_length_over_the_cap_is_refused_by_the_first_bytes() {
        let cases = [
            ("P13", u32::MAX, None),
            ("P14", 1 << 31, None),
            ("P15 any kind", MAX_FRAME_LENGTH + 1, None),
            ("P15 P26 bitfield of 1 GB", 1_000_000_001, None),
            ("P15 piece", 9 + BLOCK_LENGTH + 1, Some(7)),
            ("P15 extended", 2 + MAX_EXTENDED_LENGTH + 1, Some(20)),
            ("P15 P19 unknown", 1 + MAX_UNKNOWN_LENGTH + 1, Some(10)),
            ("P15 P19 unknown", 1 + MAX_UNKNOWN_LENGTH + 1, Some(255)),
        ];
        for (case, length, id) in cases {
            let seen = &head(length, id.unwrap_or(5))[..if id.is_some() { 5 } else { 4 }];
            assert_eq!(decode(seen), Err(FrameError::TooLong { id, length }), "{case}");
        }
    }

    #[test]
    fn p15_the_longest_of_each_kind_is_taken() {
        let longest = |length, id| [head(length, id), vec![0; length as usize - 1]].concat();
        let taken = |bytes: &[u8]| decode(bytes).unwrap().unwrap();

        let bytes = longest(MAX_FRAME_LENGTH, id::BITFIELD);
        assert_eq!(taken(&bytes), (Frame::Message(Message::Bitfield(vec![0; 256 * 1024])), 256 * 1024 + 5));

        let bytes = longest(2 + MAX_EXTENDED_LENGTH, id::EXTENDED);
        let message = Message::Extended { id: 0, payload: vec![0; 128 * 1024] };
        assert_eq!(taken(&bytes), (Frame::Message(message), 128 * 1024 + 6));

        let bytes = longest(1 + MAX_UNKNOWN_LENGTH, 99);
        assert_eq!(taken(&bytes), (Frame::Message(Message::Unknown(99)), 16 * 1024 + 5));

        let bytes = [head(9 + BLOCK_LENGTH, id::PIECE), vec![0; 8]].concat();
        let block = BlockRequest { index: 0, begin: 0, length: 16 * 1024 };
        assert_eq!(taken(&bytes), (Frame::Block(block), 13));
    }

    #[test]
    fn p18_keep_alives_cost_four_bytes_each() {
        let bytes = [0; 4_000];
        let mut rest = bytes.as_slice();
        let mut count = 0;
        while let Some((frame, taken)) = decode(rest).unwrap() {
            assert_eq!((frame, taken), (Frame::Message(Message::KeepAlive), 4));
            rest = &rest[taken..];
            count += 1;
        }
        assert_eq!(count, 1_000);
    }

    #[test]
    fn p19_an_unknown_number_is_skipped_whole() {
        for id in [10, 11, 12, 18, 19, 24, 99, 255] {
            for length in [1, 2, 13, 1000] {
                let bytes = [head(length, id), vec![7; length as usize - 1], b"\0\0\0\0".to_vec()].concat();
                let whole = 4 + length as usize;
                assert_eq!(decode(&bytes[..whole - 1]), Ok(None));
                assert_eq!(decode(&bytes), Ok(Some((Frame::Message(Message::Unknown(id)), whole))));
            }
        }
    }

    #[test]
    fn p20_a_fixed_message_of_another_size_is_refused() {
        let fixed = [
            (0, 1),
            (1, 1),
            (2, 1),
            (3, 1),
            (4, 5),
            (6, 13),
            (8, 13),
            (9, 3),
            (13, 5),
            (14, 1),
            (15, 1),
            (16, 13),
            (17, 5),
            (21, 49),
            (23, 49),
        ];
        for (id, size) in fixed {
            for length in (1..=60).chain([16 * 1024, MAX_FRAME_LENGTH]) {
                let result = decode(&head(length, id));
                if length == size {
                    assert!(result.is_ok(), "message {id} of {length} bytes");
                } else {
                    assert_eq!(result, Err(FrameError::WrongSize { id, length }));
                }
            }
        }
        for (id, shortest) in [(5, 1), (7, 9), (20, 2), (22, 49)] {
            for length in 1..shortest {
                assert_eq!(decode(&head(length, id)), Err(FrameError::WrongSize { id, length }));
            }
            assert!(decode(&head(shortest, id)).is_ok());
        }
    }

    #[test]
    fn v10_a_message_of_hashes_is_cut_at_a_hash_and_holds_no_more_than_a_proof_needs() {
        let most = 49 + 32 * MAX_HASHES;
        for length in [49, 49 + 32, 49 + 32 * 512, most] {
            assert_eq!(decode(&head(length, id::HASHES)), Ok(None), "{length}");
        }
        for length in [50, 80, 82, most - 1] {
            let wrong = FrameError::WrongSize { id: id::HASHES, length };
            assert_eq!(decode(&head(length, id::HASHES)), Err(wrong), "{length}");
        }
        let too_long = FrameError::TooLong { id: Some(id::HASHES), length: most + 1 };
        assert_eq!(decode(&head(most + 1, id::HASHES)), Err(too_long));
    }

    #[test]
    fn p47_a_block_of_no_bytes_is_a_frame() {
        let block = BlockRequest { index: 1, begin: 2, length: 0 };
        let bytes = b"\0\0\0\x09\x07\0\0\0\x01\0\0\0\x02";
        assert_eq!(decode(bytes), Ok(Some((Frame::Block(block), 13))));
    }

    #[test]
    fn p28_p35_numbers_of_any_size_pass_as_they_are() {
        let all = BlockRequest { index: u32::MAX, begin: u32::MAX, length: u32::MAX };
        let cases = [(Message::Have(u32::MAX), 9), (Message::Request(all), 17), (Message::Cancel(all), 17)];
        for (message, length) in cases {
            let bytes = encoded(&message);
            assert_eq!(bytes[5..], vec![0xff; length - 5]);
            assert_eq!(decode(&bytes), Ok(Some((Frame::Message(message), length))));
        }
        let bytes = b"\0\0\0\x0a\x07\xff\xff\xff\xff\xff\xff\xff\xffx";
        assert_eq!(decode(bytes), Ok(Some((Frame::Block(BlockRequest { length: 1, ..all }), 13))));
    }

    #[test]
    fn random_bytes_never_panic_and_are_taken_only_as_far_as_they_go() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..100_000 {
            let length = random.usize(..64);
            let mut bytes = random_bytes(&mut random, length);
            // Half of them with a length that could be right, to get past the first check.
            if bytes.len() > 5 && random.bool() {
                bytes[..4].copy_from_slice(&random.u32(..64).to_be_bytes());
                bytes[4] = random.u8(..24);
            }
            match decode(&bytes) {
                Ok(Some((_, taken))) => assert!(taken >= 4 && taken <= bytes.len()),
                Ok(None) => assert!(FrameDecoder::wanted(&bytes) > bytes.len()),
                Err(_) => assert!(bytes.len() >= 4),
            }
        }
    }

    #[test]
    fn a_refusal_names_the_message_and_its_length() {
        let text = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(text(&head(u32::MAX, 0)), "a message of 4294967295 bytes is too long");
        assert_eq!(text(&head(20_000, 99)), "message 99 of 20000 bytes is too long");
        assert_eq!(text(&head(4, 4)), "message 4 can't be 4 bytes long");
    }
}
