//! Bencode by hand, to write what the product would refuse to write.

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
        assert_eq!(value.with("b", Some(Value::bytes("y"))).encode(), b"d1:al1:x0:e1:b1:ye");
    }
}
