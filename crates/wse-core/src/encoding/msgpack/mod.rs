//! msgpack: the same fields as JSON, in fewer bytes. Text is turned into it and back in one walk, without a tree between.

pub mod pack;
pub mod unpack;

pub use pack::{PackError, pack, pack_head, pack_rest};
pub use unpack::{UnpackError, unpack};

/// Whether bytes begin as a msgpack map does, which is how a client that speaks msgpack begins its messages.
#[must_use]
#[inline]
pub fn begins_map(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf))
}
