use proptest::prelude::*;
use wse_mesh::wire::header::{COMPRESSED, HEADER};
use wse_mesh::wire::{Header, Malformed};

use super::{Frames, Inbound};

const LIMIT: usize = 1 << 20;

/// A frame of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    kind: u8,
    topic: String,
    payload: Vec<u8>,
}

fn plain() -> impl Strategy<Value = Plain> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 250..3000),
        (any::<u8>(), 0_usize..300_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    (any::<u8>(), "[a-zé/]{0,20}", payload).prop_map(|(kind, topic, payload)| Plain { kind, topic, payload })
}

fn admitted(limit: usize) -> Inbound {
    let mut inbound = Inbound::new(limit);
    inbound.admit();
    inbound
}

/// Everything that comes of some bytes, read in pieces.
fn heard(inbound: &mut Inbound, mut bytes: &[u8], piece: usize) -> (Vec<Plain>, Option<Malformed>) {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let room = inbound.room();
        let count = room.len().min(piece).min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        inbound.handle_read(count);
        bytes = &bytes[count..];
        loop {
            let batch = inbound.batch(|frames| {
                all.extend(frames.iter().map(|frame| {
                    assert_eq!(frame.header.frame_len(), HEADER + frame.topic.len() + frame.payload.len());
                    assert_eq!(frame.header.flags & COMPRESSED, 0);
                    Plain {
                        kind: frame.header.kind,
                        topic: frame.topic.to_owned(),
                        payload: frame.payload.to_owned(),
                    }
                }));
            });
            match batch {
                Ok(true) => {}
                Ok(false) => break,
                Err(malformed) => return (all, Some(malformed)),
            }
        }
    }
    (all, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn frames_are_heard_as_they_were_put_however_they_come(
        frames in prop::collection::vec((plain(), any::<bool>()), 0..12), piece in 1_usize..200_000,
    ) {
        let mut out = Frames::new();
        for (frame, squeeze) in &frames {
            if *squeeze {
                out.put_squeezed(frame.kind, &frame.topic, &frame.payload);
            } else {
                out.put(frame.kind, &frame.topic, &frame.payload);
            }
        }
        prop_assert_eq!(out.count() as usize, frames.len());
        let longest = frames.iter().map(|(frame, _)| HEADER + frame.topic.len() + frame.payload.len()).max();
        prop_assert_eq!(out.longest(), longest.unwrap_or(0));
        let expected: Vec<Plain> = frames.into_iter().map(|(frame, _)| frame).collect();
        // A byte at a time costs too much for megabytes.
        let piece = piece.max(out.bytes().len() / 4000);
        prop_assert_eq!(heard(&mut admitted(LIMIT), out.bytes(), piece), (expected, None));
    }

    #[test]
    fn any_bytes_are_frames_or_the_end_of_the_link(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
        let _ = heard(&mut admitted(300), &bytes, piece);
        let _ = heard(&mut Inbound::new(300), &bytes, piece);
    }
}

fn compressed(told: u32, squeezed: &[u8]) -> Vec<u8> {
    let payload_len = squeezed.len() as u32 + 4;
    let header = Header { kind: 0x14, flags: COMPRESSED, topic_len: 1, payload_len };
    [&header.encode()[..], b"t", &told.to_le_bytes(), squeezed].concat()
}

fn put(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut frames = Frames::new();
    frames.put(0x14, topic, payload);
    frames.bytes().to_vec()
}

#[test]
fn thousands_of_small_frames_are_one_batch() {
    let mut frames = Frames::new();
    (0..3000).for_each(|_| frames.put(0x14, "t", b"0123456789"));
    let mut inbound = admitted(LIMIT);
    inbound.room()[..frames.bytes().len()].copy_from_slice(frames.bytes());
    inbound.handle_read(frames.bytes().len());
    let mut batches = Vec::new();
    while inbound.batch(|frames| batches.push(frames.len())) == Ok(true) {}
    assert_eq!(batches, [3000]);
}

#[test]
fn a_payload_is_compressed_where_that_makes_it_shorter() {
    let of = |payload: &[u8]| {
        let mut frames = Frames::new();
        frames.put_squeezed(0x14, "t", payload);
        frames.bytes().len()
    };
    assert_eq!(of(&[b'x'; 256]), 8 + 1 + 256, "short ones never are");
    assert!(of(&[b'x'; 257]) < 60);
    let mut noise = 1_u32;
    let random = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    });
    let random: Vec<u8> = random.take(5000).collect();
    assert_eq!(of(&random), 8 + 1 + 5000);
}

#[test]
fn a_frame_that_inflates_beyond_the_limit_or_beyond_its_word_ends_the_link_after_those_before_it() {
    let squeezed = zstd::bulk::compress(&vec![0; LIMIT], 1).expect("compresses");
    let limit = LIMIT as u32;
    for (told, why) in [
        (limit - 9, "is not what zstd makes, or inflates beyond what it says"),
        (limit - 8, "inflates beyond the limit of frames"),
        (limit, "inflates beyond the limit of frames"),
        (u32::MAX, "inflates beyond the limit of frames"),
    ] {
        let bytes = [put("before", b""), compressed(told, &squeezed)].concat();
        let (frames, failed) = heard(&mut admitted(LIMIT), &bytes, usize::MAX);
        assert_eq!(frames.len(), 1);
        assert_eq!(failed, Some(Malformed(why)));
    }
    let short = zstd::bulk::compress(&[7; 1000], 1).expect("compresses");
    let (_, failed) = heard(&mut admitted(LIMIT), &compressed(1001, &short), usize::MAX);
    assert_eq!(failed, Some(Malformed("inflates to another length than it says")));
    let (frames, failed) = heard(&mut admitted(LIMIT), &compressed(1000, &short), usize::MAX);
    assert_eq!((frames[0].payload.len(), failed), (1000, None));
    let (_, failed) = heard(&mut admitted(LIMIT), &put("t", b"")[..7], usize::MAX);
    assert_eq!(failed, None, "a header that is cut is waited for");
}

#[test]
fn very_many_bytes_out_of_few_come_in_batches_of_a_megabyte() {
    let squeezed = zstd::bulk::compress(&vec![0; 500_000], 1).expect("compresses");
    let bytes: Vec<u8> = (0..50).flat_map(|_| compressed(500_000, &squeezed)).collect();
    let mut inbound = admitted(LIMIT);
    inbound.room()[..bytes.len()].copy_from_slice(&bytes);
    inbound.handle_read(bytes.len());
    let mut batches = Vec::new();
    while inbound.batch(|frames| batches.push(frames.len())) == Ok(true) {}
    assert_eq!(batches.iter().sum::<usize>(), 50);
    assert!(batches.iter().all(|&frames| frames <= 3), "{batches:?}");
}

#[test]
fn before_a_link_is_admitted_frames_are_short_and_plain_and_come_one_by_one() {
    let mut inbound = Inbound::new(LIMIT);
    let two = [put("", b"hello"), put("", b"more")].concat();
    inbound.room()[..two.len()].copy_from_slice(&two);
    inbound.handle_read(two.len());
    let mut batches = Vec::new();
    while inbound.batch(|frames| batches.push(frames.len())) == Ok(true) {}
    assert_eq!(batches, [1, 1]);

    let long = put("", &vec![0; 70_000]);
    assert!(heard(&mut inbound, &long, usize::MAX).1.is_some());
    let squeezed = zstd::bulk::compress(&[7; 1000], 1).expect("compresses");
    let failed = heard(&mut Inbound::new(LIMIT), &compressed(1000, &squeezed), usize::MAX).1;
    assert_eq!(failed, Some(Malformed("compressed before the link was admitted")));
}

#[test]
fn a_long_frame_right_behind_the_one_that_admits_is_taken() {
    let mut inbound = Inbound::new(LIMIT);
    let both = [put("", b"hello"), put("", &vec![1; 200_000])].concat();
    let first = inbound.room().len().min(both.len());
    inbound.room()[..first].copy_from_slice(&both[..first]);
    inbound.handle_read(first);
    assert_eq!(inbound.batch(|frames| assert_eq!(frames[0].payload, b"hello")), Ok(true));
    inbound.admit();
    let (frames, failed) = heard(&mut inbound, &both[first..], 30_000);
    assert_eq!((frames.len(), failed), (1, None));
}

#[test]
fn room_grows_with_what_has_come_and_is_given_back() {
    let mut inbound = admitted(16 << 20);
    let header = Header { kind: 1, flags: 0, topic_len: 0, payload_len: 15 << 20 };
    assert_eq!(heard(&mut inbound, &header.encode(), usize::MAX).0.len(), 0);
    assert!(inbound.memory() <= 64 * 1024, "a promise makes no room");
    let rest = vec![0; 15 << 20];
    let (frames, failed) = heard(&mut inbound, &rest, 1 << 20);
    assert_eq!((frames.len(), failed), (1, None));
    for _ in 0..40 {
        heard(&mut inbound, &put("", b""), usize::MAX);
    }
    inbound.room();
    assert_eq!(inbound.memory(), 64 * 1024);
}

#[test]
fn a_topic_that_is_not_text_ends_the_link() {
    let header = Header { kind: 1, flags: 0, topic_len: 1, payload_len: 0 };
    let bytes = [put("fine", b""), [&header.encode()[..], &[0xff]].concat(), put("late", b"")].concat();
    let (frames, failed) = heard(&mut admitted(LIMIT), &bytes, usize::MAX);
    assert_eq!(frames.len(), 1);
    assert_eq!(failed, Some(Malformed("topic is not UTF-8")));
}
