//! Memory with frames that many clients are still to be sent: it lives as long as the last of them needs it, then goes back to a
//! small pool of its shard.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wse_core::outbox;

use crate::shared::Shared;

/// What a run costs beside its frames: its own record and the allocations.
const OVERHEAD: usize = 96;
/// Buffers kept for the next bursts.
const POOLED: usize = 4;
/// Larger ones go back to the system.
const POOLED_CAPACITY: usize = 1 << 20;

/// One run; cloning it costs an addition, as it never leaves its shard.
#[derive(Clone)]
pub(crate) struct Run(Rc<Inner>);

struct Inner {
    bytes: Vec<u8>,
    cost: usize,
    pool: Pool,
}

/// Where empty buffers wait for the next burst.
#[derive(Clone)]
pub(crate) struct Pool {
    buffers: Rc<RefCell<Vec<Vec<u8>>>>,
    /// What the runs of this shard cost.
    held: Rc<Cell<usize>>,
    shared: Arc<Shared>,
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { buffers: Rc::default(), held: Rc::default(), shared }
    }

    /// Bytes of memory in all living runs of this shard.
    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }

    /// An empty buffer, with room if one is at hand.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Makes a run of frames. Few bytes in a large buffer are copied into one of their size: a client that lags may keep the run for
    /// long, and its limit counts what is used.
    pub(crate) fn run(&self, bytes: Vec<u8>) -> Run {
        if bytes.len() < bytes.capacity() / 2 {
            let fitting = bytes.as_slice().into();
            self.give_back(bytes);
            return self.keep(fitting);
        }
        self.keep(bytes)
    }

    fn keep(&self, bytes: Vec<u8>) -> Run {
        let cost = bytes.capacity() + OVERHEAD;
        self.held.set(self.held.get() + cost);
        self.shared.outbound.fetch_add(cost, Ordering::Relaxed);
        Run(Rc::new(Inner { bytes, cost, pool: self.clone() }))
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < POOLED && bytes.capacity() <= POOLED_CAPACITY && bytes.capacity() >= 4096 {
            bytes.clear();
            buffers.push(bytes);
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({} bytes)", self.0.bytes.len())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pool.held.set(self.pool.held.get() - self.cost);
        self.pool.shared.outbound.fetch_sub(self.cost, Ordering::Relaxed);
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

impl outbox::Run for Run {
    fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
