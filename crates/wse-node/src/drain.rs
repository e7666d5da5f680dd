//! Emptying a server that others go on without: who is still to go, who went properly, who had to be cut.
//!
//! The shards do it (`shard/drain`), each with a plan of its own. What is here is what they add up to, and the call that waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::inbox::Entry;
use crate::shared::Shared;

/// How much longer than its timeout a drain waits for shards that do not answer. They all do, unless one has died.
const OVERDUE: Duration = Duration::from_secs(5);

/// The drains of one run of a server; the first closes the door for good.
#[derive(Debug, Default)]
pub(crate) struct Drains {
    begun: AtomicBool,
    tally: Mutex<Tally>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Shards that have not yet said how many connections they have.
    silent: usize,
    /// Connections that are still to go.
    left: usize,
    drained: usize,
    cut: usize,
}

/// What a shard is told.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) close_code: u16,
    pub(crate) reason: Box<str>,
    pub(crate) timeout: Duration,
    _silence: Silence,
}

/// Ends with the order, whether the shard obeyed it or has ended before.
#[derive(Debug)]
struct Silence(Arc<Drains>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.change(|tally| tally.silent -= 1);
    }
}

impl Drains {
    /// Whether new clients are sent elsewhere.
    pub(crate) fn have_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Connections that are still to go.
    pub(crate) fn left(&self) -> usize {
        self.tally.lock().left
    }

    /// A shard has so many connections that are to go.
    pub(crate) fn expect(&self, connections: usize) {
        self.change(|tally| tally.left += connections);
    }

    /// One of them is gone.
    pub(crate) fn gone(&self, cut: bool) {
        self.change(|tally| {
            tally.left -= 1;
            *(if cut { &mut tally.cut } else { &mut tally.drained }) += 1;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.lock();
        change(&mut tally);
        if tally.silent == 0 && tally.left == 0 {
            self.changed.notify_all();
        }
    }
}

/// A drain under way; it goes on without this.
#[derive(Debug)]
pub struct Draining {
    drains: Arc<Drains>,
    before: Tally,
    overdue: Instant,
}

/// What became of the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Those that are gone with everything that was accepted for them, or had gone by themselves.
    pub drained: usize,
    /// Those whose answer to the close frame did not come in time.
    pub cut: usize,
}

impl Draining {
    pub(crate) fn begin(shared: &Shared, close_code: u16, reason: &str, timeout: Duration) -> Self {
        let drains = &shared.drains;
        drains.begun.store(true, Ordering::Release);
        let before = {
            let mut tally = drains.tally.lock();
            tally.silent += shared.shards.len();
            *tally
        };
        for shard in &shared.shards {
            let _silence = Silence(drains.clone());
            let order = Box::new(Order { close_code, reason: reason.into(), timeout, _silence });
            // A shard that has ended drops the order, and with it the silence.
            let _ = shard.inbox.put_now(|state| state.entries.push(Entry::Drain(order)));
        }
        Self { drains: drains.clone(), before, overdue: Instant::now() + timeout + OVERDUE }
    }

    /// Waits for the end, `at_most` so long; `None` if it is not yet there.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> Option<Drained> {
        let mut tally = self.drains.tally.lock();
        let lasts = |tally: &mut Tally| tally.silent > 0 || tally.left > 0;
        let timed_out = self.drains.changed.wait_while_for(&mut tally, lasts, at_most).timed_out();
        if timed_out && lasts(&mut tally) && Instant::now() < self.overdue {
            return None;
        }
        Some(Drained {
            drained: tally.drained - self.before.drained,
            cut: tally.cut - self.before.cut + tally.left,
        })
    }
}
