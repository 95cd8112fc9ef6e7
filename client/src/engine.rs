//! What touches the outside, with no rule in it.

pub mod buffer;
pub mod storage;
