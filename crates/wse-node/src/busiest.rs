//! The topics with the most messages, kept while they are counted: to tell them costs the same with ten topics and with a million.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::topics::Channel;

/// How many topics are told.
const PLACES: usize = 50;

/// The topics that are told, and the count that another must exceed to take the place of one.
///
/// That count is never above the smallest of those listed, since counts only grow. So a topic that stays below it is rightly outside,
/// and one that exceeds it takes the lock, compares with what is true now and leaves the bar higher than it was.
#[derive(Debug, Default)]
pub(crate) struct Busiest {
    bar: AtomicU64,
    listed: Mutex<Vec<Arc<Channel>>>,
}

impl Busiest {
    /// Counts messages of a topic or pattern; returns how many it had before.
    #[inline]
    pub(crate) fn count(&self, channel: &Arc<Channel>, messages: u64) -> u64 {
        let before = channel.published.fetch_add(messages, Relaxed);
        if before + messages > self.bar.load(Relaxed) && channel.is_topic && !channel.listed.load(Relaxed) {
            self.list(channel);
        }
        before
    }

    #[cold]
    fn list(&self, channel: &Arc<Channel>) {
        let mut listed = self.listed.lock();
        // A topic that lost its last subscriber is gone for good, and `forget` has been here or comes.
        if channel.listed.load(Relaxed) || channel.count() == 0 {
            return;
        }
        if listed.len() < PLACES {
            listed.push(channel.clone());
            channel.listed.store(true, Relaxed);
        } else if let Some(least) = listed.iter_mut().min_by_key(|other| other.published.load(Relaxed))
            && least.published.load(Relaxed) < channel.published.load(Relaxed)
        {
            least.listed.store(false, Relaxed);
            channel.listed.store(true, Relaxed);
            *least = channel.clone();
        }
        self.set_bar(&listed);
    }

    /// A topic has lost its last subscriber.
    pub(crate) fn forget(&self, channel: &Channel) {
        let mut listed = self.listed.lock();
        if channel.listed.load(Relaxed) {
            listed.retain(|other| other.id != channel.id);
            self.set_bar(&listed);
        }
    }

    fn set_bar(&self, listed: &[Arc<Channel>]) {
        let least = listed.iter().map(|channel| channel.published.load(Relaxed)).min();
        self.bar.store(least.filter(|_| listed.len() == PLACES).unwrap_or(0), Relaxed);
    }

    /// The topics that are told, the busiest first.
    pub(crate) fn list_all(&self) -> Vec<(String, u64)> {
        let listed = self.listed.lock();
        let mut all: Vec<(String, u64)> = listed
            .iter()
            .map(|channel| (channel.name.to_string(), channel.published.load(Relaxed)))
            .collect();
        drop(listed);
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::squeeze::Wire;
    use crate::topics::Topics;
    use wse_core::topic::Filter;

    fn topics(count: usize) -> (Topics, Vec<Arc<Channel>>) {
        let topics = Topics::new(1);
        let names: Vec<String> = (0..count).map(|index| format!("topic-{index}")).collect();
        let channels = names
            .iter()
            .map(|name| topics.subscribe(Filter::parse(name).unwrap(), None, 0, Wire::Plain))
            .collect();
        (topics, channels)
    }

    fn publish(topics: &Topics, channel: &Channel, messages: u64) {
        topics.count(&topics.audience(&channel.name).unwrap(), messages);
    }

    #[test]
    fn the_busiest_are_told_whatever_the_order_of_publishing() {
        let (topics, channels) = topics(1000);
        let mut random = 1_u64;
        for _ in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Squared, so that some are far busier than others, with ties all along.
            let place = ((random >> 33) % 1000).pow(2) / 1000;
            publish(&topics, &channels[place as usize], 1 + random % 3);
        }
        let mut expected: Vec<u64> = channels.iter().map(|channel| channel.published.load(Relaxed)).collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        let told: Vec<u64> = topics.busiest().into_iter().map(|(_, count)| count).collect();
        assert_eq!(told, expected[..PLACES]);
    }

    #[test]
    fn a_topic_that_ends_makes_room_and_comes_back_with_nothing() {
        let (topics, channels) = topics(PLACES + 1);
        channels[..PLACES].iter().for_each(|channel| publish(&topics, channel, 10));
        publish(&topics, &channels[PLACES], 1);
        assert!(topics.busiest().iter().all(|(_, count)| *count == 10));
        topics.unsubscribe(&channels[0], 0, Wire::Plain);
        assert_eq!(topics.busiest().len(), PLACES - 1);
        publish(&topics, &channels[PLACES], 1);
        assert_eq!(topics.busiest().last().unwrap(), &(format!("topic-{PLACES}"), 2));
        let again = topics.subscribe(Filter::parse("topic-0").unwrap(), None, 0, Wire::Plain);
        publish(&topics, &again, 1);
        assert!(topics.busiest().iter().all(|(name, _)| name != "topic-0"), "others have more");
    }

    #[test]
    fn patterns_and_everyone_are_no_topics() {
        let topics = Topics::new(1);
        topics.subscribe(Filter::parse("a.*").unwrap(), None, 0, Wire::Plain);
        topics.count(&topics.audience("a.b").unwrap(), 1);
        topics.count(topics.everyone(), 1);
        assert_eq!(topics.busiest(), []);
    }
}
