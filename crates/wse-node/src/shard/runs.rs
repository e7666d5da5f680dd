//! The memory of one batch, and what of it each client gets: plain, a compressed twin, or its own compression of the plain.

use wse_core::outbox::Run as _;
use wse_core::websocket::deflate::Window;

use super::conn::Conn;
use crate::inbox::Contents;
use crate::run::{Pool, Run};
use crate::squeeze::{Twins, Wire};

/// Some frames of a batch, and their twins.
#[derive(Clone, Copy)]
pub(super) struct Piece<'e> {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) twins: Option<&'e Twins>,
}

/// A part of a run.
type Part = (Run, u32, u32);

/// The frames of one batch.
pub(super) struct Runs {
    pub(super) plain: Run,
    twins: [Option<Run>; Window::COUNT],
    pool: Pool,
}

impl Runs {
    /// Takes the bytes of a batch; another buffer takes their place.
    pub(super) fn take(contents: &mut Contents, pool: &Pool) -> Self {
        let plain = pool.run(std::mem::replace(&mut contents.bytes, pool.buffer()));
        let twins = contents.lanes.take().map(|bytes| (!bytes.is_empty()).then(|| pool.run(bytes)));
        Self { plain, twins, pool: pool.clone() }
    }

    /// Notes for a connection that it is to be sent a piece.
    #[inline]
    pub(super) fn give(&self, conn: &mut Conn, piece: Piece<'_>) {
        match conn.wire {
            Wire::Plain => conn.outbox.push(&self.plain, piece.start, piece.end),
            Wire::Shared(window) => {
                let (run, start, end) = self.part(window, piece);
                conn.outbox.push(run, start, end);
            }
            Wire::Own => self.compress(conn, &self.plain, piece.start, piece.end),
        }
    }

    /// The same for a connection that gets nothing but the pieces of one group, which are put together for all such.
    pub(super) fn give_joined(&self, conn: &mut Conn, pieces: &[Piece<'_>], joined: &mut Joined) {
        let index = match conn.wire {
            Wire::Shared(window) => window.index(),
            Wire::Plain | Wire::Own => Window::COUNT,
        };
        let (run, start, end) = joined.0[index].get_or_insert_with(|| self.join(conn.wire, pieces));
        match conn.wire {
            Wire::Own => self.compress(conn, run, *start, *end),
            _ => conn.outbox.push(run, *start, *end),
        }
    }

    /// One contiguous run: the original where the pieces lie together, else a copy.
    fn join(&self, wire: Wire, pieces: &[Piece<'_>]) -> Part {
        let part = |piece: &Piece<'_>| match wire {
            Wire::Shared(window) => self.part(window, *piece),
            Wire::Plain | Wire::Own => (&self.plain, piece.start, piece.end),
        };
        if let [piece] = pieces {
            let (run, start, end) = part(piece);
            return (run.clone(), start, end);
        }
        let mut bytes = self.pool.buffer();
        for piece in pieces {
            let (run, start, end) = part(piece);
            bytes.extend_from_slice(&run.bytes()[start as usize..end as usize]);
        }
        let end = bytes.len() as u32;
        (self.pool.run(bytes), 0, end)
    }

    /// The twin of a piece, or itself where it has none.
    fn part(&self, window: Window, piece: Piece<'_>) -> (&Run, u32, u32) {
        let twin = piece.twins.and_then(|twins| twins.get(window));
        match (twin, &self.twins[window.index()]) {
            (Some((start, end)), Some(run)) => (run, start, end),
            _ => (&self.plain, piece.start, piece.end),
        }
    }

    /// Compresses for one client alone: its context must see exactly what it is sent, in that order.
    fn compress(&self, conn: &mut Conn, run: &Run, start: u32, end: u32) {
        let frames = &run.bytes()[start as usize..end as usize];
        let Some(deflater) = conn.own.as_mut().and_then(|own| own.deflater()) else {
            return conn.outbox.push(run, start, end);
        };
        let mut bytes = Vec::with_capacity(frames.len() / 2);
        deflater.rewrite_frames(&mut bytes, frames);
        let end = bytes.len() as u32;
        conn.outbox.push(&self.pool.run(bytes), 0, end);
    }
}

/// The pieces of a group put together, by window and last plain, as far as somebody wanted them.
#[derive(Default)]
pub(super) struct Joined([Option<Part>; Window::COUNT + 1]);
