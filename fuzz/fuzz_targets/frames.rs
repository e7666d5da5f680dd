//! Frames mean what RFC 6455 says, and the first rule that is broken is the one that is named.
//!
//! The input describes frames, right ones and wrong ones, which are written as bytes for the `Receiver`; a decoder without a
//! thought for speed, memory or cuts reads the same description. The two must tell the same story.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::websocket::{Flow, Inflation, ProtocolError, Receiver};
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
}

impl Pool {
    fn take(&mut self, len: usize) -> Vec<u8> {
        let start = self.at % POOL.len();
        self.at = start + len;
        POOL.repeat((start + len) / POOL.len() + 1).as_bytes()[start..start + len].to_vec()
    }
}

type Story = (Vec<Seen>, Option<ProtocolError>);

fn compare(input: &mut Unstructured<'_>) -> Result<()> {
    let limit = *input.choose(&[1, 5, 125, 126, 1000, 65_536, 100_000])?;
    let step = *input.choose(&[1, 2, 7, 64, 1000, 1_000_000])?;
    let mut frames = Vec::new();
    let mut pool = Pool::default();
    let mut bytes = 0;
    while !input.is_empty() && bytes < 70_000 {
        let Ok(frame) = frame(input, &mut pool) else { break };
        bytes += 64 + frame.payload.len();
        frames.push(frame);
    }
    assert_eq!(receive(&frames, limit, step), understand(&frames, limit));
    Ok(())
}

/// Mostly a frame that a client may send; one byte in sixteen brings something wrong.
fn frame(input: &mut Unstructured<'_>, pool: &mut Pool) -> Result<Frame> {
    let kind: u8 = input.arbitrary()?;
    let opcode = [0, 0, 0, 1, 1, 2, 8, 9, 10][usize::from(kind & 0x0f) % 9];
    let fin = kind & 0x10 != 0 || opcode >= 8;
    let mask = if kind & 0x20 != 0 { [0; 4] } else { [0x11, 0xa5, 0x80, 0xfe] };
    let payload = payload(input, pool, opcode)?;
    let form = LengthForm::shortest(payload.len());
    let mut frame = Frame { fin, reserved: 0, opcode, masked: Some(mask), form, payload };
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
fn receive(frames: &[Frame], limit: usize, step: usize) -> Story {
    let mut stream = Vec::new();
    for frame in frames {
        let first = u8::from(frame.fin) << 7 | frame.reserved << 4 | frame.opcode;
        write_client_frame(&mut stream, first, frame.form, &frame.payload, frame.masked);
    }
    let (mut receiver, mut heard) = (Receiver::default(), Vec::new());
    // Many pieces, but not a hundred thousand.
    for piece in stream.chunks(step.max(stream.len() / 512)) {
        let mut data = [receiver.tail(), piece].concat();
        let flow = receiver.receive(&mut data, limit, Inflation::Refused, |incoming| {
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
fn understand(frames: &[Frame], limit: usize) -> Story {
    let (mut heard, mut message) = (Vec::new(), None);
    for frame in frames {
        match understand_one(frame, limit, &mut message) {
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

/// One frame, with the message whose fragments are still coming: whether it is text, and its bytes so far.
fn understand_one(
    frame: &Frame,
    limit: usize,
    message: &mut Option<(bool, Vec<u8>)>,
) -> std::result::Result<Option<Seen>, ProtocolError> {
    use ProtocolError as E;
    let payload = &frame.payload;
    let rules = [
        (frame.reserved != 0, E::ReservedBits),
        (matches!(frame.opcode, 3..8 | 11..), E::UnknownOpcode),
        (frame.masked.is_none(), E::NotMasked),
        // The form decides as soon as the second byte is seen: 126 and 127 announce a longer length, whatever it turns out to be.
        (frame.opcode >= 8 && (payload.len() > 125 || frame.form != LengthForm::Seven), E::ControlTooLong),
        (frame.opcode >= 8 && !frame.fin, E::ControlFragmented),
        (frame.opcode == 0 && message.is_none(), E::UnexpectedContinuation),
        (matches!(frame.opcode, 1 | 2) && message.is_some(), E::UnexpectedMessage),
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
    let (is_text, bytes) = message.get_or_insert_with(|| (frame.opcode == 1, Vec::new()));
    if bytes.len() + payload.len() > limit {
        return Err(E::TooLarge);
    }
    bytes.extend(payload);
    if *is_text
        && let Err(error) = std::str::from_utf8(bytes)
        && (frame.fin || error.error_len().is_some())
    {
        return Err(E::BadUtf8);
    }
    if !frame.fin {
        return Ok(None);
    }
    Ok(message.take().map(|(is_text, bytes)| match is_text {
        true => Seen::Text(String::from_utf8(bytes).expect("checked above")),
        false => Seen::Binary(bytes),
    }))
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
