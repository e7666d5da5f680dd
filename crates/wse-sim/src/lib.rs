//! A seeded world of nodes and clients, built from `wse-core` and `wse-mesh`, and the oracle that watches it.
//!
//! One seed decides everything: who publishes, moves, crashes, drains and is cut off when ([`schedule`]), how long each frame takes
//! ([`world`]), who notices when ([`members`], or the machine that runs in production, on a [`network`]). What clients are told is held against what was promised ([`oracle`]). A seed that fails does
//! so again, and [`shrink`] leaves out what it does not need for that.

pub mod clients;
pub mod members;
pub mod network;
pub mod oracle;
pub mod rng;
pub mod schedule;
pub mod shrink;
pub mod words;
pub mod world;

pub use schedule::Class;
pub use world::{Report, Setup, run};
