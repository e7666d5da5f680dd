//! Presence between this node and its peers: what the cluster's thread tells the machine of it, and does for it.

use std::sync::atomic::Ordering::Relaxed;

use wse_link::Class;
use wse_mesh::ids::Session;
use wse_mesh::presence::{Note, Presence, topics_of};
use wse_mesh::wire::{Kind, Malformed};

use super::Core;
use crate::cluster::BOUNDS;
use crate::log::limited;

/// Bytes waiting for a peer from which it is told no more of presence: it finds that something is missing and asks for all when it reads
/// again. Beyond it other control frames still have room, so that the link stays.
const TOO_FAR_BEHIND: usize = BOUNDS.data + BOUNDS.control / 2;

impl Core {
    /// Sends what is to be told of the connections of this node, and lets more users of dead nodes leave.
    pub(super) fn settle_presence(&self) {
        self.attend(|_| ());
    }

    /// Does something to the machine, and what it wants then; nothing without presence.
    pub(super) fn attend<R>(&self, act: impl FnOnce(&mut Presence) -> R) -> Option<R> {
        let (result, news) = self.shared.with_presence(self.now_ms(), act)?;
        self.void.set(news.void);
        for (session, kind, payload) in news.frames {
            if let Some(link) = self.links.borrow().get(&session)
                && link.waiting() < TOO_FAR_BEHIND
            {
                let _ = link.frame(Class::Control, kind as u8, "", &payload);
            }
        }
        for Note::TooMany(peer) in news.notes {
            tracing::warn!(%peer, "a peer has more than a million entries of presence: some of its users are not listed here");
        }
        Some(result)
    }

    /// Takes a frame about presence, if there is room to tell of what it says; false if there is none.
    pub(super) fn take_presence(
        &self,
        session: Session,
        kind: Kind,
        payload: &[u8],
    ) -> Result<bool, Malformed> {
        let Some(peer) = self.peers.borrow().get(&session).copied() else { return Ok(true) };
        if self.shared.attendance.is_none() {
            self.cluster.counts.unknown.fetch_add(1, Relaxed);
            limited!(
                warn,
                self.shared.clock,
                %peer,
                "a peer tells who is present, and this node was started without presence_enabled: it is ignored"
            );
            return Ok(true);
        }
        if !self.shared.has_presence_room(topics_of(kind, payload)?) {
            return Ok(false);
        }
        self.attend(|presence| presence.handle_frame(peer, session, kind, payload)).unwrap_or(Ok(()))?;
        Ok(true)
    }
}
