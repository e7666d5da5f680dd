//! The memory of one batch, and what of it each client gets: plain, a twin in the form it wants, or what is made for it alone.

use std::cell::RefCell;
use std::sync::Arc;

use wse_core::encoding::Format;
use wse_core::history::Chunk;
use wse_core::outbox::Run as _;
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::ServerFrames;

use super::conn::Conn;
use crate::inbox::{Contents, Entry};
use crate::run::{Note, Pool, Run};
use crate::squeeze::{Lane, Twins, Wire, write_text};
use crate::topics::Audience;

/// Some frames of a batch, and their twins.
#[derive(Clone, Copy)]
pub(super) struct Piece<'e> {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) twins: Option<&'e Twins>,
    /// Of which topic they are; `None` for what is sent to one connection alone, or to all.
    pub(super) audience: Option<&'e Arc<Audience>>,
    /// How many messages of the topic these are, and the offset of the first; 0 without history.
    pub(super) messages: u32,
    pub(super) first: u64,
}

impl<'e> Piece<'e> {
    /// What an entry of the inbox sends, if it sends anything.
    pub(super) fn of(entry: &'e Entry) -> Option<Self> {
        match entry {
            Entry::Publish { audience, start, end, messages, first, twins } => Some(Self {
                start: *start,
                end: *end,
                twins: twins.as_deref(),
                audience: Some(audience).filter(|audience| audience.topic().is_some()),
                messages: *messages,
                first: *first,
            }),
            Entry::Send { start, end, .. } => {
                Some(Self { start: *start, end: *end, twins: None, audience: None, messages: 1, first: 0 })
            }
            _ => None,
        }
    }

    /// Frames that are no publications: a client that falls behind keeps them.
    pub(super) fn unnoted(start: u32, end: u32, messages: u32) -> Self {
        Self { start, end, twins: None, audience: None, messages, first: 0 }
    }

    /// Whether another begins where it ends.
    fn is_followed_by(&self, next: &Self) -> bool {
        self.first == 0 || self.first.wrapping_add(u64::from(self.messages)) == next.first
    }

    /// The note for its frames where they lie in a run.
    fn note(&self, start: u32, end: u32) -> Option<Note> {
        let topic = self.audience.and_then(|audience| audience.topic())?.clone();
        Some(Note { start, end, first: self.first, topic })
    }
}

/// A part of a run.
type Part = (Run, u32, u32);

/// The frames of one batch.
pub(super) struct Runs {
    pub(super) plain: Run,
    twins: Option<Box<[Option<Run>; Lane::COUNT]>>,
    /// The frames that were last packed here, since nobody had packed them before, by where they lie in `plain`.
    late: RefCell<Option<(u32, u32, Run)>>,
    pool: Pool,
}

impl Runs {
    /// Takes the bytes of a batch; another buffer takes their place.
    pub(super) fn take(contents: &mut Contents, pool: &Pool) -> Self {
        let bytes = std::mem::replace(&mut contents.bytes, pool.buffer());
        let lanes = contents.lanes.take();
        let pieces = || contents.entries.iter().filter_map(Piece::of);
        let plain =
            pool.noted(bytes, pieces().filter_map(|piece| piece.note(piece.start, piece.end)).collect());
        let twins = lanes.map(|lanes| {
            let mut index = 0;
            Box::new(lanes.map(|bytes| {
                let lane = Lane::at(index);
                index += 1;
                (!bytes.is_empty()).then(|| {
                    let twin = |piece: Piece<'_>| {
                        let (start, end) = piece.twins?.get(lane)?;
                        piece.note(start, end)
                    };
                    pool.noted(bytes, pieces().filter_map(twin).collect())
                })
            }))
        });
        Self { plain, twins, late: RefCell::default(), pool: pool.clone() }
    }

    /// Frames that were not in a batch.
    pub(super) fn of(frames: Vec<u8>, pool: &Pool) -> Self {
        Self {
            plain: pool.run(frames),
            twins: Default::default(),
            late: RefCell::default(),
            pool: pool.clone(),
        }
    }

    /// Notes for a connection that it is to be sent a piece.
    #[inline]
    pub(super) fn give(&self, conn: &mut Conn, piece: Piece<'_>) {
        match conn.wire {
            Wire::Plain => conn.outbox.push(&self.plain, piece.start, piece.end),
            Wire::Shared(lane) => match self.twin(lane, piece) {
                Some((run, start, end)) => conn.outbox.push(run, start, end),
                None => {
                    let (run, start, end) = self.without_twin(lane, piece);
                    conn.outbox.push(&run, start, end);
                }
            },
            Wire::Own => give_own(conn, &self.pool, &self.plain, piece.start, piece.end, piece.note(0, 0)),
        }
    }

    /// The same for a connection that gets nothing but the pieces of one group, which are put together for all such.
    pub(super) fn give_joined(&self, conn: &mut Conn, pieces: &[Piece<'_>], joined: &mut Joined) {
        let index = match conn.wire {
            Wire::Shared(lane) => lane.index(),
            Wire::Plain | Wire::Own => Lane::COUNT,
        };
        let (run, start, end) = joined.0[index].get_or_insert_with(|| self.join(conn.wire, pieces));
        match conn.wire {
            Wire::Own if !pieces.windows(2).all(|two| two[0].is_followed_by(&two[1])) => {
                // Words of another epoch are among them: each by itself, so that the notes say the right offsets.
                pieces.iter().for_each(|piece| self.give(conn, *piece));
            }
            Wire::Own => {
                // The pieces of a group are of one topic and follow each other.
                let note = pieces.first().and_then(|piece| piece.note(0, 0));
                give_own(conn, &self.pool, run, *start, *end, note);
            }
            _ => conn.outbox.push(run, *start, *end),
        }
    }

    /// One contiguous run: the original where the pieces lie together, else a copy.
    fn join(&self, wire: Wire, pieces: &[Piece<'_>]) -> Part {
        let part = |piece: &Piece<'_>| match wire {
            Wire::Shared(lane) => match self.twin(lane, *piece) {
                Some((run, start, end)) => (run.clone(), start, end),
                None => self.without_twin(lane, *piece),
            },
            Wire::Plain | Wire::Own => (self.plain.clone(), piece.start, piece.end),
        };
        if let [piece] = pieces {
            return part(piece);
        }
        let (mut bytes, mut notes) = (self.pool.buffer(), Vec::with_capacity(pieces.len()));
        for piece in pieces {
            let (run, start, end) = part(piece);
            let begins = bytes.len() as u32;
            bytes.extend_from_slice(&run.bytes()[start as usize..end as usize]);
            notes.extend(piece.note(begins, bytes.len() as u32));
        }
        let end = bytes.len() as u32;
        (self.pool.noted(bytes, notes), 0, end)
    }

    /// The twin of a piece.
    #[inline]
    fn twin(&self, lane: Lane, piece: Piece<'_>) -> Option<(&Run, u32, u32)> {
        let (start, end) = piece.twins?.get(lane)?;
        let run = self.twins.as_ref()?[lane.index()].as_ref()?;
        Some((run, start, end))
    }

    /// What a client gets in the place of a twin that nobody made, because it had not come yet, or the message is for it alone: a message
    /// that is not compressed, as any client takes it, but packed if that was agreed on.
    fn without_twin(&self, lane: Lane, piece: Piece<'_>) -> Part {
        let Piece { start, end, .. } = piece;
        let mut late = self.late.borrow_mut();
        // The next client of the same delivery gets the same.
        if let Some((_, _, run)) = late.as_ref().filter(|late| (late.0, late.1) == (start, end))
            && lane.format() == Format::Msgpack
        {
            return (run.clone(), 0, run.bytes().len() as u32);
        }
        let frames = &self.plain.bytes()[start as usize..end as usize];
        let Some(bytes) = packed(lane.format(), frames) else { return (self.plain.clone(), start, end) };
        let len = bytes.len() as u32;
        let run = self.pool.noted(bytes, piece.note(0, len).into_iter().collect());
        *late = Some((start, end, run.clone()));
        (run, 0, len)
    }
}

/// Frames of a server again, those of texts packed; `None` where there is nothing to be packed.
fn packed(format: Format, frames: &[u8]) -> Option<Vec<u8>> {
    let is_text = |opcode, compressed: bool| opcode == Opcode::Text && !compressed;
    if format == Format::Json
        || !ServerFrames::of(frames).any(|frame| is_text(frame.opcode, frame.compressed))
    {
        return None;
    }
    let mut bytes = Vec::with_capacity(frames.len());
    for frame in ServerFrames::of(frames) {
        if is_text(frame.opcode, frame.compressed) {
            write_text(&mut bytes, frame.payload, format);
        } else {
            bytes.extend_from_slice(frame.whole);
        }
    }
    Some(bytes)
}

/// Compresses or seals for one client alone: its context must see exactly what it is sent, in that order.
fn give_own(conn: &mut Conn, pool: &Pool, run: &Run, start: u32, end: u32, note: Option<Note>) {
    let frames = &run.bytes()[start as usize..end as usize];
    let mut bytes = Vec::with_capacity(frames.len() / 2);
    if !conn.own.as_mut().is_some_and(|own| own.rewrite(&mut bytes, frames)) {
        return conn.outbox.push(run, start, end);
    }
    give_made(conn, pool, bytes, note);
}

/// Frames that were made for one client alone, and belong to one note if to any.
fn give_made(conn: &mut Conn, pool: &Pool, bytes: Vec<u8>, note: Option<Note>) {
    let end = bytes.len() as u32;
    let notes = note.map(|note| Note { end, ..note }).into_iter().collect();
    conn.outbox.push(&pool.noted(bytes, notes), 0, end);
}

/// Notes for a connection that it is to be sent a frame that may be taken back: packed or sealed where that was agreed on, but not compressed
/// with a context of its own, which would then have seen what the client has not. Whether it is another frame than the one given.
pub(super) fn give_work(conn: &mut Conn, pool: &Pool, run: &Run, start: u32, end: u32) -> bool {
    let frame = &run.bytes()[start as usize..end as usize];
    let made = match conn.wire {
        Wire::Plain => None,
        Wire::Shared(lane) => packed(lane.format(), frame),
        Wire::Own => conn.own.as_mut().and_then(|own| own.seal.as_mut()).map(|seal| {
            let mut bytes = Vec::with_capacity(frame.len() + 64);
            seal.rewrite_frames(&mut bytes, frame);
            bytes
        }),
    };
    match made {
        Some(bytes) => {
            give_made(conn, pool, bytes, None);
            true
        }
        None => {
            conn.outbox.push(run, start, end);
            false
        }
    }
}

/// Notes for a connection that it is to be sent a part of a topic's history: messages as they are kept, which any client takes, but packed
/// or sealed where that was agreed on.
pub(super) fn give_kept(
    conn: &mut Conn,
    pool: &Pool,
    topic: &Arc<str>,
    chunk: &Arc<Chunk>,
    start: u32,
    end: u32,
) {
    let run = pool.kept(topic, chunk);
    let frames = &chunk.bytes()[start as usize..end as usize];
    let note = || Note { start: 0, end: 0, first: chunk.offset_at(start), topic: topic.clone() };
    match conn.wire {
        Wire::Own => give_own(conn, pool, &run, start, end, Some(note())),
        Wire::Shared(lane) if let Some(bytes) = packed(lane.format(), frames) => {
            give_made(conn, pool, bytes, Some(note()));
        }
        _ => conn.outbox.push(&run, start, end),
    }
}

/// The pieces of a group put together, by lane and last plain, as far as somebody wanted them.
#[derive(Default)]
pub(super) struct Joined([Option<Part>; Lane::COUNT + 1]);
