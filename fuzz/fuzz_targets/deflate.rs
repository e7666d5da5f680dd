//! Compressed messages: whatever a client calls one is opened as zlib opens it, within its limit and its memory, and what the server
//! compresses can be read by everybody with the window that was agreed on.
//!
//! Input: choice (1: the server's side; 2: with a context; the rest: which window), limit, number of cuts, the lengths of messages,
//! over and over, the messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use wse_core::websocket::deflate::{Deflater, Inflater, WORTHWHILE_BYTES, Window};
use wse_core::websocket::frame::{server_frame_len, write_frame};
use wse_core::websocket::{Opcode, ProtocolError};
use wse_fuzz::distance::farthest;
use wse_fuzz::inflate::Reader;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const LIMITS: [usize; 6] = [0, 1, 100, 1000, 65_536, 1_000_000];

/// Beside the message: what is kept of the last one's room, and as much again while it is given back.
const BESIDE: usize = 2 * 64 * 1024 + 4096;

fuzz_target!(|input: &[u8]| {
    let Some((&[choice, limit, cuts], rest)) = input.split_first_chunk() else { return };
    let Some((cuts, bytes)) = rest.split_at_checked(usize::from(cuts)) else { return };
    let messages = split(bytes, cuts);
    let takeover = choice & 2 != 0;
    if choice & 1 == 0 {
        open(&messages, LIMITS[usize::from(limit) % LIMITS.len()], takeover);
    } else {
        let window = Window::at(usize::from(choice >> 2) % Window::COUNT);
        send(&messages, usize::from(limit) % 64 + 1, window, takeover);
    }
});

/// Pieces of the lengths in `cuts`, over and over; without any, all of it.
fn split<'b>(mut bytes: &'b [u8], cuts: &[u8]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !bytes.is_empty() {
        let len = cuts.next().map_or(bytes.len(), |cut| usize::from(*cut) * 4 + 1);
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

// What a client sends.

fn open(messages: &[&[u8]], limit: usize, takeover: bool) {
    let (mut inflater, mut reader) = (Inflater::new(takeover), Reader::new(15, takeover));
    for message in messages {
        let expected = reader.read(message, limit);
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let opened = inflater.inflate(message, limit).map(<[u8]>::to_vec);
        let len = opened.as_ref().map_or(0, Vec::len);
        assert!(len <= limit);
        assert!(MEMORY.peak_usage() - before <= 2 * (limit + 1) + len + BESIDE);
        // Who has filled the room up to the limit may learn of a fault behind it first.
        if !(expected == Err(ProtocolError::TooLarge) && opened == Err(ProtocolError::BadDeflate)) {
            assert_eq!(opened, expected);
        }
        if opened.is_err() && takeover {
            // The connection has failed. Without a context the inflater goes on with other connections.
            return;
        }
    }
}

// What the server sends.

fn send(messages: &[&[u8]], times: usize, window: Window, takeover: bool) {
    let mut deflater = Deflater::new(window, takeover);
    let mut reader = Reader::new(window.bits(), takeover);
    let (mut said, mut plain) = (Vec::new(), Vec::new());
    for (at, message) in messages.iter().enumerate() {
        // Repeated, as JSON is, so that there is something to refer to; some of it so long ago that no window holds it.
        let message = message.repeat(if at % 2 == 0 { times } else { 1 });
        let opcode = match at % 5 {
            4 if message.len() < 126 => Opcode::Ping,
            0 | 3 => Opcode::Binary,
            _ => Opcode::Text,
        };
        write_frame(&mut plain, opcode, &message);
        if opcode != Opcode::Ping {
            let mut frame = Vec::new();
            let (first, second) = message.split_at(message.len() / 3);
            deflater.write_frame(&mut frame, opcode, &[first, second]);
            check_frame(&frame, opcode, &message, &mut reader, window);
        }
        said.push((opcode, message));
    }
    rewrite(&plain, &said, window, takeover);
}

/// The same frames all together, as a client with a context is sent them. Byte for byte they need not be the same: where its input is
/// cut may change what a compressor finds.
fn rewrite(plain: &[u8], said: &[(Opcode, Vec<u8>)], window: Window, takeover: bool) {
    let mut reader = Reader::new(window.bits(), takeover);
    let mut rewritten = Vec::new();
    Deflater::new(window, takeover).rewrite_frames(&mut rewritten, plain);
    let mut rest = &rewritten[..];
    for (opcode, message) in said {
        let (frame, after) = rest.split_at(server_frame_len(rest));
        check_frame(frame, *opcode, message, &mut reader, window);
        rest = after;
    }
    assert!(rest.is_empty(), "a frame for each message");
}

/// One whole frame, compressed only where that is allowed and of use, that says what it should.
fn check_frame(frame: &[u8], opcode: Opcode, message: &[u8], reader: &mut Reader, window: Window) {
    assert_eq!(server_frame_len(frame), frame.len());
    assert_eq!(frame[0] & 0xbf, 0x80 | opcode as u8);
    let payload = &frame[match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }..];
    if frame[0] & 0x40 == 0 {
        assert_eq!(payload, message);
        assert!(message.len() < WORTHWHILE_BYTES || !reader.takeover(), "a context sees everything");
        return;
    }
    assert!(message.len() >= WORTHWHILE_BYTES);
    assert!(reader.takeover() || payload.len() < message.len(), "compressed is shorter");
    assert_eq!(reader.read(payload, usize::MAX).as_deref(), Ok(message));
    // The smallest window serves clients that asked for one of 256 bytes too.
    let reach = if window.bits() == 9 { 256 } else { 1 << window.bits() };
    assert!(farthest(payload) <= reach, "{} bytes back in a window of {reach}", farthest(payload));
}
