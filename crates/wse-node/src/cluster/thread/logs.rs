//! Topics with history: the cluster's thread keeps their logs, gives them what publishers and subscriptions left at the [`Desk`], and does what
//! they say.
//!
//! What is committed goes to the clients of this node in its order, by topic. Where their inboxes are full it waits in a line; when the
//! lines of all topics are long this node takes nothing that could make them longer, neither of its publishers nor of its peers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::{HashMap, HashSet};
use tokio::task::spawn_local;
use wse_core::history::Position;
use wse_link::{Class, NotPushed};
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::log::{Gap, Logs, Output, Run};
use wse_mesh::view::View;
use wse_mesh::wire::{Kind, Malformed};

use super::{Core, LOOK};
use crate::cluster::desk::{Batch, LogStatus, StoredAt, Wish};
use crate::histories::Histories;

/// Bytes of messages in lines from which nothing is taken that would make them longer.
const LONG_BYTES: usize = 1 << 20;
/// How long a topic that nobody here hears any more is followed, for those who come back.
const LINGER_MS: u64 = 5000;

/// The logs of this node and what belongs to them.
pub(super) struct Keeper {
    pub(super) logs: RefCell<Logs>,
    /// Whom the logs were asked for by a token.
    asked: RefCell<HashMap<u64, Asked>>,
    next_token: Cell<u64>,
    /// Topics that the logs were asked for on behalf of patterns, and have not answered.
    pub(super) hinted: RefCell<HashSet<Arc<str>>>,
    /// Answers that would give these topics a place before that is answered, and so make the patterns miss what came before.
    pub(super) held: RefCell<HashMap<Arc<str>, Vec<Step>>>,
    /// Topics whose stream this node's clients share, or are about to.
    followed: RefCell<HashSet<Arc<str>>>,
    /// Topics that nobody heard when it was last looked, and when it is looked again.
    quiet: RefCell<VecDeque<(u64, Arc<str>)>>,
    /// What waits for room in the inboxes, by topic.
    lines: RefCell<HashMap<Arc<str>, VecDeque<Step>>>,
    line_bytes: Cell<usize>,
    /// Publications that the logs had no room for.
    unpublished: RefCell<VecDeque<Batch>>,
    /// Other nodes that keep no histories.
    without: RefCell<HashSet<NodeId>>,
    /// Nobody needs this node's logs any more.
    pub(super) has_left: Cell<bool>,
    tidy_ms: Cell<u64>,
}

/// Why the logs were asked for a topic.
pub(super) enum Asked {
    /// Somebody waits to be subscribed.
    By(Wish),
    /// Somebody is subscribed already.
    Late,
    /// Patterns hear it, from this position on.
    Hinted(Position),
}

/// Something for the clients of this node.
pub(super) enum Step {
    Deliver(Run),
    Gap(Gap),
    Answer { asked: Asked, confirmed: bool, recovered: bool, position: Option<Position>, replay: Vec<Run> },
}

impl Step {
    fn bytes(&self) -> usize {
        match self {
            Step::Deliver(run) => run.messages.iter().map(|message| message.len() + 64).sum(),
            _ => 0,
        }
    }
}

impl Keeper {
    pub(super) fn new(mut logs: Logs) -> Self {
        logs.announce_commits(true);
        Self {
            logs: RefCell::new(logs),
            asked: RefCell::default(),
            next_token: Cell::new(0),
            hinted: RefCell::default(),
            held: RefCell::default(),
            followed: RefCell::default(),
            quiet: RefCell::default(),
            lines: RefCell::default(),
            line_bytes: Cell::new(0),
            unpublished: RefCell::default(),
            without: RefCell::default(),
            has_left: Cell::new(false),
            tidy_ms: Cell::new(0),
        }
    }

    /// Whether nothing more is taken for now.
    pub(super) fn is_behind(&self) -> bool {
        self.line_bytes.get() >= LONG_BYTES
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let quiet = self.quiet.borrow().front().map(|(at, _)| *at);
        self.logs.borrow().poll_timeout().into_iter().chain(quiet).min()
    }

    pub(super) fn handle_timeout(&self, now_ms: u64) {
        self.logs.borrow_mut().handle_timeout(now_ms);
    }

    pub(super) fn leave(&self, now_ms: u64) {
        self.logs.borrow_mut().leave(now_ms);
    }

    /// The members are others, or their links.
    pub(super) fn handle_view(&self, view: &View, now_ms: u64) {
        let without = self.without.borrow();
        if without.is_empty() {
            return self.logs.borrow_mut().handle_view(view, now_ms);
        }
        let mut view = view.clone();
        view.members.retain(|member| !without.contains(&member.id));
        self.logs.borrow_mut().handle_view(&view, now_ms);
    }

    /// Whether a peer with a new link keeps histories too.
    pub(super) fn note_peer(&self, peer: NodeId, keeps_logs: bool) {
        if keeps_logs {
            self.without.borrow_mut().remove(&peer);
        } else if self.without.borrow_mut().insert(peer) {
            tracing::warn!(
                %peer,
                "another node has no recovery_enabled and this one has: topics with history do not reach it; all nodes must have the same"
            );
        }
    }

    pub(super) fn handle_frame(
        &self,
        from: NodeId,
        session: Session,
        kind: Kind,
        topic: &str,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<(), Malformed> {
        self.logs.borrow_mut().handle_frame(from, session, kind, topic, payload, now_ms)
    }

    pub(super) fn ask(&self, topic: &str, position: Option<Position>, asked: Asked, now_ms: u64) {
        let token = self.next_token.get();
        self.next_token.set(token + 1);
        self.asked.borrow_mut().insert(token, asked);
        self.followed.borrow_mut().insert(topic.into());
        self.logs.borrow_mut().recover(topic, token, position, now_ms);
    }

    pub(super) fn is_followed(&self, topic: &str) -> bool {
        self.followed.borrow().contains(topic)
    }
}

impl Core {
    /// Gives the logs what is new, and does what they say.
    pub(super) fn settle_logs(&self) {
        let (Some(keeper), Some(histories)) = (&self.keeper, &self.shared.histories) else { return };
        let now_ms = self.now_ms();
        self.take_news(keeper, now_ms);
        self.let_go(keeper, histories, now_ms);
        self.publish_what_fits(keeper, now_ms);
        self.do_outputs(keeper, histories);
        // What was stored made room.
        if !keeper.unpublished.borrow().is_empty() {
            self.publish_what_fits(keeper, now_ms);
            self.do_outputs(keeper, histories);
        }
        let desk = self.cluster.desk();
        if now_ms >= keeper.tidy_ms.get() {
            keeper.tidy_ms.set(now_ms + 1000);
            desk.tidy(now_ms);
        }
        let logs = keeper.logs.borrow();
        *desk.status.lock() =
            LogStatus { counters: logs.counters(), topics: logs.topic_count(), bytes: logs.bytes() };
    }

    fn take_news(&self, keeper: &Keeper, now_ms: u64) {
        let news = self.cluster.desk().take_news();
        for wish in news.fresh {
            let (topic, position) = (wish.topic.clone(), wish.position);
            keeper.ask(&topic, position, Asked::By(wish), now_ms);
        }
        for topic in news.changed {
            if !self.shared.topics.is_heard(&topic) {
                keeper.quiet.borrow_mut().push_back((now_ms + LINGER_MS, topic));
            } else if !keeper.is_followed(&topic) {
                keeper.ask(&topic, None, Asked::Late, now_ms);
            }
        }
        if news.patterns_changed {
            let followed: Vec<Arc<str>> = keeper.followed.borrow().iter().cloned().collect();
            let unheard = followed.into_iter().filter(|topic| !self.shared.topics.is_heard(topic));
            keeper.quiet.borrow_mut().extend(unheard.map(|topic| (now_ms + LINGER_MS, topic)));
        }
    }

    /// Follows no more what nobody here has heard for a while.
    fn let_go(&self, keeper: &Keeper, histories: &Histories, now_ms: u64) {
        loop {
            let next = keeper.quiet.borrow_mut().pop_front_if(|(at, _)| *at <= now_ms);
            let Some((_, topic)) = next else { return };
            let waits = |asked: &Asked| matches!(asked, Asked::By(wish) if wish.topic == topic);
            if self.shared.topics.is_heard(&topic) || !keeper.is_followed(&topic) {
                continue;
            }
            let is_held = keeper.held.borrow().contains_key(&topic);
            if is_held
                || keeper.asked.borrow().values().any(waits)
                || keeper.lines.borrow().contains_key(&topic)
            {
                keeper.quiet.borrow_mut().push_back((now_ms + LINGER_MS, topic));
                continue;
            }
            keeper.followed.borrow_mut().remove(&topic);
            keeper.logs.borrow_mut().unfollow(&topic, now_ms);
            histories.forget(&topic);
        }
    }

    fn publish_what_fits(&self, keeper: &Keeper, now_ms: u64) {
        if keeper.is_behind() {
            return;
        }
        let desk = self.cluster.desk();
        let mut unpublished = keeper.unpublished.borrow_mut();
        unpublished.extend(desk.take_publications());
        let mut logs = keeper.logs.borrow_mut();
        let (mut taken, mut bytes) = (0, 0);
        'all: while let Some(batch) = unpublished.front_mut() {
            let mut published = 0;
            for (message, ticket) in &batch.messages {
                if logs.publish(&batch.topic, message.clone(), *ticket, now_ms).is_err() {
                    batch.messages.drain(..published);
                    break 'all;
                }
                (published, taken, bytes) = (published + 1, taken + 1, bytes + message.len());
            }
            unpublished.pop_front();
        }
        if taken > 0 {
            desk.taken(taken, bytes);
        }
    }

    fn do_outputs(&self, keeper: &Keeper, histories: &Histories) {
        let mut full = Vec::new();
        loop {
            let output = keeper.logs.borrow_mut().poll_output();
            match output {
                None if full.is_empty() => return,
                // Each topic is looked at once for each such peer, and not once for each frame.
                None => full
                    .drain(..)
                    .for_each(|peer| keeper.logs.borrow_mut().handle_congested(peer, self.now_ms())),
                Some(Output::Send { to, session, kind, topic, payload }) => {
                    let is_dropped = Logs::may_drop(kind) && full.contains(&to);
                    if !is_dropped && !self.send_of_log(to, session, kind, &topic, &payload) {
                        full.push(to);
                    }
                }
                Some(Output::Deliver { topic, run }) => {
                    self.step(keeper, histories, topic, Step::Deliver(run))
                }
                Some(Output::Gap { topic, gap }) => self.step(keeper, histories, topic, Step::Gap(gap)),
                Some(Output::Answer { topic, token, confirmed, recovered, position, replay }) => {
                    let asked = keeper.asked.borrow_mut().remove(&token);
                    if let Some(asked) = asked {
                        let answer = Step::Answer { asked, confirmed, recovered, position, replay };
                        self.answered(keeper, histories, topic, answer);
                    }
                }
                Some(Output::Stored { token, position, copies, .. }) => {
                    self.cluster.desk().tell_stored(token, StoredAt { position, copies });
                }
                Some(Output::Committed { topic, after, upto, is_home }) => {
                    self.committed(keeper, histories, &topic, after, upto, is_home);
                }
                Some(Output::Hinted { topic, position }) => {
                    self.hinted(keeper, histories, &topic, position);
                }
                Some(Output::Dropped { topic, runs }) => self.bury(&topic, &runs),
                // Its number is in the counters.
                Some(Output::Discarded { .. }) => {}
                Some(Output::Left) => keeper.has_left.set(true),
            }
        }
    }

    /// False if the queue to the peer is full and the frame may be dropped for that.
    fn send_of_log(&self, to: NodeId, session: Session, kind: Kind, topic: &str, payload: &[u8]) -> bool {
        let link = self.links.borrow().get(&session).cloned();
        let Some(link) = link else { return true };
        let may_drop = Logs::may_drop(kind);
        let class = if may_drop { Class::Data } else { Class::Control };
        match link.frame(class, kind as u8, topic, payload) {
            Err(NotPushed::Full) if may_drop => return false,
            Err(NotPushed::TooLong) => {
                let clock = self.shared.clock;
                crate::log::limited!(
                    error, clock, peer = %to, topic,
                    "messages of a topic with history are longer than the peer takes: all nodes must have the same max_message_size"
                );
            }
            _ => {}
        }
        true
    }

    /// Something for the clients of this node; behind what waits for them already.
    pub(super) fn step(&self, keeper: &Keeper, histories: &Histories, topic: Arc<str>, step: Step) {
        let mut lines = keeper.lines.borrow_mut();
        if !lines.contains_key(&topic) && self.try_step(keeper, histories, &topic, &step) {
            return;
        }
        keeper.line_bytes.set(keeper.line_bytes.get() + step.bytes());
        if lines.is_empty()
            && let Some(this) = self.this.upgrade()
        {
            spawn_local(this.shorten_lines());
        }
        lines.entry(topic).or_default().push_back(step);
    }

    /// Gives the lines what there is room for, until they are gone.
    async fn shorten_lines(self: Rc<Self>) {
        let (Some(keeper), Some(histories)) = (&self.keeper, &self.shared.histories) else { return };
        loop {
            tokio::time::sleep(LOOK).await;
            keeper.lines.borrow_mut().retain(|topic, line| {
                while let Some(step) = line.pop_front_if(|step| self.try_step(keeper, histories, topic, step))
                {
                    keeper.line_bytes.set(keeper.line_bytes.get() - step.bytes());
                }
                !line.is_empty()
            });
            let is_over = keeper.lines.borrow().is_empty();
            self.settle();
            if is_over {
                // What was settled may have begun a line again, and with it another of these.
                return;
            }
        }
    }

    /// Does something for the clients of this node, if they have room for it.
    fn try_step(&self, keeper: &Keeper, histories: &Histories, topic: &Arc<str>, step: &Step) -> bool {
        let shared = &self.shared;
        match step {
            Step::Deliver(run) => {
                let has_room = shared.hearers_have_room(topic) || shared.is_stopping();
                if has_room {
                    self.cluster.counts.delivered.fetch_add(run.messages.len() as u64, Relaxed);
                    shared.deliver_run(histories, topic, run);
                }
                has_room
            }
            Step::Gap(gap) => {
                shared.tell_gap(histories, topic, gap);
                true
            }
            Step::Answer { asked, confirmed, recovered, position, replay } => {
                self.answer(histories, topic, asked, (*confirmed, *recovered), *position, replay);
                if !shared.topics.is_heard(topic) {
                    let at_ms = self.now_ms() + LINGER_MS;
                    keeper.quiet.borrow_mut().push_back((at_ms, topic.clone()));
                }
                true
            }
        }
    }
}
