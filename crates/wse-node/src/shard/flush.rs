//! Writing: the dear part of the work, in slices.

use std::io::{self, IoSlice, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use wse_core::outbox::Run as _;

use super::Shard;
use super::conn::{Conn, Phase};
use super::sweeps::Line;
use crate::log::limited;
use crate::stats::SIZES;

/// How long one turn of the loop writes before it looks at its sockets and its inbox again.
const SLICE: std::time::Duration = std::time::Duration::from_micros(1000);
/// The same where nobody waits but for news of who is there: a message that comes meanwhile waits for so long.
const LAZY_SLICE: std::time::Duration = std::time::Duration::from_micros(250);
/// Connections written to before the clock is looked at.
const STEP: usize = 16;
/// Bytes of news of who is there that are written to one connection before it is the turn of the next.
const LAZY_BYTES: usize = 16 * 1024;
/// Pieces gathered into one write.
const GATHER: usize = 128;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing is left.
    All,
    /// The socket takes no more now.
    Blocked,
    /// The connection is gone.
    Broken,
    /// As much as was allowed; there is more.
    Enough,
}

impl Shard {
    /// Writes to the connections of the sweeps, each list in its turn, for a slice of time.
    pub(super) fn flush_slice(&mut self) {
        if self.sweeps.is_empty() {
            return;
        }
        let started = Instant::now();
        let mut step = Vec::with_capacity(STEP);
        while !self.sweeps.is_empty() {
            self.sweeps.next(STEP, &mut step);
            for slot in step.drain(..) {
                if let Some(conn) = self.slots.get_mut(slot)
                    && conn.flags.queued
                {
                    conn.flags.queued = false;
                    let most = if std::mem::take(&mut conn.flags.lazily) { LAZY_BYTES } else { usize::MAX };
                    self.flush_up_to(slot, most);
                }
            }
            let slice = if self.sweeps.are_lazy() { LAZY_SLICE } else { SLICE };
            if started.elapsed() >= slice {
                return;
            }
        }
    }

    /// Writes what a connection still has to be sent, as far as its socket takes it.
    pub(super) fn flush(&mut self, slot: u32) {
        self.flush_up_to(slot, usize::MAX);
    }

    fn flush_up_to(&mut self, slot: u32, most: usize) {
        let now_ms = self.now_ms;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if conn.flags.blocked {
            return;
        }
        let before = conn.outbox.bytes();
        let written = write_out(conn, most);
        let sent = before - conn.outbox.bytes();
        if sent > 0 {
            conn.wrote_ms = now_ms;
            conn.note_sent(sent);
            self.shared.shards[usize::from(self.index)].stats.writes.observe(&SIZES, sent as u64);
        }
        conn.flags.blocked = written == Written::Blocked;
        self.handle().stats.bytes_sent.add(sent as u64);
        match written {
            Written::All => self.after_flush(slot),
            Written::Blocked => {
                if let Some(conn) = self.slots.get_mut(slot) {
                    conn.flags.lazily = most != usize::MAX;
                }
            }
            Written::Broken => self.drop_conn(slot),
            Written::Enough => {
                if let Some(conn) = self.slots.get_mut(slot) {
                    conn.flags.queued = true;
                    conn.flags.lazily = true;
                    self.sweeps.add_lazily([slot]);
                }
            }
        }
    }

    /// The socket takes bytes again.
    pub(super) fn on_writable(&mut self, slot: u32) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        if conn.flags.blocked {
            conn.flags.blocked = false;
            if conn.flags.queued {
                return;
            }
            // A thousand sockets may say so at once, and each may take a quarter of a megabyte: they get their turns like others.
            conn.flags.queued = true;
            if conn.flags.lazily {
                self.sweeps.add_lazily([slot]);
            } else {
                self.sweeps.add_late(slot);
            }
        }
    }

    /// Sends something of the server's own to one connection, behind all that waits already.
    pub(super) fn send_own(&mut self, slot: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let limit = self.shared.options.max_outbound_queue_bytes;
        let Some(conn) = self.slots.get_mut(slot) else { return };
        let mut rest = bytes;
        if conn.outbox.is_empty() && !conn.flags.blocked {
            match conn.stream.write(bytes) {
                Ok(sent) => {
                    rest = &bytes[sent..];
                    conn.wrote_ms = self.now_ms;
                    conn.note_sent(sent);
                    conn.flags.blocked = !rest.is_empty();
                    self.handle().stats.bytes_sent.add(sent as u64);
                    self.handle().stats.writes.observe(&SIZES, sent as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.flags.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.drop_conn(slot),
            }
        }
        if rest.is_empty() {
            return;
        }
        // The whole frame is kept, so that the boundaries are known, and what has left is skipped.
        let run = self.pool.run(bytes.to_vec());
        let Some(conn) = self.slots.get_mut(slot) else { return };
        conn.outbox.push(&run, 0, run.bytes().len() as u32);
        conn.outbox.advance(bytes.len() - rest.len());
        if conn.outbox.cost() > limit && !conn.flags.over {
            conn.flags.over = true;
            self.over.push(slot);
        }
        if !conn.flags.blocked && !conn.flags.queued {
            conn.flags.queued = true;
            self.sweeps.add(None, Line::from([slot]));
        }
    }

    /// Nothing is left to be sent: a connection that was only waiting for that goes on to its end.
    pub(super) fn after_flush(&mut self, slot: u32) {
        let Some(conn) = self.slots.get_mut(slot) else { return };
        match conn.phase {
            Phase::Open if conn.flags.lags => self.heal(slot),
            Phase::Handshake(_) => self.after_answer(slot),
            Phase::Open | Phase::Api(_) => {}
            Phase::Closing if conn.flags.peer_closed => self.drop_conn(slot),
            Phase::Closing => {}
            Phase::Lingering if conn.flags.peer_closed => self.drop_conn(slot),
            Phase::Lingering => self.shut_write(slot),
        }
    }

    /// Takes their backlog from those that are over `max_outbound_queue_bytes`, and from the worst while all together hold more than
    /// they may.
    pub(super) fn close_those_over(&mut self) {
        let limit = self.shared.options.max_outbound_queue_bytes;
        for slot in std::mem::take(&mut self.over) {
            // A socket that was not tried yet may take it all.
            self.flush(slot);
            let Some(conn) = self.slots.get_mut(slot) else { continue };
            conn.flags.over = false;
            if conn.is_open() && conn.outbox.cost() > limit {
                self.fall_behind(slot, limit);
            }
        }
        let total = self.shared.options.max_outbound_total_bytes;
        let share = total / self.shared.shards.len();
        // A shard that holds less than its share is not the one that has to give way.
        while self.shared.outbound.load(Relaxed) > total && self.pool.held() > share {
            let Some(worst) = self.worst() else { return };
            limited!(
                warn,
                self.shared.clock,
                "max_outbound_total_bytes is reached: the client that is furthest behind gives way"
            );
            match self.slots.get_mut(worst).map(|conn| conn.is_open()) {
                // It keeps nothing, or half of what it had: each step frees something.
                Some(true) => {
                    let half = self.slots.get_mut(worst).map_or(0, |conn| conn.outbox.bytes() / 2);
                    self.fall_behind(worst, half);
                }
                // It was closed already and still has that much to read.
                _ => self.cut(worst),
            }
        }
    }

    /// The connection with the most bytes behind, if any has some.
    fn worst(&mut self) -> Option<u32> {
        let occupied = self.slots.occupied();
        let backlog = |slots: &mut super::conn::Slots, slot: u32| {
            slots.get_mut(slot).map_or(0, |conn| conn.outbox.bytes())
        };
        let worst = occupied.into_iter().max_by_key(|slot| backlog(&mut self.slots, *slot))?;
        (backlog(&mut self.slots, worst) > 0).then_some(worst)
    }
}

/// `sendmsg`: unlike `writev` it can be told not to raise SIGPIPE, which some programs do not ignore.
fn send_gathered(stream: &mio::net::TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    const FLAGS: i32 = libc::MSG_NOSIGNAL;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: i32 = 0;
    socket2::SockRef::from(stream).send_vectored_with_flags(slices, FLAGS)
}

/// Writes until nothing is left, the socket is full or it is enough.
#[inline]
fn write_out(conn: &mut Conn, most: usize) -> Written {
    let mut left = most;
    while !conn.outbox.is_empty() {
        let offered;
        let result = if let Some(piece) = conn.outbox.single() {
            offered = piece.len().min(left);
            conn.stream.write(&piece[..offered])
        } else {
            let mut slices = [IoSlice::new(&[]); GATHER];
            let (mut count, mut room) = (0, left);
            for (slice, piece) in slices.iter_mut().zip(conn.outbox.pieces()) {
                let piece = &piece[..piece.len().min(room)];
                *slice = IoSlice::new(piece);
                count += 1;
                room -= piece.len();
                if room == 0 {
                    break;
                }
            }
            let slices = &slices[..count];
            offered = left - room;
            send_gathered(&conn.stream, slices)
        };
        match result {
            Ok(sent) => {
                conn.outbox.advance(sent);
                if sent < offered {
                    return Written::Blocked;
                }
                left -= sent;
                if left == 0 {
                    return if conn.outbox.is_empty() { Written::All } else { Written::Enough };
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Written::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Written::Broken,
        }
    }
    Written::All
}
