//! RFC 6455 and RFC 7692 without a socket: frames in both directions, and what arrives on one connection.

pub mod close;
pub mod deflate;
pub mod frame;
pub mod mask;
pub mod receive;
pub mod upgrade;

pub use close::CloseFrame;
pub use frame::{FrameHeader, Opcode, ProtocolError};
pub use receive::{Flow, Incoming, Inflation, Receiver};
