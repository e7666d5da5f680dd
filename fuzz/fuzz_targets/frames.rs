//! Frames mean what RFC 6455 says, and the first rule that is broken is the one that is named.
//!
//! The input describes frames, right ones and wrong ones, which are written as bytes for the `Receiver`; a decoder without a
//! thought for speed, memory or cuts reads the same description. The two must tell the same story.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::websocket::deflate::{Deflater, Inflater, Window};
use wse_core::websocket::{Flow, Inflation, ProtocolError, Receiver};
use wse_fuzz::inflate::Reader;
use wse_fuzz::{LengthForm, Seen, write_client_frame};

/// Characters of one to four bytes. Text goes round and round in it: each fragment takes up where the last one ended, so that
/// cuts fall into characters and the whole is text all the same.
const POOL: &str = "aé€😀\u{0}ß\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}zz";

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = compare(&mut input);
});

struct Frame {
    fin: bool,
    reserved: u8,
    opcode: u8,
    masked: Option<[u8; 4]>,
    form: LengthForm,
    payload: Vec<u8>,
}

#[derive(Default)]
struct Pool {
    at: usize,
    /// What is still to come of a compressed message that was begun.
    compressed: Vec<u8>,
}

impl Pool {
    fn take(&mut self, len: usize) -> Vec<u8> {
        let start = self.at % POOL.len();
        self.at = start + len;
        POOL.repeat((start + len) / POOL.len() + 1).as_bytes()[start..start + len].to_vec()
    }
}

/// What compressed messages are for a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    NotAgreed,
    Agreed { takeover: bool },
}

type Story = (Vec<Seen>, Option<ProtocolError>);

fn compare(input: &mut Unstructured<'_>) -> Result<()> {
    let limit = *input.choose(&[1, 5, 125, 126, 1000, 65_536, 100_000])?;
    let step = *input.choose(&[1, 2, 7, 64, 1000, 1_000_000])?;
    let compression = match input.int_in_range(0..=2)? {
        0 => Compression::NotAgreed,
        way => Compression::Agreed { takeover: way == 2 },
    };
    let mut frames = Vec::new();
    let mut pool = Pool::default();
    let mut bytes = 0;
    while !input.is_empty() && bytes < 70_000 {
        let Ok(frame) = frame(input, &mut pool, compression) else { break };
        bytes += 64 + frame.payload.len();
        frames.push(frame);
    }
    let (heard, error) = receive(&frames, limit, step, compression);
    let (understood, fault) = understand(&frames, limit, compression);
    assert_eq!(heard, understood);
    // Who has filled the room up to the limit may learn of a fault behind it first.
    if (error, fault) != (Some(ProtocolError::BadDeflate), Some(ProtocolError::TooLarge)) {
        assert_eq!(error, fault);
    }
    Ok(())
}

/// Mostly a frame that a client may send; one byte in sixteen brings something wrong.
fn frame(input: &mut Unstructured<'_>, pool: &mut Pool, compression: Compression) -> Result<Frame> {
    let kind: u8 = input.arbitrary()?;
    let opcode = [0, 0, 0, 1, 1, 2, 8, 9, 10][usize::from(kind & 0x0f) % 9];
    let fin = kind & 0x10 != 0 || opcode >= 8;
    let mask = if kind & 0x20 != 0 { [0; 4] } else { [0x11, 0xa5, 0x80, 0xfe] };
    let mut payload = payload(input, pool, opcode)?;
    let compressed = compression != Compression::NotAgreed && kind & 0xc0 == 0x80 && matches!(opcode, 1 | 2);
    if compressed && !payload.is_empty() {
        payload = Deflater::new(Window::LARGEST, false).deflate(&[&payload]).to_vec();
        pool.compressed = if fin { Vec::new() } else { payload.split_off(payload.len() / 2) };
    } else if opcode == 0 && !pool.compressed.is_empty() {
        payload = std::mem::take(&mut pool.compressed);
        pool.compressed = if fin { Vec::new() } else { payload.split_off(payload.len() / 2) };
    }
    let form = LengthForm::shortest(payload.len());
    let reserved = if compressed { 4 } else { 0 };
    let mut frame = Frame { fin, reserved, opcode, masked: Some(mask), form, payload };
    if kind & 0xc0 == 0xc0 {
        match input.int_in_range(0..=15)? {
            0 => frame.reserved = input.int_in_range(1..=7)?,
            1 => frame.opcode = input.int_in_range(0..=15)?,
            2 => frame.masked = None,
            3 => frame.fin = false,
            4 => frame.form = LengthForm::SixtyFour,
            5 if frame.payload.len() < 65_536 => frame.form = LengthForm::Sixteen,
            _ => {}
        }
    }
    Ok(frame)
}

fn payload(input: &mut Unstructured<'_>, pool: &mut Pool, opcode: u8) -> Result<Vec<u8>> {
    let len = match input.int_in_range(0..=31)? {
        25 => 65_535,
        26 => 65_536,
        27 => 125,
        28 => 126,
        29 => 127,
        30 | 31 if opcode == 8 => return Ok([input.bytes(2)?, b"why \xc3\xa9"].concat()),
        30 | 31 => usize::from(input.arbitrary::<u16>()?) % 2000,
        short => short,
    };
    if len > 8 || input.ratio(3, 4)? { Ok(pool.take(len)) } else { Ok(input.bytes(len)?.to_vec()) }
}

/// The story as the engine tells it, in pieces of `step` bytes.
fn receive(frames: &[Frame], limit: usize, step: usize, compression: Compression) -> Story {
    let mut stream = Vec::new();
    for frame in frames {
        let first = u8::from(frame.fin) << 7 | frame.reserved << 4 | frame.opcode;
        write_client_frame(&mut stream, first, frame.form, &frame.payload, frame.masked);
    }
    let (mut receiver, mut heard) = (Receiver::default(), Vec::new());
    let mut inflater = match compression {
        Compression::NotAgreed => None,
        Compression::Agreed { takeover } => Some(Inflater::new(takeover)),
    };
    // Many pieces, but not a hundred thousand.
    for piece in stream.chunks(step.max(stream.len() / 512)) {
        let mut data = [receiver.tail(), piece].concat();
        let inflation = inflater.as_mut().map_or(Inflation::Refused, Inflation::By);
        let flow = receiver.receive(&mut data, limit, inflation, |incoming| {
            heard.push(Seen::from(&incoming));
            Flow::Continue
        });
        match flow {
            Ok(Flow::Continue) => {}
            Ok(Flow::Stop) => return (heard, None),
            Ok(Flow::Pause) => unreachable!("nobody paused"),
            Err(error) => return (heard, Some(error)),
        }
    }
    (heard, None)
}

/// The story as the standard tells it.
fn understand(frames: &[Frame], limit: usize, compression: Compression) -> Story {
    let mut side = Side {
        limit,
        reader: match compression {
            Compression::NotAgreed => None,
            Compression::Agreed { takeover } => Some(Reader::new(15, takeover)),
        },
        message: None,
    };
    let mut heard = Vec::new();
    for frame in frames {
        match side.understand(frame) {
            Ok(None) => {}
            Ok(Some(seen)) => {
                let end = matches!(seen, Seen::Close(..));
                heard.push(seen);
                if end {
                    break;
                }
            }
            Err(error) => return (heard, Some(error)),
        }
    }
    (heard, None)
}

/// Who understands.
struct Side {
    limit: usize,
    reader: Option<Reader>,
    message: Option<Message>,
}

/// A message whose fragments are still coming, or have come.
struct Message {
    is_text: bool,
    compressed: bool,
    bytes: Vec<u8>,
}

impl Side {
    fn understand(&mut self, frame: &Frame) -> std::result::Result<Option<Seen>, ProtocolError> {
        use ProtocolError as E;
        let payload = &frame.payload;
        let compressed = frame.reserved == 4 && self.reader.is_some() && matches!(frame.opcode, 1 | 2);
        let rules = [
            (frame.reserved != 0 && !compressed, E::ReservedBits),
            (matches!(frame.opcode, 3..8 | 11..), E::UnknownOpcode),
            (frame.masked.is_none(), E::NotMasked),
            // The form decides as soon as the second byte is seen: 126 and 127 announce a longer length, whatever it turns out to be.
            (
                frame.opcode >= 8 && (payload.len() > 125 || frame.form != LengthForm::Seven),
                E::ControlTooLong,
            ),
            (frame.opcode >= 8 && !frame.fin, E::ControlFragmented),
            (frame.opcode == 0 && self.message.is_none(), E::UnexpectedContinuation),
            (matches!(frame.opcode, 1 | 2) && self.message.is_some(), E::UnexpectedMessage),
        ];
        if let Some((_, error)) = rules.into_iter().find(|(broken, _)| *broken) {
            return Err(error);
        }
        match frame.opcode {
            8 => return close(payload).map(Some),
            9 => return Ok(Some(Seen::Ping(payload.clone()))),
            10 => return Ok(Some(Seen::Pong(payload.clone()))),
            _ => {}
        }
        let is_text = frame.opcode == 1;
        let begun = || Message { is_text, compressed, bytes: Vec::new() };
        let mut message = self.message.take().unwrap_or_else(begun);
        message.bytes.extend(payload);
        if message.bytes.len() > message.bound(self.limit) {
            return Err(E::TooLarge);
        }
        if frame.fin && message.compressed {
            let reader = self.reader.as_mut().expect("compression was agreed on");
            message.bytes = reader.read(&message.bytes, self.limit)?;
            message.compressed = false;
        }
        message.check_text(frame.fin)?;
        if !frame.fin {
            self.message = Some(message);
            return Ok(None);
        }
        Ok(Some(match message.is_text {
            true => Seen::Text(String::from_utf8(message.bytes).expect("checked above")),
            false => Seen::Binary(message.bytes),
        }))
    }
}

impl Message {
    /// Bytes that it may have as it comes: who compresses may gain a little where there is nothing to compress.
    fn bound(&self, limit: usize) -> usize {
        if self.compressed { limit + limit / 1024 + 64 } else { limit }
    }

    /// Text is checked as far as it has come, unless it is still compressed.
    fn check_text(&self, whole: bool) -> std::result::Result<(), ProtocolError> {
        match std::str::from_utf8(&self.bytes) {
            Err(error) if self.is_text && !self.compressed && (whole || error.error_len().is_some()) => {
                Err(ProtocolError::BadUtf8)
            }
            _ => Ok(()),
        }
    }
}

/// Section 5.5.1, and the codes of section 7.4 with those that IANA has registered since.
fn close(payload: &[u8]) -> std::result::Result<Seen, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Seen::Close(1005, String::new()))
        } else {
            Err(ProtocolError::BadClose)
        };
    };
    let code = u16::from_be_bytes(*code);
    let reserved = matches!(code, 1004..=1006) || (1015..3000).contains(&code);
    if !(1000..5000).contains(&code) || reserved {
        return Err(ProtocolError::BadClose);
    }
    let reason = String::from_utf8(reason.to_vec()).map_err(|_| ProtocolError::BadUtf8)?;
    Ok(Seen::Close(code, reason))
}
