//! Queue groups: each message goes to one member. Who is next, what comes back from a member that is gone, and what may be lost with it.

mod flight;
mod turn;
mod work;

pub use turn::{Next, Rotation, place_of_turn};
pub use work::{Pulled, Work};

#[cfg(test)]
mod tests;
