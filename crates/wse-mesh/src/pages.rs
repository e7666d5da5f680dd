//! How a large state gets across in parts, a few at a time: the books of who sends it and of who receives it.
//!
//! The state changes while its parts are under way, and the changes travel between the parts. So nobody keeps a copy of it: a part is
//! read off when it is sent, in the order of keys, and a change behind the last key is in a part to come or comes as a change.

/// How many parts may be under way.
pub(crate) const WINDOW: u64 = 4;

/// How long nothing may come before it is asked for again; twice as long after each time.
pub(crate) const RETRY_MS: u64 = 1000;
/// The longest such time.
pub(crate) const LONGEST_RETRY_MS: u64 = 30_000;

/// Parts on their way to one receiver; `K` is a key of the state.
#[derive(Debug)]
pub(crate) struct Pages<K> {
    number: u64,
    sent: u64,
    heard: u64,
    /// The last key that was sent.
    after: Option<K>,
    is_open: bool,
}

impl<K> Default for Pages<K> {
    fn default() -> Self {
        Self { number: 0, sent: 0, heard: 0, after: None, is_open: false }
    }
}

/// What an ASK was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of the state is wanted, from its beginning.
    Anew,
    /// Some parts have come.
    GoOn,
    /// It speaks of a sending that is over.
    Stale,
    /// It has heard what was not sent.
    Never,
}

impl<K> Pages<K> {
    /// The receiver wants all, or has got so many parts.
    pub(crate) fn ask(&mut self, number: u64, parts: u64) -> Asked {
        if number == 0 {
            *self = Self { number: self.number + 1, is_open: true, ..Self::default() };
            Asked::Anew
        } else if number != self.number {
            if number > self.number { Asked::Never } else { Asked::Stale }
        } else if parts > self.sent {
            Asked::Never
        } else {
            self.heard = self.heard.max(parts);
            Asked::GoOn
        }
    }

    /// The link is gone, and with it what was under way.
    pub(crate) fn stop(&mut self) {
        self.is_open = false;
        self.after = None;
    }

    /// Where to go on, if a part may be sent now: its sending, its place, and the key behind which it begins.
    pub(crate) fn next(&self) -> Option<(u64, u64, Option<&K>)> {
        let is_free = self.is_open && self.sent - self.heard < WINDOW;
        is_free.then_some((self.number, self.sent, self.after.as_ref()))
    }

    /// A part was sent, up to this key; `None` is the end.
    pub(crate) fn sent(&mut self, up_to: Option<K>) {
        debug_assert!(self.is_open, "a part belongs to a sending");
        self.sent += 1;
        self.is_open = up_to.is_some();
        self.after = up_to;
    }
}

/// What is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Catching {
    number: u64,
    next: u64,
}

impl Catching {
    /// Part 0 of a sending has come.
    pub(crate) fn begin(number: u64) -> Self {
        Self { number, next: 1 }
    }

    /// Another part has come: whether it is the next. One of an earlier sending is `None`.
    pub(crate) fn is_next(&mut self, number: u64, part: u64) -> Option<bool> {
        if number < self.number {
            return None;
        }
        let is_next = (number, part) == (self.number, self.next);
        self.next += u64::from(is_next);
        Some(is_next)
    }

    /// What is told of it: the sending, and how many of its parts have come.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.number, self.next)
    }
}

/// Says when to try again what has had no answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    since_ms: Option<u64>,
    wait_ms: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { since_ms: None, wait_ms: RETRY_MS }
    }
}

impl Retry {
    /// Something came, though not all: the wait begins again.
    pub(crate) fn progress(&mut self) {
        self.since_ms = None;
    }

    /// It is done.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// It is still waited for at this time; whether to try again.
    pub(crate) fn is_due(&mut self, now_ms: u64) -> bool {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let is_due = now_ms.saturating_sub(since_ms) >= self.wait_ms;
        if is_due {
            self.since_ms = Some(now_ms);
            self.wait_ms = (self.wait_ms * 2).min(LONGEST_RETRY_MS);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_parts_than_the_window_are_under_way() {
        let mut pages = Pages::<u8>::default();
        assert_eq!(pages.next(), None, "nobody has asked");
        assert_eq!(pages.ask(0, 0), Asked::Anew);
        for part in 0..WINDOW {
            assert_eq!(pages.next().unwrap().1, part);
            pages.sent(Some(part as u8));
        }
        assert_eq!(pages.next(), None);
        assert_eq!(pages.ask(1, 1), Asked::GoOn);
        assert_eq!(pages.next(), Some((1, WINDOW, Some(&3))));
        pages.sent(None);
        assert_eq!(pages.ask(1, WINDOW), Asked::GoOn);
        assert_eq!(pages.next(), None, "that was the end");
        assert_eq!(pages.ask(1, 9), Asked::Never);
        assert_eq!(pages.ask(2, 0), Asked::Never);
        assert_eq!(pages.ask(0, 0), Asked::Anew);
        assert_eq!(pages.ask(1, 1), Asked::Stale);
        assert_eq!(pages.next(), Some((2, 0, None)));
    }

    #[test]
    fn a_part_that_is_missing_is_noticed_and_one_of_an_earlier_sending_is_nothing() {
        let mut catching = Catching::begin(2);
        assert_eq!(catching.is_next(1, 7), None);
        assert_eq!(catching.is_next(2, 1), Some(true));
        assert_eq!(catching.is_next(2, 3), Some(false));
        assert_eq!(catching.is_next(3, 1), Some(false));
        assert_eq!(catching.so_far(), (2, 2));
    }

    #[test]
    fn what_has_no_answer_is_tried_less_and_less_often() {
        let mut retry = Retry::default();
        let tries = (0..200_000).step_by(500).filter(|now_ms| retry.is_due(*now_ms)).collect::<Vec<u64>>();
        assert_eq!(tries, [1000, 3000, 7000, 15_000, 31_000, 61_000, 91_000, 121_000, 151_000, 181_000]);
        retry.reset();
        assert!(!retry.is_due(200_000));
        retry.progress();
        assert!(!retry.is_due(201_000));
        assert!(retry.is_due(202_000));
    }
}
