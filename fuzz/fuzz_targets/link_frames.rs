//! What comes on a link, in whatever pieces, is what a plain decoder makes of it at once; and it never takes more memory than a frame may.
//!
//! Limit of frames (2 bytes), frames until the link is admitted, bytes in a piece, a choice: bit 0 = the rest is the stream, else frames to be
//! put together: kind, length of topic, how often the payload's byte is repeated (2 bytes), that byte, and whether it is compressed
//! (bit 0) or spoilt (bit 1).

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_link::Frames;
use wse_link::frames::Inbound;

const FIRST_FRAMES: usize = 64 * 1024;

type Heard = Vec<(u8, String, Vec<u8>)>;

fuzz_target!(|input: &[u8]| {
    let _ = run(&mut Unstructured::new(input));
});

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let limit = 8 + usize::from(u.arbitrary::<u16>()?) * 4;
    let admitted_after = usize::from(u.arbitrary::<u8>()?);
    let piece = 1 + usize::from(u.arbitrary::<u8>()?).pow(2);
    let stream = if u.arbitrary::<u8>()? & 1 != 0 { u.bytes(u.len())?.to_vec() } else { described(u)? };
    let (heard, failed) = hear(&stream, limit, admitted_after, piece);
    let (expected, must_fail) = understand(&stream, limit, admitted_after);
    assert_eq!(heard, expected);
    assert_eq!(failed, must_fail);
    Ok(())
}

fn described(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut frames = Frames::new();
    let mut spoils = Vec::new();
    while !u.is_empty() {
        let kind = u.arbitrary()?;
        let topic = "t".repeat(u.int_in_range(0..=30)?);
        let payload = vec![u.arbitrary::<u8>()?; usize::from(u.arbitrary::<u16>()?)];
        let choice: u8 = u.arbitrary()?;
        let before = frames.bytes().len();
        if choice & 1 != 0 {
            frames.put_squeezed(kind, &topic, &payload);
        } else {
            frames.put(kind, &topic, &payload);
        }
        if choice & 2 != 0 {
            let at = u.choose_index(frames.bytes().len() - before)?;
            spoils.push((before + at, u.arbitrary::<u8>()?));
        }
        if frames.bytes().len() > 1 << 20 {
            break;
        }
    }
    let mut stream = frames.bytes().to_vec();
    spoils.into_iter().for_each(|(at, byte)| stream[at] = byte);
    Ok(stream)
}

fn hear(mut stream: &[u8], limit: usize, admitted_after: usize, piece: usize) -> (Heard, bool) {
    let mut inbound = Inbound::new(limit);
    let mut heard = Heard::new();
    // A byte at a time is for short streams.
    let piece = piece.max(stream.len() / 2000);
    loop {
        loop {
            if heard.len() >= admitted_after {
                inbound.admit();
            }
            let own = |frame: &wse_link::Frame<'_>| {
                assert_eq!(usize::from(frame.header.topic_len), frame.topic.len());
                assert_eq!(frame.header.payload_len as usize, frame.payload.len());
                (frame.header.kind, frame.topic.to_owned(), frame.payload.to_owned())
            };
            match inbound.batch(|frames| heard.extend(frames.iter().map(own))) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return (heard, true),
            }
        }
        if stream.is_empty() {
            return (heard, false);
        }
        let room = inbound.room();
        let count = room.len().min(piece).min(stream.len());
        assert!(count > 0);
        room[..count].copy_from_slice(&stream[..count]);
        inbound.handle_read(count);
        assert!(inbound.memory() <= limit.max(FIRST_FRAMES) + FIRST_FRAMES);
        stream = &stream[count..];
    }
}

/// The same without buffers: the whole stream at once, a frame at a time.
fn understand(mut stream: &[u8], limit: usize, admitted_after: usize) -> (Heard, bool) {
    let mut heard = Heard::new();
    while let Some((header, rest)) = stream.split_at_checked(8) {
        let admitted = heard.len() >= admitted_after;
        let topic_len = usize::from(header[2]) | usize::from(header[3]) << 8;
        let payload_len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let longest = if admitted { limit } else { limit.min(FIRST_FRAMES) };
        if 8 + topic_len + payload_len > longest {
            return (heard, true);
        }
        let Some((frame, rest)) = rest.split_at_checked(topic_len + payload_len) else { break };
        let (topic, payload) = frame.split_at(topic_len);
        let payload = if header[1] & 1 == 0 {
            Some(payload.to_vec())
        } else {
            inflated(payload, limit.saturating_sub(8 + topic_len)).filter(|_| admitted)
        };
        match (String::from_utf8(topic.to_vec()), payload) {
            (Ok(topic), Some(payload)) => heard.push((header[0], topic, payload)),
            _ => return (heard, true),
        }
        stream = rest;
    }
    (heard, false)
}

fn inflated(payload: &[u8], most: usize) -> Option<Vec<u8>> {
    let (length, squeezed) = payload.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > most {
        return None;
    }
    zstd::bulk::decompress(squeezed, length).ok().filter(|plain| plain.len() == length)
}
