//! The record of one connection: all that a connection costs while it is quiet.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use wse_core::ConnId;
use wse_core::auth::Life;
use wse_core::encoding::Format;
use wse_core::encoding::seal::Seal;
use wse_core::keyed::{Keyed, KeyedList};
use wse_core::outbox::Outbox;
use wse_core::queue_group::Work;
use wse_core::rate::{Bucket, Rate};
use wse_core::websocket::Receiver;
use wse_core::websocket::deflate::{Agreement, Deflater, Inflater};

use super::api::Exchange;
use super::groups::Given;
use super::lag::Lag;
use crate::api::Kept;
use crate::run::Run;
use crate::squeeze::Wire;

/// Where a connection stands in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its request is still coming.
    Handshake(Box<Handshake>),
    /// The body of a request of the API is coming, or the request is being answered.
    Api(Box<Exchange>),
    /// Messages flow.
    Open,
    /// The server's close frame is on its way; whatever the client sends is only looked at for its own.
    Closing,
    /// The last bytes are on their way or gone: reading goes on until the other side ends, so that no reset destroys them.
    Lingering,
}

/// What only a connection that is not yet open needs.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The other end, or the client that its PROXY header names.
    pub(super) address: SocketAddr,
    /// Who speaks HTTP here, as far as is known; whether its headers are believed is asked of this.
    pub(super) hop: Option<SocketAddr>,
    /// Whether a PROXY header must come first.
    pub(super) header_due: bool,
    /// When the socket was accepted.
    pub(super) began: Instant,
    /// The request so far.
    pub(super) head: Vec<u8>,
    /// The reading of the set of keys that its token waits for.
    pub(super) awaits_reading: Option<u64>,
    /// Its place among the connections that stay between requests of the API, once it had one.
    pub(super) kept: Option<Kept>,
    /// A request was answered, and nothing of the next one has come.
    pub(super) is_idle: bool,
    /// That answer has not left yet.
    pub(super) is_unsent: bool,
    /// What came behind a request was not looked at yet.
    pub(super) has_more: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
    pub(super) receiver: Receiver,
    pub(super) outbox: Outbox<Run>,
    /// In which form it gets messages, and what makes it if they are made for it alone.
    pub(super) wire: Wire,
    pub(super) own: Option<Box<Own>>,
    pub(super) channels: KeyedList<Membership>,
    /// What it was given as a member of queue groups, once it was given something.
    pub(super) work: Option<Box<Work<Given>>>,
    pub(super) bucket: Bucket,
    /// When anything was last received.
    pub(super) heard_ms: u64,
    /// When anything was last written.
    pub(super) wrote_ms: u64,
    /// When the next ping is due while open, and when patience ends otherwise.
    pub(super) deadline_ms: u64,
    /// How long its token lasts, where tokens are asked for.
    pub(super) life: Option<Life>,
    /// Marks of the delivery that is being prepared: which stretch, and how many pieces of it.
    pub(super) stretch: u64,
    pub(super) pieces: u32,
    /// The last walk through an audience that met this connection.
    pub(super) visit: u64,
    pub(super) flags: Flags,
    /// What it missed, while it is behind.
    pub(super) lag: Option<Box<Lag>>,
}

/// What only some clients need: contexts with what was said before, for one that compresses so or is compressed for, and what seals, for
/// one that exchanged keys. A context is made when it is first needed: a third of a megabyte for what is sent, and a seventh of that for
/// what is received.
#[derive(Debug, Default)]
pub(super) struct Own {
    agreed: Option<Agreement>,
    deflater: Option<Deflater>,
    inflater: Option<Inflater>,
    pub(super) seal: Option<Seal>,
    /// A sealed message came: whoever can seal has no reason to say anything in clear.
    pub(super) heard_sealed: bool,
}

impl Own {
    /// What an agreement asks for, if anything.
    pub(super) fn of(agreed: Option<Agreement>) -> Option<Box<Self>> {
        let agreed = agreed.filter(|agreed| agreed.server_takeover || agreed.client_takeover)?;
        Some(Box::new(Self { agreed: Some(agreed), ..Self::default() }))
    }

    /// Appends frames again as this client gets them; false, and nothing is appended, if it gets them as they are.
    pub(super) fn rewrite(&mut self, out: &mut Vec<u8>, frames: &[u8]) -> bool {
        if let Some(seal) = &mut self.seal {
            seal.rewrite_frames(out, frames);
        } else if let Some(agreed) = self.agreed.filter(|agreed| agreed.server_takeover) {
            let deflater = self.deflater.get_or_insert_with(|| Deflater::new(agreed.window, true));
            deflater.rewrite_frames(out, frames);
        } else {
            return false;
        }
        true
    }

    /// What is said from now on refers to nothing that was said before.
    pub(super) fn forget_what_was_said(&mut self) {
        self.deflater = None;
    }

    /// Takes the decompressor of this client alone, if it has one, for the length of one read.
    pub(super) fn take_inflater(&mut self) -> Option<Inflater> {
        let is_own = self.agreed.is_some_and(|agreed| agreed.client_takeover);
        is_own.then(|| self.inflater.take().unwrap_or_else(|| Inflater::new(true)))
    }

    /// Puts it back.
    pub(super) fn give_back(&mut self, inflater: Inflater) {
        self.inflater = Some(inflater);
    }
}

/// The format that a client asked for, and whether it agreed on permessage-deflate: in one byte, since each connection has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreed(u8);

impl Agreed {
    const MSGPACK: u8 = 1;
    const DEFLATE: u8 = 2;

    pub(super) fn new(format: Format, deflates: bool) -> Self {
        let format = if format == Format::Msgpack { Self::MSGPACK } else { 0 };
        Self(format | if deflates { Self::DEFLATE } else { 0 })
    }

    pub(super) fn format(self) -> Format {
        if self.0 & Self::MSGPACK == 0 { Format::Json } else { Format::Msgpack }
    }

    pub(super) fn deflates(self) -> bool {
        self.0 & Self::DEFLATE != 0
    }
}

/// Why a connection is not read: any of these at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pause(u8);

impl Pause {
    /// Its next message finds no room.
    pub(super) const ROOM: Self = Self(1);
    /// The application is asked what it may have.
    pub(super) const ASKED: Self = Self(2);
    /// The application wants to hear nothing of it for a while.
    pub(super) const HELD: Self = Self(4);
    /// Its request is being answered, or the answer has not left.
    pub(super) const ANSWER: Self = Self(8);

    pub(super) fn is_paused(self) -> bool {
        self.0 != 0
    }

    /// Whether it is the application that has it wait, and nothing else.
    pub(super) fn is_by_application(self) -> bool {
        self.is_paused() && self.0 & !(Self::ASKED.0 | Self::HELD.0) == 0
    }

    pub(super) fn has(self, reason: Self) -> bool {
        self.0 & reason.0 != 0
    }

    pub(super) fn add(&mut self, reason: Self) {
        self.0 |= reason.0;
    }

    pub(super) fn remove(&mut self, reason: Self) {
        self.0 &= !reason.0;
    }
}

/// Yes and no about a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// It said `client_hello` and is pinged with messages.
    pub(super) hello: bool,
    /// What was agreed on at its coming.
    pub(super) agreed: Agreed,
    /// It waits in a flush list.
    pub(super) queued: bool,
    /// It waits in a list that lets others go first.
    pub(super) lazily: bool,
    /// The socket took no more; epoll will tell.
    pub(super) blocked: bool,
    /// Why it is not read, if it is not.
    pub(super) paused: Pause,
    /// The client has said that nothing more comes: by its close frame, or by the end of its half while an HTTP answer is on its way.
    pub(super) peer_closed: bool,
    /// It is behind: there is a [`Lag`].
    pub(super) lags: bool,
    /// Already in the list of those that are over their limit.
    pub(super) over: bool,
    /// It stands in line to be read.
    pub(super) lined_up: bool,
    /// Its end was announced while it stood there, so a short read is not the last.
    pub(super) to_the_end: bool,
    /// The write side of the socket is shut.
    pub(super) shut: bool,
    /// A drain waits for its end.
    pub(super) drains: bool,
    /// The server ends it without the client's answer.
    pub(super) cut: bool,
}

/// A channel that a connection is in, and where it stands in that channel's list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) channel: u64,
    pub(super) place: u32,
}

impl Keyed for Membership {
    fn key(&self) -> u64 {
        self.channel
    }
}

/// A connection in the list of a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving {
    pub(super) slot: u32,
}

impl Conn {
    pub(super) fn new(
        stream: TcpStream,
        handshake: Handshake,
        rate: &Rate,
        now_ms: u64,
        deadline_ms: u64,
    ) -> Self {
        Self {
            stream,
            phase: Phase::Handshake(Box::new(handshake)),
            receiver: Receiver::default(),
            outbox: Outbox::default(),
            wire: Wire::Plain,
            own: None,
            channels: KeyedList::default(),
            work: None,
            bucket: Bucket::new(rate, now_ms),
            heard_ms: now_ms,
            wrote_ms: now_ms,
            deadline_ms,
            life: None,
            stretch: 0,
            pieces: 0,
            visit: 0,
            flags: Flags::default(),
            lag: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether nothing but the end is left to be read of a client that the application holds back: its close frame, or the end of what it sends.
    /// Nothing is taken from the socket. Behind a question of the application there is always something left.
    pub(super) fn has_said_all(&self) -> bool {
        if self.flags.paused != Pause::HELD || !self.is_open() || !self.receiver.tail().is_empty() {
            return false;
        }
        let mut next = [0; LONGEST_CLOSE];
        match self.stream.peek(&mut next) {
            Ok(0) => true,
            Ok(len) => is_close_frame(&next[..len]),
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
}

/// Two bytes of header, the mask, and as much as a control frame may hold.
const LONGEST_CLOSE: usize = 2 + 4 + 125;

/// Whether bytes of a client begin with a close frame that is there as a whole.
fn is_close_frame(bytes: &[u8]) -> bool {
    match bytes {
        [0x88, second, rest @ ..] => *second & 0x80 != 0 && rest.len() >= 4 + usize::from(*second & 0x7f),
        _ => false,
    }
}

/// A place for a connection.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) conn: Option<Conn>,
}

/// The places of a shard.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    used: usize,
}

impl Slots {
    /// Puts a connection into a free place.
    pub(super) fn insert(&mut self, conn: Conn) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        debug_assert!(place.conn.is_none(), "a free place is empty");
        place.conn = Some(conn);
        self.used += 1;
        slot
    }

    /// Takes a connection out; its id is never valid again.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Conn> {
        let place = self.slots.get_mut(slot as usize)?;
        let conn = place.conn.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        self.used -= 1;
        Some(conn)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Conn> {
        self.slots.get_mut(slot as usize)?.conn.as_mut()
    }

    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.slots.get(slot as usize).map_or(0, |place| place.generation)
    }

    /// The slot of a connection that is open under exactly this id.
    pub(super) fn open(&mut self, id: ConnId) -> Option<&mut Conn> {
        let place = self.slots.get_mut(id.slot as usize)?;
        if place.generation != id.generation {
            return None;
        }
        place.conn.as_mut().filter(|conn| conn.is_open())
    }

    /// All slots that are used.
    pub(super) fn occupied(&self) -> Vec<u32> {
        (0..self.slots.len() as u32).filter(|slot| self.slots[*slot as usize].conn.is_some()).collect()
    }

    pub(super) fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_in_a_record_fills_three_words() {
        // With one flag more each connection would be eight bytes larger. A stream is a descriptor where no assertions are on.
        let (stream, pieces) = (size_of::<std::os::fd::RawFd>(), size_of::<u32>());
        let small = stream + pieces + size_of::<Wire>() + size_of::<Flags>();
        assert!(small <= 24, "{small}");
    }

    #[test]
    fn a_close_frame_is_told_from_what_begins_like_one() {
        let mask = [1, 2, 3, 4];
        let frame = |head: [u8; 2], len: usize| [&head[..], &mask, &vec![0; len]].concat();
        assert!(is_close_frame(&frame([0x88, 0x80], 0)) && is_close_frame(&frame([0x88, 0x82], 2)));
        assert!(is_close_frame(&frame([0x88, 0x82], 9)), "what follows a close frame counts for nothing");
        for other in
            [frame([0x81, 0x82], 2), frame([0x88, 0x83], 2), frame([0x88, 0x02], 2), frame([0x88, 0xfe], 125)]
        {
            assert!(!is_close_frame(&other), "{other:?}");
        }
        assert!(!is_close_frame(&[]) && !is_close_frame(&[0x88]));
    }

    #[test]
    fn what_was_agreed_on_is_kept() {
        for format in [Format::Json, Format::Msgpack] {
            for deflates in [false, true] {
                let agreed = Agreed::new(format, deflates);
                assert_eq!((agreed.format(), agreed.deflates()), (format, deflates));
            }
        }
    }
}
