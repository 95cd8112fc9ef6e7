//! Bencode by hand, to write what the product would refuse to write, and to read what it writes without its own reader.

/// A value. A dictionary keeps the order and the duplicates that it is given.
#[derive(Clone, Debug)]
pub enum Value {
    /// `i…e`
    Int(i128),
    /// `n:…`
    Bytes(Vec<u8>),
    /// `l…e`
    List(Vec<Value>),
    /// `d…e`
    Dict(Vec<(Vec<u8>, Value)>),
}

impl Value {
    /// A byte string.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes(bytes.as_ref().to_vec())
    }

    /// A list of byte strings.
    pub fn strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Self {
        Self::List(strings.into_iter().map(Self::bytes).collect())
    }

    /// A dictionary in the order given.
    pub fn dict<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Self::Dict(entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect())
    }

    /// A dictionary with the value of `key` replaced, or left out.
    #[must_use]
    pub fn with(mut self, key: &str, value: Option<Value>) -> Self {
        if let Self::Dict(entries) = &mut self {
            entries.retain(|(name, _)| name != key.as_bytes());
            entries.extend(value.map(|value| (key.as_bytes().to_vec(), value)));
            entries.sort_by(|a, b| a.0.cmp(&b.0));
        }
        self
    }

    /// Reads canonical bencode: keys sorted and unique, numbers without needless zeros, nothing after the end.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let value = read(&mut rest).and_then(|value| match rest {
            [] => Ok(value),
            _ => Err("something after the end".to_owned()),
        });
        value.map_err(|problem| format!("{problem}, {} bytes before the end", rest.len()))
    }

    /// The value of a key; `None` if it has none, or is no dictionary.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Dict(entries) = self else { return None };
        entries.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    /// The number behind a key.
    pub fn int(&self, key: &str) -> Option<i128> {
        match self.get(key)? {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The byte string behind a key.
    pub fn string(&self, key: &str) -> Option<&[u8]> {
        match self.get(key)? {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(&mut out);
        out
    }

    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => out.extend(format!("i{number}e").bytes()),
            Self::Bytes(bytes) => append_bytes(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.append(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    append_bytes(key, out);
                    value.append(out);
                }
                out.push(b'e');
            }
        }
    }
}

fn read(rest: &mut &[u8]) -> Result<Value, String> {
    match rest.first() {
        Some(b'i') => {
            *rest = &rest[1..];
            number(rest, b'e').map(Value::Int)
        }
        Some(b'l') => {
            *rest = &rest[1..];
            let mut items = Vec::new();
            while rest.first() != Some(&b'e') {
                items.push(read(rest)?);
            }
            *rest = &rest[1..];
            Ok(Value::List(items))
        }
        Some(b'd') => {
            *rest = &rest[1..];
            let mut entries: Vec<(Vec<u8>, Value)> = Vec::new();
            while rest.first() != Some(&b'e') {
                let key = string(rest)?;
                if entries.last().is_some_and(|(last, _)| *last >= key) {
                    return Err(format!("key {:?} out of order", String::from_utf8_lossy(&key)));
                }
                entries.push((key, read(rest)?));
            }
            *rest = &rest[1..];
            Ok(Value::Dict(entries))
        }
        _ => string(rest).map(Value::Bytes),
    }
}

fn string(rest: &mut &[u8]) -> Result<Vec<u8>, String> {
    let length = usize::try_from(number(rest, b':')?).map_err(|_| "a length below zero")?;
    let (bytes, after) = rest.split_at_checked(length).ok_or("a string that is cut off")?;
    *rest = after;
    Ok(bytes.to_vec())
}

fn number(rest: &mut &[u8], end: u8) -> Result<i128, String> {
    let length = rest.iter().position(|&byte| byte == end).ok_or("a number without an end")?;
    let text = std::str::from_utf8(&rest[..length]).map_err(|_| "a number of no digits")?;
    let number: i128 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if number.to_string() != text {
        return Err(format!("{text:?} has another form"));
    }
    *rest = &rest[length + 1..];
    Ok(number)
}

fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", bytes.len()).bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_writes_what_it_is_told() {
        let value = Value::dict([("b", Value::Int(-1)), ("a", Value::strings(["x", ""]))]);
        assert_eq!(value.encode(), b"d1:bi-1e1:al1:x0:ee");
        assert_eq!(Value::decode(b"d1:al1:x0:e1:bi-1ee").unwrap().int("b"), Some(-1));
        for bad in [&b"d1:bi1e1:ai1ee"[..], b"i01e", b"i1", b"3:ab", b"i1ee", b"d1:ai1e1:ai1ee"] {
            Value::decode(bad).unwrap_err();
        }
        assert_eq!(value.with("b", Some(Value::bytes("y"))).encode(), b"d1:al1:x0:e1:b1:ye");
    }
}
