//! The process around `wse-core`: I/O threads, sockets, timers, locks and the only clock.
//!
//! Read [`node`] for the life of a server, [`server`] for what any thread may ask of it, `shard` for the loop that serves, `inbox`
//! and [`events`] for the ways between the two.

mod access;
mod api;
pub mod asking;
mod bell;
mod busiest;
mod clock;
pub mod cluster;
mod drain;
pub mod events;
pub mod gate;
mod health;
mod histories;
mod inbox;
mod keyring;
mod log;
mod metrics;
pub mod node;
mod people;
mod presence;
mod process;
pub mod publish;
mod run;
pub mod send_event;
pub mod server;
mod shard;
mod shared;
#[cfg(target_os = "linux")]
mod slice;
mod squeeze;
mod stats;
mod topics;
mod unacknowledged;

pub use drain::{Drained, Draining};
pub use health::Health;
pub use keyring::FetchError;
pub use node::{ConfigError, Node, ReloadError, StartError};
pub use publish::{Payload, Publication, Unsendable};
pub use send_event::Sending;
pub use server::Server;
