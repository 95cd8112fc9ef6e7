//! The extension handshake (BEP 10), and the dictionaries that extended messages are made of.

use std::net::IpAddr;

use serde_bencode::value::Value;
use torrent_format::bencode::{self, Dict, Limits, Raw};
use torrent_format::safe_path::printable;

use super::frame::MAX_EXTENDED_LENGTH;
use super::ut_metadata::MAX_METADATA_LENGTH;

/// The number of the extension handshake itself.
pub const EXTENSION_HANDSHAKE_ID: u8 = 0;

/// The number under which we ask peers to send us `ut_metadata` messages (BEP 9).
pub const UT_METADATA_ID: u8 = 1;

/// The number under which we would have peers send us `ut_pex` messages (BEP 11).
pub const UT_PEX_ID: u8 = 2;

/// The number under which we would have peers send us `ut_holepunch` messages (BEP 55).
pub const UT_HOLEPUNCH_ID: u8 = 3;

/// The greatest `reqq` that we believe, in requests: 256 MiB of blocks on their way, more than any path needs.
pub const MAX_REQUEST_QUEUE: u32 = 16 * 1024;

/// The longest name of a client that we keep, in characters.
pub const MAX_CLIENT_LENGTH: usize = 64;

/// What each side says in its extension handshake (extended message 0).
///
/// It may come again: then a number of 0 takes an extension back, and what is not named stays as it was.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtensionHandshake {
    /// `m`: the number under which the sender wants `ut_metadata` messages; `None` or 0: not at all.
    pub ut_metadata: Option<u8>,
    /// `m`: likewise for `ut_pex`.
    pub ut_pex: Option<u8>,
    /// `m`: likewise for `ut_holepunch`.
    pub ut_holepunch: Option<u8>,
    /// `metadata_size`: bytes of the info dictionary, if the sender has it; 1 to [`MAX_METADATA_LENGTH`].
    pub metadata_size: Option<u32>,
    /// `reqq`: how many requests the sender keeps before it drops more; 1 to [`MAX_REQUEST_QUEUE`].
    pub request_queue: Option<u32>,
    /// `v`: the client, made fit for a terminal, at most [`MAX_CLIENT_LENGTH`] characters.
    pub client: Option<String>,
    /// `p`: the port that the sender listens on; not 0.
    pub port: Option<u16>,
    /// `yourip`: how the sender sees us.
    pub your_ip: Option<IpAddr>,
    /// `upload_only` (BEP 21).
    pub upload_only: bool,
}

/// Not an extension handshake, nor another extended message that we understand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad extension message: {0}")]
pub struct ExtensionError(pub String);

impl ExtensionHandshake {
    /// The bencoded dictionary.
    pub fn encode(&self) -> Vec<u8> {
        let numbers =
            [("ut_holepunch", self.ut_holepunch), ("ut_metadata", self.ut_metadata), ("ut_pex", self.ut_pex)];
        let numbers = numbers.map(|(name, number)| (name, number.map(|number| Value::Int(number.into()))));
        encode_dictionary([
            ("m", Some(dictionary_value(numbers))),
            ("metadata_size", self.metadata_size.map(|size| Value::Int(size.into()))),
            ("p", self.port.map(|port| Value::Int(port.into()))),
            ("reqq", self.request_queue.map(|requests| Value::Int(requests.into()))),
            ("upload_only", self.upload_only.then_some(Value::Int(1))),
            ("v", self.client.as_deref().map(Value::from)),
            ("yourip", self.your_ip.map(|ip| Value::Bytes(octets(ip)))),
        ])
    }

    /// Reads a bencoded dictionary; keys with values of the wrong type or range are left out, unknown keys ignored, and so is what
    /// follows the dictionary.
    ///
    /// # Errors
    /// If it is no dictionary, is too long or too deep, or wants two extensions under one number.
    pub fn decode(payload: &[u8]) -> Result<Self, ExtensionError> {
        let (said, _) = decode_dictionary(payload)?;
        let numbers = said.get("m").and_then(Raw::as_dict);
        let number = |name| numbers.and_then(|numbers| integer(numbers, name));
        let names = ["ut_metadata", "ut_pex", "ut_holepunch"];
        let ours = names.map(number);
        for (at, (first, is)) in names.into_iter().zip(ours).enumerate() {
            let twin = names.into_iter().zip(ours).skip(at + 1).find(|&(_, other)| other == is);
            if let (Some(1..), Some((second, _))) = (is, twin) {
                let number = is.unwrap_or_default();
                return Err(ExtensionError(format!("{first} and {second} are both number {number}")));
            }
        }
        let [ut_metadata, ut_pex, ut_holepunch] = ours;
        Ok(Self {
            ut_metadata,
            ut_pex,
            ut_holepunch,
            metadata_size: integer(said, "metadata_size")
                .filter(|size| (1..=MAX_METADATA_LENGTH).contains(size)),
            request_queue: request_queue(integer(said, "reqq")),
            client: said.get("v").and_then(Raw::as_bytes).and_then(client_name),
            port: integer(said, "p").filter(|&port| port != 0),
            your_ip: said.get("yourip").and_then(Raw::as_bytes).and_then(ip_from),
            upload_only: integer::<i64>(said, "upload_only").is_some_and(|flag| flag != 0),
        })
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip_from(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Nobody means that it takes no requests; and a huge number is a large one.
fn request_queue(said: Option<i64>) -> Option<u32> {
    said.filter(|&requests| requests > 0).map(|requests| requests.min(MAX_REQUEST_QUEUE.into()) as u32)
}

fn client_name(name: &[u8]) -> Option<String> {
    // No character takes more than four bytes, so these hold all that is kept.
    let name = &name[..name.len().min(4 * MAX_CLIENT_LENGTH)];
    let name: String = printable(&String::from_utf8_lossy(name)).chars().take(MAX_CLIENT_LENGTH).collect();
    (!name.trim().is_empty()).then_some(name)
}

/// What a message from a peer may be: a handshake is 300 bytes and two deep, so this is ample.
const LIMITS: Limits = Limits { length: MAX_EXTENDED_LENGTH, depth: 10, tokens: 10_000, strict: false };

/// The dictionary at the front of `payload`, and what follows it.
pub(super) fn decode_dictionary(payload: &[u8]) -> Result<(Dict<'_>, &[u8]), ExtensionError> {
    // Not serde_bencode, although the scan makes it safe: it fails as a whole where one value is not what we expect.
    let scan = bencode::scan_first(payload, &LIMITS).map_err(|error| ExtensionError(error.to_string()))?;
    let root = scan.root();
    let dictionary = root.as_dict().ok_or_else(|| ExtensionError("not a dictionary".into()))?;
    Ok((dictionary, &payload[root.bytes().len()..]))
}

/// The integer under `key`, if there is one and it fits.
pub(super) fn integer<T: TryFrom<i64>>(dictionary: Dict<'_>, key: &str) -> Option<T> {
    T::try_from(dictionary.get(key)?.as_int()?).ok()
}

/// A dictionary of the entries that have a value.
fn dictionary_value<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let given = entries.into_iter().filter_map(|(key, value)| Some((key.as_bytes().to_vec(), value?)));
    Value::Dict(given.collect())
}

/// Bencodes the entries that have a value, with sorted keys.
pub(super) fn encode_dictionary<const N: usize>(entries: [(&str, Option<Value>); N]) -> Vec<u8> {
    serde_bencode::to_bytes(&dictionary_value(entries)).expect("values of bencode's own types encode")
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn decoded(payload: &[u8]) -> ExtensionHandshake {
        ExtensionHandshake::decode(payload).unwrap()
    }

    #[test]
    fn everything_that_we_say_is_these_bytes() {
        let handshake = ExtensionHandshake {
            ut_metadata: Some(UT_METADATA_ID),
            ut_pex: Some(UT_PEX_ID),
            ut_holepunch: Some(UT_HOLEPUNCH_ID),
            metadata_size: Some(31_235),
            request_queue: Some(500),
            client: Some("sprat 0.1.0".into()),
            port: Some(6881),
            your_ip: Some(Ipv4Addr::new(203, 0, 113, 7).into()),
            upload_only: true,
        };
        let bytes = b"d1:md12:ut_holepunchi3e11:ut_metadatai1e6:ut_pexi2ee13:metadata_sizei31235e1:pi6881e4:reqqi500e\
            11:upload_onlyi1e1:v11:sprat 0.1.06:yourip4:\xcb\x00\x71\x07e";
        assert_eq!(handshake.encode(), bytes);
        assert_eq!(decoded(bytes), handshake);
        assert_eq!(ExtensionHandshake::default().encode(), b"d1:mdee");
        assert_eq!(decoded(b"d1:mdee"), ExtensionHandshake::default());
        assert_eq!(decoded(b"de"), ExtensionHandshake::default());
    }

    #[test]
    fn libtorrents_handshake() {
        let bytes =
            b"d12:complete_agoi-1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e12:ut_holepunchi4e\
            11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei2837e4:reqqi500e11:upload_onlyi1e\
            1:v17:qBittorrent/5.0.46:yourip4:\xc0\xa8\x02\xcbe";
        let expected = ExtensionHandshake {
            ut_metadata: Some(2),
            ut_pex: Some(1),
            ut_holepunch: Some(4),
            metadata_size: Some(2837),
            request_queue: Some(500),
            client: Some("qBittorrent/5.0.4".into()),
            port: None,
            your_ip: Some(Ipv4Addr::new(192, 168, 2, 203).into()),
            upload_only: true,
        };
        assert_eq!(decoded(bytes), expected);
    }

    #[test]
    fn transmissions_handshake() {
        let bytes = b"d1:ei1e1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei304838e1:pi51413e4:reqqi512e\
            11:upload_onlyi1e1:v17:Transmission 3.00e";
        let expected = ExtensionHandshake {
            ut_metadata: Some(3),
            ut_pex: Some(1),
            ut_holepunch: None,
            metadata_size: Some(304_838),
            request_queue: Some(512),
            client: Some("Transmission 3.00".into()),
            port: Some(51_413),
            your_ip: None,
            upload_only: true,
        };
        assert_eq!(decoded(bytes), expected);
    }

    #[test]
    fn utorrents_handshake_whose_keys_are_not_sorted() {
        let bytes = b"d1:ei0e4:ipv44:aaaa12:complete_agoi1729e1:md11:upload_onlyi3e11:lt_donthavei7e12:ut_holepunchi4e\
            11:ut_metadatai2e6:ut_pexi1e10:ut_commenti6ee13:metadata_sizei14987e1:pi44454e4:reqqi255e\
            1:v17:BitTorrent 7.10.52:ypi52166e6:yourip16:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01e";
        let expected = ExtensionHandshake {
            ut_metadata: Some(2),
            ut_pex: Some(1),
            ut_holepunch: Some(4),
            metadata_size: Some(14_987),
            request_queue: Some(255),
            client: Some("BitTorrent 7.10.5".into()),
            port: Some(44_454),
            your_ip: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
            upload_only: false,
        };
        assert_eq!(decoded(bytes), expected);
    }

    #[test]
    fn e2_what_is_no_dictionary_is_refused() {
        let cases: [(&str, Vec<u8>); 11] = [
            ("nothing", vec![]),
            ("integer", b"i1e".to_vec()),
            ("string", b"2:de".to_vec()),
            ("list", b"lde".to_vec()),
            ("cut short", b"d1:md11:ut_metadatai1e".to_vec()),
            ("key without value", b"d1:me".to_vec()),
            ("string longer than the message", b"d1:v99999999999:xe".to_vec()),
            ("lists to depth 50,000", [b"d1:m".to_vec(), vec![b'l'; 50_000], vec![b'e'; 50_001]].concat()),
            ("dictionaries to depth 20,000", [b"d1:m".to_vec(), b"d0:".repeat(20_000)].concat()),
            ("40,000 empty lists", [b"d1:ml".to_vec(), b"le".repeat(40_000), b"ee".to_vec()].concat()),
            ("1 MB", [b"d1:v1000000:".to_vec(), vec![b'v'; 1_000_000], b"e".to_vec()].concat()),
        ];
        for (case, payload) in cases {
            assert!(ExtensionHandshake::decode(&payload).is_err(), "{case}");
        }
    }

    #[test]
    fn e3_a_number_is_one_byte_0_disables_and_no_two_may_be_alike() {
        let cases: [(&[u8], Option<u8>); 9] = [
            (b"d1:md11:ut_metadatai0eee", Some(0)),
            (b"d1:md11:ut_metadatai1eee", Some(1)),
            (b"d1:md11:ut_metadatai255eee", Some(255)),
            (b"d1:md11:ut_metadatai256eee", None),
            (b"d1:md11:ut_metadatai-1eee", None),
            (b"d1:md11:ut_metadata1:1ee", None),
            (b"d1:mli1eee", None),
            (b"d1:mi1ee", None),
            (b"d11:ut_metadatai1ee", None),
        ];
        for (payload, ut_metadata) in cases {
            let expected = ExtensionHandshake { ut_metadata, ..Default::default() };
            assert_eq!(decoded(payload), expected, "{}", payload.escape_ascii());
        }
        let error = ExtensionHandshake::decode(b"d1:md11:ut_metadatai3e6:ut_pexi3eee").unwrap_err();
        assert_eq!(error.to_string(), "bad extension message: ut_metadata and ut_pex are both number 3");
        assert!(ExtensionHandshake::decode(b"d1:md12:ut_holepunchi3e6:ut_pexi3eee").is_err());
        assert!(ExtensionHandshake::decode(b"d1:md11:ut_metadatai3e11:ut_metadatai4eee").is_err());
        let both_off = ExtensionHandshake { ut_metadata: Some(0), ut_pex: Some(0), ..Default::default() };
        assert_eq!(decoded(b"d1:md11:ut_metadatai0e6:ut_pexi0eee"), both_off);
    }

    #[test]
    fn e4_a_request_queue_is_believed_within_reason() {
        let cases: [(&[u8], Option<u32>); 7] = [
            (b"d4:reqqi0ee", None),
            (b"d4:reqqi-1ee", None),
            (b"d4:reqqi1ee", Some(1)),
            (b"d4:reqqi16384ee", Some(16_384)),
            (b"d4:reqqi16385ee", Some(16_384)),
            (b"d4:reqqi1000000000ee", Some(16_384)),
            (b"d4:reqq3:500e", None),
        ];
        for (payload, request_queue) in cases {
            let expected = ExtensionHandshake { request_queue, ..Default::default() };
            assert_eq!(decoded(payload), expected, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn e5_an_address_of_another_length_is_left_out() {
        for length in (0..=20).filter(|length| ![4, 16].contains(length)) {
            let payload =
                [format!("d6:yourip{length}:").into_bytes(), vec![1; length], b"e".to_vec()].concat();
            assert_eq!(decoded(&payload), ExtensionHandshake::default(), "{length} bytes");
        }
    }

    #[test]
    fn e6_a_clients_name_cant_command_a_terminal_nor_fill_it() {
        let name = |name: &[u8]| {
            let payload = [format!("d1:v{}:", name.len()).as_bytes(), name, b"e"].concat();
            decoded(&payload).client
        };
        assert_eq!(name(b""), None);
        assert_eq!(name("µTorrent 3.6".as_bytes()).as_deref(), Some("µTorrent 3.6"));
        for hostile in ["x\x1b[2J", "x\r\n", "x\0\x07\x08", "x\u{9b}2J", "x\u{202e}drow"] {
            let shown = name(hostile.as_bytes()).unwrap();
            assert!(shown.starts_with('x'), "{shown:?}");
            assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
        }
        assert!(name(b"x\xff\xfe").unwrap().starts_with('x'));
        for long in ["v".repeat(100_000), "語".repeat(30_000), "\x1b".repeat(30_000)] {
            assert_eq!(name(long.as_bytes()).unwrap().chars().count(), 64);
        }
    }

    #[test]
    fn e7_a_port_that_none_can_listen_on_is_left_out() {
        let cases: [(&[u8], Option<u16>); 6] = [
            (b"d1:pi0ee", None),
            (b"d1:pi-1ee", None),
            (b"d1:pi1ee", Some(1)),
            (b"d1:pi65535ee", Some(65_535)),
            (b"d1:pi65536ee", None),
            (b"d1:pi70000ee", None),
        ];
        for (payload, port) in cases {
            let expected = ExtensionHandshake { port, ..Default::default() };
            assert_eq!(decoded(payload), expected, "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn e8_a_metadata_size_that_cant_be_is_left_out() {
        let cases: [(&[u8], Option<u32>); 7] = [
            (b"d13:metadata_sizei0ee", None),
            (b"d13:metadata_sizei-1ee", None),
            (b"d13:metadata_sizei1ee", Some(1)),
            (b"d13:metadata_sizei10485760ee", Some(10_485_760)),
            (b"d13:metadata_sizei10485761ee", None),
            (b"d13:metadata_sizei4294967297ee", None),
            (b"d13:metadata_sizei9223372036854775807ee", None),
        ];
        for (payload, metadata_size) in cases {
            let expected = ExtensionHandshake { metadata_size, ..Default::default() };
            assert_eq!(decoded(payload), expected, "{}", payload.escape_ascii());
        }
        // Bencode's integers end at 2^63 - 1: this is none, and so the dictionary is none.
        assert!(ExtensionHandshake::decode(b"d13:metadata_sizei9223372036854775808ee").is_err());
    }

    #[test]
    fn keys_may_be_any_bytes_and_what_follows_is_ignored() {
        let bytes = b"d2:\xff\xfei1e1:pi6881eetrailing";
        assert_eq!(decoded(bytes), ExtensionHandshake { port: Some(6881), ..Default::default() });
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..2_000 {
            let handshake = ExtensionHandshake {
                ut_metadata: random.bool().then(|| random.u8(..100)),
                ut_pex: random.bool().then(|| random.u8(100..200)),
                ut_holepunch: random.bool().then(|| random.u8(200..)),
                metadata_size: random.bool().then(|| random.u32(1..=MAX_METADATA_LENGTH)),
                request_queue: random.bool().then(|| random.u32(1..=MAX_REQUEST_QUEUE)),
                client: random.bool().then(|| format!("client {}", random.u32(..))),
                port: random.bool().then(|| random.u16(1..)),
                your_ip: match random.u8(..3) {
                    0 => None,
                    1 => Some(random.u32(..).to_be_bytes().into()),
                    _ => Some(random.u128(..).to_be_bytes().into()),
                },
                upload_only: random.bool(),
            };
            assert_eq!(decoded(&handshake.encode()), handshake);
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = fastrand::Rng::with_seed(5);
        let good = b"d1:ei1e1:md11:ut_metadatai3e6:ut_pexi1ee1:pi51413e4:reqqi512e1:v17:Transmission 3.006:yourip4:aaaae";
        let mut taken = 0;
        for _ in 0..100_000 {
            // Noise seldom gets past the first byte: half of them are a good handshake with a few wrong bytes.
            let mut bytes = good.to_vec();
            if random.bool() {
                bytes.truncate(random.usize(..64));
                bytes.fill_with(|| random.u8(..));
            } else {
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(..bytes.len());
                    bytes[at] = *random.choice(b"0123456789:deilx\xff\x1b").unwrap();
                }
            }
            if let Ok(handshake) = ExtensionHandshake::decode(&bytes) {
                taken += 1;
                let said = handshake.client.unwrap_or_default();
                assert!(said.chars().count() <= 64 && !said.contains('\x1b'), "{said:?}");
            }
        }
        assert!(taken > 1_000, "only {taken} of the buffers said anything");
    }
}
