//! What is known of one peer's interest, and what it knows of this node's.

use std::sync::Arc;

use super::entry::Interest;
use super::frames::{Changes, Digest, ReadPart};
use super::mask::PeerIndex;
use super::table::Table;
use crate::ids::{NodeId, Session};
use crate::pages::{Catching, Pages, Retry};
use crate::wire::Malformed;

/// Another node.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) index: PeerIndex,
    /// The link to it, if there is one.
    pub(super) session: Option<Session>,
    pub(super) hearing: Hearing,
    pub(super) telling: Telling,
}

/// What is known of its set.
#[derive(Debug)]
pub(super) struct Hearing {
    standing: Standing,
    /// What of the set is in the table: its size and sum.
    count: u64,
    sum: u64,
    /// The newest version that was heard of in this session.
    pub(super) version: u64,
    /// Whether that was not acknowledged yet.
    pub(super) owes_ack: bool,
    retry: Retry,
}

/// How the table stands to the peer's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is another: the peer has to say something first.
    Unknown,
    /// It is being received.
    Catching(Catching),
    /// It is the same.
    Known,
    /// The set is too large to be kept.
    TooLarge,
}

/// What it knows of this node's set.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pub(super) pages: Pages<Box<[u8]>>,
    /// The version at which this session began, and the one that it has acknowledged in it.
    pub(super) had: u64,
    pub(super) acked: u64,
    pub(super) retry: Retry,
}

/// What follows from a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Nothing,
    /// Ask for the set, or for more of it.
    Ask(u64, u64),
    /// The set has grown beyond the limit.
    TooLarge,
}

/// Asks for a set from its beginning.
pub(super) const ASK_ANEW: Reply = Reply::Ask(0, 0);

impl Peer {
    pub(super) fn new(id: NodeId, index: PeerIndex) -> Self {
        let hearing = Hearing {
            standing: Standing::Unknown,
            count: 0,
            sum: 0,
            version: 0,
            owes_ack: false,
            retry: Retry::default(),
        };
        Self { id, index, session: None, hearing, telling: Telling::default() }
    }

    /// A link to it stands, at this version of the own set. What is in the table of it stays there, to be compared with what it says.
    pub(super) fn handle_up(&mut self, session: Session, version: u64, table: &mut Table) {
        self.session = Some(session);
        self.telling.pages.stop();
        self.telling.had = version;
        self.telling.acked = 0;
        self.telling.retry.reset();
        self.hearing.version = 0;
        self.hearing.owes_ack = false;
        self.hearing.retry.reset();
        self.hearing.stand(Standing::Unknown, self.index, table);
        table.set_linked(self.index, true);
    }

    pub(super) fn handle_down(&mut self, table: &mut Table) {
        self.session = None;
        self.telling.pages.stop();
        self.hearing.owes_ack = false;
        table.set_linked(self.index, false);
    }

    /// The peer's set has changed.
    pub(super) fn handle_changes(
        &mut self,
        changes: &Changes<'_>,
        is_in: bool,
        table: &mut Table,
        max_entries: u64,
    ) -> Result<Reply, Malformed> {
        let is_next = changes.first == self.hearing.version + 1;
        self.hearing.hear(changes.version)?;
        match self.hearing.standing {
            Standing::Unknown | Standing::TooLarge => return Ok(Reply::Nothing),
            Standing::Catching(_) | Standing::Known if !is_next => return Ok(self.lose(table)),
            Standing::Catching(_) | Standing::Known => {}
        }
        let mut all_news = true;
        for interest in &changes.entries {
            all_news &= self.hearing.set(interest, is_in, self.index, table);
        }
        if self.hearing.count > max_entries {
            return Ok(self.give_up(table));
        }
        // While a set is being received a change may be of an entry that is still to come, or has come with the change in it.
        let is_wrong = self.hearing.standing == Standing::Known && !all_news;
        Ok(if is_wrong { self.lose(table) } else { Reply::Nothing })
    }

    /// The peer says what its set comes to.
    pub(super) fn handle_digest(
        &mut self,
        digest: &Digest,
        table: &mut Table,
        max_entries: u64,
    ) -> Result<Reply, Malformed> {
        self.hearing.hear(digest.version)?;
        let is_same = self.hearing.is(digest);
        match self.hearing.standing {
            // What is under way has its own digest at its end.
            Standing::Catching(_) => Ok(Reply::Nothing),
            Standing::TooLarge if digest.count > max_entries => Ok(Reply::Nothing),
            Standing::Unknown if digest.count > max_entries => Ok(self.give_up(table)),
            Standing::Known if is_same => Ok(Reply::Nothing),
            Standing::Unknown if is_same => {
                self.hearing.know(self.index, table);
                Ok(Reply::Nothing)
            }
            Standing::Known | Standing::Unknown | Standing::TooLarge => Ok(self.lose(table)),
        }
    }

    /// A part of the peer's set.
    pub(super) fn handle_part(
        &mut self,
        part: &ReadPart<'_>,
        table: &mut Table,
        max_entries: u64,
    ) -> Result<Reply, Malformed> {
        if part.part == 0 {
            self.hearing.hear(part.version)?;
            table.clear(self.index);
            (self.hearing.count, self.hearing.sum) = (0, 0);
            self.hearing.stand(Standing::Catching(Catching::begin(part.number)), self.index, table);
        }
        let Standing::Catching(mut catching) = self.hearing.standing else {
            // It was asked for anew already, or it is more than is kept.
            return Ok(Reply::Nothing);
        };
        if part.part > 0 {
            match catching.is_next(part.number, part.part) {
                Some(true) => self.hearing.standing = Standing::Catching(catching),
                Some(false) => return Ok(self.lose(table)),
                None => return Ok(Reply::Nothing),
            }
        }
        self.hearing.retry.progress();
        for interest in &part.entries {
            self.hearing.set(interest, true, self.index, table);
        }
        if self.hearing.count > max_entries {
            return Ok(self.give_up(table));
        }
        if let Some(digest) = &part.digest {
            let is_whole = digest.version == self.hearing.version && self.hearing.is(digest);
            if !is_whole {
                // Not at once: two that count differently would keep each other busy.
                self.hearing.stand(Standing::Unknown, self.index, table);
                return Ok(Reply::Nothing);
            }
            self.hearing.know(self.index, table);
        }
        let (number, parts) = catching.so_far();
        Ok(Reply::Ask(number, parts))
    }

    /// Time has passed: whether to ask for the set again.
    pub(super) fn is_silent(&mut self, now_ms: u64, table: &mut Table) -> bool {
        let is_waiting = matches!(self.hearing.standing, Standing::Unknown | Standing::Catching(_));
        let is_due = is_waiting && self.hearing.retry.is_due(now_ms);
        if is_due {
            self.hearing.stand(Standing::Unknown, self.index, table);
        }
        is_due
    }

    /// Something was missed.
    fn lose(&mut self, table: &mut Table) -> Reply {
        self.hearing.stand(Standing::Unknown, self.index, table);
        self.hearing.retry.progress();
        ASK_ANEW
    }

    fn give_up(&mut self, table: &mut Table) -> Reply {
        table.clear(self.index);
        (self.hearing.count, self.hearing.sum) = (0, 0);
        self.hearing.stand(Standing::TooLarge, self.index, table);
        Reply::TooLarge
    }
}

impl Hearing {
    pub(super) fn is_known(&self) -> bool {
        self.standing == Standing::Known
    }

    /// Whether nothing more has to be heard before it is sent what it wants, and nothing else if that can be kept.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Known | Standing::TooLarge)
    }

    fn stand(&mut self, standing: Standing, index: PeerIndex, table: &mut Table) {
        self.standing = standing;
        table.set_unknown(index, standing != Standing::Known);
    }

    fn know(&mut self, index: PeerIndex, table: &mut Table) {
        self.retry.reset();
        self.stand(Standing::Known, index, table);
    }

    /// A version was heard of. On one link it never falls.
    fn hear(&mut self, version: u64) -> Result<(), Malformed> {
        if version < self.version {
            return Err(Malformed("version of interest falls"));
        }
        self.version = version;
        self.owes_ack = true;
        Ok(())
    }

    fn is(&self, digest: &Digest) -> bool {
        (self.count, self.sum) == (digest.count, digest.sum)
    }

    fn set(&mut self, interest: &Interest<'_>, is_in: bool, index: PeerIndex, table: &mut Table) -> bool {
        let is_news = table.set(index, interest, is_in);
        if is_news && is_in {
            self.count += 1;
            self.sum = self.sum.wrapping_add(interest.hash());
        } else if is_news {
            self.count -= 1;
            self.sum = self.sum.wrapping_sub(interest.hash());
        }
        is_news
    }
}

/// Payloads are shared by all peers that are sent the same.
pub(super) fn shared(payload: Vec<u8>) -> Arc<[u8]> {
    payload.into()
}
