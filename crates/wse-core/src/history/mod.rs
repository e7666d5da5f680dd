//! The recent messages of topics, and where a client stands among them.
//!
//! A [`Log`] is one topic's; it says which messages there are from a [`Position`] on, or that it can't be said.

pub mod chunk;
pub mod log;
pub mod position;
mod segments;

pub use chunk::Chunk;
pub use log::{Limits, Log, NotRecovered, Replay};
pub use position::{Epoch, Position};
