//! Lines for the log, each subject once a minute: who keeps being wrong does not fill the disk.

use std::collections::BTreeMap;

/// A line about one subject is not repeated for so long.
const QUIET_MS: u64 = 60_000;

/// Subjects that are remembered; with more, the one told longest ago is forgotten.
const MAX_SUBJECTS: usize = 256;

/// When what was told last.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    told: BTreeMap<String, u64>,
}

impl Notes {
    /// Whether a line about this may be written now; asking counts as writing.
    pub(super) fn may_tell(&mut self, subject: &str, now_ms: u64) -> bool {
        if let Some(last) = self.told.get_mut(subject) {
            let may = now_ms >= *last + QUIET_MS;
            if may {
                *last = now_ms;
            }
            return may;
        }
        if self.told.len() >= MAX_SUBJECTS {
            let oldest = self.told.iter().min_by_key(|(_, told)| **told).map(|(subject, _)| subject.clone());
            self.told.remove(&oldest.expect("it is full"));
        }
        self.told.insert(subject.to_owned(), now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_once_a_minute_and_others_do_not_wait_for_it() {
        let mut notes = Notes::default();
        assert!(notes.may_tell("a", 5));
        assert!(!notes.may_tell("a", 60_004));
        assert!(notes.may_tell("b", 60_004));
        assert!(notes.may_tell("a", 60_005));
        for number in 0..1000 {
            assert!(notes.may_tell(&number.to_string(), 70_000));
        }
        assert_eq!(notes.told.len(), MAX_SUBJECTS);
    }
}
