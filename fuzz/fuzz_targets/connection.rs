//! A whole connection: whatever a client says and whenever a network, an application or the server itself acts, what leaves are
//! whole frames in order, what was heard does not depend on how it came, and every limit holds.
//!
//! Input: message limit, outbound limit, how the client begins (1: with its own request; 2, 4: what the server compresses; 8, 16, 32:
//! what the client offers), number of bytes of operations, operations, what the client says.

#![no_main]

use std::rc::Rc;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::http::Head;
use wse_core::http::request::MAX_HEAD_BYTES;
use wse_core::websocket::deflate::{Deflater, Inflater, Mode, Window};
use wse_core::websocket::frame::{MAX_CLIENT_HEADER, MAX_CONTROL_PAYLOAD, server_frame_len, write_frame};
use wse_core::websocket::upgrade::Policy;
use wse_core::websocket::{Flow, Inflation, Opcode, ProtocolError, Receiver};
use wse_fuzz::Seen;
use wse_fuzz::connection::{Connection, Memory, Phase, READ_BYTES, Reason};
use wse_fuzz::ledger::Out;

const MESSAGE_LIMITS: [usize; 5] = [1, 16, 126, 1000, 65_536];
const OUTBOUND_LIMITS: [usize; 4] = [1000, 4096, 70_000, usize::MAX];

/// What may be held beside a message, whose memory grows by doubling: the beginning of a header or of a control frame, and what a
/// message can gain by being compressed.
const BESIDE: usize = MAX_CLIENT_HEADER + MAX_CONTROL_PAYLOAD + 2 * (65_536 / 1024 + 64);

const REQUEST: &str = "GET /wse HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const OFFERS: [&str; 5] = [
    "",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
];

fuzz_target!(|input: &[u8]| {
    let Some((&[limit, outbound, beginning, operations], rest)) = input.split_first_chunk() else { return };
    let Some((operations, said)) = rest.split_at_checked(usize::from(operations)) else { return };
    // Usually the client has upgraded rightly, so that what it says are frames; else it says its request too.
    let request = format!("{REQUEST}{}\r\n", OFFERS[usize::from(beginning >> 3) % OFFERS.len()]);
    let said = if beginning & 1 == 0 { [request.as_bytes(), said].concat() } else { said.to_vec() };
    let compression = [Mode::Off, Mode::Shared, Mode::Full][usize::from(beginning >> 1 & 3) % 3];
    let policy = Policy { compression, ..Policy::default() };
    let limit = MESSAGE_LIMITS[usize::from(limit) % MESSAGE_LIMITS.len()];
    let outbound = OUTBOUND_LIMITS[usize::from(outbound) % OUTBOUND_LIMITS.len()];
    let mut play = Play {
        limit,
        outbound,
        said,
        delivered: 0,
        closed_here: false,
        cut_off: false,
        conn: Connection::new(limit, outbound, policy),
    };
    let mut operations = Unstructured::new(operations);
    while !operations.is_empty() && play.conn.phase != Phase::Gone {
        let _ = play.step(&mut operations);
        play.check();
    }
    play.settle();
});

struct Play {
    limit: usize,
    outbound: usize,
    /// All that the client says, and how much of it has arrived.
    said: Vec<u8>,
    delivered: usize,
    /// The server has closed for a reason of its own.
    closed_here: bool,
    /// The connection was reset, or its time was up.
    cut_off: bool,
    conn: Connection,
}

/// Messages, and what they are as frames: plain, and compressed for each window.
struct Batch {
    payloads: Vec<Vec<u8>>,
    plain: Vec<u8>,
    compressed: Vec<Vec<u8>>,
}

/// Messages around every border of the three forms, now like each other and now not.
fn batches() -> &'static [Batch] {
    static BATCHES: OnceLock<Vec<Batch>> = OnceLock::new();
    BATCHES.get_or_init(|| {
        let lens: [&[usize]; 4] =
            [&[0, 1, 30, 125], &[126, 400, 0, 127], &[128, 300, 300, 5], &[65_535, 65_536]];
        lens.iter().map(|lens| batch(lens)).collect()
    })
}

fn batch(lens: &[usize]) -> Batch {
    let payload = |len: &usize| (0..*len).map(|at| b'a' + (at * at % 97 % 26) as u8).collect();
    let payloads: Vec<Vec<u8>> = lens.iter().map(payload).collect();
    let mut plain = Vec::new();
    payloads.iter().for_each(|payload| write_frame(&mut plain, Opcode::Text, payload));
    let compressed = |index| {
        let mut frames = Vec::new();
        Deflater::new(Window::at(index), false).rewrite_frames(&mut frames, &plain);
        frames
    };
    let compressed = (0..Window::COUNT).map(compressed).collect();
    Batch { payloads, plain, compressed }
}

/// Where the `frame`-th frame begins.
fn border(mut frames: &[u8], frame: usize) -> u32 {
    let whole = frames.len();
    for _ in 0..frame {
        frames = &frames[server_frame_len(frames)..];
    }
    (whole - frames.len()) as u32
}

impl Play {
    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let conn = &mut self.conn;
        match input.arbitrary::<u8>()? % 12 {
            0..=3 => {
                let len = usize::from(input.arbitrary::<u8>()?) + 1;
                self.deliver(len);
            }
            4 => self.deliver(usize::MAX),
            5 | 6 => {
                let takes: u8 = input.arbitrary()?;
                conn.on_writable(if takes == 255 { 1 << 20 } else { usize::from(takes) * 7 });
            }
            7 => {
                conn.world.room += usize::from(input.arbitrary::<u8>()?);
                conn.resume();
            }
            8 | 9 => self.publish(input)?,
            10 => {
                let reason: u8 = input.arbitrary()?;
                self.closed_here |= conn.phase == Phase::Open;
                let text = "é".repeat(usize::from(reason));
                match reason % 4 {
                    0 => conn.close(Reason::GivenUp(4410)),
                    1 => conn.close(Reason::Application(1012, "server stops")),
                    2 => conn.close(Reason::Application(1005, "never said")),
                    _ => conn.close(Reason::Application(4000, &text)),
                }
            }
            _ => match input.arbitrary::<u8>()? % 8 {
                0 => conn.world.client_ended = true,
                1 => {
                    self.cut_off = true;
                    conn.phase = Phase::Gone;
                }
                _ => conn.on_readable(),
            },
        }
        Ok(())
    }

    /// So many bytes more of what the client says arrive, unless it has ended.
    fn deliver(&mut self, len: usize) {
        if !self.conn.world.client_ended {
            let end = self.said.len().min(self.delivered.saturating_add(len));
            self.conn.world.arrived.extend(&self.said[self.delivered..end]);
            self.delivered = end;
        }
        self.conn.on_readable();
    }

    fn publish(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let batch = &batches()[usize::from(input.arbitrary::<u8>()?) % batches().len()];
        let (from, to) = (input.arbitrary::<u8>()?, input.arbitrary::<u8>()?);
        let (from, to) = (usize::from(from) % batch.payloads.len(), usize::from(to) % batch.payloads.len());
        let (from, to) = (from.min(to), from.max(to) + 1);
        if self.conn.outbox.bytes() > 1 << 19 {
            return Ok(());
        }
        let frames = match self.conn.deflate {
            Some(agreed) if !agreed.server_takeover => &batch.compressed[agreed.window.index()],
            _ => &batch.plain,
        };
        let run = Memory(Rc::new(frames.clone()));
        // In two halves, as two deliveries of one batch: they become one reference.
        for (from, to) in [(from, (from + to) / 2), ((from + to) / 2, to)] {
            if from < to && self.conn.phase == Phase::Open {
                self.conn.publish(&run, border(frames, from), border(frames, to), &batch.payloads[from..to]);
            }
        }
        Ok(())
    }

    /// What holds after each step.
    fn check(&mut self) {
        let conn = &mut self.conn;
        conn.ledger.read(&conn.world.wire);
        if conn.phase == Phase::Gone {
            return;
        }
        assert_eq!(conn.outbox.bytes(), conn.ledger.unsent(&conn.world.wire));
        assert!(conn.head.len() < MAX_HEAD_BYTES + READ_BYTES);
        let pieces = conn.outbox.pieces().count();
        assert!(conn.outbox.cost() <= conn.outbox.bytes() + 128 * pieces);
        if conn.phase == Phase::Open {
            assert!(conn.outbox.cost() <= self.outbound, "who is further behind was closed");
            // A pause keeps what one read brought, once; the request may have come with it.
            let paused = if conn.paused { MAX_HEAD_BYTES + 2 * READ_BYTES } else { 0 };
            assert!(conn.receiver.held_bytes() <= 2 * self.limit + BESIDE + paused);
        }
        if conn.phase == Phase::Closing && conn.world.arrived.is_empty() && self.delivered < self.said.len() {
            assert!(conn.receiver.held_bytes() <= 2 * self.limit + BESIDE + MAX_HEAD_BYTES + 2 * READ_BYTES);
        }
    }

    /// Everybody does what is still to be done: then nothing is left, and the story is whole.
    fn settle(mut self) {
        let gone = self.conn.phase == Phase::Gone;
        self.conn.world.room = usize::MAX;
        self.conn.resume();
        self.deliver(usize::MAX);
        self.conn.on_writable(usize::MAX);
        self.check();
        self.compare();
        if !gone {
            assert!(self.conn.phase == Phase::Gone || self.conn.outbox.is_empty());
            self.conn.world.client_ended = true;
            self.conn.on_readable();
            assert_eq!(self.conn.phase, Phase::Gone, "the end of the client is the end");
        }
    }

    /// The same client heard by somebody who has everything at once and room for all.
    fn compare(&self) {
        let conn = &self.conn;
        let Head::Whole(_, end) = Head::parse(&self.said[..self.delivered]) else {
            return assert!(conn.heard.is_empty());
        };
        let (mut heard, mut receiver) = (Vec::new(), Receiver::default());
        let mut stream = self.said[end..self.delivered].to_vec();
        let mut inflater = conn.deflate.map(|agreed| Inflater::new(agreed.client_takeover));
        let inflation = inflater.as_mut().map_or(Inflation::Refused, Inflation::By);
        let flow = receiver.receive(&mut stream, self.limit, inflation, |incoming| {
            heard.push(Seen::from(&incoming));
            Flow::Continue
        });
        if conn.heard.len() < heard.len() || flow != conn.violation.map_or(flow, Err) {
            assert!(self.ended_early(), "{:?} of {heard:?}", conn.heard);
        }
        assert_eq!(conn.heard, heard[..conn.heard.len()]);
        if let Some(error) = conn.violation {
            assert_eq!(flow, Err(error));
            assert!(is_close(conn.ledger.last(), error), "{error:?}");
        }
    }

    /// Whether something other than the client's own words has ended the session.
    fn ended_early(&self) -> bool {
        self.closed_here
            || self.cut_off
            || self.conn.world.client_ended
            || self.conn.ledger.last() == Some(&Out::close(4408, ""))
            || matches!(self.conn.ledger.last(), Some(Out::Http(bytes)) if !bytes.starts_with(b"HTTP/1.1 101 "))
    }
}

fn is_close(last: Option<&Out>, error: ProtocolError) -> bool {
    matches!(last, Some(Out::Frame(8, payload)) if payload.starts_with(&error.close_code().to_be_bytes()))
}
