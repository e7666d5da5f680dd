//! Events for one connection: numbered, each id once, in the form that the connection wants.
//!
//! The number is part of the message, so it is given under the lock of the connection's progress and counts only if the message went into
//! the inbox. The lock is never kept over a wait: where the inbox is full that is waited for first, and the number is the one that is next then.

use wse_core::ConnId;
use wse_core::encoding::envelope::{Event, Filling};
use wse_core::encoding::seal;
use wse_core::protocol::time::iso8601;
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::{MAX_SERVER_HEADER, ServerFrames};

use crate::health::message_id;
use crate::inbox::{Busy, Inbox, MANY_CAPACITY, Message, State};
use crate::people::{Addressee, Asked, Progress};
use crate::publish::Unsendable;
use crate::server::Server;
use crate::shared::Shared;
use crate::squeeze::{Squeezed, is_made_at_once, worthwhile};

/// An event on its way into the inbox of its connection's shard.
///
/// [`Sending::try_finish`] does all that needs no waiting and takes little time; [`Sending::finish`] does the rest.
pub struct Sending<'a> {
    shared: &'a Shared,
    conn: ConnId,
    to: Addressee,
    event: Event<'a>,
    /// JSON of more bytes goes into a zlib stream where the client takes those.
    compression_threshold: usize,
    id: String,
    ts: String,
}

impl Server {
    /// An event for one connection; `None` when it is closed or unknown.
    #[must_use]
    pub fn event<'a>(
        &'a self,
        id: &str,
        event: Event<'a>,
        compression_threshold: usize,
    ) -> Option<Sending<'a>> {
        let conn = self.parse_id(id)?;
        let shared = self.shared();
        let to = shared.shards[usize::from(conn.shard)].people.addressee(conn)?;
        let unix_ms = shared.clock.unix_ms();
        let id = if event.id.is_none() { message_id(unix_ms) } else { String::new() };
        let ts = if event.ts.is_none() { iso8601(unix_ms) } else { String::new() };
        Some(Sending { shared, conn, to, event, compression_threshold, id, ts })
    }
}

impl Sending<'_> {
    /// Puts the event into the inbox if that needs no waiting and little time: the bytes queued, or `None` if it does.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn try_finish(&self) -> Result<Option<usize>, Unsendable> {
        match self.to.progress.try_lock() {
            Some(mut progress) => self.attempt(&mut progress, true),
            None => Ok(None),
        }
    }

    /// Puts the event into the inbox, waiting where it must; the bytes queued, 0 if its id was sent before or the connection is gone.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn finish(&self) -> Result<usize, Unsendable> {
        self.inbox().wait_for_room(MANY_CAPACITY);
        // There was room a moment ago; what others took of it since is not waited for.
        Ok(self.attempt(&mut self.to.progress.lock(), false)?.unwrap_or(0))
    }

    fn inbox(&self) -> &Inbox {
        &self.shared.shards[usize::from(self.conn.shard)].inbox
    }

    fn attempt(&self, progress: &mut Progress, at_once: bool) -> Result<Option<usize>, Unsendable> {
        if self.event.id.is_some_and(|id| progress.seen.contains(id.as_bytes(), self.shared.id_seed)) {
            return Ok(Some(0));
        }
        let mut json = Vec::new();
        let filling = Filling { id: &self.id, ts: &self.ts, seq: progress.seq + 1 };
        self.event.write(&filling, &mut json);
        let limit = self.shared.options.max_outbound_queue_bytes;
        if json.len() + MAX_SERVER_HEADER > limit {
            return Err(Unsendable::TooLong { len: json.len(), limit });
        }
        let Some(form) = self.form(&json, at_once) else { return Ok(None) };
        let put = |state: &mut State| match &form {
            Form::Json => state.send(self.conn, Message { opcode: Opcode::Text, head: &[], tail: &json }),
            Form::Zlib(stream) => {
                state.send(self.conn, Message { opcode: Opcode::Binary, head: &[], tail: stream });
            }
            Form::Lane(squeezed) => state.send_frame(self.conn, squeezed.only()),
        };
        let done =
            if at_once { self.inbox().try_put_below(MANY_CAPACITY, put) } else { self.inbox().put_now(put) };
        match done {
            Ok(()) => {
                progress.seq += u64::from(self.event.seq.is_none());
                if let Some(id) = self.event.id {
                    progress.seen.insert(id.as_bytes(), self.shared.id_seed);
                }
                Ok(Some(form.payload_len(&json, self.to.asked == Asked::Sealing)))
            }
            Err(Busy::Closed) => Ok(Some(0)),
            Err(Busy::Full) => Ok(None),
        }
    }

    /// The message in the form that the connection wants; none if making it takes longer than is allowed now.
    fn form(&self, json: &[u8], at_once: bool) -> Option<Form> {
        if self.to.asked == Asked::Sealing {
            // What is sealed is plain text, and its shard seals it.
            return Some(Form::Json);
        }
        let message = Message { opcode: Opcode::Text, head: &[], tail: json };
        let is_packed = self.to.wire.format() == wse_core::encoding::Format::Msgpack;
        if self.to.asked == Asked::Zlib && !is_packed && json.len() > self.compression_threshold {
            return (!at_once).then(|| Form::Zlib(self.shared.squeezers.squeeze(json)));
        }
        let lanes = worthwhile(json.len(), self.to.wire.lanes());
        if at_once && !is_made_at_once(json.len(), lanes) {
            return None;
        }
        Some(self.shared.squeeze(&message, lanes).map_or(Form::Json, Form::Lane))
    }
}

/// How an event goes into the inbox.
enum Form {
    Json,
    Zlib(Vec<u8>),
    /// Packed, compressed by permessage-deflate, or both.
    Lane(Squeezed),
}

impl Form {
    /// Bytes of the message as it is sent, without the head of its frame.
    fn payload_len(&self, json: &[u8], sealed: bool) -> usize {
        match self {
            Self::Json if sealed => json.len() + seal::OVERHEAD,
            Self::Json => json.len(),
            Self::Zlib(stream) => stream.len(),
            Self::Lane(squeezed) => ServerFrames::of(squeezed.only()).map(|frame| frame.payload.len()).sum(),
        }
    }
}
