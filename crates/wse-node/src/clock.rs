//! The only clock of the process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the server started, which never go back, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    pub(crate) fn uptime(self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn unix(self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    pub(crate) fn unix_ms(self) -> u64 {
        self.unix().as_millis() as u64
    }
}
