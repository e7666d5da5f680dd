//! What nodes say to each other, as bytes: the header of a frame, its kinds, and the reading of fields.
//!
//! Whatever comes from a peer is checked here, and nothing larger than its limit is ever made room for.

pub mod address;
pub mod bytes;
pub mod gossip;
pub mod header;
pub mod hello;
pub mod kind;

pub use address::Address;
pub use bytes::{Malformed, Reader};
pub use header::Header;
pub use kind::Kind;
