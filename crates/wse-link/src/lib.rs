//! Links between nodes: sockets, certificates, the secret of the cluster, frames on a stream. `spec/cluster/links.md` is the law.
//!
//! The node that uses this runs one thread with a current-thread runtime of tokio and a `LocalSet`, and in it the machines of `wse-mesh`
//! as the [`Owner`] of [`Links`]. Each link is one task there: it hands every read's worth of [`Frame`]s to the owner in one call, and writes
//! what any thread has pushed to the [`Link`].
//!
//! In reading order: who may connect ([`Guard`], [`tls`], [`secret`], the opening), the frames ([`frames`]), what waits for a peer, the task of a
//! link, and where links come from ([`Port`], [`Links`]).

mod closed;
mod dial;
pub mod frames;
mod guard;
mod handshake;
mod line;
mod link;
mod links;
mod opening;
mod owner;
mod queue;
mod room;
mod run;
pub mod secret;
mod socket;
pub mod tls;

pub use closed::Closed;
pub use dial::{DialError, Failure};
pub use frames::{Frame, Frames};
pub use guard::Guard;
pub use link::{About, Counters, Link};
pub use links::{Config, Links, OPENING, OPENINGS, Stats};
pub use owner::Owner;
pub use queue::{Bounds, Class, NotPushed};
pub use socket::Port;
