//! From the inbox to the outboxes: for each receiver, references to what it is to be sent, in the order of the calls.
//!
//! Messages of one topic are made one contiguous run, so that a receiver with one topic holds one piece whatever came between. Only
//! who has several topics in the same stretch, or was sent something directly, gets its pieces one by one.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::Shard;
use super::close::Reason;
use super::conn::{Conn, Membership, Receiving};
use super::groups::Batch;
use super::hold::Standing;
use super::runs::{Joined, Piece, Runs};
use super::sweeps::Line;
use crate::inbox::{Contents, Entry};
use crate::people::ConnectionQuery;
use crate::run::Run;
use crate::topics::Audience;
use wse_core::outbox::Run as _;

/// Entries for which memory is kept from one batch to the next.
const KEPT_ENTRIES: usize = 16 * 1024;

/// All messages of one audience in a stretch.
struct Group<'e> {
    audience: Arc<Audience>,
    pieces: Vec<Piece<'e>>,
    messages: u32,
    /// Receivers that have other pieces too.
    mixed: Vec<u32>,
}

impl Shard {
    /// Works off what was taken from the inbox.
    pub(super) fn deliver(&mut self, contents: &mut Contents) {
        if contents.entries.is_empty() {
            return;
        }
        let runs = Runs::take(contents, &self.pool);
        let entries = &mut contents.entries;
        let mut line = Line::new();
        let only = only_topic(entries);
        let mut at = 0;
        while at < entries.len() {
            let stretch = entries[at..].iter().take_while(|entry| is_message(entry)).count();
            if stretch > 0 {
                self.delivered_ms = self.now_ms;
            }
            self.give_before(&entries[at..(at + stretch + 1).min(entries.len())]);
            match &entries[at..at + stretch] {
                [] => {}
                [entry @ Entry::Publish { audience, .. }] => {
                    let piece = Piece::of(entry).expect("a publication is a message");
                    self.deliver_one(audience, &runs, piece, &mut line);
                }
                messages => self.deliver_mixed(messages, &runs, &mut line),
            }
            at += stretch;
            if let Some(entry) = entries.get_mut(at) {
                // `Resume` is as good as any other placeholder; the vector is cleared right after.
                let entry = std::mem::replace(entry, Entry::Resume);
                self.obey(entry, &runs.plain, &mut line);
                at += 1;
            }
        }
        entries.clear();
        entries.shrink_to(KEPT_ENTRIES);
        self.sweeps.add(only, line);
    }

    /// One run for one audience: what a flood of one topic comes down to.
    fn deliver_one(&mut self, audience: &Arc<Audience>, runs: &Runs, piece: Piece<'_>, line: &mut Line) {
        let (now_ms, limit) = (self.now_ms, self.shared.options.max_outbound_queue_bytes);
        let mut over = std::mem::take(&mut self.over);
        let mut standing = Standing::default();
        let mut receivers = 0;
        self.for_receivers(audience, |slot, conn| {
            standing.count(conn, now_ms);
            if conn.flags.lags && conn.misses(&[piece]) {
                return;
            }
            runs.give(conn, piece);
            receivers += 1;
            note(slot, conn, limit, line, &mut over);
        });
        self.over = over;
        self.handle().stats.messages_sent.add(u64::from(piece.messages) * receivers);
        self.judge(audience, standing, u64::from(piece.end - piece.start));
    }

    /// Several audiences, or messages for single connections among them.
    fn deliver_mixed(&mut self, entries: &[Entry], runs: &Runs, line: &mut Line) {
        self.stretch += 1;
        let (mut groups, index) = self.group(entries);
        for group in &mut groups {
            self.deliver_group(group, runs, line);
        }
        for entry in entries {
            match entry {
                Entry::Publish { audience, .. } => {
                    let piece = Piece::of(entry).expect("a publication is a message");
                    for &slot in &groups[index[&Arc::as_ptr(audience).addr()]].mixed {
                        self.push_piece(slot, runs, piece, line);
                    }
                }
                Entry::Send { conn, .. } => {
                    if self.slots.open(*conn).is_some() {
                        self.handle().stats.messages_sent.add(1);
                        let piece = Piece::of(entry).expect("what is sent is a message");
                        self.push_piece(conn.slot, runs, piece, line);
                    }
                }
                _ => unreachable!("a stretch has messages only"),
            }
        }
    }

    /// Sorts a stretch by audience, and counts for each connection how many kinds of pieces it will get.
    fn group<'e>(&mut self, entries: &'e [Entry]) -> (Vec<Group<'e>>, HashMap<usize, usize, FixedState>) {
        let mut groups: Vec<Group<'e>> = Vec::new();
        let mut index: HashMap<usize, usize, FixedState> = HashMap::default();
        let stretch = self.stretch;
        for entry in entries {
            match entry {
                Entry::Publish { audience, .. } => {
                    let piece = Piece::of(entry).expect("a publication is a message");
                    let at = *index.entry(Arc::as_ptr(audience).addr()).or_insert_with(|| {
                        groups.push(Group {
                            audience: audience.clone(),
                            pieces: Vec::new(),
                            messages: 0,
                            mixed: Vec::new(),
                        });
                        groups.len() - 1
                    });
                    groups[at].pieces.push(piece);
                    groups[at].messages += piece.messages;
                }
                Entry::Send { conn, .. } => {
                    if let Some(conn) = self.slots.open(*conn) {
                        mark(conn, stretch, 2);
                    }
                }
                _ => {}
            }
        }
        for group in &groups {
            self.for_receivers(&group.audience, |_, conn| mark(conn, stretch, 1));
        }
        (groups, index)
    }

    /// Gives those that receive nothing else the whole group at once; the others are noted for later.
    fn deliver_group(&mut self, group: &mut Group<'_>, runs: &Runs, line: &mut Line) {
        let (now_ms, limit) = (self.now_ms, self.shared.options.max_outbound_queue_bytes);
        let mut over = std::mem::take(&mut self.over);
        let mut joined = Joined::default();
        let (mut standing, mut receivers) = (Standing::default(), 0);
        let (pieces, mixed) = (&group.pieces, &mut group.mixed);
        self.for_receivers(&group.audience, |slot, conn| {
            standing.count(conn, now_ms);
            if conn.flags.lags && conn.misses(pieces) {
                return;
            }
            receivers += 1;
            if conn.pieces > 1 {
                mixed.push(slot);
            } else {
                runs.give_joined(conn, pieces, &mut joined);
                note(slot, conn, limit, line, &mut over);
            }
        });
        self.over = over;
        self.handle().stats.messages_sent.add(u64::from(group.messages) * receivers);
        let bytes = group.pieces.iter().map(|piece| u64::from(piece.end - piece.start)).sum();
        self.judge(&group.audience, standing, bytes);
    }

    fn push_piece(&mut self, slot: u32, runs: &Runs, piece: Piece<'_>, line: &mut Line) {
        let limit = self.shared.options.max_outbound_queue_bytes;
        if let Some(conn) = self.slots.get_mut(slot) {
            runs.give(conn, piece);
            note(slot, conn, limit, line, &mut self.over);
        }
    }

    /// Walks through all who are to receive what an audience gets, each once.
    #[inline]
    pub(super) fn for_receivers(&mut self, audience: &Audience, mut visit_one: impl FnMut(u32, &mut Conn)) {
        let Self { channels, slots, visit, .. } = self;
        let several = audience.channels().len() > 1;
        *visit += 1;
        for channel in audience.channels() {
            for &Receiving { slot } in channels.get(&channel.id).map_or(&[][..], Vec::as_slice) {
                let Some(conn) = slots.get_mut(slot) else { continue };
                if several {
                    if conn.visit == *visit {
                        continue;
                    }
                    conn.visit = *visit;
                }
                visit_one(slot, conn);
            }
        }
    }

    /// Does what is no message.
    fn obey(&mut self, entry: Entry, run: &Run, line: &mut Line) {
        match entry {
            Entry::Presence { audience, start, end, messages } => {
                let frames = &run.bytes()[start as usize..end as usize];
                self.gathered.add(&audience, frames, messages);
            }
            Entry::Group { audience, groups, start, end, handed } => {
                let batch = Batch { audience: &audience, groups, start, end, handed };
                self.share_out(&batch, run, line);
            }
            Entry::Subscribe { conn, channel } => self.enter_channel(conn.slot, conn.generation, channel),
            Entry::Replay(replaying) => self.replay(*replaying, line),
            Entry::Unsubscribe { conn, channel } => {
                if self.slots.open(conn).is_some() {
                    self.leave_channel(conn.slot, channel);
                }
            }
            Entry::Close { conn, start, end } => {
                if self.slots.open(conn).is_some() {
                    self.close(conn.slot, Reason::Application { run: run.clone(), start, end });
                }
            }
            Entry::Adopt(accepted) => self.adopt(accepted.0, accepted.1),
            Entry::Answer { conn, response } => self.take_answer(conn, &response),
            Entry::Query { conn, answer } => {
                if let Some(conn) = self.slots.open(conn) {
                    // Whoever asked may have stopped waiting.
                    let _ = answer.try_send(ConnectionQuery { queued_bytes: conn.outbox.bytes() });
                }
            }
            Entry::Drain(order) => self.begin_drain(&order),
            Entry::Farewell(conn) => self.say_farewell(conn),
            Entry::Resume => self.resume_paused(),
            Entry::Decided(conn) => self.on_decided(conn),
            Entry::Hold { conn, holds } => self.on_hold(conn, holds),
            Entry::Publish { .. } | Entry::Send { .. } => unreachable!("messages are delivered in stretches"),
        }
    }

    /// From here on the connection receives what the channel gets.
    pub(super) fn enter_channel(&mut self, slot: u32, generation: u32, channel: u64) {
        let id = wse_core::ConnId { shard: self.index, slot, generation };
        let Some(conn) = self.slots.open(id) else { return };
        if conn.channels.position(channel).is_some() {
            return;
        }
        self.gathered.note_newcomer(slot, &conn.channels, channel);
        let list = self.channels.entry(channel).or_default();
        conn.channels.push(Membership { channel, place: list.len() as u32 });
        list.push(Receiving { slot });
    }

    /// From here on no more.
    pub(super) fn leave_channel(&mut self, slot: u32, channel: u64) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if let Some(at) = conn.channels.position(channel) {
            let membership = conn.channels.swap_remove(at);
            self.leave_list(&membership);
        }
    }

    /// Takes a connection out of all lists: its session has ended.
    pub(super) fn leave_all_channels(&mut self, slot: u32) {
        let memberships = self.slots.get_mut(slot).map(|conn| conn.channels.take()).unwrap_or_default();
        memberships.iter().for_each(|membership| self.leave_list(membership));
    }

    /// The last of the list takes the place that becomes free.
    fn leave_list(&mut self, membership: &Membership) {
        let Membership { channel, place } = *membership;
        let list = self.channels.get_mut(&channel).expect("a member's channel has a list");
        list.swap_remove(place as usize);
        if let Some(moved) = list.get(place as usize) {
            let conn = self.slots.get_mut(moved.slot).expect("a list has living members");
            let at = conn.channels.position(channel).expect("and they know it");
            conn.channels.get_mut(at).expect("just found").place = place;
        } else if list.is_empty() {
            self.channels.remove(&channel);
            self.rotations.remove(&channel);
        }
    }
}

/// The topic of a batch that has messages of one only.
fn only_topic(entries: &[Entry]) -> Option<u64> {
    match entries {
        [Entry::Publish { audience, .. }] => audience.channels().first().map(|channel| channel.id),
        _ => None,
    }
}

fn is_message(entry: &Entry) -> bool {
    matches!(entry, Entry::Publish { .. } | Entry::Send { .. })
}

fn mark(conn: &mut Conn, stretch: u64, pieces: u32) {
    if conn.stretch != stretch {
        conn.stretch = stretch;
        conn.pieces = 0;
    }
    conn.pieces += pieces;
}

/// Sees to it that a connection with something new to send is written to, or closed if that is too much.
#[inline]
pub(super) fn note(slot: u32, conn: &mut Conn, limit: usize, line: &mut Line, over: &mut Vec<u32>) {
    if !conn.flags.blocked && (!conn.flags.queued || conn.flags.lazily) {
        conn.flags.queued = true;
        line.push_back(slot);
    }
    conn.flags.lazily = false;
    watch(slot, conn, limit, over);
}

/// Sees to it that a connection that is sent too much is looked at.
#[inline]
pub(super) fn watch(slot: u32, conn: &mut Conn, limit: usize, over: &mut Vec<u32>) {
    if conn.outbox.cost() > limit && !conn.flags.over {
        conn.flags.over = true;
        over.push(slot);
    }
}
