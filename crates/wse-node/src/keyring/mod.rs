//! The keys that tokens are checked with: given once as options, or a set that its issuer changes.
//!
//! A set is read by a thread of its own, never by one that serves clients: when the server starts, every few minutes, and when a token
//! names a key that is not in it. Whoever holds such a token waits for that, within its handshake; so a stranger who invents names of
//! keys makes nothing happen more often than once in [`PAUSE_MS`], and holds nothing that a slow handshake would not hold as well.

mod source;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Condvar, Mutex};
use wse_core::auth::{KeySet, Verifier, VerifierConfig};

use crate::clock::Clock;
use crate::events::Resume;

pub use source::FetchError;
use source::Source;

/// The time from one reading to the next when tokens ask for unknown keys.
const PAUSE_MS: u64 = 5000;
/// The time from one reading to the next when nobody asks: how long a key that was withdrawn may still be used.
const PERIOD_MS: u64 = 300_000;
/// The same after a reading that failed.
const AFTER_FAILURE_MS: u64 = 15_000;
/// How long a server that starts tries to reach the web server of its keys, and how often.
const START: Duration = Duration::from_secs(5);
const START_EVERY: Duration = Duration::from_millis(250);

/// Checks tokens with the keys of the moment.
pub(crate) struct Keyring {
    verifier: ArcSwap<Verifier>,
    set: Option<Set>,
}

/// What a keyring has that reads its keys again.
struct Set {
    source: Source,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Readings that were begun, and that have ended.
    begun: u64,
    ended: u64,
    /// Somebody waits for one.
    wanted: bool,
    stopping: bool,
}

impl Keyring {
    /// Keys that stay until the application replaces them.
    pub(crate) fn fixed(verifier: Verifier) -> Self {
        Self { verifier: ArcSwap::from_pointee(verifier), set: None }
    }

    /// Reads a set for the first time. A file is there or not; a web server may still be starting, so it is asked for some seconds.
    pub(crate) fn load(location: &str, config: &VerifierConfig) -> Result<Self, (String, FetchError)> {
        let source = Source::new(location, config.algorithm);
        let begun = Instant::now();
        let keys = loop {
            match source.fetch().and_then(|text| source.parse(&text)) {
                Ok(keys) => break keys,
                Err(error) if !source.is_web() || begun.elapsed() >= START => {
                    return Err((source.shown(), error));
                }
                Err(_) => std::thread::sleep(START_EVERY),
            }
        };
        tell(&source, &keys);
        let verifier = ArcSwap::from_pointee(Verifier::with_key_set(config, keys));
        Ok(Self { verifier, set: Some(Set { source, state: Mutex::default(), changed: Condvar::new() }) })
    }

    /// Other keys from now on, where they are [fixed](Self::fixed).
    pub(crate) fn replace(&self, verifier: Verifier) {
        debug_assert!(self.set.is_none(), "a set is read, not replaced");
        self.verifier.store(Arc::new(verifier));
    }

    /// What to check a token with.
    pub(crate) fn verifier(&self) -> Guard<Arc<Verifier>> {
        self.verifier.load()
    }

    /// Asks for the keys to be read again; the number of the reading to wait for.
    pub(crate) fn ask(&self) -> u64 {
        let Some(set) = &self.set else { return 0 };
        let mut state = set.state.lock();
        if state.begun > state.ended {
            return state.begun;
        }
        state.wanted = true;
        set.changed.notify_one();
        state.begun + 1
    }

    /// Whether that reading has ended.
    pub(crate) fn has_read(&self, number: u64) -> bool {
        self.set.as_ref().is_none_or(|set| set.state.lock().ended >= number)
    }

    /// Lets the thread end, which it does at once unless a web server keeps it waiting.
    pub(crate) fn stop(&self) {
        if let Some(set) = &self.set {
            set.state.lock().stopping = true;
            set.changed.notify_one();
        }
    }

    /// Begins to read again what has to be. Nobody waits for the end of this thread: it holds nothing but the keyring, and a web server
    /// could keep it for seconds.
    pub(crate) fn keep_fresh(
        self: &Arc<Self>,
        clock: Clock,
        shards: Vec<Arc<dyn Resume>>,
    ) -> std::io::Result<()> {
        if self.set.is_none() {
            return Ok(());
        }
        let keyring = self.clone();
        let body = move || keyring.read_again_and_again(clock, &shards);
        std::thread::Builder::new().name("wse-jwks".into()).spawn(body).map(drop)
    }

    fn read_again_and_again(&self, clock: Clock, shards: &[Arc<dyn Resume>]) {
        let Some(set) = &self.set else { return };
        let mut last_ms = clock.now_ms();
        let mut period_ms = PERIOD_MS;
        // The very first question is answered at once: what was read at the start may be seconds old.
        let mut pause_ms = 0;
        while set.wait(clock, last_ms + pause_ms, last_ms + period_ms) {
            let read = set.source.fetch().and_then(|text| set.source.parse(&text));
            last_ms = clock.now_ms();
            pause_ms = PAUSE_MS;
            period_ms = if read.is_ok() { PERIOD_MS } else { AFTER_FAILURE_MS };
            match read {
                Ok(keys) => {
                    tell(&set.source, &keys);
                    let verifier = self.verifier.load().with_other_keys(keys);
                    self.verifier.store(Arc::new(verifier));
                }
                Err(error) => {
                    tracing::warn!(jwks = set.source.shown(), "the keys {error}; those read before stay");
                }
            }
            let mut state = set.state.lock();
            state.ended = state.begun;
            drop(state);
            shards.iter().for_each(|shard| shard.resume());
        }
    }
}

impl Set {
    /// Waits until it is time to read: from `asked_ms` on if somebody asks, at `latest_ms` in any case. False when the server stops.
    fn wait(&self, clock: Clock, asked_ms: u64, latest_ms: u64) -> bool {
        let mut state = self.state.lock();
        loop {
            let due_ms = if state.wanted { asked_ms.min(latest_ms) } else { latest_ms };
            let wait_ms = due_ms.saturating_sub(clock.now_ms());
            if state.stopping {
                return false;
            }
            if wait_ms == 0 {
                state.wanted = false;
                state.begun += 1;
                return true;
            }
            self.changed.wait_for(&mut state, Duration::from_millis(wait_ms));
        }
    }
}

/// A line about the keys, with nothing of them but their number.
fn tell(source: &Source, keys: &KeySet) {
    let jwks = source.shown();
    tracing::info!(jwks, keys = keys.len(), skipped = keys.skipped().len(), "the keys were read");
    for (index, why) in keys.skipped() {
        tracing::debug!(jwks, index, "a key was skipped: {why}");
    }
}
