//! What the shards say of an audience's receivers that are far behind, and whether publishers wait for them.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::Audience;

/// A shard has not said how its receivers stand.
const UNSAID: u64 = u64::MAX;

/// How the receivers of an audience stand, in all shards.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// A bit for each shard that lets publishers wait: they do while one is set.
    shards: AtomicU64,
    /// For each shard how many receivers it has, and in the lower half how many of them are far behind. Not there until somebody is.
    said: OnceLock<Box<[AtomicU64]>>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) far_behind: usize,
    pub(crate) receivers: usize,
}

impl Audience {
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.held.shards.load(Relaxed) != 0
    }

    /// Says for one shard whether publishers are to wait.
    pub(crate) fn hold(&self, shard: usize, held: bool) {
        let bit = 1 << shard;
        if held {
            self.held.shards.fetch_or(bit, Relaxed);
        } else {
            self.held.shards.fetch_and(!bit, Relaxed);
        }
    }

    /// Whether any shard has said that receivers are far behind: then all say how theirs stand.
    #[inline]
    pub(crate) fn is_compared(&self) -> bool {
        self.held.said.get().is_some()
    }

    /// Says how one shard's receivers stand; `None` if it does not look any more.
    pub(crate) fn say(&self, shard: usize, share: Option<Share>) {
        let number = share.map_or(UNSAID, |share| (share.receivers as u64) << 32 | share.far_behind as u64);
        let shards = self.channels.iter().chain(&self.groups).map(|channel| channel.counts.len()).next();
        let unsaid = || (0..shards.unwrap_or(0)).map(|_| AtomicU64::new(UNSAID)).collect();
        if let Some(said) = self.held.said.get_or_init(unsaid).get(shard)
            && said.load(Relaxed) != number
        {
            said.store(number, Relaxed);
        }
    }

    /// How the receivers of the other shards stand. Of one that has not said it nobody is far behind, and who has several subscriptions there
    /// counts with each.
    pub(crate) fn elsewhere(&self, shard: usize) -> Share {
        let mut sum = Share::default();
        let said = self.held.said.get().map_or(&[][..], |said| said);
        for (at, said) in said.iter().enumerate().filter(|(at, _)| *at != shard) {
            match said.load(Relaxed) {
                UNSAID => {
                    let channels = self.channels.iter().chain(&self.groups);
                    sum.receivers += channels.map(|it| it.counts[at].load(Relaxed) as usize).sum::<usize>();
                }
                number => {
                    sum.receivers += (number >> 32) as usize;
                    sum.far_behind += number as u32 as usize;
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::filter;
    use super::super::{Topics, Wire};
    use super::Share;

    #[test]
    fn publishers_wait_while_any_shard_wants_it() {
        let topics = Topics::new(2);
        topics.subscribe(filter("t"), None, 0, Wire::Plain);
        let audience = topics.audience("t").unwrap();
        for (shard, held, outcome) in
            [(1, true, true), (1, true, true), (0, true, true), (1, false, true), (0, false, false)]
        {
            audience.hold(shard, held);
            assert_eq!(audience.is_held(), outcome);
        }
    }

    #[test]
    fn each_shard_hears_how_the_others_stand() {
        let topics = Topics::new(3);
        for shard in [0, 1, 1, 1, 2, 2] {
            topics.subscribe(filter("t"), None, shard, Wire::Plain);
        }
        let audience = topics.audience("t").unwrap();
        assert!(!audience.is_compared());
        audience.say(0, Some(Share { far_behind: 1, receivers: 1 }));
        assert!(audience.is_compared());
        // Those who have said nothing are counted by what is subscribed there.
        assert_eq!(audience.elsewhere(0), Share { far_behind: 0, receivers: 5 });
        audience.say(1, Some(Share { far_behind: 2, receivers: 3 }));
        audience.say(2, Some(Share { far_behind: 0, receivers: 1 }));
        assert_eq!(audience.elsewhere(0), Share { far_behind: 2, receivers: 4 });
        assert_eq!(audience.elsewhere(1), Share { far_behind: 1, receivers: 2 });
        audience.say(1, None);
        assert_eq!(audience.elsewhere(0), Share { far_behind: 0, receivers: 4 });
    }
}
