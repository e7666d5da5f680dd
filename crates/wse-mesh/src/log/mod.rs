//! Topics with history: one home, one order, one position (`spec/cluster/history.md`).
//!
//! [`Logs`] is the machine for all topics of one node. Told of the world it changes its state; asked for its output it finds out what
//! follows, once for all that happened since it was last asked. So whoever tells it of a whole batch before asking gets whole batches.
//!
//! In reading order: how good a log is and where two part ([`term`], [`chain`], [`ring`], [`history`], [`last`]), what nodes say
//! ([`frames`]), whose topic it is ([`rank`]), what a node is to a topic (`topic`, `home`, `replica`, `follower`, `take_over`), and what
//! people at a node want (`publisher`, `acknowledge`, `recovery`, `fetch`), and how a topic ends (`discard`).

mod acknowledge;
pub mod chain;
pub mod config;
mod core;
mod discard;
mod dispatch;
mod faults;
mod fetch;
mod follower;
pub mod frames;
pub mod history;
mod home;
pub mod last;
pub mod output;
mod publisher;
pub mod rank;
mod recovery;
mod replica;
pub mod ring;
mod take_over;
pub mod term;
#[cfg(test)]
mod tests;
mod topic;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use wse_core::history::Position;
use wse_core::topic::Filter;

use self::core::Core;
use self::frames::about_many::Hint;
use self::term::Term;
use self::topic::{Role, Topic};
use crate::ids::NodeId;
use crate::view::View;
use crate::wire::Kind;

pub use config::Config;
pub use faults::Fault;
pub use output::{Counters, Gap, Output, Payload, Run};
pub use publisher::Full;
pub use ring::{Limits, Message};

/// The most topics without a log here of which it is remembered what was promised; beyond, the highest promise counts for all.
const MAX_PROMISES: usize = 1 << 20;
/// How often a node that leaves looks whether it may go.
const LEAVE_MS: u64 = 50;

/// What a node says of one topic, for tests and for people who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The term, if this node is home.
    pub home: Option<Term>,
    /// It is home and answers.
    pub is_settled: bool,
    /// It follows this node, and keeps a copy or not.
    pub upstream: Option<(NodeId, bool)>,
    /// The log without its messages.
    pub outline: history::Outline,
    /// How much is committed.
    pub commit: u64,
    /// Up to where subscribers were given messages.
    pub delivered: Option<Position>,
    /// Publications of this node that are not stored.
    pub unacked: bool,
    /// The highest term that was promised.
    pub promised: Term,
}

/// All topics with history of one node.
///
/// The order of calls is the caller's to keep: a [`View`] with a new link comes before the frames of that link, and
/// [`Logs::poll_output`] is asked until it says nothing before [`Logs::poll_timeout`] is.
#[derive(Debug)]
pub struct Logs {
    core: Core,
    topics: Vec<Option<Topic>>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, u32, FixedState>,
    /// Promises of topics that have no place here, by the hash of their names: one too many costs a taker a second try.
    promises: HashMap<u64, Term, FixedState>,
    /// Stands for the promises that were too many.
    promised_all: Term,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    /// Then there is somebody more to rank topics over.
    rank_again_at: Option<u64>,
    leave: Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Stay,
    /// It looks again then.
    Leaving(u64),
    Left,
}

impl Logs {
    /// No topics yet. `seed` decides all that is random.
    #[must_use]
    pub fn new(me: NodeId, seed: u64, config: Config, now_ms: u64) -> Self {
        Self {
            core: Core::new(me, seed, config, now_ms),
            topics: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::with_hasher(FixedState::with_seed(seed)),
            promises: HashMap::with_hasher(FixedState::with_seed(seed)),
            promised_all: Term::ZERO,
            timers: BinaryHeap::new(),
            rank_again_at: None,
            leave: Leave::Stay,
        }
    }

    /// Leaves out a rule, for the simulator.
    #[cfg(feature = "faults")]
    pub fn plant(&mut self, fault: Option<Fault>) {
        self.core.fault = fault;
    }

    // The world.

    /// Who is there, whenever that changes.
    pub fn handle_view(&mut self, view: &View, now_ms: u64) {
        self.core.now = now_ms;
        let mut lost = Vec::new();
        let mut changed = false;
        for member in &view.members {
            self.core.add_peer(member.id, member.standing);
            let before = self.core.peer(member.id).expect("it was just added");
            changed |= before.standing != member.standing || before.session != member.session;
            if before.session != member.session {
                if before.session.is_some() {
                    lost.push(member.id);
                }
                self.core.forget_link(member.id, member.session);
            }
            self.core.set_standing(member.id, member.standing, member.leaving);
        }
        let gone = self.core.peers.iter().map(|peer| peer.id).filter(|id| view.member(*id).is_none());
        for id in gone.collect::<Vec<NodeId>>() {
            changed = true;
            lost.push(id);
            self.core.forget_link(id, None);
        }
        self.core.peers.retain(|peer| view.member(peer.id).is_some());
        changed |= view.joining != self.core.joining || view.leaving != self.core.leaving;
        self.core.joining = view.joining;
        self.core.leaving = view.leaving;
        self.core.set_established(view.established, view.members.iter().any(|member| member.elder));
        let is_ranked_anew = self.core.rank_anew();
        self.rank_again_at = self.core.rank_again_at();
        changed |= is_ranked_anew;
        if changed {
            for topic in self.topics.iter_mut().flatten() {
                topic.view_changed(&mut self.core, &lost, is_ranked_anew);
            }
        }
    }

    /// The queue to a peer has overflowed: frames of the kinds that [may be dropped](Logs::may_drop) were.
    pub fn handle_congested(&mut self, peer: NodeId, now_ms: u64) {
        self.core.now = now_ms;
        self.core.counters.congested += 1;
        for topic in self.topics.iter_mut().flatten() {
            topic.on_congested(&mut self.core, peer);
        }
    }

    /// Whether frames of a kind may be dropped when the queue to a peer is full, and [`Logs::handle_congested`] told. The others are small and
    /// always pass.
    #[must_use]
    pub fn may_drop(kind: Kind) -> bool {
        matches!(
            kind,
            Kind::LogReplicaSync
                | Kind::LogSync
                | Kind::LogReplicate
                | Kind::LogEntries
                | Kind::LogFetched
                | Kind::LogPublish
        )
    }

    /// The moment of [`Logs::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.core.now = now_ms;
        if self.rank_again_at.is_some_and(|at| at <= now_ms) {
            self.rank_again_at = self.core.rank_again_at();
            if self.core.rank_anew() {
                for topic in self.topics.iter_mut().flatten() {
                    topic.view_changed(&mut self.core, &[], true);
                }
            }
        }
        while let Some(&Reverse((at, number))) = self.timers.peek().filter(|Reverse((at, _))| *at <= now_ms) {
            self.timers.pop();
            let Some(topic) = &mut self.topics[number as usize] else { continue };
            if topic.armed != at {
                continue;
            }
            topic.armed = u64::MAX;
            let core = &mut self.core;
            if topic.deadline(core) <= now_ms {
                let is_over = if topic.is_idle(core) {
                    topic.used + core.config.idle_ms() <= now_ms
                } else {
                    topic.is_at_rest(core)
                        && topic.used + core.config.forget_ms <= now_ms
                        && topic.discard(core)
                };
                if is_over {
                    self.forget(number);
                    continue;
                }
                // What follows is found out with the output, and when it is to be looked at again.
                topic.handle_timeout(core);
            } else {
                self.arm(number);
            }
        }
        if matches!(self.leave, Leave::Leaving(at) if at <= now_ms) {
            self.look_whether_left();
        }
    }

    /// When [`Logs::handle_timeout`] is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let leave = if let Leave::Leaving(at) = self.leave { Some(at) } else { None };
        timer.into_iter().chain(leave).chain(self.rank_again_at).min()
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.core.outputs.pop_front().or_else(|| self.core.next_frame()) {
                return Some(output);
            }
            if let Some((number, to)) = self.core.granted.pop_front() {
                match &mut self.topics[number as usize] {
                    Some(topic) => topic.granted(&mut self.core, to),
                    None => self.core.leave_line(to),
                }
                continue;
            }
            let dirty = std::mem::take(&mut self.core.dirty);
            if dirty.is_empty() {
                return None;
            }
            self.keep_within_bounds();
            for number in dirty {
                if let Some(topic) = &mut self.topics[number as usize] {
                    topic.settle(&mut self.core);
                    self.arm(number);
                }
            }
        }
    }

    // The application.

    /// Publishes a message. With a token it is told when the message is stored.
    ///
    /// # Errors
    /// [`Full`]: nothing was published.
    ///
    /// # Panics
    /// The topic has not the form of one.
    pub fn publish(
        &mut self,
        topic: &str,
        message: Message,
        token: Option<u64>,
        now_ms: u64,
    ) -> Result<(), Full> {
        self.core.now = now_ms;
        assert!(Filter::parse_exact(topic).is_ok(), "the caller has parsed the topic");
        let (topic, core) = self.with(topic);
        topic.publish(core, message, token)
    }

    /// Somebody subscribes at this node, with the position that it had before or with none. It is [answered](Output::Answer) by its token and
    /// belongs to the subscribers of the topic from then on.
    ///
    /// # Panics
    /// The topic has not the form of one.
    pub fn recover(&mut self, topic: &str, token: u64, position: Option<Position>, now_ms: u64) {
        self.core.now = now_ms;
        assert!(Filter::parse_exact(topic).is_ok(), "the caller has parsed the topic");
        let (topic, core) = self.with(topic);
        topic.recover(core, token, position);
    }

    /// A subscriber that waits for its answer is gone.
    pub fn cancel(&mut self, topic: &str, token: u64, now_ms: u64) {
        self.core.now = now_ms;
        self.for_known([topic], |topic, core| {
            topic.audience.waiting.retain(|waiting| waiting.token != token);
            topic.touch(core);
        });
    }

    /// This node has no more subscribers that were answered.
    pub fn unfollow(&mut self, topic: &str, now_ms: u64) {
        self.core.now = now_ms;
        self.for_known([topic], |topic, core| {
            topic.audience.is_there = false;
            topic.audience.adrift = false;
            topic.audience.delivered = None;
            topic.touch(core);
        });
    }

    /// This node is going to leave: [`Output::Left`] tells when nobody needs it any more. The members are told by whoever makes the views.
    pub fn leave(&mut self, now_ms: u64) {
        self.core.now = now_ms;
        if self.leave == Leave::Stay {
            self.leave = Leave::Leaving(now_ms + LEAVE_MS);
        }
    }

    /// From here on it is said, or no more, what is committed in the logs that are kept here: for patterns and queue groups.
    pub fn announce_commits(&mut self, wanted: bool) {
        self.core.announces = wanted;
    }

    /// Tells those of some peers that do not follow a topic whose home this node is, and keep no copy of it, that there are messages after a
    /// position: they may have patterns for it.
    pub fn hint(&mut self, topic: &str, position: Position, peers: impl IntoIterator<Item = NodeId>) {
        let Some(number) = self.by_name.get(topic) else { return };
        let Some(Topic { role: Role::Home(home), .. }) = &self.topics[*number as usize] else { return };
        for peer in peers {
            if !home.serves(peer) {
                let hint = Hint { topic, position };
                self.core.send_item(peer, Kind::LogHint, |out| hint.encode(out));
            }
        }
    }

    /// The messages of a topic after an offset up to another, as far as they are kept here.
    #[must_use]
    pub fn messages(&self, topic: &str, after: u64, upto: u64) -> Vec<Run> {
        let number = self.by_name.get(topic).copied();
        let topic = number.and_then(|number| self.topics[number as usize].as_ref());
        topic.map_or_else(Vec::new, |topic| {
            let history = &topic.history;
            let upto = upto.min(history.commit);
            history.runs(after.max(history.floor()).min(upto), upto)
        })
    }

    /// What this node holds of a topic.
    #[must_use]
    pub fn inspect(&self, topic: &str) -> Option<Inspection> {
        let topic = self.topics[*self.by_name.get(topic)? as usize].as_ref()?;
        let (home, is_settled) = match &topic.role {
            Role::Home(home) => (Some(home.term), home.settled),
            _ => (None, false),
        };
        let upstream = topic.upstream.as_ref().map(|upstream| (upstream.peer, upstream.is_replica()));
        Some(Inspection {
            home,
            is_settled,
            upstream,
            outline: topic.history.outline(),
            commit: topic.history.commit,
            delivered: topic.audience.delivered,
            unacked: topic.unacked.is_some(),
            promised: topic.promised,
        })
    }

    /// The messages of a topic that are kept here and committed.
    #[must_use]
    pub fn kept(&self, topic: &str) -> Vec<Run> {
        let number = self.by_name.get(topic).copied();
        let topic = number.and_then(|number| self.topics[number as usize].as_ref());
        topic.map_or_else(Vec::new, |topic| topic.history.runs(topic.history.floor(), topic.history.commit))
    }

    /// Topics that have a place here.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.by_name.len()
    }

    /// Memory of the messages of all topics, those that wait to be stored included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.core.kept_bytes + self.core.unacked_bytes
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    // Within.

    /// A topic by its name; it gets a place if it has none.
    fn with(&mut self, name: &str) -> (&mut Topic, &mut Core) {
        let number = match self.by_name.get(name) {
            Some(number) => *number,
            None => self.add(name),
        };
        let topic = self.topics[number as usize].as_mut().expect("a name has its topic");
        (topic, &mut self.core)
    }

    fn add(&mut self, name: &str) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.topics.push(None);
            self.topics.len() as u32 - 1
        });
        let name: Arc<str> = name.into();
        let promised =
            self.promises.remove(&rank::topic_hash(&name)).unwrap_or(Term::ZERO).max(self.promised_all);
        let mut topic = Topic::new(&self.core, number, name.clone(), promised);
        topic.touch(&mut self.core);
        self.topics[number as usize] = Some(topic);
        self.by_name.insert(name, number);
        number
    }

    /// Gives up messages while all together are too many bytes: those of topics that were not used for the longest time, whole.
    fn keep_within_bounds(&mut self) {
        let most = self.core.config.kept_bytes;
        if self.core.kept_bytes <= most {
            return;
        }
        let (topics, core) = (&mut self.topics, &mut self.core);
        let with_messages = topics.iter_mut().flatten().filter(|topic| topic.history.ring.bytes() > 0);
        let mut by_age: Vec<&mut Topic> = with_messages.collect();
        by_age.sort_unstable_by_key(|topic| topic.stamped_at());
        // An eighth more than is needed, so that not every message has to look for room.
        for topic in by_age {
            if core.kept_bytes <= most - most / 8 {
                break;
            }
            topic.evict(core);
        }
    }

    fn forget(&mut self, number: u32) {
        let mut topic = self.topics[number as usize].take().expect("it was just looked at");
        if topic.is_home() {
            topic.discarded(&mut self.core);
        }
        topic.history.ring.reset(0);
        topic.count(&mut self.core);
        self.core.published = self.core.published.max(topic.published);
        self.by_name.remove(&topic.name);
        self.free.push(number);
        self.remember_promise(topic.hash(), topic.promised);
    }

    fn remember_promise(&mut self, hash: u64, term: Term) {
        if term == Term::ZERO {
            return;
        }
        if self.promises.len() >= MAX_PROMISES {
            self.promised_all = self.promises.values().copied().fold(self.promised_all, Term::max);
            self.promises.clear();
        }
        let promised = self.promises.entry(hash).or_insert(term);
        *promised = term.max(*promised);
    }

    fn for_known<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
        mut act: impl FnMut(&mut Topic, &mut Core),
    ) {
        for name in names {
            if let Some(number) = self.by_name.get(name) {
                let topic = self.topics[*number as usize].as_mut().expect("a name has its topic");
                act(topic, &mut self.core);
            }
        }
    }

    fn arm(&mut self, number: u32) {
        let Some(topic) = &mut self.topics[number as usize] else { return };
        let deadline = topic.deadline(&self.core);
        if deadline < topic.armed {
            topic.armed = deadline;
            self.timers.push(Reverse((deadline, number)));
        }
    }

    fn look_whether_left(&mut self) {
        let others_stay = self.core.not_dead().any(|peer| !peer.is_leaving);
        let needed = |topic: &Topic| {
            let is_follower = matches!(topic.role, Role::Follower);
            !is_follower || topic.is_kept || topic.unacked.is_some()
        };
        if others_stay && self.topics.iter().flatten().any(needed) {
            self.leave = Leave::Leaving(self.core.now + LEAVE_MS);
        } else {
            self.leave = Leave::Left;
            self.core.outputs.push_back(Output::Left);
        }
    }
}
