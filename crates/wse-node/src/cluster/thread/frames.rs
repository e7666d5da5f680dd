//! What peers send: each frame goes to the machine that it is for, and what finds no room here waits in its turn.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::task::spawn_local;
use wse_link::{Frame, Link};
use wse_mesh::ids::Session;
use wse_mesh::wire::{Kind, Malformed};

use super::{Core, LOOK};

/// How often a peer that is not read is said to be heard: it may be talking.
const HEARD_MS: u64 = 500;

/// A frame whose news or message found no room.
pub(super) struct Waiting {
    kind: Kind,
    topic: String,
    payload: Vec<u8>,
}

impl Core {
    /// Hands a frame to the machine that it is for.
    pub(super) fn handle_frame(&self, link: &Link, frame: &Frame<'_>) -> Result<(), Malformed> {
        use Kind::{InterestAck, InterestAsk, InterestDigest, Resync, Sub, Unsub};
        use Kind::{PresenceAsk, PresenceDelta, PresenceSnapshot};
        let session = link.session();
        match Kind::from_byte(frame.header.kind) {
            Some(kind @ (Kind::Msg | PresenceDelta | PresenceSnapshot)) => {
                self.handle_in_turn(link, kind, frame)
            }
            Some(kind) if kind.is_of_log() => self.handle_in_turn(link, kind, frame),
            Some(PresenceAsk) => self.take_presence(session, PresenceAsk, frame.payload).map(|_| ()),
            Some(kind @ (Sub | Unsub | Resync | InterestAck | InterestDigest | InterestAsk)) => {
                match self.peers.borrow().get(&session) {
                    Some(peer) => {
                        self.cluster.interests.lock().handle_frame(*peer, session, kind, frame.payload)
                    }
                    None => Ok(()),
                }
            }
            Some(kind) => {
                // What is wrong with it is seen to by the machine.
                let _ = self.members.borrow_mut().handle_frame(session, kind, frame.payload, self.now_ms());
                self.settle();
                Ok(())
            }
            None => {
                self.cluster.counts.unknown.fetch_add(1, Relaxed);
                Ok(())
            }
        }
    }

    /// Takes what needs room for it at this node: without any it waits, and with it all that comes after it on the link.
    fn handle_in_turn(&self, link: &Link, kind: Kind, frame: &Frame<'_>) -> Result<(), Malformed> {
        let session = link.session();
        if !self.peers.borrow().contains_key(&session) {
            return Ok(());
        }
        let mut waiting = self.waiting.borrow_mut();
        let line = waiting.get_mut(&session);
        if line.is_none() && self.take(session, kind, frame.topic, frame.payload)? {
            return Ok(());
        }
        let left = Waiting { kind, topic: frame.topic.to_owned(), payload: frame.payload.to_vec() };
        match line {
            Some(line) => line.push_back(left),
            None => {
                waiting.insert(session, VecDeque::from([left]));
                link.pause();
                if let Some(this) = self.this.upgrade() {
                    spawn_local(this.wait_for_room(link.clone()));
                }
            }
        }
        Ok(())
    }

    /// Takes one such frame, if there is room; false if there is none.
    fn take(&self, session: Session, kind: Kind, topic: &str, payload: &[u8]) -> Result<bool, Malformed> {
        match kind {
            Kind::Msg => self.cluster.deliver(&self.shared, topic, payload),
            kind if kind.is_of_log() => self.take_of_log(session, kind, topic, payload),
            kind => self.take_presence(session, kind, payload),
        }
    }

    fn take_of_log(
        &self,
        session: Session,
        kind: Kind,
        topic: &str,
        payload: &[u8],
    ) -> Result<bool, Malformed> {
        let from = self.peers.borrow().get(&session).copied();
        let (Some(keeper), Some(from)) = (&self.keeper, from) else { return Ok(true) };
        if keeper.is_behind() {
            return Ok(false);
        }
        keeper.handle_frame(from, session, kind, topic, payload, self.now_ms())?;
        Ok(true)
    }

    /// Takes what found no room when there is some again, and then reads on.
    async fn wait_for_room(self: Rc<Self>, link: Link) {
        let session = link.session();
        let mut heard_ms = 0;
        loop {
            tokio::time::sleep(LOOK).await;
            let now_ms = self.now_ms();
            if now_ms >= heard_ms + HEARD_MS {
                heard_ms = now_ms;
                self.members.borrow_mut().handle_heard(session, now_ms);
                self.settle();
            }
            let Some(mut line) = self.waiting.borrow_mut().remove(&session) else { break };
            let mut malformed = None;
            while let Some(Waiting { kind, topic, payload }) = line.front() {
                match self.take(session, *kind, topic, payload) {
                    Ok(true) => drop(line.pop_front()),
                    Ok(false) => break,
                    Err(error) => {
                        malformed = Some(error);
                        break;
                    }
                }
            }
            if let Some(error) = malformed {
                self.refuse(session, error);
                break;
            }
            if line.is_empty() {
                break;
            }
            self.waiting.borrow_mut().insert(session, line);
        }
        link.resume();
        // What was taken may have given the machines something to do.
        self.settle();
    }

    pub(super) fn refuse(&self, session: Session, malformed: Malformed) {
        self.members.borrow_mut().handle_malformed(session, malformed, self.now_ms());
        self.settle();
    }
}
