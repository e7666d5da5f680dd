//! Silence, suspicion and death.

use super::Members;
use super::dial::Joining;
use super::link::Stage;
use super::output::{Level, Why};
use super::record::{Death, Record, State};
use crate::ids::{NodeId, Session};
use crate::wire::Kind;
use crate::wire::gossip::encode_stamp;

/// The dead are remembered for so long after their death and the last news of their life, and so are their addresses.
const REMEMBER_MS: u64 = 3_600_000;

impl Members {
    pub(super) fn has_link(&self, id: NodeId) -> bool {
        self.links.values().any(|link| link.is_with(id))
    }

    /// Something came on a link.
    pub(super) fn heard(&mut self, session: Session) {
        let Some(link) = self.links.get_mut(&session) else { return };
        link.heard_ms = self.now_ms;
        let Some(other) = link.other else { return };
        let record = self.records.get_mut(&other.id).expect("a named link has a record");
        record.heard_ms = self.now_ms;
        if record.state == State::Suspect && record.session == Some(session) {
            (record.state, record.since_ms) = (State::Alive, self.now_ms);
            self.is_view_stale = true;
        }
        if record.doubted_until_ms.take().is_some() {
            let address = record.address.clone().expect("it was doubted for its address");
            let rival = self.book.get(&address).and_then(|target| target.id);
            self.two_at(&address, other.id, rival.unwrap_or(self.id));
        }
    }

    /// This thread stood still: what came meanwhile was not heard, and what was to be done was not.
    pub(super) fn forgive(&mut self, late_ms: u64) {
        for link in self.links.values_mut() {
            link.heard_ms = self.now_ms;
            if !link.counts() {
                link.since_ms += late_ms;
            }
        }
        for record in self.records.values_mut().filter(|record| !record.is_dead()) {
            record.heard_ms = self.now_ms;
            record.doubted_until_ms = record.doubted_until_ms.map(|until_ms| until_ms + late_ms);
        }
    }

    /// When a member is to be looked at, if nothing happens before.
    fn member_deadline_ms(&self, record: &Record) -> u64 {
        if record.is_dead() {
            // Forgetting one of whom others go on to tell would only mean suspecting it anew.
            let last_ms = record.since_ms.max(record.told_ms);
            return if self.has_link(record.id) { u64::MAX } else { last_ms + REMEMBER_MS };
        }
        let unheard_ms = record.heard_ms + self.config.dead_after_ms;
        record.doubted_until_ms.map_or(unheard_ms, |until_ms| until_ms.min(unheard_ms))
    }

    pub(super) fn watch_members(&mut self) {
        let due = self.records.values().filter(|record| self.member_deadline_ms(record) <= self.now_ms);
        for id in due.map(|record| record.id).collect::<Vec<_>>() {
            let record = &self.records[&id];
            if record.is_dead() {
                self.forget(id);
            } else if record.doubted_until_ms.is_some_and(|until_ms| until_ms <= self.now_ms) {
                self.die(id, Death::Replaced);
            } else {
                self.die(id, Death::Unheard);
            }
        }
    }

    pub(super) fn watch_links(&mut self) {
        for session in self.links.keys().copied().collect::<Vec<_>>() {
            // One that is closed may take others with it.
            let Some(link) = self.links.get(&session) else { continue };
            let silent_ms = self.now_ms - link.heard_ms;
            if !link.counts() {
                if self.now_ms >= link.since_ms + self.config.dead_after_ms {
                    self.came_to_nothing(session);
                }
            } else if silent_ms >= self.config.dead_after_ms {
                self.close(session, Why::Silent);
            } else {
                if silent_ms >= self.config.suspect_after_ms() {
                    self.suspect(session);
                }
                self.ping_if_due(session);
            }
        }
    }

    /// A link that does not count for too long.
    fn came_to_nothing(&mut self, session: Session) {
        let link = &self.links[&session];
        let what = if link.stage == Stage::Greeting { "HELLO" } else { "choice of a link" };
        let (place, subject) = (link.place(), link.subject());
        self.note_once(Level::Warn, &format!("silent {subject}"), format!("no {what} came from {place}"));
        self.close(session, Why::Silent);
    }

    fn suspect(&mut self, session: Session) {
        let id = self.links[&session].other.expect("it counts").id;
        let record = self.records.get_mut(&id).expect("a named link has a record");
        if record.state == State::Alive {
            (record.state, record.since_ms) = (State::Suspect, self.now_ms);
            self.is_view_stale = true;
        }
    }

    fn ping_if_due(&mut self, session: Session) {
        let link = self.links.get_mut(&session).expect("it is being watched");
        if link.ping_at_ms <= self.now_ms {
            let beat_ms = self.config.heartbeat_ms;
            link.ping_at_ms =
                self.now_ms + self.random.between(beat_ms - beat_ms / 10, beat_ms + beat_ms / 10);
            let stamp = encode_stamp(self.now_ms);
            self.send(session, Kind::Ping, stamp);
        }
    }

    /// When anything but a dial is due.
    pub(super) fn next_deadline_ms(&self) -> u64 {
        let links = self.links.values().map(|link| {
            if !link.counts() {
                return link.since_ms + self.config.dead_after_ms;
            }
            let other = link.other.expect("it counts");
            let is_alive = self.records[&other.id].state == State::Alive;
            let patience_ms =
                if is_alive { self.config.suspect_after_ms() } else { self.config.dead_after_ms };
            link.ping_at_ms.min(link.heard_ms + patience_ms)
        });
        let members = self.records.values().map(|record| self.member_deadline_ms(record));
        let has_listener = self.records.values().any(|record| record.session.is_some());
        let list = has_listener.then_some(self.list_at_ms);
        let joining = self.joining.map(Joining::deadline_ms);
        let established = self.established_at_ms();
        links.chain(members).chain(list).chain(joining).chain(established).min().unwrap_or(u64::MAX)
    }

    /// A member is dead: its links go, and it is told if it said so itself.
    pub(super) fn die(&mut self, id: NodeId, death: Death) {
        let record = self.records.get_mut(&id).expect("who dies was known");
        let was_linked = record.was_linked;
        (record.state, record.since_ms) = (State::Dead(death), self.now_ms);
        (record.was_linked, record.told_suspect, record.doubted_until_ms) = (false, false, None);
        self.is_view_stale = true;
        for session in self.sessions_with(id) {
            self.close(session, Why::Dead);
        }
        self.note_death(id, death, was_linked);
        if death == Death::Shutdown {
            self.announce(id);
        }
    }

    fn sessions_with(&self, id: NodeId) -> Vec<Session> {
        self.links.iter().filter(|(_, link)| link.is_with(id)).map(|(session, _)| *session).collect()
    }

    fn note_death(&mut self, id: NodeId, death: Death, was_linked: bool) {
        let (level, how) = match death {
            Death::Unheard => (Level::Warn, "was not heard for too long"),
            Death::Refused => (Level::Warn, "does not listen any more"),
            Death::Shutdown => (Level::Info, "has shut down"),
            Death::Replaced => (Level::Info, "has been replaced by another process"),
            Death::Told => (Level::Info, "has shut down, another node says"),
        };
        let place =
            self.records[&id].address.as_ref().map_or(String::new(), |address| format!(" at {address}"));
        // Of one that was never met only gossip has lost sight.
        let level = if was_linked { level } else { Level::Debug };
        self.note(level, format!("node {id}{place} is dead: it {how}"));
    }

    pub(super) fn forget(&mut self, id: NodeId) {
        let record = self.records.remove(&id).expect("who is forgotten was known");
        if let Some(address) = record.address {
            self.book.take(&address, id);
        }
        self.is_view_stale = true;
    }
}
