//! What one client still has to be sent: references into shared runs of frames, counted in bytes.
//!
//! A run is a piece of memory with whole frames, shared by all who are to receive it. A client that lags holds references, not
//! copies; the one that keeps up holds nothing.

use std::collections::VecDeque;

use crate::websocket::frame::server_frame_len;

/// Memory with whole server frames, cheap to clone.
pub trait Run: Clone {
    /// The frames.
    fn bytes(&self) -> &[u8];
    /// Whether both are the same memory.
    fn same(&self, other: &Self) -> bool;
}

/// The part of a run that one client still has to be sent.
#[derive(Clone, Debug)]
struct Segment<R> {
    run: R,
    /// A frame boundary at or before `start`.
    boundary: u32,
    start: u32,
    end: u32,
}

impl<R: Run> Segment<R> {
    /// The first frame boundary, or end of an HTTP head, that is not behind what has left.
    fn next_boundary(&self) -> u32 {
        let frames = self.run.bytes();
        let mut boundary = self.boundary as usize;
        // A frame of the server begins with a set bit; what does not is the head of its HTTP answer, without which no frame means anything.
        if frames.get(boundary).is_some_and(|first| first & 0x80 == 0) {
            boundary = memchr::memmem::find(&frames[boundary..], b"\r\n\r\n")
                .map_or(self.end as usize, |blank_line| boundary + blank_line + 4);
        }
        while boundary < self.start as usize {
            boundary += server_frame_len(&frames[boundary..]);
        }
        boundary as u32
    }
}

/// Bytes of memory that one reference costs, the record of a run shared by few included.
const SEGMENT_COST: usize = 128;

/// The queue of one client; empty it costs no heap.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "an idle connection pays for a pointer, not for three words")]
pub struct Outbox<R> {
    first: Option<Segment<R>>,
    rest: Option<Box<VecDeque<Segment<R>>>>,
    bytes: usize,
}

impl<R> Default for Outbox<R> {
    fn default() -> Self {
        Self { first: None, rest: None, bytes: 0 }
    }
}

impl<R: Run> Outbox<R> {
    /// Bytes still to be sent.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What this queue holds, in bytes: what is still to be sent and the references to it.
    #[must_use]
    #[inline]
    pub fn cost(&self) -> usize {
        self.bytes + self.rest.as_ref().map_or(0, |rest| rest.len() * SEGMENT_COST)
    }

    /// Nothing to be sent.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Appends the frames `start..end` of a run; both are frame boundaries.
    #[inline]
    pub fn push(&mut self, run: &R, start: u32, end: u32) {
        debug_assert!(start < end && end as usize <= run.bytes().len(), "a segment has bytes of its run");
        self.bytes += (end - start) as usize;
        let last = self.rest.as_mut().and_then(|rest| rest.back_mut()).or(self.first.as_mut());
        match last {
            Some(last) if last.end == start && last.run.same(run) => last.end = end,
            None => self.first = Some(Segment { run: run.clone(), boundary: start, start, end }),
            Some(_) => self.rest.get_or_insert_default().push_back(Segment {
                run: run.clone(),
                boundary: start,
                start,
                end,
            }),
        }
    }

    /// The pieces to send, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.segments().map(|segment| &segment.run.bytes()[segment.start as usize..segment.end as usize])
    }

    /// The only piece, when there is just one.
    #[must_use]
    #[inline]
    pub fn single(&self) -> Option<&[u8]> {
        match (&self.first, &self.rest) {
            (Some(segment), None) => Some(&segment.run.bytes()[segment.start as usize..segment.end as usize]),
            _ => None,
        }
    }

    /// Takes note that the first `sent` bytes have left.
    ///
    /// # Panics
    /// When more is said to have left than there was.
    #[inline]
    pub fn advance(&mut self, mut sent: usize) {
        assert!(sent <= self.bytes, "more bytes left than were queued");
        self.bytes -= sent;
        while sent > 0 {
            let first = self.first.as_mut().expect("bytes are counted from segments");
            let len = (first.end - first.start) as usize;
            if sent < len {
                first.start += sent as u32;
                return;
            }
            sent -= len;
            self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
            if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
                self.rest = None;
            }
        }
    }

    /// Drops all but the remainder of a frame of which the client has a part already, so that another frame may follow; returns the
    /// bytes dropped. The head of an HTTP answer is kept, begun or not.
    pub fn cut_at_boundary(&mut self) -> usize {
        let before = self.bytes;
        self.take_unsent();
        before - self.bytes
    }

    /// Takes out what [`cut_at_boundary`](Self::cut_at_boundary) drops: the parts of runs with whole frames that have not begun to
    /// leave, in order.
    pub fn take_unsent(&mut self) -> Vec<(R, u32, u32)> {
        let mut unsent = Vec::new();
        let Some(first) = &mut self.first else { return unsent };
        let boundary = first.next_boundary();
        if boundary < first.end {
            unsent.push((first.run.clone(), boundary, first.end));
        }
        // What is left is the end of a frame, so the first boundary that a second cut may look at is where it ends.
        first.end = boundary;
        first.boundary = boundary;
        self.bytes = (boundary - first.start) as usize;
        if self.bytes == 0 {
            self.first = None;
        }
        let rest = self.rest.take().unwrap_or_default();
        unsent.extend(rest.into_iter().map(|segment| (segment.run, segment.start, segment.end)));
        unsent
    }

    /// Moves what is left after a cut to memory of its own, which `make` makes of the bytes: the end of a frame must not keep all that came
    /// with it.
    ///
    /// # Panics
    /// When it is called at another time than after a cut.
    pub fn move_rest(&mut self, make: impl FnOnce(&[u8]) -> R) {
        let Some(first) = &mut self.first else { return };
        assert!(
            self.rest.is_none() && first.boundary == first.end,
            "only the end of a frame is left by a cut"
        );
        let run = make(&first.run.bytes()[first.start as usize..first.end as usize]);
        let end = run.bytes().len() as u32;
        *first = Segment { run, boundary: end, start: 0, end };
    }

    fn segments(&self) -> impl Iterator<Item = &Segment<R>> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::frame::{Opcode, write_frame};
    use proptest::prelude::*;
    use std::rc::Rc;

    impl Run for Rc<Vec<u8>> {
        fn bytes(&self) -> &[u8] {
            self
        }
        fn same(&self, other: &Self) -> bool {
            Rc::ptr_eq(self, other)
        }
    }

    #[test]
    fn a_cut_keeps_the_head_of_the_upgrade() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        for sent in 0..head.len() + 4 {
            let mut bytes = head.to_vec();
            write_frame(&mut bytes, Opcode::Text, b"hello");
            write_frame(&mut bytes, Opcode::Text, b"again");
            let frame = (bytes.len() - head.len()) / 2;
            let mut outbox = Outbox::default();
            let bytes = Rc::new(bytes);
            outbox.push(&bytes, 0, bytes.len() as u32);
            outbox.advance(sent);
            let end = if sent > head.len() { head.len() + frame } else { head.len() };
            assert_eq!(outbox.cut_at_boundary(), bytes.len() - end, "{sent}");
            assert_eq!(outbox.pieces().collect::<Vec<_>>().concat(), bytes[sent..end], "{sent}");
            assert_eq!(outbox.cut_at_boundary(), 0, "a second cut finds nothing more to drop");
        }
    }

    fn run(lens: &[usize]) -> (Rc<Vec<u8>>, Vec<u32>) {
        let mut bytes = Vec::new();
        let mut boundaries = vec![0];
        for len in lens {
            write_frame(&mut bytes, Opcode::Text, &vec![b'x'; *len]);
            boundaries.push(bytes.len() as u32);
        }
        (Rc::new(bytes), boundaries)
    }

    proptest! {
        #[test]
        fn whatever_is_pushed_leaves_in_order(
            runs in prop::collection::vec(prop::collection::vec(0_usize..300, 1..8), 1..6),
            picks in prop::collection::vec((0_usize..6, 0_usize..8, 0_usize..8), 0..30),
            sends in prop::collection::vec(1_usize..700, 0..60),
        ) {
            let runs: Vec<_> = runs.iter().map(|lens| run(lens)).collect();
            let (mut outbox, mut expected) = (Outbox::default(), VecDeque::new());
            let mut sends = sends.into_iter();
            for (which, a, b) in picks {
                let (bytes, boundaries) = &runs[which % runs.len()];
                let (a, b) = (a % boundaries.len(), b % boundaries.len());
                let (start, end) = (boundaries[a.min(b)], boundaries[a.max(b)]);
                if start == end {
                    continue;
                }
                outbox.push(bytes, start, end);
                expected.extend(&bytes[start as usize..end as usize]);
                if let Some(sent) = sends.next() {
                    let sent = sent.min(outbox.bytes());
                    outbox.advance(sent);
                    expected.drain(..sent);
                }
                let left: Vec<u8> = outbox.pieces().flatten().copied().collect();
                prop_assert_eq!(&left, &expected.iter().copied().collect::<Vec<u8>>());
                prop_assert_eq!(outbox.bytes(), left.len());
                prop_assert_eq!(outbox.is_empty(), left.is_empty());
            }
        }

        #[test]
        fn a_cut_keeps_the_end_of_the_frame_in_flight_and_no_more(lens in prop::collection::vec(0_usize..200, 1..10), sent in 0_usize..2000) {
            let (bytes, boundaries) = run(&lens);
            let mut outbox = Outbox::default();
            outbox.push(&bytes, 0, bytes.len() as u32);
            let sent = sent.min(bytes.len());
            outbox.advance(sent);
            let next = boundaries.iter().map(|b| *b as usize).find(|b| *b >= sent).unwrap();
            let dropped = outbox.cut_at_boundary();
            prop_assert_eq!(outbox.bytes(), next - sent);
            prop_assert_eq!(dropped, bytes.len() - next);
            let mut again = Outbox::default();
            again.push(&bytes, 0, bytes.len() as u32);
            again.advance(sent);
            let taken: Vec<u8> = again.take_unsent().iter().flat_map(|(run, start, end)| run[*start as usize..*end as usize].to_vec()).collect();
            prop_assert_eq!(taken, &bytes[next..], "what is dropped can be taken instead");
            again.move_rest(|rest| Rc::new(rest.to_vec()));
            again.push(&bytes, 0, bytes.len() as u32);
            again.advance((next - sent).min(1));
            let left: Vec<u8> = again.pieces().flatten().copied().collect();
            prop_assert_eq!(&left, &[&bytes[sent + (next - sent).min(1)..next], &bytes[..]].concat());
            again.cut_at_boundary();
            let left: Vec<u8> = again.pieces().flatten().copied().collect();
            prop_assert_eq!(&left, &bytes[sent + (next - sent).min(1)..next], "a second cut finds the same end");
            prop_assert_eq!(outbox.cut_at_boundary(), 0, "a second cut finds nothing more to drop");
            prop_assert_eq!(outbox.is_empty(), next == sent);
        }
    }
}
