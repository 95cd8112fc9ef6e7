//! How long a piece is.

use super::{CreateError, Format};
use crate::layout::MAX_PIECE_LENGTH;

/// The shortest piece length that v2 and hybrid torrents may have, in bytes (BEP 52, "piece length").
pub const MIN_V2_PIECE_LENGTH: u32 = 16 * 1024;

/// The shortest piece length that is chosen, in bytes.
pub const MIN_AUTO_PIECE_LENGTH: u32 = 16 * 1024;

/// The longest piece length that is chosen, in bytes.
pub const MAX_AUTO_PIECE_LENGTH: u32 = 16 * 1024 * 1024;

/// The most pieces that the chosen piece length makes, as long as longer pieces would be markedly fewer.
const AUTO_PIECES: u64 = 2048;

/// How long a piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PieceLength {
    /// By the rule of [`auto_piece_length`].
    #[default]
    Auto,
    /// This many bytes.
    Exactly(u32),
}

impl PieceLength {
    /// In bytes, for a torrent of this form and files of these lengths.
    pub(super) fn choose(
        self,
        format: Format,
        file_lengths: impl Iterator<Item = u64> + Clone,
    ) -> Result<u32, CreateError> {
        let fits_v2 = |length: u32| {
            length.is_power_of_two() && (MIN_V2_PIECE_LENGTH..=MAX_PIECE_LENGTH).contains(&length)
        };
        match self {
            Self::Auto => Ok(auto_piece_length(format, file_lengths)),
            Self::Exactly(length) if format.version().has_v2() && !fits_v2(length) => {
                Err(CreateError::PieceLength { length, format })
            }
            Self::Exactly(length) => Ok(length),
        }
    }
}

/// The piece length for files of these lengths: the smallest power of two from 16 KiB to 16 MiB that makes at most 2,048 pieces.
///
/// In v2 and hybrid torrents every file begins a piece, so that many small files make many pieces however long those are, and in a
/// hybrid all of a piece that a file does not fill is padding. Where twice the length would save less than a quarter of the pieces,
/// it is therefore not doubled further.
pub fn auto_piece_length(format: Format, file_lengths: impl Iterator<Item = u64> + Clone) -> u32 {
    let pieces = |piece_length: u32| count_pieces(format, file_lengths.clone(), piece_length.into());
    let mut length = MIN_AUTO_PIECE_LENGTH;
    let mut count = pieces(length);
    while count > AUTO_PIECES && length < MAX_AUTO_PIECE_LENGTH {
        let fewer = pieces(length * 2);
        if fewer > count - count / 4 {
            break;
        }
        (length, count) = (length * 2, fewer);
    }
    length
}

fn count_pieces(format: Format, file_lengths: impl Iterator<Item = u64>, piece_length: u64) -> u64 {
    match format {
        Format::V1 => file_lengths.fold(0, u64::saturating_add).div_ceil(piece_length),
        Format::V2 | Format::Hybrid => {
            file_lengths.fold(0, |count, length| count.saturating_add(length.div_ceil(piece_length)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn auto(format: Format, lengths: &[u64]) -> u64 {
        auto_piece_length(format, lengths.iter().copied()).into()
    }

    #[test]
    fn a_single_file_is_one_to_two_thousand_pieces_whatever_the_form() {
        for (total, expected) in [
            (0, 16 * KIB),
            (1, 16 * KIB),
            (2048 * 16 * KIB, 16 * KIB),
            (2048 * 16 * KIB + 1, 32 * KIB),
            (GIB, 512 * KIB),
            (GIB + 1, 1024 * KIB),
            (32 * GIB, 16 * MIB),
            (u64::MAX, 16 * MIB),
        ] {
            for format in [Format::V1, Format::V2, Format::Hybrid] {
                assert_eq!(auto(format, &[total]), expected, "{total} {format}");
            }
        }
        assert_eq!(auto(Format::V1, &[u64::MAX, u64::MAX]), 16 * MIB);
    }

    #[test]
    fn small_files_are_not_padded_to_ever_longer_pieces() {
        let small = vec![50 * KIB; 20_000];
        assert_eq!(auto(Format::V1, &small), 512 * KIB);
        // 64 KiB take in each file whole: longer pieces would be no fewer.
        assert_eq!(auto(Format::Hybrid, &small), 64 * KIB);
        assert_eq!(auto(Format::V2, &small), 64 * KIB);
        // A few thousand tiny files beside much that is large don't keep its pieces short.
        let mixed: Vec<u64> = [vec![100; 3_000], vec![8 * GIB; 4]].concat();
        assert_eq!(auto(Format::Hybrid, &mixed), 16 * MIB);
    }

    #[test]
    fn v2_takes_powers_of_two_from_16_kib_on() {
        let choose = |format, length| PieceLength::Exactly(length).choose(format, std::iter::empty()).ok();
        for length in [0, 1, 8_192, 16_385, 48 * 1024, MAX_PIECE_LENGTH * 2] {
            assert_eq!(choose(Format::V2, length), None, "{length}");
            assert_eq!(choose(Format::Hybrid, length), None, "{length}");
            assert_eq!(choose(Format::V1, length), Some(length));
        }
        for length in [16_384, 65_536, MAX_PIECE_LENGTH] {
            assert_eq!(choose(Format::Hybrid, length), Some(length));
        }
    }
}
