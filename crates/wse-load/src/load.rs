//! The whole: crews are started, told to begin, asked what they saw, and stopped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Poll, Waker};
use parking_lot::{Condvar, Mutex};

use crate::crew::{Crew, WAKER};
use crate::plan::{Plan, PlanError};
use crate::tally::Tally;

/// How long a crew may take to say what it has seen. It does so between two turns, which are far shorter.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Clients are still connecting.
    Connecting,
    /// Each client is ready or has failed.
    Ready,
    /// They do what they are there for.
    Working,
    /// The threads are gone.
    Ended,
}

impl Stage {
    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Working => "working",
            Self::Ended => "ended",
        }
    }
}

/// What crews are told, all of them.
pub(crate) struct Orders {
    pub(crate) plan: Plan,
    /// The beginning of the load's clock.
    start: Instant,
    stop: AtomicBool,
    /// When the work begins by the load's clock; 0 while there is none.
    work_from: AtomicU64,
    /// How often the counts were told to begin anew.
    pub(crate) resets: AtomicU32,
    /// Something about a crew has changed that somebody may wait for.
    changed: (Mutex<()>, Condvar),
}

impl Orders {
    /// Nanoseconds since the load began.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn work_from(&self) -> Option<u64> {
        Some(self.work_from.load(Ordering::Acquire)).filter(|from| *from > 0)
    }

    fn notify(&self) {
        drop(self.changed.0.lock());
        self.changed.1.notify_all();
    }
}

/// Where a crew puts what it has seen.
pub(crate) struct Desk {
    waker: Waker,
    /// How often it was asked.
    asked: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// The last question that is answered.
    answered: u64,
    tally: Tally,
    /// Each of its clients is ready or has failed.
    settled: bool,
    ended: bool,
}

impl Desk {
    /// The number of a question that is still open, if one is.
    pub(crate) fn question(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// Tells what was seen.
    pub(crate) fn tell(&self, orders: &Orders, question: u64, tally: &Tally, settled: bool, ended: bool) {
        {
            let mut told = self.told.lock();
            told.answered = question;
            told.tally.clone_from(tally);
            told.settled = settled;
            told.ended = ended;
        }
        orders.notify();
    }
}

/// A load under way. Dropping it stops it.
pub struct Load {
    orders: Arc<Orders>,
    desks: Vec<Arc<Desk>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a load did not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plan can't be meant.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The system refuses a thread or an epoll.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Load {
    /// Starts the threads, which connect at once.
    ///
    /// # Errors
    /// The plan can't be meant, or the system refuses what it takes.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        plan.check()?;
        let parts: Vec<_> = plan.groups.iter().flat_map(crate::Group::divided).collect();
        let concurrency = (plan.concurrency / parts.len() as u32).max(1);
        let orders = Arc::new(Orders {
            plan,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            work_from: AtomicU64::new(0),
            resets: AtomicU32::new(0),
            changed: (Mutex::new(()), Condvar::new()),
        });
        let mut load = Self { orders, desks: Vec::new(), threads: Mutex::default() };
        for (first, group) in parts {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKER)?;
            let desk = Arc::new(Desk { waker, asked: AtomicU64::new(0), told: Mutex::default() });
            load.desks.push(desk.clone());
            let mut crew = Crew::new(load.orders.clone(), desk, poll, first, group, concurrency);
            load.threads
                .get_mut()
                .push(thread::Builder::new().name("wse-load".to_owned()).spawn(move || crew.run())?);
        }
        Ok(load)
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let (mut settled, mut ended) = (true, true);
        for desk in &self.desks {
            let told = desk.told.lock();
            settled &= told.settled;
            ended &= told.ended;
        }
        match (ended, settled) {
            (true, _) => Stage::Ended,
            (_, false) => Stage::Connecting,
            _ if self.orders.work_from().is_some() => Stage::Working,
            _ => Stage::Ready,
        }
    }

    /// Waits until the stage is another than the given one, or time is up, and returns what it is then.
    #[must_use]
    pub fn wait(&self, stage: Stage, timeout: Duration) -> Stage {
        let deadline = Instant::now() + timeout;
        let mut guard = self.orders.changed.0.lock();
        loop {
            let now = self.stage();
            if now != stage || self.orders.changed.1.wait_until(&mut guard, deadline).timed_out() {
                return now;
            }
        }
    }

    /// The work begins, as if for the first time.
    pub fn begin(&self) {
        let from = self.orders.now().max(1);
        self.orders.work_from.store(from, Ordering::Release);
        self.wake();
    }

    /// The work ends; the clients stay, and what comes still counts.
    pub fn rest(&self) {
        self.orders.work_from.store(0, Ordering::Release);
        self.wake();
    }

    /// What is measured begins to count anew.
    pub fn reset(&self) {
        self.orders.resets.fetch_add(1, Ordering::AcqRel);
        let _ = self.tally();
    }

    /// The time by the load's clock, and what all have seen until now.
    #[must_use]
    pub fn tally(&self) -> (u64, Tally) {
        let questions: Vec<u64> =
            self.desks.iter().map(|desk| desk.asked.fetch_add(1, Ordering::AcqRel) + 1).collect();
        self.wake();
        let deadline = Instant::now() + PATIENCE;
        let mut sum = Tally::default();
        for (desk, question) in self.desks.iter().zip(questions) {
            let mut guard = self.orders.changed.0.lock();
            loop {
                let told = desk.told.lock();
                if told.answered >= question || told.ended || Instant::now() >= deadline {
                    sum.merge(&told.tally);
                    break;
                }
                drop(told);
                self.orders.changed.1.wait_until(&mut guard, deadline);
            }
        }
        (self.orders.now(), sum)
    }

    /// Closes all connections and waits for the threads.
    pub fn stop(&self) {
        self.orders.stop.store(true, Ordering::Release);
        self.wake();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A crew that panicked has said so.
            let _ = thread.join();
        }
        self.orders.notify();
    }

    fn wake(&self) {
        for desk in &self.desks {
            // A crew that is gone can't be woken, and need not.
            let _ = desk.waker.wake();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}
