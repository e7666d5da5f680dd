//! The gate: the one way into a topic or pattern, whoever asks.
//!
//! A subscription is meant (the person's record, the topic's count) before it takes its place in the inbox of the person's shard. One that
//! comes with a position takes it under the lock of the topic's history, together with what it missed: see [`crate::histories`].

use std::sync::Arc;
use std::time::Duration;

use wse_core::ConnId;
use wse_core::acl::{Admission, admission};
use wse_core::history::{NotRecovered, Position, Replay};
use wse_core::presence::Data;
use wse_core::topic::Filter;
use wse_core::websocket::Opcode;

use crate::histories::{Histories, History, Stamping};
use crate::inbox::{Entry, Message, Replaying};
use crate::people::Subscribed;
use crate::shared::{ShardHandle, Shared};
use crate::topics::MAX_GROUPS;

/// What somebody wants to hear.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The topic or pattern.
    pub filter: Filter<'a>,
    /// Whether a position is asked for, and the one to go on from.
    pub from: From,
    /// What its user shows in the topic; `None` of a silent listener. In a pattern nobody is present.
    pub presence: Option<&'a Data>,
    /// The queue group of the topic to be a member of, rather than a subscriber; a pattern has none, and positions and presence are for
    /// subscribers.
    pub group: Option<&'a str>,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With what is published from now on.
    #[default]
    Now,
    /// The same, and the position is told: what the subscriber could go on from later.
    Here,
    /// After the last message that the subscriber has.
    Position(Position),
}

/// The outcome of a subscription, in the order of the wishes.
#[derive(Debug, Default)]
pub struct Granted {
    /// Topics that the connection has now.
    pub subscribed: Vec<String>,
    /// Topics that it has not, and why.
    pub refused: Vec<(String, String)>,
    /// Of the topics with history for which it was asked: where they stand.
    pub standing: Vec<(String, Standing)>,
}

/// Where a topic with history stands when somebody subscribes.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The last message at that moment.
    pub position: Position,
    /// How many messages are replayed, or why none are; `None` if no position was given to go on from.
    pub replayed: Option<Result<u64, NotRecovered>>,
}

impl Standing {
    /// Whether every message after the given position is on its way.
    #[must_use]
    pub fn recovered(&self) -> bool {
        matches!(self.replayed, Some(Ok(_)))
    }

    /// How many messages are replayed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.replayed.and_then(Result::ok).unwrap_or(0)
    }
}

/// Makes the message that answers a subscription: it goes before anything that comes from it.
pub(crate) type Answer<'a> = &'a dyn Fn(&Granted) -> String;

/// A wish that is granted, with what the shard must hear.
struct Admitted<'a> {
    filter: Filter<'a>,
    /// The channel, if it is not there already.
    channel: Option<u64>,
    from: From,
    presence: Option<&'a Data>,
}

impl Shared {
    /// Subscribes a connection.
    pub(crate) fn subscribe(&self, conn: ConnId, wishes: &[Wish<'_>], answer: Option<Answer<'_>>) -> Granted {
        let index = usize::from(conn.shard);
        let mut granted = Granted::default();
        let done = self.shards.get(index).and_then(|shard| {
            // Under the lock of the person, so that two calls for one connection can't overtake each other.
            shard.people.with_acl(conn, |person, acl| {
                let limit = self.options.max_subscriptions_per_connection;
                let mut admitted = Vec::with_capacity(wishes.len());
                for wish in wishes {
                    let name = wish.filter.as_str();
                    let channel =
                        match person.subscribe(&self.topics, wish.filter, wish.group, acl, index, limit) {
                            Subscribed::Already => None,
                            Subscribed::New(channel) => Some(channel),
                            refused => {
                                granted.refused.push((name.to_owned(), reason(&refused, limit)));
                                continue;
                            }
                        };
                    granted.subscribed.push(name.to_owned());
                    let Wish { filter, from, presence, .. } = *wish;
                    let presence = presence.filter(|_| !filter.is_pattern());
                    admitted.push(Admitted { filter, channel, from, presence });
                }
                self.let_in(shard, conn, &admitted, &mut granted, answer);
                // Behind the subscription, so that whoever comes hears of it too.
                for Admitted { filter, presence, .. } in &admitted {
                    if let Some(data) = presence {
                        self.enter_presence(conn, person, filter.as_str(), data);
                    }
                }
            })
        });
        if done.is_none() {
            let closed =
                |wish: &Wish<'_>| (wish.filter.as_str().to_owned(), "the connection is closed".into());
            granted.refused = wishes.iter().map(closed).collect();
        }
        if let Some(histories) = &self.histories {
            // Topics that are only ever asked about have a position too, and cost memory.
            histories.keep_within_budget(&self.topics);
        }
        granted
    }

    /// Ends subscriptions; all of them without a list. `answer` goes behind the last message that comes of them.
    pub(crate) fn unsubscribe(&self, conn: ConnId, filters: Option<&[Filter<'_>]>, answer: Option<&str>) {
        let index = usize::from(conn.shard);
        let Some(shard) = self.shards.get(index) else { return };
        shard.people.with_acl(conn, |person, acl| {
            let ended: Vec<(String, u64)> = match filters {
                None => person.unsubscribe_all(&self.topics, index),
                Some(filters) => filters
                    .iter()
                    .flat_map(|filter| {
                        let left = person.unsubscribe(&self.topics, *filter, acl, index);
                        left.into_iter().map(|channel| (filter.as_str().to_owned(), channel))
                    })
                    .collect(),
            };
            let left = ended.iter().map(|(_, channel)| Entry::Unsubscribe { conn, channel: *channel });
            let _ = shard.inbox.put_now(|state| {
                state.entries.extend(left);
                if let Some(text) = answer {
                    state.send(conn, Message { opcode: Opcode::Text, head: &[], tail: text.as_bytes() });
                }
            });
            self.exit_all_presence(conn, person, ended.iter().map(|(name, _)| name.as_str()));
        });
    }

    /// Gives what is granted its place in the inbox.
    fn let_in(
        &self,
        shard: &ShardHandle,
        conn: ConnId,
        admitted: &[Admitted<'_>],
        granted: &mut Granted,
        answer: Option<Answer<'_>>,
    ) {
        let put = |granted: &Granted, replays: Vec<Replaying>| {
            let _ = shard.inbox.put_now(|state| {
                if let Some(answer) = answer {
                    let text = answer(granted);
                    state.send(conn, Message { opcode: Opcode::Text, head: &[], tail: text.as_bytes() });
                }
                let channels = admitted.iter().filter_map(|it| it.channel);
                state.entries.extend(channels.map(|channel| Entry::Subscribe { conn, channel }));
                state.entries.extend(replays.into_iter().map(|replay| Entry::Replay(Box::new(replay))));
            });
        };
        match &self.histories {
            Some(histories) if admitted.iter().any(Admitted::asks_for_history) => loop {
                let open = self.histories_of(histories, admitted);
                let Some(mut locked) = histories.lock_all(&open) else { continue };
                let replays = self.look_back(histories, conn, admitted, &open, &mut locked, granted);
                put(granted, replays);
                return;
            },
            _ => put(granted, Vec::new()),
        }
    }

    /// The histories that are asked for, each once, in the order in which they are locked.
    fn histories_of(&self, histories: &Histories, admitted: &[Admitted<'_>]) -> Vec<Arc<History>> {
        let asked = admitted.iter().filter(|it| it.asks_for_history());
        let mut open: Vec<Arc<History>> = asked.map(|it| histories.open(it.filter.as_str())).collect();
        open.sort_unstable_by(|a, b| a.topic().cmp(b.topic()));
        open.dedup_by(|a, b| a.topic() == b.topic());
        open
    }

    /// What was missed, and where each topic stands; under the locks of all.
    fn look_back(
        &self,
        histories: &Histories,
        conn: ConnId,
        admitted: &[Admitted<'_>],
        open: &[Arc<History>],
        locked: &mut [parking_lot::MutexGuard<'_, Stamping>],
        granted: &mut Granted,
    ) -> Vec<Replaying> {
        let now_ms = self.clock.now_ms();
        let mut replays = Vec::new();
        for wish in admitted.iter().filter(|it| it.asks_for_history()) {
            let topic = wish.filter.as_str();
            let at = open.binary_search_by(|history| (**history.topic()).cmp(topic)).expect("opened above");
            let stamping = &locked[at];
            let found = match wish.from {
                From::Position(position) => Some(histories.since(stamping, position, now_ms)),
                From::Now | From::Here => None,
            };
            let replayed = found.as_ref().map(|found| match found {
                Ok(replay) => Ok(replay.messages),
                Err(reason) => Err(*reason),
            });
            granted.standing.push((topic.to_owned(), Standing { position: stamping.position(), replayed }));
            // Also one of no message, if the epoch is another by now.
            let is_news = |replay: &Replay| {
                let stands = |from: &Position| from.epoch != stamping.position().epoch;
                replay.messages > 0 || matches!(&wish.from, From::Position(from) if stands(from))
            };
            if let Some(Ok(replay)) = found.filter(|found| found.as_ref().is_ok_and(is_news)) {
                let From::Position(from) = wish.from else { unreachable!("it was found") };
                let (topic, notice) = (open[at].topic().clone(), String::new());
                let (first, upto) = (from.offset + 1, stamping.position());
                replays.push(Replaying {
                    conn,
                    topic,
                    first,
                    from: Some(from),
                    upto,
                    round: 0,
                    notice,
                    replay,
                });
            }
        }
        replays
    }

    /// Gives what a connection missed its place in the inbox: the newest of it that is kept, at most `max_bytes`. `notice` makes the words
    /// that tells what is lost, of where the connection stands, if that is known, and of the position after which the replay begins.
    pub(crate) fn replay_missed(
        &self,
        missed: &Missed<'_>,
        max_bytes: usize,
        notice: impl FnOnce(Option<Position>, Position) -> String,
    ) {
        let Some(histories) = &self.histories else { return };
        let &Missed { conn, topic, first, round } = missed;
        let now_ms = self.clock.now_ms();
        histories.with(topic, |stamping| {
            let (begins, replay) = histories.newest(stamping, first - 1, now_ms, max_bytes);
            let (from, upto) = (stamping.position_at(first - 1), stamping.position());
            let begin = stamping.position_at(begins).unwrap_or(Position { offset: begins, ..upto });
            let notice = notice(from, begin);
            let from = if notice.is_empty() { from } else { Some(begin) };
            let replaying =
                Replaying { conn, topic: topic.clone(), first, from, upto, round, notice, replay };
            let _ = self.shards[usize::from(conn.shard)]
                .inbox
                .put_now(|state| state.entries.push(Entry::Replay(Box::new(replaying))));
        });
    }
}

/// What a connection that fell behind missed of a topic with history.
pub(crate) struct Missed<'a> {
    pub(crate) conn: ConnId,
    pub(crate) topic: &'a Arc<str>,
    /// The first message that it missed.
    pub(crate) first: u64,
    /// Which of its healings this belongs to, from 1.
    pub(crate) round: u32,
}

impl Shared {
    /// Waits until a connection can be subscribed to topics with history of a cluster, as far as it may hear them; whether their homes said so,
    /// in time.
    pub(crate) fn wait_to_subscribe(
        &self,
        conn: ConnId,
        wishes: &[Wish<'_>],
        timeout: Option<Duration>,
    ) -> bool {
        if self.cluster.get().is_none() || self.histories.is_none() {
            return true;
        }
        let Some(shard) = self.shards.get(usize::from(conn.shard)) else { return true };
        let is_of_log = |wish: &&Wish<'_>| wish.group.is_none() && !wish.filter.is_pattern();
        let allowed = shard.people.with_acl(conn, |_, acl| {
            let may = |wish: &&Wish<'_>| admission(acl.map(|acl| &**acl), wish.filter) != Admission::Nothing;
            wishes.iter().filter(is_of_log).filter(may).copied().collect::<Vec<Wish<'_>>>()
        });
        let topics = allowed.iter().flatten().map(|wish| {
            let position = if let From::Position(position) = wish.from { Some(position) } else { None };
            (wish.filter.as_str(), position)
        });
        self.wait_to_hear(topics, timeout)
    }
}

impl Admitted<'_> {
    /// Patterns and live subscriptions have no position.
    fn asks_for_history(&self) -> bool {
        self.from != From::Now && !self.filter.is_pattern()
    }
}

fn reason(refused: &Subscribed, limit: usize) -> String {
    match refused {
        Subscribed::Pattern => "a pattern has no queue groups".into(),
        Subscribed::Groups => format!("the topic has {MAX_GROUPS} queue groups already"),
        Subscribed::Limit => format!("the limit of {limit} subscriptions is reached"),
        _ => "the access list does not allow it".into(),
    }
}
