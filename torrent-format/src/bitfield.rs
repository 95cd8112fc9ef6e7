//! A set of pieces, as it goes over the wire (BEP 3 `bitfield`) and into records on disk.

use crate::layout::PieceIndex;

/// A set of pieces of a torrent with a known number of pieces.
///
/// Invariant: `count` is the number of bits set, and spare bits at the end are zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bitfield {
    bytes: Vec<u8>,
    length: u32,
    count: u32,
}

impl Bitfield {
    /// No piece out of `length`.
    pub fn none(length: u32) -> Self {
        Self { bytes: vec![0; length.div_ceil(8) as usize], length, count: 0 }
    }

    /// All of `length` pieces.
    pub fn all(length: u32) -> Self {
        let mut field = Self { bytes: vec![0xff; length.div_ceil(8) as usize], length, count: length };
        if let (Some(last), spare @ 1..) = (field.bytes.last_mut(), (8 - length % 8) % 8) {
            *last <<= spare;
        }
        field
    }

    /// Reads the wire form: high bit first, exactly as many bytes as needed, spare bits zero. `None` if it is anything else.
    pub fn from_wire(bytes: &[u8], length: u32) -> Option<Self> {
        let spare = (8 - length % 8) % 8;
        let spare_clear = bytes.last().is_none_or(|last| last.trailing_zeros() >= spare);
        if bytes.len() != length.div_ceil(8) as usize || !spare_clear {
            return None;
        }
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Some(Self { bytes: bytes.to_vec(), length, count })
    }

    /// The wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes
    }

    /// How many pieces the torrent has.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// How many pieces are in the set.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set. So is it for a torrent without pieces.
    pub fn is_all(&self) -> bool {
        self.count == self.length
    }

    /// Whether no piece is in the set.
    pub fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Whether this piece is in the set.
    pub fn has(&self, piece: PieceIndex) -> bool {
        let index = piece.as_usize();
        self.bytes[index / 8] & (0x80 >> (index % 8)) != 0
    }

    /// Puts this piece in; says whether it is new.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        let new = !self.has(piece);
        if new {
            self.bytes[piece.as_usize() / 8] |= 0x80 >> (piece.as_usize() % 8);
            self.count += 1;
        }
        new
    }

    /// Takes this piece out; says whether it was there.
    pub fn clear(&mut self, piece: PieceIndex) -> bool {
        let was = self.has(piece);
        if was {
            self.bytes[piece.as_usize() / 8] &= !(0x80 >> (piece.as_usize() % 8));
            self.count -= 1;
        }
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn the_wire_form_is_exact_or_refused() {
        assert_eq!(Bitfield::all(10).as_wire(), [0xff, 0xc0]);
        assert_eq!(Bitfield::all(16).as_wire(), [0xff, 0xff]);
        assert_eq!(Bitfield::all(0).as_wire(), []);
        assert_eq!(Bitfield::from_wire(&[0xff, 0xc0], 10), Some(Bitfield::all(10)));
        for bytes in [&[0xff][..], &[0xff, 0xe0], &[0xff, 0xc0, 0], &[]] {
            assert_eq!(Bitfield::from_wire(bytes, 10), None, "{bytes:?}");
        }
    }

    #[test]
    fn counts_stay_exact() {
        let layout = Layout::new(1, [9]).unwrap();
        let mut field = Bitfield::none(9);
        let last = layout.piece(8).unwrap();
        assert!(field.set(last) && !field.set(last) && field.has(last));
        assert_eq!((field.count(), field.as_wire()), (1, &[0, 0x80][..]));
        assert!(field.clear(last) && !field.clear(last) && field.is_none());
    }
}
