//! Who is present in the whole cluster, for all threads: the state under its lock, and what follows from each change of it.
//!
//! A change, its frames in the inboxes and its event for the application happen under one lock, so that everybody hears the changes of a
//! topic in the order in which they were made, wherever they come from. Nothing waits under it, and it is taken after the lock of a person,
//! never before. What this node's connections do is gathered for the peers by the machine of `wse-mesh`, and the cluster's thread, which is
//! woken when there is something to send, sends it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use wse_core::ConnId;
use wse_core::presence::{Change, Data, Kind, Present, Stats};
use wse_core::protocol::presence as words;
use wse_core::websocket::Opcode;
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::presence::{Limits, Note, Output, Presence};
use wse_mesh::wire::Kind as FrameKind;

use crate::events::EventKind;
use crate::inbox::Message;
use crate::log::limited;
use crate::people::Person;
use crate::shared::Shared;

/// What one frame about presence comes to: what it tells is told under one lock, for which I/O threads wait.
const FRAME_BYTES: usize = 16 << 10;
/// How many users of a dead node leave under one lock.
const VOID_AT_A_TIME: usize = 256;

/// The people of all topics.
#[derive(Debug)]
pub(crate) struct Attendance {
    state: Mutex<State>,
    /// Whether a join is owed to the application: looked at without the lock.
    owes: AtomicBool,
}

#[derive(Debug)]
struct State {
    presence: Presence,
    /// When the cluster's thread looks at it again by itself.
    looks_at_ms: u64,
}

/// What the cluster's thread finds to do.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// To be sent on these links.
    pub(crate) frames: Vec<(Session, FrameKind, Arc<[u8]>)>,
    /// To be logged.
    pub(crate) notes: Vec<Note>,
    /// What is left of those who are gone.
    pub(crate) void: Void,
}

/// Users of nodes that are gone, of whom it was not told yet that they have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Void {
    /// There are none.
    #[default]
    Nobody,
    /// There are more, and there is room to tell of them.
    More,
    /// There is no room.
    NoRoom,
}

impl Attendance {
    pub(crate) fn new(me: NodeId, max_members: usize) -> Self {
        let limits = Limits { max_members, frame_bytes: FRAME_BYTES, ..Limits::default() };
        let state = State { presence: Presence::new(me, limits), looks_at_ms: u64::MAX };
        Self { state: Mutex::new(state), owes: AtomicBool::new(false) }
    }

    pub(crate) fn list(&self, topic: &str) -> Vec<Present> {
        self.state.lock().presence.list(topic)
    }

    pub(crate) fn stats(&self, topic: &str) -> Stats {
        self.state.lock().presence.stats(topic)
    }

    /// Topics with somebody present, and users summed over them.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let presence = &self.state.lock().presence;
        (presence.topic_count(), presence.user_count())
    }

    /// When the cluster's thread is to look by itself.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.state.lock().presence.poll_timeout()
    }
}

impl Shared {
    /// Who a connection is to others: its user, and where there are none itself.
    fn user_of<'a>(&self, conn: ConnId, user_id: Option<&'a str>) -> Cow<'a, str> {
        match user_id {
            Some(user_id) => Cow::Borrowed(user_id),
            None => Cow::Owned(String::from_utf8_lossy(&conn.to_text(self.run)).into_owned()),
        }
    }

    /// A connection that is subscribed to a topic shows itself there.
    pub(crate) fn enter_presence(&self, conn: ConnId, person: &mut Person, topic: &str, data: &Data) {
        let Some(attendance) = &self.attendance else { return };
        let user = self.user_of(conn, person.user_id.as_deref());
        let mut state = attendance.state.lock();
        let unix_ms = self.clock.unix_ms();
        let Ok(change) = state.presence.enter(topic, &user, conn, Some(data.clone()), unix_ms) else {
            drop(state);
            limited!(
                warn,
                self.clock,
                topic,
                "presence_max_members is reached: who comes now is subscribed but not listed"
            );
            return;
        };
        person.present = true;
        if let Some(change) = change {
            self.tell(attendance, &mut state, Some(conn), topic, &change);
        }
        self.wake_cluster_for(&state);
    }

    /// A connection is no longer subscribed to a topic.
    fn exit_presence(&self, conn: ConnId, user_id: Option<&str>, topic: &str) {
        let Some(attendance) = &self.attendance else { return };
        let user = self.user_of(conn, user_id);
        let mut state = attendance.state.lock();
        if let Some(change) = state.presence.exit(topic, &user, conn) {
            self.tell(attendance, &mut state, Some(conn), topic, &change);
        }
        self.wake_cluster_for(&state);
    }

    /// The same for many topics, of a person that may be in some of them.
    pub(crate) fn exit_all_presence<'a>(
        &self,
        conn: ConnId,
        person: &Person,
        topics: impl Iterator<Item = &'a str>,
    ) {
        if person.present {
            topics.for_each(|topic| self.exit_presence(conn, person.user_id.as_deref(), topic));
        }
    }

    /// A connection shows something else wherever it is present.
    pub(crate) fn update_presence(&self, conn: ConnId, data: &Data) {
        let Some(attendance) = &self.attendance else { return };
        let Some(shard) = self.shards.get(usize::from(conn.shard)) else { return };
        // All of it under the lock of the person: what it is subscribed to must not change meanwhile.
        shard.people.with(conn, |person| {
            if !person.present {
                return;
            }
            let user = self.user_of(conn, person.user_id.as_deref());
            for topic in person.topic_names() {
                let mut state = attendance.state.lock();
                let stamp = self.clock.unix_ms();
                if let Some(change) = state.presence.update(&topic, &user, conn, data.clone(), stamp) {
                    self.tell(attendance, &mut state, Some(conn), &topic, &change);
                }
                self.wake_cluster_for(&state);
            }
        });
    }

    /// Whatever a connection did, its node's peers may have to hear of it: even what changes nothing for those who look on.
    fn wake_cluster_for(&self, state: &State) {
        let is_due = |at_ms| at_ms < state.looks_at_ms;
        if (state.presence.has_output() || state.presence.poll_timeout().is_some_and(is_due))
            && let Some(cluster) = self.cluster.get()
        {
            cluster.interests.wake();
        }
    }

    /// For the cluster's thread: does something to the machine, and tells at once what follows for those who look on. Of users of nodes that
    /// are gone some leave as well, as far as there is room to tell of them.
    pub(crate) fn with_presence<R>(
        &self,
        now_ms: u64,
        act: impl FnOnce(&mut Presence) -> R,
    ) -> Option<(R, News)> {
        let attendance = self.attendance.as_ref()?;
        let mut state = attendance.state.lock();
        let mut news = News::default();
        state.presence.handle_timeout(now_ms);
        let result = act(&mut state.presence);
        self.tell_all(attendance, &mut state, &mut news);
        for _ in 0..VOID_AT_A_TIME {
            news.void = match state.presence.first_void() {
                None => Void::Nobody,
                Some(topic) if self.has_presence_room([&**topic]) => Void::More,
                Some(_) => Void::NoRoom,
            };
            if news.void != Void::More {
                break;
            }
            state.presence.drop_void();
            self.tell_all(attendance, &mut state, &mut news);
        }
        state.looks_at_ms = state.presence.poll_timeout().unwrap_or(u64::MAX);
        Some((result, news))
    }

    fn tell_all(&self, attendance: &Attendance, state: &mut State, news: &mut News) {
        while let Some(output) = state.presence.poll_output() {
            match output {
                Output::Told { topic, change } => self.tell(attendance, state, None, &topic, &change),
                Output::Send { session, kind, payload, .. } => news.frames.push((session, kind, payload)),
                Output::Note(note) => news.notes.push(note),
            }
        }
    }

    /// Tells the subscribers of a topic and the application of a change, made by a connection of this node or by another node.
    fn tell(
        &self,
        attendance: &Attendance,
        state: &mut State,
        conn: Option<ConnId>,
        topic: &str,
        change: &Change,
    ) {
        self.tell_subscribers(topic, change);
        if !self.events.keeps_presence() {
            return;
        }
        let text = || words::description(topic, &change.user, &change.data);
        match change.kind {
            Kind::Joined => {
                if !self.events.offer(EventKind::PresenceJoin, conn, text().as_bytes()) {
                    state.presence.owe(topic, &change.user, conn);
                    attendance.owes.store(true, Relaxed);
                }
            }
            Kind::Left { owed: false } => {
                self.events.force(EventKind::PresenceLeave, conn, text().as_bytes());
            }
            Kind::Left { owed: true } | Kind::Updated => {}
        }
    }

    fn tell_subscribers(&self, topic: &str, change: &Change) {
        if self.is_stopping() {
            // Everybody is on the way out, and nobody will read of it.
            return;
        }
        let Some(audience) = self.topics.audience(topic) else { return };
        let text = words::frame(change.kind, topic, &change.user, &change.data);
        let message = Message { opcode: Opcode::Text, head: &[], tail: text.as_bytes() };
        let mut shards = audience.shards();
        while shards != 0 {
            let shard = shards.trailing_zeros();
            shards &= shards - 1;
            let _ = self.shards[shard as usize].inbox.put_now(|inbox| {
                if let Some(audience) = self.topics.renewed(&audience, topic) {
                    inbox.presence(&audience, message);
                }
            });
        }
    }

    /// There is room for events again: the joins that found none are told, as far as it goes.
    pub(crate) fn tell_owed_joins(&self) {
        let Some(attendance) = self.attendance.as_ref().filter(|all| all.owes.load(Relaxed)) else { return };
        let mut state = attendance.state.lock();
        while let Some(owed) = state.presence.first_owed() {
            let text = words::description(&owed.topic, &owed.user, &owed.data);
            let conn = owed.conn;
            if !self.events.offer(EventKind::PresenceJoin, conn, text.as_bytes()) {
                return;
            }
            state.presence.pay_first();
        }
        attendance.owes.store(false, Relaxed);
    }

    /// The topics in which a connection may be present.
    pub(crate) fn present_topics(&self, conn: ConnId) -> Vec<String> {
        let people = self.shards.get(usize::from(conn.shard)).map(|shard| &shard.people);
        let topics = people.and_then(|people| people.with(conn, |it| it.present.then(|| it.topic_names())));
        topics.flatten().unwrap_or_default()
    }

    /// Whether there is room for news of these topics: with every shard, and with most of those who are to hear of them.
    pub(crate) fn has_presence_room<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> bool {
        let is_held = |topic| self.topics.audience(topic).is_some_and(|audience| audience.is_held());
        self.attendance.is_none()
            || self.is_stopping()
            || (self.shards.iter().all(|shard| shard.inbox.has_presence_room())
                && !topics.into_iter().any(is_held))
    }

    /// Waits until there is: whoever makes people come or look different is slowed down like a publisher. Not for an I/O thread.
    pub(crate) fn wait_for_presence_room<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        if self.attendance.is_some() {
            self.shards.iter().for_each(|shard| shard.inbox.wait_for_presence_room());
            for audience in topics.into_iter().filter_map(|topic| self.topics.audience(topic)) {
                self.wait_while_held(&audience);
            }
        }
    }
}
