//! The log of a topic says what a list of messages says: what may be gone on from, what is replayed, what is lost; and what it handed out
//! stays what it was, whatever it forgets.
//!
//! Operations on a `Log` beside a list that forgets nothing. The first bytes choose the limits.

#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::history::{Epoch, Limits, Log, NotRecovered, Position, Replay};

const EPOCH: Epoch = Epoch::new(0x0bad_cafe);

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = play(&mut input);
});

/// What was published, and when.
#[derive(Default)]
struct List {
    messages: Vec<(Vec<u8>, u64)>,
    /// Those before this one were given up.
    cleared: usize,
}

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let limits = Limits {
        messages: 1 << input.int_in_range(0..=7_u32)?,
        ttl_ms: u64::from(input.arbitrary::<u16>()?),
    };
    let (mut log, mut list, mut now_ms) = (Log::new(EPOCH), List::default(), 1_000_000_u64);
    let mut held: Vec<(Replay, Vec<u8>)> = Vec::new();
    while !input.is_empty() {
        match input.arbitrary::<u8>()? % 10 {
            0..=3 => {
                let long: bool = input.ratio(1, 8)?;
                let len = usize::from(input.arbitrary::<u8>()?) * if long { 100 } else { 1 } + 1;
                let frame = vec![list.messages.len() as u8; len];
                log.append(&[&frame[..len / 3], &frame[len / 3..]], now_ms, &limits);
                list.messages.push((frame, now_ms));
            }
            4 => now_ms += u64::from(input.arbitrary::<u16>()?) / 16,
            5 | 6 => {
                let offset = offset(input, &log)?;
                let epoch = if input.ratio(1, 16)? { Epoch::new(1) } else { EPOCH };
                let (max, max_bytes) = (u64::from(input.arbitrary::<u8>()?), bound(input)?);
                let found = log.since(Position { epoch, offset }, now_ms, &limits, max, max_bytes);
                let expected = list.since(epoch, offset, now_ms, &limits, max, max_bytes);
                match (found, expected) {
                    (Ok(replay), Ok(bytes)) => {
                        assert_eq!(replay.messages, log.position().offset - offset);
                        assert_eq!(bytes_of(&replay), bytes);
                        if held.len() < 16 {
                            held.push((replay, bytes));
                        }
                    }
                    (found, expected) => assert_eq!(found.err(), expected.err()),
                }
            }
            7 => {
                let (offset, max_bytes) = (offset(input, &log)?, bound(input)?);
                let (after, replay) = log.newest(offset, now_ms, &limits, max_bytes);
                let top = log.position().offset;
                let wanted = (offset.min(top)..=top)
                    .find_map(|after| Some((after, list.since(EPOCH, after, now_ms, &limits, u64::MAX, max_bytes).ok()?)));
                assert_eq!(Some((after, bytes_of(&replay))), wanted);
            }
            8 => held.clear(),
            _ => match input.arbitrary::<u8>()? % 4 {
                0 => {
                    log.clear();
                    list.cleared = list.messages.len();
                    assert!(log.is_bare());
                }
                _ => log.forget(now_ms, &limits),
            },
        }
        assert_eq!(log.position(), Position { epoch: EPOCH, offset: list.messages.len() as u64 });
        assert!(held.iter().all(|(replay, bytes)| bytes_of(replay) == *bytes), "what was handed out has changed");
    }
    Ok(())
}

/// Mostly one that somebody can have.
fn offset(input: &mut Unstructured<'_>, log: &Log) -> Result<u64> {
    let behind = u64::from(input.arbitrary::<u8>()?);
    Ok((log.position().offset + 2).saturating_sub(behind))
}

fn bound(input: &mut Unstructured<'_>) -> Result<usize> {
    Ok(usize::from(input.arbitrary::<u16>()?))
}

fn bytes_of(replay: &Replay) -> Vec<u8> {
    let parts = replay.parts.iter();
    let bytes: Vec<u8> =
        parts.flat_map(|(chunk, start, end)| chunk.bytes()[*start as usize..*end as usize].to_vec()).collect();
    assert_eq!(replay.bytes, bytes.len());
    bytes
}

impl List {
    fn since(
        &self,
        epoch: Epoch,
        offset: u64,
        now_ms: u64,
        limits: &Limits,
        max: u64,
        max_bytes: usize,
    ) -> std::result::Result<Vec<u8>, NotRecovered> {
        if epoch != EPOCH {
            return Err(NotRecovered::UnknownEpoch);
        }
        let Some(missed) = self.messages.get(offset as usize..) else { return Err(NotRecovered::Ahead) };
        let gone = |(_, at): &(Vec<u8>, u64)| at + limits.ttl_ms < now_ms;
        if (offset as usize) < self.cleared || missed.len() > limits.messages || missed.iter().any(gone) {
            return Err(NotRecovered::Gone);
        }
        let bytes: Vec<u8> = missed.iter().flat_map(|(frame, _)| frame.clone()).collect();
        if missed.len() as u64 > max || bytes.len() > max_bytes {
            return Err(NotRecovered::TooMany);
        }
        Ok(bytes)
    }
}
