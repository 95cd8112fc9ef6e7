//! Views of bencode that has been checked by [`super::scan`]: no copies, no allocations.

use serde::de::DeserializeOwned;

/// One complete value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raw<'a> {
    /// Invariant: exactly one value, and it passed a scan. Positions found by it need no check.
    bytes: &'a [u8],
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `i…e`
    Integer,
    /// `4:spam`
    Bytes,
    /// `l…e`
    List,
    /// `d…e`
    Dict,
}

impl<'a> Raw<'a> {
    pub(crate) fn checked(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes of the value, as they were read.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.bytes.first() {
            Some(b'i') => Kind::Integer,
            Some(b'l') => Kind::List,
            Some(b'd') => Kind::Dict,
            _ => Kind::Bytes,
        }
    }

    /// The content, if it is a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        (self.kind() == Kind::Bytes).then(|| split_string(self.bytes).0)
    }

    /// The number, if it is an integer.
    pub fn as_int(self) -> Option<i64> {
        match self.bytes {
            [b'i', digits @ .., b'e'] => std::str::from_utf8(digits).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(self) -> Option<List<'a>> {
        (self.kind() == Kind::List).then(|| List { items: &self.bytes[1..self.bytes.len() - 1] })
    }

    /// The entries, if it is a dictionary.
    pub fn as_dict(self) -> Option<Dict<'a>> {
        (self.kind() == Kind::Dict).then(|| Dict { entries: &self.bytes[1..self.bytes.len() - 1] })
    }

    /// Decodes it with serde_bencode.
    ///
    /// # Errors
    /// If it is of another type.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, serde_bencode::Error> {
        serde_bencode::from_bytes(self.bytes)
    }
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    items: &'a [u8],
}

impl<'a> List<'a> {
    /// The items in order.
    pub fn iter(self) -> Items<'a> {
        Items { rest: self.items }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.items.is_empty()
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Raw<'a>;
    type IntoIter = Items<'a>;

    fn into_iter(self) -> Items<'a> {
        self.iter()
    }
}

/// The items of a [`List`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (item, rest) = self.rest.split_at(value_length(self.rest));
        self.rest = rest;
        Some(Raw { bytes: item })
    }
}

/// A dictionary.
#[derive(Clone, Copy, Debug)]
pub struct Dict<'a> {
    entries: &'a [u8],
}

impl<'a> Dict<'a> {
    /// Keys and values in the order in which they are written.
    pub fn iter(self) -> Entries<'a> {
        Entries { rest: self.entries }
    }

    /// Keys and values, each pair as it is written.
    pub(crate) fn raw_entries(self) -> impl Iterator<Item = RawEntry<'a>> {
        let mut rest = self.iter();
        std::iter::from_fn(move || {
            let here = rest.rest;
            rest.next()?;
            Some(RawEntry { bytes: &here[..here.len() - rest.rest.len()] })
        })
    }

    /// The value of this key. Walks the dictionary.
    pub fn get(self, key: &str) -> Option<Raw<'a>> {
        self.iter().find_map(|(name, value)| (name == key.as_bytes()).then_some(value))
    }
}

impl<'a> IntoIterator for Dict<'a> {
    type Item = (&'a [u8], Raw<'a>);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// The keys and values of a [`Dict`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (key, after_key) = split_string(self.rest);
        let (value, after_value) = after_key.split_at(value_length(after_key));
        self.rest = after_value;
        Some((key, Raw { bytes: value }))
    }
}

/// A key and its value, as they are written: two words, where they take four by themselves.
#[derive(Clone, Copy)]
pub(crate) struct RawEntry<'a> {
    bytes: &'a [u8],
}

impl<'a> RawEntry<'a> {
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn key(&self) -> &'a [u8] {
        split_string(self.bytes).0
    }
}

/// Length of the first value in checked bytes.
fn value_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    let mut depth = 0_usize;
    loop {
        match bytes[at] {
            b'l' | b'd' => {
                depth += 1;
                at += 1;
            }
            b'e' => {
                depth -= 1;
                at += 1;
            }
            b'i' => at += bytes[at..].iter().take_while(|&&byte| byte != b'e').count() + 1,
            _ => at = bytes.len() - split_string(&bytes[at..]).1.len(),
        }
        if depth == 0 {
            return at;
        }
    }
}

/// The content of the string that checked bytes begin with, and what follows it.
fn split_string(bytes: &[u8]) -> (&[u8], &[u8]) {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let (count, length) =
        digits.fold((0, 0), |(count, length), digit| (count + 1, length * 10 + usize::from(digit - b'0')));
    bytes[count + 1..].split_at(length)
}
