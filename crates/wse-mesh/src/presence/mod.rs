//! Who is present in a topic, as the whole cluster knows it (`spec/cluster/presence.md`).
//!
//! [`Presence`] sits around [`wse_core::presence::Presence`], which keeps what every author says and finds out what a change comes to for
//! those who look on. What is added here is how the authors hear of each other. It is one type and not two side by side because a change of this node
//! must be seen by both at once, and because the merged view is what a node is asked for.

mod cluster;
mod copy;
mod frames;
mod own;

pub use cluster::{Limits, Note, Output, Presence};
pub use frames::topics_of;

use std::sync::Arc;

/// A topic and a user in it. The texts are those of the core's tables, shared.
type Key = (Arc<str>, Arc<str>);
