//! A whole connection: whatever a client says and whenever a network, an application or the server itself acts, what leaves are
//! whole frames in order, what was heard does not depend on how it came, and every limit holds.
//!
//! Input: message limit, outbound limit, what the client begins with, number of bytes of operations, operations, what the client says.

#![no_main]

use std::rc::Rc;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::http::Head;
use wse_core::http::request::MAX_HEAD_BYTES;
use wse_core::websocket::frame::{MAX_CLIENT_HEADER, MAX_CONTROL_PAYLOAD, write_frame};
use wse_core::websocket::{Flow, Inflation, Opcode, ProtocolError, Receiver};
use wse_fuzz::Seen;
use wse_fuzz::connection::{Connection, Memory, Phase, READ_BYTES, Reason};
use wse_fuzz::ledger::Out;

const MESSAGE_LIMITS: [usize; 5] = [1, 16, 126, 1000, 65_536];
const OUTBOUND_LIMITS: [usize; 4] = [1000, 4096, 70_000, usize::MAX];

/// What may be held beside a message, whose memory grows by doubling: the beginning of a header or of a control frame.
const BESIDE: usize = MAX_CLIENT_HEADER + MAX_CONTROL_PAYLOAD;

const REQUEST: &[u8] = b"GET /wse HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((&[limit, outbound, beginning, operations], rest)) = input.split_first_chunk() else { return };
    let Some((operations, said)) = rest.split_at_checked(usize::from(operations)) else { return };
    // Usually the client has upgraded rightly, so that what it says are frames; else it says its request too.
    let said = if beginning & 1 == 0 { [REQUEST, said].concat() } else { said.to_vec() };
    let mut play = Play {
        limit: MESSAGE_LIMITS[usize::from(limit) % MESSAGE_LIMITS.len()],
        outbound: OUTBOUND_LIMITS[usize::from(outbound) % OUTBOUND_LIMITS.len()],
        said,
        delivered: 0,
        closed_here: false,
        cut_off: false,
        conn: Connection::new(0, 0),
    };
    play.conn = Connection::new(play.limit, play.outbound);
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

/// Runs with frames around every border of the three forms, and where their frames begin and end.
fn runs() -> &'static [(Vec<Vec<u8>>, Vec<u32>)] {
    static RUNS: OnceLock<Vec<(Vec<Vec<u8>>, Vec<u32>)>> = OnceLock::new();
    RUNS.get_or_init(|| {
        let lens: [&[usize]; 3] = [&[0, 1, 30, 125], &[126, 400, 0, 127], &[65_535, 65_536]];
        let run = |(which, lens): (usize, &&[usize])| {
            let payloads: Vec<Vec<u8>> = lens.iter().map(|len| vec![b'a' + which as u8; *len]).collect();
            let (mut bytes, mut borders) = (Vec::new(), vec![0]);
            for payload in &payloads {
                write_frame(&mut bytes, Opcode::Text, payload);
                borders.push(bytes.len() as u32);
            }
            (payloads, borders)
        };
        lens.iter().enumerate().map(run).collect()
    })
}

/// The run's memory; a new one each time, unless it is one of those that this thread has.
fn memory(which: usize) -> Memory {
    let mut bytes = Vec::new();
    for payload in &runs()[which].0 {
        write_frame(&mut bytes, Opcode::Text, payload);
    }
    Memory(Rc::new(bytes))
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
        let which = usize::from(input.arbitrary::<u8>()?) % runs().len();
        let (payloads, borders) = &runs()[which];
        let (from, to) = (input.arbitrary::<u8>()?, input.arbitrary::<u8>()?);
        let (from, to) = (usize::from(from) % payloads.len(), usize::from(to) % payloads.len());
        let (from, to) = (from.min(to), from.max(to) + 1);
        if self.conn.phase != Phase::Open || self.conn.outbox.bytes() > 1 << 19 {
            return Ok(());
        }
        let run = memory(which);
        // In two halves, as two deliveries of one batch: they become one reference.
        for (start, end) in [(from, (from + to) / 2), ((from + to) / 2, to)] {
            if start == end || self.conn.phase != Phase::Open {
                continue;
            }
            for payload in &payloads[start..end] {
                self.conn.ledger.note(Out::Frame(1, payload.clone()));
            }
            self.conn.publish(&run, borders[start], borders[end]);
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
        let flow = receiver.receive(&mut stream, self.limit, Inflation::Refused, |incoming| {
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
