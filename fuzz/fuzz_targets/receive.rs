//! What a client said does not depend on how the network cut it, nor on when the application had room.
//!
//! Any bytes are fed to one `Receiver` at once and to another in pieces, with pauses where the input asks for them. Both hand
//! on the same things and end in the same error, and what is held meanwhile stays within the limit of one message.
//!
//! Input: limit (and whether messages may be compressed, with a context or without), message to stop at, number of cuts, the cuts (a
//! length, and in the top bit whether to pause), the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wse_core::websocket::deflate::Inflater;
use wse_core::websocket::frame::{MAX_CLIENT_HEADER, MAX_CONTROL_PAYLOAD};
use wse_core::websocket::{Flow, Inflation, ProtocolError, Receiver};
use wse_fuzz::Seen;

/// Around every border of the three forms of length.
const LIMITS: [usize; 8] = [1, 16, 125, 126, 300, 4096, 65_535, 65_536];

/// What may be held beside a message, whose memory grows by doubling: the beginning of a header or of a control frame, and what a
/// message can gain by being compressed.
const BESIDE: usize = MAX_CLIENT_HEADER + MAX_CONTROL_PAYLOAD + 2 * (65_536 / 1024 + 64);

fuzz_target!(|input: &[u8]| {
    let Some((&[limit, stop_at, cuts], rest)) = input.split_first_chunk() else { return };
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(cuts)) else { return };
    let takeover = [None, Some(false), Some(true)][usize::from(limit) / LIMITS.len() % 3];
    let limit = LIMITS[usize::from(limit) % LIMITS.len()];

    let mut at_once = Client::new(limit, stop_at, takeover);
    at_once.say(stream, &[]);
    let mut in_pieces = Client::new(limit, stop_at, takeover);
    in_pieces.say(stream, cuts);

    assert_eq!(at_once.heard, in_pieces.heard);
    assert_eq!(at_once.end, in_pieces.end);
    if at_once.end.is_none() {
        assert_eq!(at_once.receiver.is_mid_message(), in_pieces.receiver.is_mid_message());
    }
    assert!(at_once.heard.iter().all(|seen| seen.len() <= limit.max(MAX_CONTROL_PAYLOAD)));
});

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// By a close frame, or because the reader had enough.
    Stopped,
    /// By an error.
    Failed(ProtocolError),
}

struct Client {
    receiver: Receiver,
    inflater: Option<Inflater>,
    limit: usize,
    /// The number of the message with which the reader has enough.
    stop_at: usize,
    heard: Vec<Seen>,
    end: Option<End>,
}

impl Client {
    fn new(limit: usize, stop_at: u8, takeover: Option<bool>) -> Self {
        Self {
            receiver: Receiver::default(),
            inflater: takeover.map(Inflater::new),
            limit,
            stop_at: usize::from(stop_at),
            heard: Vec::new(),
            end: None,
        }
    }

    /// Says `stream` in pieces of the lengths in `cuts`, over and over; without any, at once.
    fn say(&mut self, mut stream: &[u8], cuts: &[u8]) {
        let mut cuts = cuts.iter().cycle();
        while !stream.is_empty() && self.end.is_none() {
            let (len, pause) = match cuts.next() {
                Some(cut) => (usize::from(cut & 0x7f) + 1, cut & 0x80 != 0),
                None => (stream.len(), false),
            };
            let (piece, after) = stream.split_at(len.min(stream.len()));
            stream = after;
            self.hand_over(piece, pause);
        }
    }

    /// Hands one piece over, and after a pause what was kept: the first message is refused once if `pause` says so.
    fn hand_over(&mut self, piece: &[u8], mut pause: bool) {
        let mut piece = piece;
        loop {
            let mut data = [self.receiver.tail(), piece].concat();
            let offered = data.len();
            piece = &[];
            let flow = self.receive(&mut data, &mut pause);
            match flow {
                Ok(Flow::Continue) => {
                    assert!(self.receiver.held_bytes() <= 2 * self.limit + BESIDE);
                    return;
                }
                Ok(Flow::Pause) => {
                    // Everything that was offered may be kept, but only once.
                    assert!(self.receiver.held_bytes() <= 2 * self.limit + offered + BESIDE);
                }
                Ok(Flow::Stop) => {
                    self.end = Some(End::Stopped);
                    return;
                }
                Err(error) => {
                    self.end = Some(End::Failed(error));
                    return;
                }
            }
        }
    }

    fn receive(&mut self, data: &mut [u8], pause: &mut bool) -> Result<Flow, ProtocolError> {
        let inflation = self.inflater.as_mut().map_or(Inflation::Refused, Inflation::By);
        self.receiver.receive(data, self.limit, inflation, |incoming| {
            let seen = Seen::from(&incoming);
            if seen.is_message() && std::mem::take(pause) {
                return Flow::Pause;
            }
            let enough = seen.is_message() && self.heard.len() + 1 == self.stop_at;
            self.heard.push(seen);
            if enough { Flow::Stop } else { Flow::Continue }
        })
    }
}
