//! Who is told what happens on links.

use crate::closed::Closed;
use crate::frames::Frame;
use crate::link::Link;

/// The owner of links. All of this is called on the one thread that runs them, never from within another call of it, so what is
/// behind it needs no lock; and nothing else on that thread goes on before it returns.
///
/// For each link: connected once, then any number of batches, then closed once.
pub trait Owner {
    /// A link stands, and its peer has passed the guard. It must be [admitted](Link::admit) within the time that an opening has left.
    fn handle_connected(&self, link: &Link);

    /// Frames came, in the order in which they were sent. They lie in the buffer of the link and are gone after the call.
    fn handle_frames(&self, link: &Link, frames: &[Frame<'_>]);

    /// The link is no more. No frame comes after this, and none that is pushed leaves.
    fn handle_closed(&self, link: &Link, why: &Closed);
}
