//! Frames on a stream, without the stream: bytes in, whole frames out, and the other way. `spec/cluster/links.md`, "Frames".

mod inbound;
mod outbound;

pub use inbound::{Frame, Inbound};
pub use outbound::Frames;

#[cfg(test)]
mod tests;
