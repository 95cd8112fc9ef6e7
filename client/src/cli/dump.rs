//! `sprat show --dump`: any bencode as JSON, also of a .torrent that can't be used.

use std::ffi::OsStr;

use serde_json::{Map, Value, json};
use torrent_format::bencode::{self, Limits, Raw};

use super::Context;
use super::error::CliError;
use super::source::{self, Material};

/// Prints all that a SOURCE says. Strings that are not UTF-8 become `{"hex": "…"}`.
pub(crate) async fn print(cx: &Context, typed: &OsStr) -> Result<(), CliError> {
    match source::find(cx, typed).await? {
        Material::Magnet(magnet) => Err(CliError::Usage(format!("{magnet} holds no bencode to dump"))),
        Material::Bytes { input, bytes } => {
            let scan = bencode::scan(bytes.trim_ascii_end(), &Limits::TORRENT);
            let scan =
                scan.map_err(|error| CliError::Input { input, problem: error.to_string(), hint: None })?;
            let value = to_json(scan.root());
            if cx.out.is_json() {
                cx.out.json(json!({"bencode": value}));
            } else {
                cx.out.data(format_args!("{value:#}"));
            }
            Ok(())
        }
    }
}

/// Any value. The scan's limit on depth bounds the recursion.
pub(crate) fn to_json(raw: Raw<'_>) -> Value {
    if let Some(dict) = raw.as_dict() {
        let entries =
            dict.iter().map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), to_json(value)));
        return Value::Object(entries.collect::<Map<_, _>>());
    }
    if let Some(list) = raw.as_list() {
        return list.iter().map(to_json).collect();
    }
    match raw.as_bytes() {
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => json!({"hex": hex(bytes)}),
        },
        // Integers beyond 64 bits are bencode, but no JSON reader keeps them.
        None => raw.as_int().map_or_else(|| String::from_utf8_lossy(raw.bytes()).into(), Value::from),
    }
}

/// Two lower-case digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_bencode_has_a_json() {
        let scan = bencode::scan(b"d1:ai-7e1:bl4:spami0ee1:cd1:x2:\xff\x01ee", &Limits::TORRENT).unwrap();
        assert_eq!(to_json(scan.root()), json!({"a": -7, "b": ["spam", 0], "c": {"x": {"hex": "ff01"}}}));
    }
}
