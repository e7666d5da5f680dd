//! One connection as a shard of wse-node keeps it, with a network and an application that do as they are told.
//!
//! What `wse-node/src/shard/{handshake,read,flush,close}.rs` do with the pieces of wse-core is done here in the same order, without
//! a socket, a clock or other connections. Of each thing that is to leave a note goes to the [`Ledger`].

use std::rc::Rc;

use wse_core::http::{Head, Response};
use wse_core::outbox::{Outbox, Run};
use wse_core::protocol::command::{ClientMay, Command, strip_prefix};
use wse_core::protocol::words;
use wse_core::websocket::Receiver;
use wse_core::websocket::close::write_close;
use wse_core::websocket::deflate::{Agreement, Deflater, Inflater};
use wse_core::websocket::frame::{server_frame_len, write_frame};
use wse_core::websocket::upgrade::{self, Policy, Upgrade};
use wse_core::websocket::{Flow, Incoming, Inflation, Opcode, ProtocolError};

use crate::Seen;
use crate::inflate::Reader;
use crate::ledger::{Ledger, Out};

/// Bytes that one read brings at the most; small, so that short streams have borders.
pub const READ_BYTES: usize = 512;
/// Pieces gathered into one write.
const GATHER: usize = 4;

/// Frames in one piece of memory.
#[derive(Clone)]
pub struct Memory(pub Rc<Vec<u8>>);

impl Run for Memory {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// Where a connection stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its request is still coming.
    Handshake,
    /// Messages flow.
    Open,
    /// The server's close frame is on its way.
    Closing,
    /// The last bytes are on their way or gone.
    Lingering,
    /// Forgotten.
    Gone,
}

/// Why the server closes.
#[derive(Clone, Copy, Debug)]
pub enum Reason<'a> {
    /// The application asked, behind all that waits.
    Application(u16, &'a str),
    /// The client closed: its code comes back.
    Answer(u16),
    /// The client broke the protocol.
    Protocol(ProtocolError),
    /// Too much waits for it, or it was silent for too long: what waits is dropped.
    GivenUp(u16),
}

/// What the network and the application allow for now.
#[derive(Default)]
pub struct World {
    /// What has arrived and was not read.
    pub arrived: Vec<u8>,
    /// The client has said that nothing more comes.
    pub client_ended: bool,
    /// Bytes that the socket takes before it is full.
    pub takes: usize,
    /// Messages for which the application has room.
    pub room: usize,
    /// What has left.
    pub wire: Vec<u8>,
}

/// One connection.
pub struct Connection {
    /// Where it stands.
    pub phase: Phase,
    /// What is known of the world.
    pub world: World,
    /// What it was given, in order.
    pub heard: Vec<Seen>,
    /// The violation it was closed for.
    pub violation: Option<ProtocolError>,
    /// What is to leave.
    pub ledger: Ledger,
    /// The receiving half.
    pub receiver: Receiver,
    /// The sending half.
    pub outbox: Outbox<Memory>,
    /// The next message has no room.
    pub paused: bool,
    /// Bytes of a request that is not whole.
    pub head: Vec<u8>,
    /// What was agreed on about compression.
    pub deflate: Option<Agreement>,
    inflater: Option<Inflater>,
    deflater: Option<Deflater>,
    policy: Policy,
    blocked: bool,
    peer_closed: bool,
    shut: bool,
    max_message_size: usize,
    max_outbound: usize,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(max_message_size: usize, max_outbound: usize, policy: Policy) -> Self {
        Self {
            phase: Phase::Handshake,
            world: World::default(),
            heard: Vec::new(),
            violation: None,
            ledger: Ledger::default(),
            receiver: Receiver::default(),
            outbox: Outbox::default(),
            paused: false,
            head: Vec::new(),
            deflate: None,
            inflater: None,
            deflater: None,
            policy,
            blocked: false,
            peer_closed: false,
            shut: false,
            max_message_size,
            max_outbound,
        }
    }

    // Reading, as in `shard/read`.

    /// Reads until the socket is empty, its end is found or the application has no room.
    pub fn on_readable(&mut self) {
        while self.phase != Phase::Gone && !self.paused {
            let mut buffer = match self.phase {
                Phase::Handshake => self.head.clone(),
                Phase::Open | Phase::Closing => self.receiver.tail().to_vec(),
                Phase::Lingering | Phase::Gone => Vec::new(),
            };
            let read = self.world.arrived.len().min(READ_BYTES);
            if read > 0 {
                buffer.extend(self.world.arrived.drain(..read));
                self.take_bytes(&mut buffer);
            } else if !self.world.client_ended {
                return;
            } else if self.phase == Phase::Lingering && !self.outbox.is_empty() {
                self.peer_closed = true;
                return;
            } else {
                self.phase = Phase::Gone;
            }
        }
    }

    /// There is room again: first what was kept, then the socket.
    pub fn resume(&mut self) {
        if !std::mem::take(&mut self.paused) {
            return;
        }
        let mut kept = match self.phase {
            Phase::Handshake => self.head.clone(),
            Phase::Open => self.receiver.tail().to_vec(),
            _ => return,
        };
        self.take_bytes(&mut kept);
        self.on_readable();
    }

    fn take_bytes(&mut self, buffer: &mut [u8]) {
        match self.phase {
            Phase::Handshake => self.handshake(buffer),
            Phase::Open => self.take_frames(buffer),
            Phase::Closing => self.await_close_frame(buffer),
            Phase::Lingering | Phase::Gone => {}
        }
    }

    fn handshake(&mut self, buffer: &mut [u8]) {
        let (end, answer, deflate) = match Head::parse(buffer) {
            Head::Partial => {
                self.head = buffer.to_vec();
                return;
            }
            Head::Refused(response) => return self.answer(&response),
            Head::Whole(request, _) if !upgrade::is_attempt(&request) => {
                return self.answer(&upgrade::upgrade_required());
            }
            Head::Whole(request, end) => match Upgrade::check(&request, &self.policy) {
                Err(response) => return self.answer(&response),
                // Nobody comes in of whom the application could not be told.
                Ok(_) if self.world.room == 0 => {
                    self.head = buffer.to_vec();
                    self.paused = true;
                    return;
                }
                Ok(upgrade) => {
                    let mut answer = Vec::new();
                    upgrade.write_response(&mut answer);
                    (end, answer, upgrade.deflate)
                }
            },
        };
        self.world.room -= 1;
        self.head = Vec::new();
        self.phase = Phase::Open;
        self.deflate = deflate;
        self.inflater = deflate.map(|agreed| Inflater::new(agreed.client_takeover));
        self.deflater =
            deflate.filter(|agreed| agreed.server_takeover).map(|agreed| Deflater::new(agreed.window, true));
        self.ledger.reader = deflate.map(|agreed| Reader::new(agreed.window.bits(), agreed.server_takeover));
        self.ledger.note(Out::Http(answer.clone()));
        self.send_own(answer);
        if end < buffer.len() && self.phase == Phase::Open {
            self.take_frames(&mut buffer[end..]);
        }
    }

    fn answer(&mut self, response: &Response) {
        self.phase = Phase::Lingering;
        let bytes = response.to_bytes(false);
        self.ledger.note(Out::Http(bytes.clone()));
        self.send_own(bytes);
        if self.outbox.is_empty() {
            self.shut = true;
        }
    }

    fn take_frames(&mut self, buffer: &mut [u8]) {
        let mut receiver = std::mem::take(&mut self.receiver);
        let (mut replies, mut closed) = (Vec::new(), None);
        let mut inflater = self.inflater.take();
        let inflation = inflater.as_mut().map_or(Inflation::Refused, Inflation::By);
        let flow = receiver.receive(buffer, self.max_message_size, inflation, |incoming| {
            self.take(&incoming, &mut replies, &mut closed)
        });
        self.receiver = receiver;
        self.inflater = inflater;
        self.paused = flow == Ok(Flow::Pause);
        self.send_own(replies);
        match (flow, closed) {
            (Err(error), _) => {
                // Answers to what came before may have been too many already.
                self.violation = (self.phase == Phase::Open).then_some(error);
                self.close(Reason::Protocol(error));
            }
            (_, Some(code)) => self.close(Reason::Answer(code)),
            _ => {}
        }
    }

    fn take(&mut self, incoming: &Incoming<'_>, replies: &mut Vec<u8>, closed: &mut Option<u16>) -> Flow {
        match incoming {
            Incoming::Text(text) => match Command::parse(strip_prefix(text), ClientMay::default()) {
                Command::Application if self.world.room == 0 => return Flow::Pause,
                Command::Application => self.world.room -= 1,
                Command::Ping { timestamp } => {
                    self.reply(replies, Opcode::Text, words::pong(&timestamp, 0).as_bytes());
                }
                Command::Bad(bad) => {
                    self.reply(replies, Opcode::Text, words::refused(&bad, 0).as_bytes());
                }
                // The rest is answered by what is not here, or is no word of a server that allows clients nothing.
                _ => {}
            },
            Incoming::Binary(_) if self.world.room == 0 => return Flow::Pause,
            Incoming::Binary(_) => self.world.room -= 1,
            Incoming::Ping(payload) => self.reply(replies, Opcode::Pong, payload),
            Incoming::Pong(_) => {}
            Incoming::Close(close) => *closed = Some(close.code),
        }
        self.heard.push(Seen::from(incoming));
        if closed.is_some() { Flow::Stop } else { Flow::Continue }
    }

    fn reply(&mut self, replies: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        write_frame(replies, opcode, payload);
        self.ledger.note(Out::Frame(opcode as u8, payload.to_vec()));
    }

    fn await_close_frame(&mut self, buffer: &mut [u8]) {
        let mut receiver = std::mem::take(&mut self.receiver);
        let inflation = if self.deflate.is_some() { Inflation::Skipped } else { Inflation::Refused };
        match receiver.receive(buffer, usize::MAX >> 1, inflation, |_| Flow::Continue) {
            Ok(Flow::Stop) | Err(_) => self.peer_closed = true,
            // A message that never ends must not be collected for nobody.
            Ok(_) if receiver.held_bytes() < READ_BYTES => self.receiver = receiver,
            Ok(_) => {}
        }
        if self.peer_closed && self.outbox.is_empty() {
            self.phase = Phase::Gone;
        }
    }

    // Writing, as in `shard/flush`.

    /// Queues the frames `start..end` of a run, which say `payloads`, and writes what the socket takes. Who has a context is sent frames
    /// of its own instead; who agreed on compression without one comes with a run that was compressed for its window.
    pub fn publish(&mut self, run: &Memory, start: u32, end: u32, payloads: &[Vec<u8>]) {
        let mut own = Vec::new();
        if let Some(deflater) = &mut self.deflater {
            deflater.rewrite_frames(&mut own, &run.bytes()[start as usize..end as usize]);
        }
        let (run, start, end) = match own.len() as u32 {
            0 => (run.clone(), start, end),
            len => (Memory(Rc::new(own)), 0, len),
        };
        let mut frames = &run.bytes()[start as usize..end as usize];
        for payload in payloads {
            let (frame, rest) = frames.split_at(server_frame_len(frames));
            self.ledger.note_len(Out::Frame(1, payload.clone()), frame.len());
            frames = rest;
        }
        assert!(frames.is_empty(), "a frame for each payload");
        self.outbox.push(&run, start, end);
        self.flush();
        if self.phase == Phase::Open && self.outbox.cost() > self.max_outbound {
            self.close(Reason::GivenUp(4408));
        }
    }

    /// The socket takes so many bytes more.
    pub fn on_writable(&mut self, more: usize) {
        self.world.takes = self.world.takes.saturating_add(more);
        if std::mem::take(&mut self.blocked) {
            self.flush();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        assert!(!self.shut, "a socket whose write side is shut is not written to");
        let sent = bytes.len().min(self.world.takes);
        self.world.takes -= sent;
        self.world.wire.extend(&bytes[..sent]);
        sent
    }

    fn send_own(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let mut sent = 0;
        if self.outbox.is_empty() && !self.blocked {
            sent = self.write(&bytes);
            self.blocked = sent < bytes.len();
        }
        if sent == bytes.len() {
            return;
        }
        let run = Memory(Rc::new(bytes));
        self.outbox.push(&run, 0, run.bytes().len() as u32);
        self.outbox.advance(sent);
        if self.phase == Phase::Open && self.outbox.cost() > self.max_outbound {
            self.flush();
            if self.outbox.cost() > self.max_outbound {
                self.close(Reason::GivenUp(4408));
            }
        }
    }

    fn flush(&mut self) {
        while !self.blocked && !self.outbox.is_empty() {
            let offer = match self.outbox.single() {
                Some(piece) => piece.to_vec(),
                None => self.outbox.pieces().take(GATHER).collect::<Vec<_>>().concat(),
            };
            let sent = self.write(&offer);
            self.outbox.advance(sent);
            self.blocked = sent < offer.len();
        }
        if self.blocked {
            return;
        }
        match self.phase {
            Phase::Closing | Phase::Lingering if self.peer_closed => self.phase = Phase::Gone,
            Phase::Lingering => self.shut = true,
            _ => {}
        }
    }

    // The end, as in `shard/close`.

    /// Sends a close frame; the session is over, the socket lives on.
    pub fn close(&mut self, reason: Reason<'_>) {
        if self.phase != Phase::Open {
            return;
        }
        let mut frame = Vec::new();
        let (code, text) = match reason {
            Reason::Application(code, text) => (code, text),
            Reason::Answer(code) | Reason::GivenUp(code) => (code, ""),
            Reason::Protocol(error) => (error.close_code(), "a violation"),
        };
        write_close(&mut frame, code, text);
        if !matches!(reason, Reason::Application(..)) {
            let dropped = self.outbox.cut_at_boundary();
            assert_eq!(dropped, self.ledger.cut(self.world.wire.len()));
        }
        self.peer_closed |= matches!(reason, Reason::Answer(_));
        self.phase = if matches!(reason, Reason::Protocol(_)) { Phase::Lingering } else { Phase::Closing };
        self.paused = false;
        (self.inflater, self.deflater) = (None, None);
        self.ledger.note(Out::close(code, text));
        let run = Memory(Rc::new(frame));
        self.outbox.push(&run, 0, run.bytes().len() as u32);
        self.flush();
    }
}
