//! The end of the interpreter: servers that still run are stopped while Python can still be called.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wse_node::Node;

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

/// Stops every server and waits for the last callbacks; called without the GIL, which they need.
pub(crate) fn stop_all() {
    let nodes: Vec<Arc<Node>> = NODES.lock().iter().filter_map(Weak::upgrade).collect();
    nodes.iter().for_each(|node| node.stop());
    let deadline = Instant::now() + PATIENCE;
    let mut guard = CALLED.0.lock();
    while CALLING.load(Ordering::SeqCst) > 0 && !CALLED.1.wait_until(&mut guard, deadline).timed_out() {}
}
