//! What a member was given: what its client has not wholly been sent, and what of the rest may not have come to it.

use std::collections::VecDeque;

use super::flight::Flight;
use crate::outbox::{Outbox, Run};

/// Frames for which room is kept when all have left.
const ROOM: usize = 16;

/// The frames of groups that one connection was given, by their place in the stream of its bytes: those in its outbox, and those that
/// have left since. `G` names a group.
#[derive(Debug)]
pub struct Work<G> {
    /// Bytes that have left since this was made.
    sent: u64,
    given: VecDeque<Given<G>>,
    flight: Flight,
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
        Self { sent: 0, given: VecDeque::new(), flight: Flight::default() }
    }
}

impl<G> Work<G> {
    /// Takes note of the frame that was just put into the outbox, which is now `queued` bytes long.
    pub fn give(&mut self, group: G, frame: usize, queued: usize) {
        let end = self.sent + queued as u64;
        self.given.push_back(Given { group, begin: end - frame as u64, end });
    }

    /// Takes note that bytes have left, of whatever kind. `unacknowledged` tells how many of all that have left the client's system has
    /// not acknowledged; it is asked once in eight frames at most.
    pub fn advance(&mut self, sent: usize, unacknowledged: impl Fn() -> u64) {
        self.sent += sent as u64;
        let all = self.sent;
        while let Some(given) = self.given.pop_front_if(|given| given.end <= all) {
            self.flight.leave(given.end, || all.saturating_sub(unacknowledged()));
        }
        if self.given.is_empty() && self.given.capacity() > ROOM {
            self.given = VecDeque::new();
        }
    }

    /// Nothing of it is left to be sent.
    #[must_use]
    pub fn is_all_sent(&self) -> bool {
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

    /// How many frames have wholly left and are among the last bytes, which the client's system has not acknowledged: of a connection that
    /// is gone they may be lost.
    #[must_use]
    pub fn unacknowledged(&self, bytes: u64) -> u64 {
        self.flight.beyond(self.sent.saturating_sub(bytes))
    }
}
