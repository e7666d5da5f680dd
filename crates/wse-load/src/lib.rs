//! A load generator: many WebSocket clients on few threads, and what they saw.
//!
//! A thread (a [`crew`]) has one epoll, one read buffer and a small record for each of its clients; there is no task, timer or buffer per
//! client, so that the generator costs less than the server that it measures. It connects to the one address of its [`Plan`] and
//! nowhere else, and everything it does is bounded: clients, connects under way, time.
//!
//! In reading order: what is to be done ([`plan`], [`template`]), what goes over the wire ([`handshake`], [`frames`], [`requests`]), who does it
//! ([`client`], [`crew`]), what is noted ([`histogram`], [`tally`]), and the whole ([`Load`]).

pub mod plan;
pub mod template;

mod frames;
mod handshake;
mod requests;

mod client;
mod crew;

pub mod histogram;
pub mod tally;

pub mod load;

pub use histogram::Histogram;
pub use load::{Load, Stage};
pub use plan::{Group, Plan, PlanError, Role};
pub use tally::Tally;
pub use template::Template;
