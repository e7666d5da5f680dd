//! Queue groups: of each message one member here gets it, or it goes on to a shard with a member that has more time.

use std::sync::Arc;

use wse_core::outbox::Run as _;
use wse_core::queue_group::Pulled;
use wse_core::websocket::frame::server_frame_len;

use super::Shard;
use super::conn::{Conn, Receiving};
use super::deliver::note;
use super::hold::Standing;
use super::runs::give_work;
use super::sweeps::Line;
use crate::run::Run;
use crate::topics::{Audience, Channel};
use crate::unacknowledged::unacknowledged;

/// Bytes from which a member is backed up: others go first.
const BACKED_UP: usize = 64 * 1024;
/// More than waits for any client.
const BLOCKED: usize = usize::MAX / 2;

/// What a member was given: by which group, and the frame itself if the member gets it in another form.
#[derive(Clone, Debug)]
pub(super) struct Given {
    audience: Arc<Audience>,
    /// The place of the group in the audience.
    group: u8,
    original: Option<(Run, u32, u32)>,
}

/// Messages for groups, as they lie in a run.
pub(super) struct Batch<'a> {
    pub(super) audience: &'a Arc<Audience>,
    /// A bit for each group that is to be served here.
    pub(super) groups: u64,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Another shard had no time for it.
    pub(super) handed: bool,
}

/// Who gets a message of a group.
enum Choice {
    Member(u32),
    /// Another shard, or this one again when a member is about to come.
    Shard(usize),
    Nobody,
}

impl Conn {
    /// Takes note that its socket has taken bytes.
    #[inline]
    pub(super) fn note_sent(&mut self, sent: usize) {
        let Self { work, stream, flags, .. } = self;
        if let Some(work) = work {
            work.advance(sent, || unacknowledged(stream, flags.shut));
        }
    }

    /// Whether it was given something as a member that it has not wholly been sent.
    pub(super) fn has_work(&self) -> bool {
        self.work.as_ref().is_some_and(|work| !work.is_all_sent())
    }

    /// By how many bytes it is backed up; 0 if it has time. One whose socket takes no more is behind any that takes some.
    fn behind(&self) -> usize {
        match (self.flags.blocked || self.flags.lags, self.outbox.bytes()) {
            (true, waits) => BLOCKED + waits,
            (false, waits) if waits > BACKED_UP => waits,
            (false, _) => 0,
        }
    }

    /// Whether it gets what an audience gets anyway, by a subscription of its own.
    fn is_receiver(&self, audience: &Audience) -> bool {
        audience.channels().iter().any(|channel| self.channels.position(channel.id).is_some())
    }
}

impl Shard {
    /// Gives each message to a member of each group.
    pub(super) fn share_out(&mut self, batch: &Batch<'_>, run: &Run, line: &mut Line) {
        let mut at = batch.start;
        while at < batch.end {
            let len = server_frame_len(&run.bytes()[at as usize..]) as u32;
            self.share_one(batch, run, (at, at + len), line);
            at += len;
        }
        let (now_ms, mut standing) = (self.now_ms, Standing::default());
        self.for_members(batch.audience, |conn| standing.count(conn, now_ms));
        self.judge(batch.audience, standing, u64::from(batch.end - batch.start));
    }

    fn share_one(&mut self, batch: &Batch<'_>, run: &Run, (start, end): (u32, u32), line: &mut Line) {
        let limit = self.shared.options.max_outbound_queue_bytes;
        // Who has got it already, in which length and form.
        let mut given: Vec<(u32, usize, bool)> = Vec::new();
        let pool = self.pool.clone();
        for (at, group) in batch.audience.groups().iter().enumerate() {
            if batch.groups & (1 << at) == 0 {
                continue;
            }
            let slot = match self.choose(batch, group) {
                Choice::Member(slot) => slot,
                Choice::Shard(shard) => {
                    let frame = &run.bytes()[start as usize..end as usize];
                    self.hand_on(batch.audience, at, shard, frame);
                    continue;
                }
                Choice::Nobody => {
                    self.handle().stats.queue_group_lost.add(1);
                    continue;
                }
            };
            let Some(conn) = self.slots.get_mut(slot) else { continue };
            if conn.is_receiver(batch.audience) {
                // It gets each message once, and this one comes by its own subscription.
                continue;
            }
            let known = given.iter().find(|(known, ..)| *known == slot).copied();
            let (_, len, is_made) = known.unwrap_or_else(|| {
                let before = conn.outbox.bytes();
                let is_made = give_work(conn, &pool, run, start, end);
                given.push((slot, conn.outbox.bytes() - before, is_made));
                self.shared.shards[usize::from(self.index)].stats.messages_sent.add(1);
                given[given.len() - 1]
            });
            let queued = conn.outbox.bytes();
            let original = is_made.then(|| (run.clone(), start, end));
            let one = Given { audience: batch.audience.clone(), group: at as u8, original };
            conn.work.get_or_insert_default().give(one, len, queued);
            note(slot, conn, limit, line, &mut self.over);
        }
    }

    /// The next member in turn that is not backed up; if all are, one of another shard that has such; else the one that is least.
    fn choose(&mut self, batch: &Batch<'_>, group: &Arc<Channel>) -> Choice {
        let index = usize::from(self.index);
        let Self { channels, slots, rotations, .. } = self;
        let Some(members) = channels.get(&group.id) else { return self.choose_elsewhere(batch, group) };
        let rotation = rotations.entry(group.id).or_default();
        let behind = |at: usize| slots.get_mut(members[at].slot).map_or(usize::MAX, |conn| conn.behind());
        let Some(next) = rotation.next(members.len(), behind) else { return Choice::Nobody };
        if let Some(state) = &group.group {
            state.note_free(index, next.is_free);
        }
        if !next.is_free
            && !batch.handed
            && let Some(shard) = group.free_elsewhere(index)
        {
            return Choice::Shard(shard);
        }
        Choice::Member(members[next.member].slot)
    }

    /// The members that were here a moment ago are gone, or those that are to come are not here yet.
    fn choose_elsewhere(&self, batch: &Batch<'_>, group: &Arc<Channel>) -> Choice {
        let at = batch.audience.groups().iter().position(|it| it.id == group.id);
        let picked = at.and_then(|at| batch.audience.pick_of(1 << at).first().copied());
        if let Some((shard, _)) = picked {
            return Choice::Shard(shard);
        }
        // The last member has gone; a new one may have begun the group anew.
        let (Some(topic), Some(state)) = (batch.audience.topic(), &group.group) else {
            return Choice::Nobody;
        };
        let anew = self.shared.topics.group(topic, &state.name).filter(|anew| anew.id != group.id);
        anew.and_then(|anew| anew.next_shard()).map_or(Choice::Nobody, Choice::Shard)
    }

    /// Puts a message for one group into the inbox of a shard.
    fn hand_on(&self, audience: &Arc<Audience>, group: usize, shard: usize, frame: &[u8]) {
        let old = &audience.groups()[group];
        // The group may have ended and begun anew since: then it is served through the audience of today.
        let today = (old.count() == 0).then(|| self.group_of_today(audience, old)).flatten();
        let (audience, group) = today.unwrap_or((audience.clone(), group));
        let put =
            self.shared.shards[shard].inbox.put_now(|state| state.hand_on(&audience, 1 << group, frame));
        if put.is_err() && !self.shared.is_stopping() {
            self.handle().stats.queue_group_lost.add(1);
        }
    }

    fn group_of_today(&self, audience: &Audience, old: &Channel) -> Option<(Arc<Audience>, usize)> {
        let name = &old.group.as_ref()?.name;
        let today = self.shared.topics.audience(audience.topic()?)?;
        let at = today.groups().iter().position(|group| group.is_group(name))?;
        Some((today, at))
    }

    /// The members of an audience's groups on this shard.
    pub(super) fn for_members(&mut self, audience: &Audience, mut visit: impl FnMut(&Conn)) {
        let Self { channels, slots, .. } = self;
        for group in audience.groups() {
            for &Receiving { slot } in channels.get(&group.id).map_or(&[][..], Vec::as_slice) {
                if let Some(conn) = slots.get_mut(slot) {
                    visit(conn);
                }
            }
        }
    }

    /// A connection is gone, or what waits for it is: other members get what had not begun to leave.
    pub(super) fn give_work_back(&mut self, slot: u32) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Some(work) = &mut conn.work else { return };
        let pulled = work.pull(&mut conn.outbox);
        if !self.shared.is_stopping() {
            self.share_again(slot, pulled);
        }
    }

    /// A connection is about to be forgotten: what had begun to leave is lost if it has not wholly left, and may be if it has not come.
    pub(super) fn count_lost_work(&mut self, slot: u32) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let Some(work) = conn.work.take() else { return };
        if self.shared.is_stopping() {
            return;
        }
        let may_be_lost = work.unacknowledged(unacknowledged(&conn.stream, conn.flags.shut));
        let stats = &self.handle().stats;
        stats.queue_group_lost.add(work.begun() as u64);
        stats.queue_group_maybe_lost.add(may_be_lost);
    }

    /// A member is too slow: what had not begun to leave goes to members that have time, if there are any. Whether it has gone.
    pub(super) fn hand_work_over(&mut self, slot: u32) -> bool {
        let Some(conn) = self.slots.get_mut(slot) else { return false };
        let Some(work) = &conn.work else { return false };
        let groups: Vec<Arc<Channel>> = work.groups().fold(Vec::new(), |mut all, given| {
            let group = &given.audience.groups()[usize::from(given.group)];
            if !all.iter().any(|known: &Arc<Channel>| known.id == group.id) {
                all.push(group.clone());
            }
            all
        });
        let taken = groups.iter().all(|group| {
            group.free_elsewhere(usize::from(self.index)).is_some()
                || self.has_member_with_time(group.id, slot)
        });
        let Some(conn) = self.slots.get_mut(slot).filter(|_| taken) else { return false };
        let Some(work) = &mut conn.work else { return false };
        let pulled = work.pull(&mut conn.outbox);
        self.share_again(slot, pulled);
        true
    }

    fn has_member_with_time(&mut self, group: u64, but: u32) -> bool {
        let Self { channels, slots, .. } = self;
        let members = channels.get(&group).map_or(&[][..], Vec::as_slice);
        members.iter().any(|member| {
            member.slot != but && slots.get_mut(member.slot).is_some_and(|conn| conn.behind() == 0)
        })
    }

    /// Sends what a member gave back to those that have time, here or elsewhere, and in turn if both have or nobody has. Who has time is
    /// looked at once: while it is shared they will have less.
    fn share_again(&mut self, slot: u32, pulled: Pulled<Given, Run>) {
        let index = usize::from(self.index);
        let mut known: Vec<(u64, bool, Option<usize>)> = Vec::new();
        for (Given { audience, group, original }, run, start, end) in pulled {
            let at = usize::from(group);
            let (run, start, end) = original.unwrap_or((run, start, end));
            let group = &audience.groups()[at];
            let found = known.iter().find(|(id, ..)| *id == group.id).copied();
            let (_, here, elsewhere) = found.unwrap_or_else(|| {
                let here = self.has_member_with_time(group.id, slot);
                known.push((group.id, here, group.free_elsewhere(index)));
                known[known.len() - 1]
            });
            let picked = audience.pick_of(1 << at).first().map(|(shard, _)| *shard);
            let shard = match (here, elsewhere) {
                (true, Some(elsewhere)) if picked != Some(index) => elsewhere,
                (true, _) => index,
                (false, Some(elsewhere)) => elsewhere,
                // Where nobody is, whoever is there by then is found.
                (false, None) => picked.unwrap_or(index),
            };
            self.hand_on(&audience, at, shard, &run.bytes()[start as usize..end as usize]);
        }
    }
}
