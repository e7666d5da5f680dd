//! What is queued for a client leaves whole and in order, and a cut never leaves half a frame for it to choke on.
//!
//! Operations on an `Outbox` beside a plain queue of bytes that remembers where its frames end.

#![no_main]

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use wse_core::outbox::{Outbox, Run};
use wse_core::websocket::Opcode;
use wse_core::websocket::frame::{server_frame_len, write_frame};

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let runs: Vec<Memory> = (0..layouts().len()).map(|which| Memory(Rc::new(which))).collect();
    let (mut outbox, mut model) = (Outbox::default(), Model::default());
    while !input.is_empty() {
        let _ = step(&mut input, &runs, &mut outbox, &mut model);
        model.check(&outbox);
    }
});

/// The bytes of a run and its frame boundaries.
type Layout = (Vec<u8>, Vec<u32>);

/// Payload lengths around every border of the three forms, with bytes by which any two places can be told apart.
fn layouts() -> &'static [Layout] {
    static LAYOUTS: OnceLock<Vec<Layout>> = OnceLock::new();
    LAYOUTS.get_or_init(|| {
        let lens: [&[usize]; 4] = [&[0, 1, 2, 30], &[125, 126, 127], &[0, 0, 300, 5], &[65_535, 65_536, 3]];
        let mut place = 0_u32;
        let layout = |lens: &&[usize]| {
            let (mut bytes, mut boundaries) = (Vec::new(), vec![0]);
            for len in *lens {
                let mut payload = Vec::new();
                while payload.len() < *len {
                    place += 1;
                    payload.extend(place.to_be_bytes());
                }
                write_frame(&mut bytes, Opcode::Text, &payload[..*len]);
                boundaries.push(bytes.len() as u32);
            }
            (bytes, boundaries)
        };
        lens.iter().map(layout).collect()
    })
}

/// A run; two clones are the same memory, two of the same layout need not be.
#[derive(Clone)]
struct Memory(Rc<usize>);

impl Run for Memory {
    fn bytes(&self) -> &[u8] {
        &layouts()[*self.0].0
    }

    fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn step(
    input: &mut Unstructured<'_>,
    runs: &[Memory],
    outbox: &mut Outbox<Memory>,
    model: &mut Model,
) -> Result<()> {
    match input.int_in_range(0..=7)? {
        0 => {
            let dropped = outbox.cut_at_boundary();
            assert_eq!(dropped, model.cut());
            assert_eq!(outbox.cut_at_boundary(), 0, "a second cut finds nothing more to drop");
        }
        1..=3 => {
            let all: usize = outbox.bytes();
            let sent = match input.arbitrary::<u8>()? {
                255 => all,
                254 => outbox.pieces().next().map_or(0, <[u8]>::len),
                some => usize::from(some) * (1 + all / 2048),
            };
            outbox.advance(sent.min(all));
            model.advance(sent.min(all));
        }
        _ => {
            let mut run = input.choose(runs)?.clone();
            if input.ratio(1, 8)? {
                run = Memory(Rc::new(*run.0));
            }
            let (bytes, boundaries) = &layouts()[*run.0];
            let [a, b] = [input.choose(boundaries)?, input.choose(boundaries)?];
            let (start, end) = (*a.min(b), *a.max(b));
            if start < end && outbox.bytes() < 1 << 18 {
                outbox.push(&run, start, end);
                model.push(&bytes[start as usize..end as usize]);
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Model {
    /// Whole frames, the first of which may have left in part.
    frames: VecDeque<&'static [u8]>,
    /// The bytes of the first frame that have left.
    sent: usize,
}

impl Model {
    fn push(&mut self, mut bytes: &'static [u8]) {
        while !bytes.is_empty() {
            let (frame, rest) = bytes.split_at(server_frame_len(bytes));
            self.frames.push_back(frame);
            bytes = rest;
        }
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        while let Some(first) = self.frames.pop_front_if(|first| first.len() <= self.sent) {
            self.sent -= first.len();
        }
    }

    fn cut(&mut self) -> usize {
        self.frames.drain(usize::from(self.sent > 0)..).map(<[u8]>::len).sum()
    }

    fn check(&self, outbox: &Outbox<Memory>) {
        let pieces: Vec<&[u8]> = outbox.pieces().collect();
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(pieces.concat(), self.frames.iter().copied().collect::<Vec<_>>().concat()[self.sent..]);
        assert_eq!(outbox.bytes(), pieces.iter().map(|piece| piece.len()).sum::<usize>());
        assert_eq!(outbox.is_empty(), pieces.is_empty());
        assert_eq!(outbox.single(), if let [only] = pieces[..] { Some(only) } else { None });
        assert!(outbox.cost() >= outbox.bytes() && outbox.cost() <= outbox.bytes() + 128 * pieces.len());
    }
}
