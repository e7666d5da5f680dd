//! The publications of this node: numbered, kept until they are stored, and sent again when they may be lost.

use std::collections::VecDeque;
use std::sync::Arc;

use wse_core::history::Position;

use super::config::Config;
use super::core::Core;
use super::frames::about_one::{Stored, put_publication, put_publish_head};
use super::output::Output;
use super::ring::Message;
use super::topic::Topic;
use crate::ids::{NodeId, Session};
use crate::wire::Kind;

/// What a publication costs beside its bytes.
const OVERHEAD: usize = 64;

/// Publications wait already that come to the limit; nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes of publications wait to be stored")]
pub struct Full;

#[derive(Debug)]
struct Publication {
    /// For whoever wants to know.
    token: Option<u64>,
    message: Message,
    is_stored: bool,
}

/// Publications of one topic from the first that is not stored on.
#[derive(Debug)]
pub(crate) struct Unacked {
    /// The number of the first.
    base: u64,
    queue: VecDeque<Publication>,
    /// To whom they were sent, and the number of the last that was.
    sent_to: Option<(NodeId, Option<Session>)>,
    sent: u64,
    /// When something was sent first or acknowledged last.
    progress_at: u64,
}

impl Unacked {
    /// All of them are sent again.
    pub(crate) fn send_again(&mut self) {
        self.sent_to = None;
    }

    /// What was sent to a peer may not have arrived.
    pub(crate) fn lost(&mut self, peer: NodeId) {
        if self.sent_to.is_some_and(|(to, _)| to == peer) {
            self.sent_to = None;
        }
    }

    pub(crate) fn resend_at(&self) -> u64 {
        self.progress_at + Config::RETRY_MS
    }

    /// Answers how many are sent again.
    pub(crate) fn handle_timeout(&mut self, now: u64) -> u64 {
        if now < self.resend_at() {
            return 0;
        }
        self.sent_to = None;
        self.progress_at = now;
        self.queue.len() as u64
    }
}

impl Topic {
    /// A message of this node's.
    pub(crate) fn publish(
        &mut self,
        core: &mut Core,
        message: Message,
        token: Option<u64>,
    ) -> Result<(), Full> {
        let cost = message.len() + OVERHEAD;
        if core.unacked_bytes + cost > core.config.unacked_bytes && core.unacked_bytes > 0 {
            return Err(Full);
        }
        core.unacked_bytes += cost;
        self.published += 1;
        let (base, now) = (self.published, core.now);
        let new = || Unacked { base, queue: VecDeque::new(), sent_to: None, sent: 0, progress_at: now };
        let unacked = self.unacked.get_or_insert_with(|| Box::new(new()));
        unacked.queue.push_back(Publication { token, message, is_stored: false });
        self.touch(core);
        Ok(())
    }

    /// Sends what was not sent to whom it should be.
    pub(crate) fn send_unacked(&mut self, core: &mut Core) {
        let is_here = self.home == core.me || self.is_home();
        let to = if is_here { core.me } else { self.home };
        let session = core.session(to);
        let can_send = if is_here { self.is_home() } else { session.is_some() };
        let Some(unacked) = self.unacked.as_mut().filter(|_| can_send) else { return };
        if unacked.sent_to != Some((to, session)) {
            unacked.sent_to = Some((to, session));
            unacked.sent = unacked.base - 1;
        }
        let (base, skip) = (unacked.base, (unacked.sent + 1).saturating_sub(unacked.base) as usize);
        let mut first = base + skip as u64;
        unacked.sent = base + unacked.queue.len() as u64 - 1;
        if first > unacked.sent {
            return;
        }
        if is_here {
            let messages: Vec<Message> =
                unacked.queue.iter().skip(skip).map(|one| one.message.clone()).collect();
            self.stamp(core, to, base, first, &mut messages.into_iter());
            return;
        }
        let mut unsent = unacked.queue.iter().skip(skip).peekable();
        while unsent.peek().is_some() {
            let mut payload = Vec::new();
            put_publish_head(&mut payload, base, first);
            let begin = payload.len();
            let part_bytes = core.config.part_bytes;
            while let Some(one) = unsent
                .next_if(|one| payload.len() == begin || payload.len() + one.message.len() <= part_bytes)
            {
                put_publication(&mut payload, &one.message);
                first += 1;
            }
            core.send(to, Kind::LogPublish, &self.name, Arc::new(payload));
        }
    }

    /// Publications of this node are stored.
    pub(crate) fn on_stored(&mut self, core: &mut Core, stored: &[Stored]) {
        let Some(unacked) = &mut self.unacked else { return };
        for run in stored {
            let last = run.first.saturating_add(run.count).min(unacked.base + unacked.queue.len() as u64);
            for seq in run.first.max(unacked.base)..last {
                let one = &mut unacked.queue[(seq - unacked.base) as usize];
                if std::mem::replace(&mut one.is_stored, true) {
                    continue;
                }
                unacked.progress_at = core.now;
                if let Some(token) = one.token {
                    let place =
                        |first: Position| Position { offset: first.offset + (seq - run.first), ..first };
                    let position = run.position.map(place);
                    let topic = self.name.clone();
                    core.outputs.push_back(Output::Stored { topic, token, position, copies: run.copies });
                }
            }
        }
        while let Some(one) = unacked.queue.pop_front_if(|one| one.is_stored) {
            core.unacked_bytes -= one.message.len() + OVERHEAD;
            unacked.base += 1;
        }
        if unacked.queue.is_empty() {
            self.unacked = None;
        }
        self.touch(core);
    }
}
