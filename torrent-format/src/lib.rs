//! BitTorrent's formats: what is in a .torrent, a magnet URI and an announce, and how the payload divides into pieces, blocks and
//! files. Pure: no sockets, no clock, no async; only [`create`] and [`verify`] read files, and hash them on threads of their own.

pub mod announce;
pub mod bencode;
pub mod bitfield;
pub mod create;
mod file_tree;
pub mod hash;
pub mod info_hash;
pub mod layout;
pub mod lint;
pub mod magnet;
pub mod merkle;
pub mod metainfo;
pub mod pieces;
pub mod safe_path;
pub mod verify;

pub use bitfield::Bitfield;
pub use info_hash::{InfoHash, InfoHashV2, InfoHashes, PeerId};
pub use layout::{Alignment, BLOCK_LENGTH, Block, FileSpan, Layout, PieceIndex};
pub use magnet::Magnet;
pub use metainfo::{Info, Metainfo};
pub use safe_path::SafePath;
