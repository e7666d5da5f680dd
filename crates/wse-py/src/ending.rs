//! The end of the interpreter: servers that still run are stopped while Python can still be called, and no thread asks for a GIL that is
//! no more.
//!
//! CPython up to 3.13 ends a daemon thread that asks for the GIL too late by unwinding its stack, and a process with Rust on that stack
//! aborts. So every call lets go of the GIL by [`Release`], which keeps such a thread where it is: the process ends in a moment.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pyo3::prelude::*;
use wse_node::Node;

static ENDER: OnceLock<ThreadId> = OnceLock::new();
/// Threads that have looked for the end, found none, and are about to have the GIL again.
static RETURNING: AtomicUsize = AtomicUsize::new(0);
static NODES: Mutex<Vec<Weak<Node>>> = Mutex::new(Vec::new());
static CALLING: AtomicUsize = AtomicUsize::new(0);
static CALLED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// How long the last callbacks may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Remembers a node for as long as it lives.
pub(crate) fn remember(node: &Arc<Node>) {
    let mut nodes = NODES.lock();
    nodes.retain(|node| node.strong_count() > 0);
    nodes.push(Arc::downgrade(node));
}

/// A thread that calls Python, for as long as this lives.
pub(crate) struct CallsPython;

impl CallsPython {
    pub(crate) fn begin() -> Self {
        CALLING.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for CallsPython {
    fn drop(&mut self) {
        CALLING.fetch_sub(1, Ordering::SeqCst);
        drop(CALLED.0.lock());
        CALLED.1.notify_all();
    }
}

/// Letting go of the GIL for a while.
pub(crate) trait Release {
    /// Runs something without the GIL.
    fn release<T: Send>(self, run: impl FnOnce() -> T + Send) -> T;
}

impl Release for Python<'_> {
    fn release<T: Send>(self, run: impl FnOnce() -> T + Send) -> T {
        let out = self.detach(|| {
            let out = run();
            return_or_stay();
            out
        });
        RETURNING.fetch_sub(1, Ordering::SeqCst);
        out
    }
}

/// Before the GIL is asked for again: past the end of the interpreter only the thread that ends it gets it.
fn return_or_stay() {
    RETURNING.fetch_add(1, Ordering::SeqCst);
    // Either this sees the end, or the end sees this.
    fence(Ordering::SeqCst);
    if ENDER.get().is_none_or(|ender| *ender == thread::current().id()) {
        return;
    }
    RETURNING.fetch_sub(1, Ordering::SeqCst);
    loop {
        thread::park();
    }
}

/// From now on no other thread comes back to Python out of a call; waits for those that are on their way. Called without the GIL, which
/// they need.
pub(crate) fn let_nobody_return() {
    let _ = ENDER.set(thread::current().id());
    fence(Ordering::SeqCst);
    let deadline = Instant::now() + PATIENCE;
    while RETURNING.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
    }
}

/// Stops every server and waits for the last callbacks; called without the GIL, which they need.
pub(crate) fn stop_all() {
    let nodes: Vec<Arc<Node>> = NODES.lock().iter().filter_map(Weak::upgrade).collect();
    nodes.iter().for_each(|node| node.stop());
    let deadline = Instant::now() + PATIENCE;
    let mut guard = CALLED.0.lock();
    while CALLING.load(Ordering::SeqCst) > 0 && !CALLED.1.wait_until(&mut guard, deadline).timed_out() {}
}
