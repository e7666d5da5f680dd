//! Memory with frames that many clients are still to be sent: it lives as long as the last of them needs it, then goes back to a
//! small pool of its shard.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wse_core::history::Chunk;
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
    memory: Memory,
    notes: Vec<Note>,
    cost: usize,
    pool: Pool,
}

/// Where the frames of a run lie.
enum Memory {
    Own(Vec<u8>),
    /// In the history of a topic.
    Kept(Arc<Chunk>),
}

/// Which frames of a run are publications of a topic; those without a note are for one connection alone, or for all.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// The offset of the first of them; 0 for a topic without history.
    pub(crate) first: u64,
    pub(crate) topic: Arc<str>,
}

/// Where empty buffers wait for the next burst.
#[derive(Clone)]
pub(crate) struct Pool {
    buffers: Rc<RefCell<Vec<Vec<u8>>>>,
    /// The parts of histories that some client is still to be sent, by address: each is one run, however many clients.
    kept: Rc<RefCell<HashMap<usize, Weak<Inner>, FixedState>>>,
    /// What the runs of this shard cost.
    held: Rc<Cell<usize>>,
    shared: Arc<Shared>,
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { buffers: Rc::default(), kept: Rc::default(), held: Rc::default(), shared }
    }

    /// Bytes of memory in all living runs of this shard.
    pub(crate) fn held(&self) -> usize {
        self.held.get()
    }

    /// An empty buffer, with room if one is at hand.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Makes a run of frames that are for one connection alone, or for all. Few bytes in a large buffer are copied into one of their size: a client that lags may keep the run for
    /// long, and its limit counts what is used.
    pub(crate) fn run(&self, bytes: Vec<u8>) -> Run {
        self.noted(bytes, Vec::new())
    }

    /// The same of frames some of which are publications.
    pub(crate) fn noted(&self, bytes: Vec<u8>, notes: Vec<Note>) -> Run {
        let cost = |bytes: &Vec<u8>| bytes.capacity() + notes.capacity() * size_of::<Note>() + OVERHEAD;
        if bytes.len() < bytes.capacity() / 2 {
            let fitting: Vec<u8> = bytes.as_slice().into();
            self.give_back(bytes);
            return Run(self.keep(cost(&fitting), Memory::Own(fitting), notes));
        }
        Run(self.keep(cost(&bytes), Memory::Own(bytes), notes))
    }

    /// A part of a topic's history as a run.
    pub(crate) fn kept(&self, topic: &Arc<str>, chunk: &Arc<Chunk>) -> Run {
        let address = Arc::as_ptr(chunk).addr();
        let known = self.kept.borrow().get(&address).and_then(Weak::upgrade);
        // As long as the run lives its chunk does, and nothing else has that address.
        Run(known.unwrap_or_else(|| {
            let end = chunk.bytes().len() as u32;
            let note = Note { start: 0, end, first: chunk.first(), topic: topic.clone() };
            let inner = self.keep(chunk.cost() + OVERHEAD, Memory::Kept(chunk.clone()), vec![note]);
            self.kept.borrow_mut().insert(address, Rc::downgrade(&inner));
            inner
        }))
    }

    fn keep(&self, cost: usize, memory: Memory, notes: Vec<Note>) -> Rc<Inner> {
        self.held.set(self.held.get() + cost);
        self.shared.outbound.fetch_add(cost, Ordering::Relaxed);
        Rc::new(Inner { memory, notes, cost, pool: self.clone() })
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < POOLED && bytes.capacity() <= POOLED_CAPACITY && bytes.capacity() >= 4096 {
            bytes.clear();
            buffers.push(bytes);
        }
    }
}

impl Run {
    /// Which of its frames are publications, in order.
    pub(crate) fn notes(&self) -> &[Note] {
        &self.0.notes
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({} bytes)", outbox::Run::bytes(self).len())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pool.held.set(self.pool.held.get() - self.cost);
        self.pool.shared.outbound.fetch_sub(self.cost, Ordering::Relaxed);
        match &mut self.memory {
            Memory::Own(bytes) => self.pool.give_back(std::mem::take(bytes)),
            Memory::Kept(chunk) => {
                self.pool.kept.borrow_mut().remove(&Arc::as_ptr(chunk).addr());
            }
        }
    }
}

impl outbox::Run for Run {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.0.memory {
            Memory::Own(bytes) => bytes,
            Memory::Kept(chunk) => chunk.bytes(),
        }
    }

    fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
