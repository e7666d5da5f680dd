//! Who is present in which topic: users, not connections.
//!
//! A user comes with the first connection that says so and goes with the last. Each node speaks for its own connections, as one
//! [`Author`] among others; what everybody sees of a user is the sum of what the authors say. Every operation returns the
//! [`Change`] that it made to that sum, so a change can be neither forgotten nor told twice.

mod data;
mod member;
mod topics;

pub use data::{Data, TooLarge};
pub use member::{Author, Entry};
pub use topics::{Change, Full, Kind, Owed, Presence, Present, Stats};

#[cfg(test)]
mod tests;
