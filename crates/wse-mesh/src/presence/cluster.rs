//! Presence of the whole cluster: this node's connections, the copies of the others' entries, and the frames between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use wse_core::ConnId;
use wse_core::presence::{Author, Change, Data, Entry, Full, Owed, Present, Stats};

use super::Key;
use super::copy::{Copy, Verdict};
use super::frames::{self, Delta, Item, MAX_STAMP, Part, Writer};
use super::own::Own;
use crate::ids::{NodeId, Session};
use crate::pages::{Asked, Pages, Retry};
use crate::wire::{Kind, Malformed};

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Users in one topic, of all nodes, from which connections of this node make no more present; 0 is no limit.
    pub max_members: usize,
    /// Entries that are kept of one peer, void ones included.
    pub max_entries: usize,
    /// What the items of one frame come to, in bytes, unless one item is longer: up to 63 KiB.
    pub frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_members: 0, max_entries: 1_000_000, frame_bytes: 63 << 10 }
    }
}

/// Something that an operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A peer has more entries than are kept: some of its users are not listed here.
    TooMany(NodeId),
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A frame without a topic.
    Send {
        /// To whom.
        peer: NodeId,
        /// On which link; if that is gone the frame is void.
        session: Session,
        /// What it is.
        kind: Kind,
        /// What it says.
        payload: Arc<[u8]>,
    },
    /// What a peer has said or left changes what those who look on see.
    Told {
        /// Where.
        topic: Arc<str>,
        /// What of whom.
        change: Change,
    },
    /// To be logged.
    Note(Note),
}

/// How long changes are gathered after others were told.
const GATHER_MS: u64 = 20;
/// How often the machine looks for what had no answer.
const TICK_MS: u64 = 500;

/// Who is present in which topic, at this node and at all others.
///
/// After each call `poll_output` is asked until it has nothing more.
#[derive(Debug)]
pub struct Presence {
    all: wse_core::presence::Presence,
    me: NodeId,
    limits: Limits,
    own: Own,
    /// The highest stamp that was given or seen.
    clock: u64,
    peers: BTreeMap<NodeId, Peer>,
    /// What peers said that are dead, or say no more: it counts until it is dropped. None of the sets is empty.
    void: BTreeMap<NodeId, BTreeSet<Key>>,
    outputs: VecDeque<Output>,
    /// When changes were told last, and whether enough time has passed since then.
    told_at_ms: u64,
    may_tell: bool,
    now_ms: u64,
    tick_at_ms: u64,
    /// Says when the peers are told the version again.
    reminder: Retry,
}

#[derive(Debug, Default)]
struct Peer {
    session: Option<Session>,
    copy: Copy,
    pages: Pages<Key>,
}

/// The part that connections of this node have in it: as in [`wse_core::presence::Presence`], where the rules of each are.
impl Presence {
    /// Nobody anywhere.
    #[must_use]
    pub fn new(me: NodeId, limits: Limits) -> Self {
        assert!((1..64 << 10).contains(&limits.frame_bytes), "a frame is at most 64 KiB");
        Self {
            all: wse_core::presence::Presence::of(Author(me.0), limits.max_members),
            me,
            limits,
            own: Own::default(),
            clock: 0,
            peers: BTreeMap::new(),
            void: BTreeMap::new(),
            outputs: VecDeque::new(),
            told_at_ms: 0,
            may_tell: true,
            now_ms: 0,
            tick_at_ms: 0,
            reminder: Retry::default(),
        }
    }

    /// A connection of this node is in a topic as a user. `unix_ms` is the time of the data.
    ///
    /// # Errors
    /// [`Full`]: the user is not in the topic, and no more are taken.
    pub fn enter(
        &mut self,
        topic: &str,
        user: &str,
        conn: ConnId,
        data: Option<Data>,
        unix_ms: u64,
    ) -> Result<Option<Change>, Full> {
        let stamp = self.stamp(unix_ms);
        self.act(topic, user, |all| all.enter(topic, user, conn, data, stamp))
    }

    /// A connection of this node is no longer in a topic.
    pub fn exit(&mut self, topic: &str, user: &str, conn: ConnId) -> Option<Change> {
        self.act(topic, user, |all| all.exit(topic, user, conn))
    }

    /// A connection of this node shows something else in a topic.
    pub fn update(
        &mut self,
        topic: &str,
        user: &str,
        conn: ConnId,
        data: Data,
        unix_ms: u64,
    ) -> Option<Change> {
        let stamp = self.stamp(unix_ms);
        self.act(topic, user, |all| all.update(topic, user, conn, data, stamp))
    }

    /// Remembers that the application could not be told that a user came, by this connection or at another node.
    pub fn owe(&mut self, topic: &str, user: &str, conn: Option<ConnId>) {
        self.all.owe(topic, user, conn);
    }

    /// The join that has waited longest to be told, if one has.
    #[must_use]
    pub fn first_owed(&self) -> Option<Owed> {
        self.all.first_owed()
    }

    /// The join that has waited longest was told.
    pub fn pay_first(&mut self) {
        self.all.pay_first();
    }

    /// Who is in a topic, in no order that means anything.
    #[must_use]
    pub fn list(&self, topic: &str) -> Vec<Present> {
        self.all.list(topic)
    }

    /// How many are in a topic.
    #[must_use]
    pub fn stats(&self, topic: &str) -> Stats {
        self.all.stats(topic)
    }

    /// Topics with somebody present.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.all.topic_count()
    }

    /// Users, summed over topics.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.all.user_count()
    }

    /// Later than all that was said so far, by a clock that goes on even if the node's goes back.
    fn stamp(&mut self, unix_ms: u64) -> u64 {
        let time = unix_ms.min(MAX_STAMP >> 16) << 16;
        self.clock = time.max(self.clock + 1).min(MAX_STAMP);
        self.clock
    }

    /// Does something to the node's own connections, and notes what becomes of its entry.
    fn act<R>(
        &mut self,
        topic: &str,
        user: &str,
        act: impl FnOnce(&mut wse_core::presence::Presence) -> R,
    ) -> R {
        let before = self.said(topic, user, self.me);
        let result = act(&mut self.all);
        let after = self.said(topic, user, self.me);
        if let Some((key, _)) = after.as_ref().or(before.as_ref())
            && after != before
        {
            let key = key.clone();
            self.note(key, after.map(|(_, entry)| entry));
        }
        result
    }

    fn note(&mut self, key: Key, entry: Option<Entry>) {
        if self.linked().next().is_none() {
            // Nobody listens: whoever has a link later finds the version to be another, and asks for all.
            self.own.change_unheard(key, entry.is_some());
            return;
        }
        if self.own.must_be_told_before(&key, entry.as_ref()) {
            self.tell();
        }
        self.own.change(key, entry);
        if self.own.untold_bytes() >= self.limits.frame_bytes {
            self.tell();
        }
    }

    fn said(&self, topic: &str, user: &str, author: NodeId) -> Option<(Key, Entry)> {
        let (topic, user, entry) = self.all.said(topic, user, Author(author.0))?;
        Some(((topic.clone(), user.clone()), entry.clone()))
    }
}

/// The part of the peers.
impl Presence {
    /// Whether the copy of a peer's entries is what the peer has told last.
    #[must_use]
    pub fn knows(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.session.is_some() && peer.copy.is_known())
    }

    /// A link to a peer stands; one that stood before is void.
    pub fn handle_up(&mut self, peer: NodeId, session: Session) {
        assert!(peer != self.me, "a node is no peer of itself");
        self.tell();
        let place = self.peers.entry(peer).or_default();
        place.session = Some(session);
        place.copy.handle_up();
        place.pages.stop();
        self.tell_version(peer);
        self.reminder.reset();
    }

    /// A link is gone; the peer's users stay present. Another link that stands meanwhile is not meant.
    pub fn handle_down(&mut self, peer: NodeId, session: Session) {
        if let Some(place) = self.peers.get_mut(&peer).filter(|place| place.session == Some(session)) {
            place.session = None;
            place.copy.handle_down();
            place.pages.stop();
        }
    }

    /// A peer is dead: what it said is void, and is to be [dropped](Self::drop_void).
    pub fn handle_dead(&mut self, peer: NodeId) {
        let Some(mut place) = self.peers.remove(&peer) else { return };
        let keys = place.copy.take_keys();
        if !keys.is_empty() {
            self.void.entry(peer).or_default().extend(keys);
        }
    }

    /// The topic of an entry that is void, if there is one. Such an entry counts until it is dropped: so a peer may die with any number of
    /// users, and those who look on are told of no more at a time than there is room for, and see what they were told.
    #[must_use]
    pub fn first_void(&self) -> Option<&Arc<str>> {
        Some(&self.void.first_key_value()?.1.first()?.0)
    }

    /// Drops the entry that `first_void` means; `poll_output` says what that comes to.
    pub fn drop_void(&mut self) {
        let Some(mut first) = self.void.first_entry() else { return };
        let author = *first.key();
        let key = first.get_mut().pop_first();
        if first.get().is_empty() {
            first.remove();
        }
        let (topic, user) = key.expect("no set of void entries is empty");
        let change = self.all.put(&topic, &user, Author(author.0), None);
        self.outputs.extend(change.map(|change| Output::Told { topic, change }));
    }

    /// A frame came from a peer. One of another session is void, and kinds that are not about presence are not for this machine.
    ///
    /// # Errors
    /// It is not what its kind says; the link is to be closed.
    pub fn handle_frame(
        &mut self,
        peer: NodeId,
        session: Session,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), Malformed> {
        if self.peers.get(&peer).is_none_or(|place| place.session != Some(session)) {
            return Ok(());
        }
        match kind {
            Kind::PresenceDelta => self.handle_delta(peer, &Delta::decode(payload)?),
            Kind::PresenceSnapshot => self.handle_part(peer, &Part::decode(payload)?),
            Kind::PresenceAsk => self.handle_ask(peer, payload),
            _ => Ok(()),
        }
    }

    /// Time has passed; to be called when [`poll_timeout`](Self::poll_timeout) says.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.may_tell |= now_ms >= self.told_at_ms + GATHER_MS;
        if now_ms < self.tick_at_ms {
            return;
        }
        self.tick_at_ms = now_ms + TICK_MS;
        let linked: Vec<NodeId> = self.linked().collect();
        if linked.is_empty() {
            return;
        }
        let is_reminder_due = self.reminder.is_due(now_ms);
        for peer in linked {
            let most = self.limits.max_entries.saturating_sub(self.void_of(peer));
            let copy = &mut self.peers.get_mut(&peer).expect("it has a link").copy;
            if copy.is_silent(now_ms, most) {
                self.send(peer, Kind::PresenceAsk, frames::ask(0, 0).into());
            }
            if is_reminder_due {
                self.tell_version(peer);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` while there is no link.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.linked().next()?;
        let is_gathering = self.own.untold_bytes() > 0;
        let gathered_at_ms = is_gathering.then_some(self.told_at_ms + GATHER_MS);
        Some(gathered_at_ms.map_or(self.tick_at_ms, |at_ms| at_ms.min(self.tick_at_ms)))
    }

    /// Whether [`poll_output`](Self::poll_output) has something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty() || self.is_telling_due()
    }

    /// What is to be done next, in this order.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && self.is_telling_due() {
            self.tell();
        }
        self.outputs.pop_front()
    }

    fn is_telling_due(&self) -> bool {
        self.may_tell && self.own.untold_bytes() > 0
    }

    fn void_of(&self, peer: NodeId) -> usize {
        self.void.get(&peer).map_or(0, BTreeSet::len)
    }

    fn linked(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, place)| place.session.is_some()).map(|(id, _)| *id)
    }

    fn send(&mut self, peer: NodeId, kind: Kind, payload: Arc<[u8]>) {
        let Some(session) = self.peers.get(&peer).and_then(|place| place.session) else { return };
        self.outputs.push_back(Output::Send { peer, session, kind, payload });
    }

    /// Tells all peers with a link what was gathered.
    fn tell(&mut self) {
        let told = self.own.tell(self.limits.frame_bytes);
        if told.is_empty() {
            return;
        }
        (self.told_at_ms, self.may_tell) = (self.now_ms, false);
        self.reminder.reset();
        let linked: Vec<NodeId> = self.linked().collect();
        for payload in told {
            let payload: Arc<[u8]> = payload.into();
            linked.iter().for_each(|peer| self.send(*peer, Kind::PresenceDelta, payload.clone()));
        }
    }

    /// Tells a peer which version it should have.
    fn tell_version(&mut self, peer: NodeId) {
        let payload = Writer::default().delta(self.own.version() + 1);
        self.send(peer, Kind::PresenceDelta, payload.into());
    }

    fn handle_delta(&mut self, peer: NodeId, delta: &Delta<'_>) -> Result<(), Malformed> {
        let mut copy = self.take_copy(peer);
        let verdict = copy.handle_delta(delta);
        if verdict == Ok(Verdict::Take) {
            delta.items.read().for_each(|item| self.take(peer, &mut copy, item));
        }
        self.finish(peer, copy, verdict)
    }

    fn handle_part(&mut self, peer: NodeId, part: &Part<'_>) -> Result<(), Malformed> {
        let mut copy = self.take_copy(peer);
        let verdict = copy.handle_part(part);
        if verdict == Ok(Verdict::Take) {
            let gone = copy.pass(part);
            if !gone.is_empty() {
                gone.iter().for_each(|key| copy.remove(key));
                self.void.entry(peer).or_default().extend(gone);
            }
            part.items.read().for_each(|item| self.take(peer, &mut copy, item));
            let (number, parts) = copy.passed(part.is_last);
            self.send(peer, Kind::PresenceAsk, frames::ask(number, parts).into());
        }
        self.finish(peer, copy, verdict)
    }

    fn take_copy(&mut self, peer: NodeId) -> Copy {
        std::mem::take(&mut self.peers.get_mut(&peer).expect("it spoke").copy)
    }

    fn finish(
        &mut self,
        peer: NodeId,
        copy: Copy,
        verdict: Result<Verdict, Malformed>,
    ) -> Result<(), Malformed> {
        self.peers.get_mut(&peer).expect("it spoke").copy = copy;
        if verdict? == Verdict::Ask {
            self.send(peer, Kind::PresenceAsk, frames::ask(0, 0).into());
        }
        Ok(())
    }

    fn take(&mut self, peer: NodeId, copy: &mut Copy, item: Item<'_>) {
        if let Some(entry) = &item.entry {
            self.clock = self.clock.max(entry.stamp);
        }
        self.put(peer, copy, item.topic, item.user, item.entry);
    }

    /// Replaces what a peer says of a user in a topic.
    fn put(&mut self, peer: NodeId, copy: &mut Copy, topic: &str, user: &str, entry: Option<Entry>) {
        let before = self.said(topic, user, peer);
        let is_in = entry.is_some();
        if let Some((key, _)) = &before
            && self.unvoid(peer, key)
        {
            copy.insert(key.clone());
        }
        if is_in && before.is_none() && copy.len() + self.void_of(peer) >= self.limits.max_entries {
            if !std::mem::replace(&mut copy.is_cut, true) {
                self.outputs.push_back(Output::Note(Note::TooMany(peer)));
            }
            return;
        }
        let change = self.all.put(topic, user, Author(peer.0), entry);
        let place = match before {
            Some((key, _)) if is_in => key.0,
            Some((key, _)) => {
                copy.remove(&key);
                key.0
            }
            None => match self.said(topic, user, peer) {
                Some((key, _)) => {
                    let topic = key.0.clone();
                    copy.insert(key);
                    topic
                }
                None => return,
            },
        };
        self.outputs.extend(change.map(|change| Output::Told { topic: place, change }));
    }

    /// An entry that was void is spoken of again: whether there was one.
    fn unvoid(&mut self, peer: NodeId, key: &Key) -> bool {
        let Some(keys) = self.void.get_mut(&peer) else { return false };
        let was_void = keys.remove(key);
        if keys.is_empty() {
            self.void.remove(&peer);
        }
        was_void
    }

    fn handle_ask(&mut self, peer: NodeId, payload: &[u8]) -> Result<(), Malformed> {
        let (number, parts) = frames::read_ask(payload)?;
        self.tell();
        let Self { all, own, peers, limits, me, .. } = self;
        let pages = &mut peers.get_mut(&peer).expect("it spoke").pages;
        if pages.ask(number, parts) == Asked::Never {
            return Err(Malformed("parts of an ask"));
        }
        let entry_of = |key: &Key| {
            let said = all.said(&key.0, &key.1, Author(me.0));
            said.expect("the node's keys are those of its entries").2.clone()
        };
        let mut sent = Vec::new();
        while let Some((number, index, after)) = pages.next() {
            let (payload, up_to) = own.part(number, index, after, limits.frame_bytes, entry_of);
            sent.push(payload);
            pages.sent(up_to);
        }
        sent.into_iter().for_each(|payload| self.send(peer, Kind::PresenceSnapshot, payload.into()));
        Ok(())
    }
}
