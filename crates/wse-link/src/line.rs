//! Lines of the log that a stranger can provoke come at most once in five seconds for each kind, with the number of those left out.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(5);

/// Lets one line pass in five seconds.
#[derive(Debug, Default)]
pub(crate) struct Line {
    next: Cell<Option<Instant>>,
    left_out: Cell<u64>,
}

impl Line {
    /// `Some(n)` when the line may be written now, n having been left out since the last.
    pub(crate) fn pass(&self) -> Option<u64> {
        let now = Instant::now();
        if self.next.get().is_some_and(|next| now < next) {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.next.set(Some(now + EVERY));
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_and_the_rest_is_counted() {
        let line = Line::default();
        let passed: Vec<Option<u64>> = (0..10).map(|_| line.pass()).collect();
        assert_eq!(passed[0], Some(0));
        assert_eq!(passed[1..], [None; 9]);
        line.next.set(Some(Instant::now()));
        assert_eq!(line.pass(), Some(9));
        assert_eq!(line.pass(), None);
    }
}
