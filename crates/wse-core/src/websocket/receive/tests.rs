use super::*;
use crate::websocket::deflate::{Deflater, Window};
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
}

fn seen(incoming: &Incoming<'_>) -> Seen {
    match incoming {
        Incoming::Text(text) => Seen::Text((*text).to_owned()),
        Incoming::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Incoming::Ping(bytes) => Seen::Ping(bytes.to_vec()),
        Incoming::Pong(bytes) => Seen::Pong(bytes.to_vec()),
        Incoming::Close(close) => Seen::Close(close.code, close.reason.to_owned()),
    }
}

fn client_frame(fin: bool, opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        len if len < 126 => out.push(0x80 | len as u8),
        len if len < 65_536 => {
            out.push(0xfe);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0xff);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    let at = out.len();
    out.extend(payload);
    unmask(&mut out[at..], mask, 0);
    out
}

/// Feeds `bytes` in pieces of `step` as a shard would, refusing every `pause_every`-th application message once.
fn feed(
    receiver: &mut Receiver,
    bytes: &[u8],
    step: usize,
    max: usize,
    pause_every: usize,
) -> Result<Vec<Seen>, (Vec<Seen>, ProtocolError)> {
    let mut out = Vec::new();
    let mut offered = 0_usize;
    let mut refused_last = false;
    let mut inflater = Inflater::new(false);
    for piece in bytes.chunks(step.max(1)) {
        let mut next: &[u8] = piece;
        loop {
            let mut buffer = receiver.tail().to_vec();
            buffer.extend_from_slice(next);
            next = &[];
            let flow = receiver.receive(&mut buffer, max, Inflation::By(&mut inflater), |incoming| {
                let application = matches!(incoming, Incoming::Text(_) | Incoming::Binary(_));
                if application && !refused_last && pause_every > 0 {
                    offered += 1;
                    if offered.is_multiple_of(pause_every) {
                        refused_last = true;
                        return Flow::Pause;
                    }
                }
                refused_last = false;
                out.push(seen(&incoming));
                Flow::Continue
            });
            match flow {
                Ok(Flow::Pause) => {}
                Ok(Flow::Continue) => break,
                Ok(Flow::Stop) => return Ok(out),
                Err(error) => return Err((out, error)),
            }
        }
    }
    Ok(out)
}

fn message() -> impl Strategy<Value = (Vec<u8>, Seen)> {
    let mask = any::<[u8; 4]>();
    prop_oneof![
        ("\\PC{0,40}", mask).prop_map(|(t, m)| (client_frame(true, 1, t.as_bytes(), m), Seen::Text(t))),
        (prop::collection::vec(any::<u8>(), 0..300), mask)
            .prop_map(|(b, m)| (client_frame(true, 2, &b, m), Seen::Binary(b))),
        (prop::collection::vec(any::<u8>(), 0..125), mask)
            .prop_map(|(b, m)| (client_frame(true, 9, &b, m), Seen::Ping(b))),
        (prop::collection::vec(any::<u8>(), 0..125), mask)
            .prop_map(|(b, m)| (client_frame(true, 10, &b, m), Seen::Pong(b))),
        ("\\PC{1,400}", mask, 1_usize..80).prop_map(|(t, m, step)| {
            let squeezed = Deflater::new(Window::LARGEST, false).deflate(&[t.as_bytes()]).to_vec();
            let parts: Vec<&[u8]> = squeezed.chunks(step).collect();
            let frame = |(i, part): (usize, &&[u8])| {
                client_frame(i == parts.len() - 1, if i == 0 { 0x41 } else { 0 }, part, m)
            };
            (parts.iter().enumerate().flat_map(frame).collect(), Seen::Text(t))
        }),
        ("\\PC{1,40}", mask, 1_usize..8).prop_map(|(t, m, step)| {
            let parts: Vec<&[u8]> = t.as_bytes().chunks(step).collect();
            let last = parts.len() - 1;
            let frames = parts.iter().enumerate();
            let bytes =
                frames.flat_map(|(i, part)| client_frame(i == last, u8::from(i == 0), part, m)).collect();
            (bytes, Seen::Text(t.clone()))
        }),
    ]
}

proptest! {
    #[test]
    fn any_cut_and_any_pause_gives_the_same_messages(
        messages in prop::collection::vec(message(), 0..12), step in 1_usize..64, pause_every in 0_usize..4,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Seen> = messages.into_iter().map(|(_, seen)| seen).collect();
        let mut receiver = Receiver::default();
        prop_assert_eq!(feed(&mut receiver, &bytes, step, 1 << 20, pause_every), Ok(expected));
        prop_assert_eq!(receiver.held_bytes(), 0);
    }

    #[test]
    fn garbage_never_panics_nor_depends_on_the_cuts(bytes in prop::collection::vec(any::<u8>(), 0..400), step in 1_usize..32) {
        let whole = feed(&mut Receiver::default(), &bytes, usize::MAX, 1000, 0);
        let pieces = feed(&mut Receiver::default(), &bytes, step, 1000, 0);
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn a_ping_between_fragments_is_heard_first() {
    let mut bytes = client_frame(false, 1, b"hel", [1, 2, 3, 4]);
    bytes.extend(client_frame(true, 9, b"p", [5, 6, 7, 8]));
    bytes.extend(client_frame(true, 0, b"lo", [9, 9, 9, 9]));
    let got = feed(&mut Receiver::default(), &bytes, 3, 100, 0).unwrap();
    assert_eq!(got, [Seen::Ping(b"p".to_vec()), Seen::Text("hello".into())]);
}

#[test]
fn utf8_fails_in_the_middle_of_a_frame() {
    // The frame announces 100 bytes; the fourth is wrong, and nobody waits for the other 96.
    let frame = client_frame(true, 1, &[b'a'; 100], [0; 4]);
    let mut bytes = frame[..9].to_vec();
    bytes.push(0xff);
    assert_eq!(feed(&mut Receiver::default(), &bytes, 1, 1000, 0), Err((vec![], ProtocolError::BadUtf8)));
}

#[test]
fn a_character_cut_by_the_end_of_a_message_is_refused() {
    let bytes = client_frame(true, 1, &"é".as_bytes()[..1], [1, 1, 1, 1]);
    for step in [1, 100] {
        assert_eq!(
            feed(&mut Receiver::default(), &bytes, step, 100, 0),
            Err((vec![], ProtocolError::BadUtf8))
        );
    }
}

#[test]
fn too_large_is_noticed_at_the_header_and_over_fragments() {
    let big = client_frame(true, 2, &[0; 101], [0; 4]);
    assert_eq!(feed(&mut Receiver::default(), &big[..6], 1, 100, 0), Err((vec![], ProtocolError::TooLarge)));
    let mut two = client_frame(false, 2, &[0; 60], [0; 4]);
    two.extend(client_frame(true, 0, &[0; 41], [0; 4]));
    assert_eq!(feed(&mut Receiver::default(), &two, 7, 100, 0), Err((vec![], ProtocolError::TooLarge)));
    assert!(feed(&mut Receiver::default(), &two, 7, 101, 0).is_ok());
}

#[test]
fn frames_out_of_place_are_refused() {
    let lone = client_frame(true, 0, b"x", [0; 4]);
    assert_eq!(
        feed(&mut Receiver::default(), &lone, 9, 9, 0),
        Err((vec![], ProtocolError::UnexpectedContinuation))
    );
    let mut two = client_frame(false, 1, b"x", [0; 4]);
    two.extend(client_frame(true, 1, b"y", [0; 4]));
    assert_eq!(
        feed(&mut Receiver::default(), &two, 99, 9, 0),
        Err((vec![], ProtocolError::UnexpectedMessage))
    );
}

#[test]
fn nothing_is_heard_after_a_close() {
    let mut bytes = client_frame(true, 8, &[3, 232, b'x'], [7; 4]);
    bytes.extend(client_frame(true, 1, b"late", [7; 4]));
    assert_eq!(feed(&mut Receiver::default(), &bytes, 999, 99, 0), Ok(vec![Seen::Close(1000, "x".into())]));
}

/// One compressed text frame.
fn squeezed(payload: &[u8]) -> Vec<u8> {
    let squeezed = Deflater::new(Window::LARGEST, false).deflate(&[payload]).to_vec();
    client_frame(true, 0x41, &squeezed, [1, 2, 3, 4])
}

#[test]
fn compressed_messages_keep_the_limits_of_plain_ones() {
    let feed = |bytes: &[u8], max| feed(&mut Receiver::default(), bytes, bytes.len(), max, 0);
    let text = "a".repeat(1000);
    assert_eq!(feed(&squeezed(text.as_bytes()), 1000), Ok(vec![Seen::Text(text.clone())]));
    assert_eq!(feed(&squeezed(text.as_bytes()), 999).unwrap_err().1, ProtocolError::TooLarge);
    assert_eq!(feed(&squeezed(b"\xff\xff"), 10).unwrap_err().1, ProtocolError::BadUtf8);
    let broken = client_frame(true, 0x42, &[0xff; 20], [0; 4]);
    assert_eq!(feed(&broken, 1000).unwrap_err().1, ProtocolError::BadDeflate);
    let announced = [0xc1, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(feed(&announced, 60_000).unwrap_err().1, ProtocolError::TooLarge, "by its header alone");
}

#[test]
fn the_compressed_bit_belongs_to_the_first_frame_of_a_message() {
    let feed = |bytes: &[u8]| feed(&mut Receiver::default(), bytes, 1, 1000, 0).unwrap_err().1;
    let begun = client_frame(false, 0x41, b"", [0; 4]);
    let again = client_frame(true, 0x40, b"", [0; 4]);
    assert_eq!(feed(&[begun, again].concat()), ProtocolError::ReservedBits);
    assert_eq!(feed(&client_frame(true, 0x49, b"", [0; 4])), ProtocolError::ReservedBits);
}

#[test]
fn what_comes_compressed_while_closing_is_skipped() {
    let mut receiver = Receiver::default();
    let mut bytes = [squeezed(b"hello"), client_frame(true, 8, &[3, 232], [0; 4])].concat();
    let mut out = Vec::new();
    let flow = receiver.receive(&mut bytes, 1000, Inflation::Skipped, |incoming| {
        out.push(seen(&incoming));
        Flow::Continue
    });
    assert_eq!((flow, out), (Ok(Flow::Stop), vec![Seen::Close(1000, String::new())]));
    let refused = receiver.receive(&mut squeezed(b"hello"), 1000, Inflation::Refused, |_| Flow::Continue);
    assert_eq!(refused, Err(ProtocolError::ReservedBits));
}
