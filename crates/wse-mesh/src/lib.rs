//! The mesh of nodes without its sockets: frames and the time in, frames and decisions out.
//!
//! Nothing here reads a clock, a socket, a random number or the environment; `clippy.toml` refuses them. What is said between nodes is
//! in `spec/cluster.md`. In reading order: who is who ([`ids`], [`view`]), what is said ([`wire`]), who is there ([`members`]), who hears what
//! ([`interest`]), the topics with history ([`log`]), and who is present ([`presence`]).

pub mod ids;
pub mod view;
pub mod wire;

pub mod interest;
pub mod log;
pub mod members;
pub mod presence;

mod pages;
