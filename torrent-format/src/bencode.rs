//! Bencode (BEP 3) from strangers: [`scan`] checks a whole value once, without recursion and within [`Limits`]; what it returns can
//! then be walked ([`Raw`], [`Dict`], [`List`]) or handed to serde_bencode ([`Raw::decode`]) without a further thought.
//!
//! The raw bytes are never re-encoded on the way: the span of `info` is what is hashed.

use serde::de::DeserializeOwned;

mod raw;

pub(crate) use raw::RawEntry;
pub use raw::{Dict, Entries, Items, Kind, List, Raw};

/// What a scan will take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes.
    pub length: u32,
    /// Lists and dictionaries within each other.
    pub depth: u32,
    /// Integers, strings, keys, lists and dictionaries.
    pub tokens: u32,
    /// Whether anything but the canonical form is an error. If not, leading zeros in integers and unsorted keys pass, and
    /// [`Scan::is_canonical`] tells.
    pub strict: bool,
}

impl Limits {
    /// The deepest nesting, here and in libtorrent: real torrents need 6, and serde_bencode recurses once a level.
    pub const DEPTH: u32 = 100;

    /// The most tokens, the same bound as libtorrent's: it bounds what is built from them to a few hundred MiB.
    pub const TOKENS: u32 = 3_000_000;

    /// For a .torrent.
    pub const TORRENT: Self = Self {
        length: crate::metainfo::MAX_TORRENT_LENGTH,
        depth: Self::DEPTH,
        tokens: Self::TOKENS,
        strict: false,
    };

    /// For an info dictionary, also from peers.
    pub const INFO: Self = Self { length: crate::metainfo::MAX_INFO_LENGTH, ..Self::TORRENT };

    /// For one message of at most `length` bytes from a peer or a tracker.
    pub const fn message(length: u32) -> Self {
        Self { length, depth: 16, tokens: 50_000, strict: false }
    }

    /// The same limits, and only the canonical form.
    pub const fn strict(self) -> Self {
        Self { strict: true, ..self }
    }
}

/// What is wrong with some bencode, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct BencodeError {
    /// What.
    pub kind: BencodeErrorKind,
    /// Bytes from the start. For [`BencodeErrorKind::Truncated`] the number of bytes that there are; for
    /// [`BencodeErrorKind::DuplicateKey`] and [`BencodeErrorKind::UnsortedKeys`] the end of the second key.
    pub offset: usize,
}

/// What is wrong with some bencode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeErrorKind {
    /// The input ends within a value.
    #[error("bencode ends too early")]
    Truncated,
    /// A byte that can't stand here.
    #[error("bencode has an unexpected byte")]
    UnexpectedByte,
    /// `i03e` in strict mode, `i-0e`, or a string's length such as `01:`.
    #[error("bencode has a number with a leading zero")]
    LeadingZero,
    /// An integer that does not fit 64 bits with sign.
    #[error("bencode has an integer that is too large")]
    Overflow,
    /// A string that says it is longer than any input may be.
    #[error("bencode has a string that is too long")]
    StringTooLong,
    /// A dictionary's key is not a string.
    #[error("bencode has a key that is not a string")]
    NonStringKey,
    /// A dictionary ends after a key.
    #[error("bencode has a key without a value")]
    MissingValue,
    /// Keys out of order, in strict mode.
    #[error("bencode has unsorted keys")]
    UnsortedKeys,
    /// The same key twice in a dictionary.
    #[error("bencode has the same key twice")]
    DuplicateKey,
    /// Nested deeper than [`Limits::depth`].
    #[error("bencode is nested too deeply")]
    Depth,
    /// More than [`Limits::tokens`].
    #[error("bencode has too many values")]
    Tokens,
    /// Longer than [`Limits::length`].
    #[error("bencode is too long")]
    Length,
    /// More after the value.
    #[error("bencode is followed by something else")]
    TrailingBytes,
}

/// A value that has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    root: Raw<'a>,
    canonical: bool,
}

impl<'a> Scan<'a> {
    /// The value.
    pub fn root(&self) -> Raw<'a> {
        self.root
    }

    /// Whether encoding it again would give the same bytes.
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }
}

/// Checks that `bytes` are one bencoded value and nothing else.
///
/// Time is linear in the input (n log n for unsorted keys); memory is 8 bytes for each key of the dictionaries that are open.
///
/// # Errors
/// At the first byte that is not bencode, or that passes a limit.
pub fn scan<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Scan<'a>, BencodeError> {
    if bytes.len() > limits.length as usize {
        return Err(BencodeError { kind: BencodeErrorKind::Length, offset: limits.length as usize });
    }
    let scan = scan_first(bytes, limits)?;
    let end = scan.root.bytes().len();
    if end < bytes.len() {
        return Err(BencodeError { kind: BencodeErrorKind::TrailingBytes, offset: end });
    }
    Ok(scan)
}

/// Checks the value that `bytes` begin with; whatever follows is not looked at.
///
/// # Errors
/// As [`scan`].
pub fn scan_first<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Scan<'a>, BencodeError> {
    let bytes = &bytes[..bytes.len().min(limits.length as usize)];
    let mut scanner =
        Scanner { bytes, limits, at: 0, tokens: 0, canonical: true, open: Vec::new(), keys: Vec::new() };
    scanner.value()?;
    let Scanner { at, canonical, .. } = scanner;
    Ok(Scan { root: Raw::checked(&bytes[..at]), canonical })
}

/// How many bytes the first value in `bytes` takes: some messages are a dictionary followed by raw bytes (BEP 9).
///
/// # Errors
/// As [`scan`].
pub fn prefix(bytes: &[u8], limits: &Limits) -> Result<usize, BencodeError> {
    Ok(scan_first(bytes, limits)?.root().bytes().len())
}

/// Checks `bytes`, then decodes them with serde_bencode. A dictionary decoded into a derived struct must have keys that are UTF-8.
///
/// # Errors
/// If they are no bencode within the limits, or not of this type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limits: &Limits) -> Result<T, DecodeError> {
    Ok(scan(bytes, limits)?.root().decode()?)
}

/// Why [`decode`] fails.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// Bencode of another type.
    #[error("unexpected value: {0}")]
    Type(#[from] serde_bencode::Error),
}

struct Scanner<'a> {
    bytes: &'a [u8],
    limits: &'a Limits,
    at: usize,
    tokens: u32,
    canonical: bool,
    open: Vec<Open>,
    /// The keys so far of every dictionary in `open`, outermost first.
    keys: Vec<Key>,
}

/// A string in the input, which is never longer than [`Limits::length`], a `u32`.
#[derive(Clone, Copy)]
struct Key {
    length: u32,
    /// Just after its last byte.
    end: u32,
}

impl Key {
    fn text(self, bytes: &[u8]) -> &[u8] {
        &bytes[(self.end - self.length) as usize..self.end as usize]
    }
}

/// A list or dictionary whose end has not come yet.
enum Open {
    List,
    Dict {
        /// Where its keys begin in [`Scanner::keys`].
        first_key: usize,
        sorted: bool,
        /// Whether a key has come, and its value is next.
        wants_value: bool,
    },
}

impl Scanner<'_> {
    fn value(&mut self) -> Result<(), BencodeError> {
        loop {
            let byte = self.peek()?;
            match self.open.last() {
                Some(Open::List) if byte == b'e' => self.close(),
                Some(Open::Dict { wants_value: false, .. }) => match byte {
                    b'e' => self.close_dict()?,
                    b'0'..=b'9' => {
                        self.key()?;
                        continue;
                    }
                    b'i' | b'l' | b'd' => return Err(self.error(BencodeErrorKind::NonStringKey)),
                    _ => return Err(self.error(BencodeErrorKind::UnexpectedByte)),
                },
                Some(Open::Dict { wants_value: true, .. }) if byte == b'e' => {
                    return Err(self.error(BencodeErrorKind::MissingValue));
                }
                _ => {
                    self.count_token()?;
                    match byte {
                        b'i' => self.integer()?,
                        b'0'..=b'9' => {
                            self.string()?;
                        }
                        b'l' => {
                            self.open(Open::List)?;
                            continue;
                        }
                        b'd' => {
                            let first_key = self.keys.len();
                            self.open(Open::Dict { first_key, sorted: true, wants_value: false })?;
                            continue;
                        }
                        _ => return Err(self.error(BencodeErrorKind::UnexpectedByte)),
                    }
                }
            }
            // A value is complete here.
            match self.open.last_mut() {
                None => return Ok(()),
                Some(Open::List) => {}
                Some(Open::Dict { wants_value, .. }) => *wants_value = false,
            }
        }
    }

    fn open(&mut self, open: Open) -> Result<(), BencodeError> {
        if self.open.len() >= self.limits.depth as usize {
            return Err(self.error(BencodeErrorKind::Depth));
        }
        self.open.push(open);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.open.pop();
        self.at += 1;
    }

    fn close_dict(&mut self) -> Result<(), BencodeError> {
        let Some(&Open::Dict { first_key, sorted, .. }) = self.open.last() else { return Ok(()) };
        if !sorted {
            // Equal neighbours were seen when they came; equal keys apart from each other show only once sorted.
            let bytes = self.bytes;
            let keys = &mut self.keys[first_key..];
            keys.sort_unstable_by(|a, b| a.text(bytes).cmp(b.text(bytes)).then(a.end.cmp(&b.end)));
            if let Some(pair) = keys.windows(2).find(|pair| pair[0].text(bytes) == pair[1].text(bytes)) {
                return Err(BencodeError {
                    kind: BencodeErrorKind::DuplicateKey,
                    offset: pair[1].end as usize,
                });
            }
        }
        self.keys.truncate(first_key);
        self.close();
        Ok(())
    }

    fn key(&mut self) -> Result<(), BencodeError> {
        self.count_token()?;
        let key = self.string()?;
        let Some(Open::Dict { first_key, sorted, wants_value }) = self.open.last_mut() else { return Ok(()) };
        *wants_value = true;
        if let Some(previous) = self.keys[*first_key..].last() {
            match previous.text(self.bytes).cmp(key.text(self.bytes)) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    return Err(BencodeError {
                        kind: BencodeErrorKind::DuplicateKey,
                        offset: key.end as usize,
                    });
                }
                std::cmp::Ordering::Greater if self.limits.strict => {
                    return Err(BencodeError {
                        kind: BencodeErrorKind::UnsortedKeys,
                        offset: key.end as usize,
                    });
                }
                std::cmp::Ordering::Greater => {
                    *sorted = false;
                    self.canonical = false;
                }
            }
        }
        self.keys.push(key);
        Ok(())
    }

    fn integer(&mut self) -> Result<(), BencodeError> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let first_digit = self.at;
        let mut value = 0_i64;
        loop {
            match self.peek()? {
                digit @ b'0'..=b'9' => {
                    let digit = i64::from(digit - b'0');
                    value =
                        value
                            .checked_mul(10)
                            .and_then(|value| {
                                if negative { value.checked_sub(digit) } else { value.checked_add(digit) }
                            })
                            .ok_or(BencodeError { kind: BencodeErrorKind::Overflow, offset: start })?;
                    self.at += 1;
                }
                b'e' if self.at > first_digit => break,
                _ => return Err(self.error(BencodeErrorKind::UnexpectedByte)),
            }
        }
        let padded = self.bytes[first_digit] == b'0' && self.at > first_digit + 1;
        // Some old encoders pad, and their info hashes count; a negative zero no encoder ever wrote.
        if (negative && value == 0) || (padded && self.limits.strict) {
            return Err(BencodeError { kind: BencodeErrorKind::LeadingZero, offset: start });
        }
        self.canonical &= !padded;
        self.at += 1;
        Ok(())
    }

    /// Passes over a string.
    fn string(&mut self) -> Result<Key, BencodeError> {
        let start = self.at;
        let mut length = 0_usize;
        loop {
            match self.peek()? {
                digit @ b'0'..=b'9' => {
                    if self.at == start + 1 && self.bytes[start] == b'0' {
                        return Err(BencodeError { kind: BencodeErrorKind::LeadingZero, offset: start });
                    }
                    length = length.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
                    if length > self.limits.length as usize {
                        return Err(BencodeError { kind: BencodeErrorKind::StringTooLong, offset: start });
                    }
                    self.at += 1;
                }
                b':' => break,
                _ => return Err(self.error(BencodeErrorKind::UnexpectedByte)),
            }
        }
        let content = self.at + 1;
        if self.bytes.len() - content < length {
            self.at = self.bytes.len();
            return Err(self.error(BencodeErrorKind::Truncated));
        }
        self.at = content + length;
        Ok(Key { length: length as u32, end: self.at as u32 })
    }

    fn count_token(&mut self) -> Result<(), BencodeError> {
        self.tokens += 1;
        if self.tokens > self.limits.tokens {
            return Err(self.error(BencodeErrorKind::Tokens));
        }
        Ok(())
    }

    fn peek(&self) -> Result<u8, BencodeError> {
        self.bytes.get(self.at).copied().ok_or(self.error(BencodeErrorKind::Truncated))
    }

    fn error(&self, kind: BencodeErrorKind) -> BencodeError {
        BencodeError { kind, offset: self.at }
    }
}

#[cfg(test)]
mod tests;
