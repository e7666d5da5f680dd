//! What a member was given and its client has not wholly been sent.

use std::collections::VecDeque;

use crate::outbox::{Outbox, Run};

/// The frames of groups in the outbox of one connection, by their place in the stream of its bytes. `G` names a group.
#[derive(Debug)]
pub struct Work<G> {
    /// Bytes that have left since this was made.
    sent: u64,
    given: VecDeque<Given<G>>,
}

#[derive(Debug)]
struct Given<G> {
    group: G,
    begin: u64,
    end: u64,
}

/// Frames that another member may have: no byte of them has left.
pub type Pulled<G, R> = Vec<(G, R, u32, u32)>;

impl<G> Default for Work<G> {
    fn default() -> Self {
        Self { sent: 0, given: VecDeque::new() }
    }
}

impl<G> Work<G> {
    /// Takes note of the frame that was just put into the outbox, which is now `queued` bytes long.
    pub fn give(&mut self, group: G, frame: usize, queued: usize) {
        let end = self.sent + queued as u64;
        self.given.push_back(Given { group, begin: end - frame as u64, end });
    }

    /// Takes note that bytes have left.
    pub fn advance(&mut self, sent: usize) {
        self.sent += sent as u64;
        while self.given.front().is_some_and(|given| given.end <= self.sent) {
            self.given.pop_front();
        }
    }

    /// Nothing of it is left to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The groups of what is left.
    pub fn groups(&self) -> impl Iterator<Item = &G> {
        self.given.iter().map(|given| &given.group)
    }

    /// Takes the frames that have not begun to leave out of the outbox; whatever else is there stays, in its order. One frame may have
    /// been given by several groups.
    pub fn pull<R: Run>(&mut self, outbox: &mut Outbox<R>) -> Pulled<G, R> {
        let unsent = outbox.take_unsent();
        let mut at = self.sent + outbox.bytes() as u64;
        let begun = self.given.iter().take_while(|given| given.begin < at).count();
        let mut given = self.given.split_off(begun).into_iter().peekable();
        let mut pulled = Pulled::new();
        for (run, start, end) in unsent {
            let base = at;
            let place = |stream: u64| start + (stream - base) as u32;
            at += u64::from(end - start);
            let mut kept = start;
            while let Some(one) = given.next_if(|given| given.begin < at) {
                debug_assert!(one.end <= at, "a frame lies in one run");
                let (begin, finish) = (place(one.begin), place(one.end));
                if kept < begin {
                    outbox.push(&run, kept, begin);
                }
                kept = finish;
                pulled.push((one.group, run.clone(), begin, finish));
            }
            if kept < end {
                outbox.push(&run, kept, end);
            }
        }
        debug_assert!(given.next().is_none(), "what was given is in the outbox");
        pulled
    }

    /// How many frames have left in part: of a connection that is gone they are lost.
    #[must_use]
    pub fn begun(&self) -> usize {
        self.given.iter().filter(|given| given.begin < self.sent).count()
    }
}
