//! Messages that could not be given to a peer: the last of them, for whoever looks what was lost.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use wse_mesh::ids::NodeId;

/// How many are kept.
const KEPT: usize = 1000;
/// Bytes of a message that are kept.
const SHOWN: usize = 1024;

/// A message that a peer was not given.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its topic.
    pub topic: String,
    /// The beginning of it.
    pub message: Vec<u8>,
    /// Bytes of all of it.
    pub len: usize,
    /// For whom it was.
    pub peer: NodeId,
    /// Why it was not given.
    pub reason: &'static str,
    /// When, in milliseconds of Unix time.
    pub unix_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    kept: Mutex<VecDeque<DeadLetter>>,
    all: AtomicU64,
}

impl DeadLetters {
    pub(super) fn add(&self, topic: &str, message: &[u8], peer: NodeId, reason: &'static str, unix_ms: u64) {
        self.all.fetch_add(1, Relaxed);
        let letter = DeadLetter {
            topic: topic.to_owned(),
            message: message[..message.len().min(SHOWN)].to_vec(),
            len: message.len(),
            peer,
            reason,
            unix_ms,
        };
        let mut kept = self.kept.lock();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(letter);
    }

    pub(super) fn list(&self) -> Vec<DeadLetter> {
        self.kept.lock().iter().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.kept.lock().len()
    }
}
