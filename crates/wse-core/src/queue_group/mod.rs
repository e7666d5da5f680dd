//! Queue groups: each message goes to one member. Who is next, and what comes back from a member that is gone.

mod turn;
mod work;

pub use turn::{Next, Rotation, place_of_turn};
pub use work::{Pulled, Work};

#[cfg(test)]
mod tests;
