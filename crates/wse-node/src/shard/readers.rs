//! Whose sockets are to be read, in lines that take turns.
//!
//! Reading has a slice of every turn, as writing has: a crowd that sends without pause would otherwise keep what is published waiting
//! until all that it had sent so far is parsed, and what answers it would be made before its limits are looked at.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Shard;
use super::conn::Phase;

/// How long one turn of the loop reads before it delivers and writes.
const SLICE: Duration = Duration::from_millis(2);

/// The lines of one shard.
#[derive(Debug, Default)]
pub(super) struct Readers {
    line: VecDeque<u32>,
    /// Those whose request is still coming: who floods must not keep others from being let in.
    arrivals: VecDeque<u32>,
    /// Whether the next place is an arrival's.
    arrival_next: bool,
    /// When the slice of this turn ends.
    until: Option<Instant>,
}

impl Readers {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.arrivals.is_empty()
    }

    /// Whose turn it is: one of each line after the other.
    fn next(&mut self) -> Option<u32> {
        self.arrival_next = !self.arrival_next;
        let (first, second) = if self.arrival_next {
            (&mut self.arrivals, &mut self.line)
        } else {
            (&mut self.line, &mut self.arrivals)
        };
        first.pop_front().or_else(|| second.pop_front())
    }
}

impl Shard {
    /// Begins the slice of a turn.
    pub(super) fn begin_to_read(&mut self) {
        self.readers.until = Some(Instant::now() + SLICE);
    }

    /// A socket has something to read, or its end: now, unless others wait already or the slice is over.
    pub(super) fn read_in_turn(&mut self, slot: u32, to_the_end: bool) {
        if !self.readers.is_empty() || self.slice_is_over() {
            self.line_up(slot, to_the_end);
        } else {
            self.on_readable(slot, to_the_end);
        }
    }

    /// Goes on with those who wait.
    pub(super) fn read_line(&mut self) {
        for (slot, to_the_end) in std::mem::take(&mut self.again) {
            self.line_up(slot, to_the_end);
        }
        while let Some(slot) = self.readers.next() {
            if let Some(conn) = self.slots.get_mut(slot).filter(|conn| conn.flags.lined_up) {
                conn.flags.lined_up = false;
                let to_the_end = std::mem::take(&mut conn.flags.to_the_end);
                self.on_readable(slot, to_the_end);
            }
            if self.slice_is_over() {
                return;
            }
        }
    }

    fn line_up(&mut self, slot: u32, to_the_end: bool) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        conn.flags.to_the_end |= to_the_end;
        if !conn.flags.lined_up {
            conn.flags.lined_up = true;
            let arrives = matches!(conn.phase, Phase::Handshake(_));
            let line = if arrives { &mut self.readers.arrivals } else { &mut self.readers.line };
            line.push_back(slot);
        }
    }

    pub(super) fn slice_is_over(&self) -> bool {
        self.readers.until.is_none_or(|until| Instant::now() >= until)
    }
}
