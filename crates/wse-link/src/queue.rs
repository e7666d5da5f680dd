//! What waits to be written to a link: one order, in pieces of memory that any thread appends to and the link's task takes whole.
//!
//! The lock is held for the copy of a frame and no longer. The writer takes everything that there is at once and is woken only when it
//! has found nothing.

use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::closed::Closed;

/// A piece of memory is closed when it has grown to this: large enough for large writes, small enough to be given back piece by piece.
const PIECE: usize = 256 * 1024;

/// How many bytes may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From here on data is refused.
    pub data: usize,
    /// Beyond that, for control frames alone; when it is used up too the link is closed.
    pub control: usize,
}

/// What a frame is to the bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Words between the nodes: few, and nothing goes on without them.
    Control,
    /// Messages of the application.
    Data,
}

/// Why nothing was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPushed {
    /// The bound is reached; counted as dropped.
    #[error("the queue to the peer is full")]
    Full,
    /// The link is closing or gone.
    #[error("the link is closed")]
    Closed,
    /// The peer said in HELLO that it takes no frames of this length.
    #[error("longer than the peer takes")]
    TooLong,
}

/// How a link is to end.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// When everything was written and the peer has ended too, or at this time.
    Flushed(Instant),
    /// Now.
    Cut(Closed),
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bounds: Bounds,
    /// For the writer, when it sleeps.
    pub(crate) pushed: Notify,
    /// For whoever watches over the link.
    pub(crate) ending: Notify,
}

#[derive(Debug, Default)]
struct State {
    pieces: Vec<Vec<u8>>,
    /// Memory for the next piece.
    spare: Option<Vec<u8>>,
    /// Bytes pushed and not yet written, those that the writer holds included.
    waiting: usize,
    asleep: bool,
    ending: Option<Ending>,
}

/// What the writer finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Pieces to write.
    Pieces,
    /// Nothing; it will be woken.
    Nothing,
    /// Nothing, and there will be nothing more.
    End,
}

impl Bounds {
    /// With at least one frame's room for data.
    pub(crate) fn with_room_for(self, max_frame: usize) -> Self {
        Self { data: self.data.max(max_frame), ..self }
    }
}

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { state: Mutex::default(), bounds, pushed: Notify::new(), ending: Notify::new() }
    }

    /// Lets `put` append so many bytes. The first frame always has room, however long it is.
    pub(crate) fn push(
        &self,
        class: Class,
        length: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NotPushed> {
        let mut state = self.state.lock();
        if state.ending.is_some() {
            return Err(NotPushed::Closed);
        }
        let bound = match class {
            Class::Data => self.bounds.data,
            Class::Control => self.bounds.data + self.bounds.control,
        };
        if state.waiting > 0 && state.waiting + length > bound {
            if class == Class::Control {
                state.ending = Some(Ending::Cut(Closed::Behind));
                drop(state);
                self.ending.notify_one();
            }
            return Err(NotPushed::Full);
        }
        let piece = state.piece(length);
        let before = piece.len();
        put(piece);
        debug_assert_eq!(piece.len() - before, length, "the length that was announced");
        state.waiting += length;
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.pushed.notify_one();
        }
        Ok(())
    }

    /// For the writer: takes all pieces.
    pub(crate) fn take(&self, pieces: &mut Vec<Vec<u8>>) -> Found {
        let mut state = self.state.lock();
        if !state.pieces.is_empty() {
            std::mem::swap(pieces, &mut state.pieces);
            return Found::Pieces;
        }
        if state.ending.is_some() {
            return Found::End;
        }
        state.asleep = true;
        Found::Nothing
    }

    /// For the writer: so many bytes were written.
    pub(crate) fn written(&self, count: usize) {
        self.state.lock().waiting -= count;
    }

    /// For the writer: the memory of a piece that was written.
    pub(crate) fn recycle(&self, mut piece: Vec<u8>) {
        if piece.capacity() <= PIECE {
            piece.clear();
            self.state.lock().spare = Some(piece);
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// No more is pushed from here on. A cut goes before a flush, and the first cut stays.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.state.lock();
        if matches!((&state.ending, &ending), (Some(Ending::Cut(_)), _) | (Some(_), Ending::Flushed(_))) {
            return;
        }
        state.ending = Some(ending);
        state.asleep = false;
        drop(state);
        self.pushed.notify_one();
        self.ending.notify_one();
    }

    pub(crate) fn how_it_ends(&self) -> Option<Ending> {
        self.state.lock().ending.clone()
    }

    /// The link is gone: its memory too, though somebody may still hold on to it.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        state.ending.get_or_insert(Ending::Cut(Closed::ByPeer));
        state.pieces = Vec::new();
        state.spare = None;
        state.waiting = 0;
    }
}

impl State {
    /// Where the next bytes go.
    fn piece(&mut self, length: usize) -> &mut Vec<u8> {
        let fits = self.pieces.last().is_some_and(|piece| piece.len() + length <= PIECE);
        if !fits {
            let piece = self.spare.take().unwrap_or_default();
            self.pieces.push(piece);
        }
        self.pieces.last_mut().expect("pushed if there was none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { data: 1000, control: 100 };

    fn push(queue: &Queue, class: Class, length: usize) -> Result<(), NotPushed> {
        queue.push(class, length, |piece| piece.resize(piece.len() + length, 7))
    }

    #[test]
    fn data_is_refused_at_the_bound_and_control_has_a_reserve() {
        let queue = Queue::new(BOUNDS);
        assert_eq!(push(&queue, Class::Data, 600), Ok(()));
        assert_eq!(push(&queue, Class::Data, 401), Err(NotPushed::Full));
        assert_eq!(push(&queue, Class::Data, 400), Ok(()));
        assert_eq!(push(&queue, Class::Control, 100), Ok(()));
        assert_eq!(queue.waiting(), 1100);
        let mut pieces = Vec::new();
        assert_eq!(queue.take(&mut pieces), Found::Pieces);
        assert_eq!(push(&queue, Class::Data, 1), Err(NotPushed::Full), "taken is not written");
        queue.written(500);
        assert_eq!(push(&queue, Class::Data, 400), Ok(()));
        assert_eq!(queue.waiting(), 1000);
    }

    #[test]
    fn a_link_whose_control_frames_have_no_room_left_is_cut() {
        let queue = Queue::new(BOUNDS);
        assert_eq!(push(&queue, Class::Data, 1000), Ok(()));
        assert_eq!(push(&queue, Class::Control, 101), Err(NotPushed::Full));
        assert!(matches!(queue.how_it_ends(), Some(Ending::Cut(Closed::Behind))));
        assert_eq!(push(&queue, Class::Control, 1), Err(NotPushed::Closed));
    }

    #[test]
    fn a_frame_longer_than_the_bound_has_room_when_nothing_waits() {
        let queue = Queue::new(BOUNDS);
        assert_eq!(push(&queue, Class::Data, 5000), Ok(()));
        assert_eq!(push(&queue, Class::Data, 1), Err(NotPushed::Full));
    }

    #[test]
    fn pieces_keep_the_order_and_are_not_longer_than_they_should_be() {
        let queue = Queue::new(Bounds { data: 10 << 20, control: 0 });
        for number in 0..100_000_u32 {
            let put = |piece: &mut Vec<u8>| piece.extend_from_slice(&number.to_le_bytes());
            assert_eq!(queue.push(Class::Data, 4, put), Ok(()));
        }
        assert_eq!(push(&queue, Class::Data, PIECE + 1), Ok(()));
        let mut pieces = Vec::new();
        assert_eq!(queue.take(&mut pieces), Found::Pieces);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [PIECE, 400_000 - PIECE, PIECE + 1]);
        let numbers = pieces[..2].concat();
        assert!((0..100_000_u32).flat_map(u32::to_le_bytes).eq(numbers));
        assert_eq!(queue.take(&mut Vec::new()), Found::Nothing);
    }

    #[test]
    fn an_ending_lets_out_what_was_pushed_and_a_cut_goes_before_it() {
        let queue = Queue::new(BOUNDS);
        assert_eq!(push(&queue, Class::Data, 10), Ok(()));
        queue.end(Ending::Flushed(Instant::now()));
        assert_eq!(push(&queue, Class::Control, 10), Err(NotPushed::Closed));
        let mut pieces = Vec::new();
        assert_eq!(queue.take(&mut pieces), Found::Pieces);
        assert_eq!(queue.take(&mut Vec::new()), Found::End);
        queue.end(Ending::Cut(Closed::Late));
        queue.end(Ending::Cut(Closed::Crowded));
        queue.end(Ending::Flushed(Instant::now()));
        assert!(matches!(queue.how_it_ends(), Some(Ending::Cut(Closed::Late))));
    }
}
