//! Which node has receivers of which topics, patterns and queue groups (`spec/cluster/interest.md`).
//!
//! [`Exchange`] is the machine: the node tells it what it has receivers of and what the peers say, and it answers with frames, with
//! which subscriptions are in force everywhere, and with a [`Table`] that says where each message goes ([`Route`]). What goes with a
//! message are its [`Orders`], and what a node does with one that came its [`Duties`].

mod duties;
mod entry;
mod exchange;
mod frames;
mod mask;
mod orders;
mod own;
mod peer;
mod route;
mod table;

pub use duties::Duties;
pub use entry::Interest;
pub use exchange::{Crowded, Exchange, Limits, Note, Output, Version};
pub use mask::{MAX_PEERS, Mask, PeerIndex};
pub use orders::{Orders, Unknown};
pub use route::{Choice, GroupRoute, Route, Share};
pub use table::Table;
