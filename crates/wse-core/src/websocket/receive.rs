//! What arrives on one connection: bytes in, whole messages and control frames out.
//!
//! A frame that lies whole in the caller's buffer is unmasked there and handed on without a copy. Only what is cut by the end
//! of the buffer is kept, and an idle connection keeps nothing but a null pointer.

use super::close::CloseFrame;
use super::frame::{FrameHeader, Opcode, ProtocolError};
use super::mask::unmask;

/// One whole thing that the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message, reassembled and valid UTF-8.
    Text(&'a str),
    /// A binary message, reassembled.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// The answer to a ping, or a sign of life of its own.
    Pong(&'a [u8]),
    /// Nothing comes after it.
    Close(CloseFrame<'a>),
}

/// What the reader of [`Incoming`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// This message does not fit now: keep it and whatever follows, and offer it again with the next call.
    Pause,
    /// The connection has ended: drop whatever follows.
    Stop,
}

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub struct Receiver {
    rest: Option<Box<Rest>>,
}

/// What one call could not finish.
#[derive(Debug, Default)]
struct Rest {
    /// Raw bytes to be put before the next ones: a cut header, a cut control frame, or all that came after a pause.
    tail: Vec<u8>,
    /// The payload so far of a message that came in pieces.
    message: Vec<u8>,
    /// Whether that message is text or binary; `None` while none is open.
    kind: Option<Kind>,
    /// How much of `message` is known to be whole UTF-8 characters.
    valid: usize,
    /// The frame whose payload is still coming.
    open: Option<OpenFrame>,
    /// `message` is whole and was refused by [`Flow::Pause`].
    ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    fin: bool,
    mask: [u8; 4],
    offset: usize,
    remaining: u64,
}

impl Receiver {
    /// Raw bytes that must stand before the next ones read from the socket: the caller copies them to the front of its buffer and
    /// hands the whole to [`Receiver::receive`].
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], |rest| &rest.tail)
    }

    /// Bytes of memory that an unfinished or refused message holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.message.capacity() + rest.tail.capacity())
    }

    /// Whether a message was begun and is not finished.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.rest.is_some()
    }

    /// Takes `data` (the [tail](Receiver::tail) and what was read after it) and calls `on` for each thing that is whole.
    ///
    /// `max_message_size` is the limit in bytes of a reassembled message, noticed as soon as a header announces more.
    ///
    /// # Errors
    /// Everything that must fail the connection; what came before it has been handed to `on`.
    pub fn receive(
        &mut self,
        data: &mut [u8],
        max_message_size: usize,
        mut on: impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<Flow, ProtocolError> {
        let mut at = 0;
        if self.rest.as_ref().is_some_and(|rest| rest.ready) {
            match self.finish_message(&mut on)? {
                Flow::Continue => {}
                flow => return Ok(flow),
            }
        }
        loop {
            if let Some(rest) = &mut self.rest
                && let Some(open) = rest.open.take()
            {
                at += rest.append(open, &mut data[at..])?;
                match rest.open {
                    Some(_) => return Ok(self.keep_tail(&[])),
                    None if open.fin => match self.finish_message(&mut on)? {
                        Flow::Continue => {}
                        Flow::Pause => {
                            self.keep_tail(&data[at..]);
                            return Ok(Flow::Pause);
                        }
                        Flow::Stop => return Ok(self.stop()),
                    },
                    None => {}
                }
            }
            let Some(header) = FrameHeader::parse(&data[at..])? else {
                return Ok(self.keep_tail(&data[at..]));
            };
            let body = at + header.header_len;
            let whole = (data.len() - body) as u64 >= header.payload_len;
            if header.opcode.is_control() {
                if !whole {
                    return Ok(self.keep_tail(&data[at..]));
                }
                at = body + header.payload_len as usize;
                let payload = &mut data[body..at];
                unmask(payload, header.mask, 0);
                let flow = match header.opcode {
                    Opcode::Ping => on(Incoming::Ping(payload)),
                    Opcode::Pong => on(Incoming::Pong(payload)),
                    _ => {
                        on(Incoming::Close(CloseFrame::parse(payload)?));
                        Flow::Stop
                    }
                };
                if flow == Flow::Stop {
                    return Ok(self.stop());
                }
                continue;
            }
            self.admit(&header, max_message_size)?;
            if whole && header.fin && header.opcode != Opcode::Continuation {
                let end = body + header.payload_len as usize;
                match in_place(&mut data[body..end], &header, &mut on)? {
                    Flow::Continue => at = end,
                    Flow::Pause => {
                        self.keep_tail(&data[at..]);
                        return Ok(Flow::Pause);
                    }
                    Flow::Stop => return Ok(self.stop()),
                }
                continue;
            }
            self.open(&header);
            at = body;
        }
    }

    /// Refuses a data frame that its place among the others or its length forbids.
    fn admit(&self, header: &FrameHeader, max_message_size: usize) -> Result<(), ProtocolError> {
        let assembled = match &self.rest {
            Some(rest) if rest.kind.is_some() => {
                if header.opcode != Opcode::Continuation {
                    return Err(ProtocolError::UnexpectedMessage);
                }
                rest.message.len()
            }
            _ => {
                if header.opcode == Opcode::Continuation {
                    return Err(ProtocolError::UnexpectedContinuation);
                }
                0
            }
        };
        if header.payload_len > (max_message_size - assembled.min(max_message_size)) as u64 {
            return Err(ProtocolError::TooLarge);
        }
        Ok(())
    }

    /// Begins to collect a frame's payload.
    fn open(&mut self, header: &FrameHeader) {
        let rest = self.rest.get_or_insert_default();
        rest.tail = Vec::new();
        match header.opcode {
            Opcode::Text => rest.kind = Some(Kind::Text),
            Opcode::Binary => rest.kind = Some(Kind::Binary),
            _ => {}
        }
        rest.open =
            Some(OpenFrame { fin: header.fin, mask: header.mask, offset: 0, remaining: header.payload_len });
    }

    /// Hands on the message that was collected.
    fn finish_message(&mut self, on: &mut impl FnMut(Incoming<'_>) -> Flow) -> Result<Flow, ProtocolError> {
        let rest = self.rest.as_mut().expect("a message is finished only after it was begun");
        let flow = match rest.kind {
            Some(Kind::Text) if rest.valid == rest.message.len() => {
                // Each part was checked when it came; this pass is the price of a reference without `unsafe`.
                let text = simdutf8::basic::from_utf8(&rest.message).map_err(|_| ProtocolError::BadUtf8)?;
                on(Incoming::Text(text))
            }
            Some(Kind::Text) => return Err(ProtocolError::BadUtf8),
            _ => on(Incoming::Binary(&rest.message)),
        };
        rest.ready = flow == Flow::Pause;
        if !rest.ready {
            rest.kind = None;
            rest.message = Vec::new();
            rest.valid = 0;
        }
        Ok(flow)
    }

    /// Remembers raw bytes for the next call, and forgets the rest when there is nothing to remember.
    fn keep_tail(&mut self, tail: &[u8]) -> Flow {
        match &mut self.rest {
            Some(rest) if tail.is_empty() && rest.kind.is_none() => self.rest = None,
            Some(rest) => rest.tail = tail.to_vec(),
            None if tail.is_empty() => {}
            None => self.rest = Some(Box::new(Rest { tail: tail.to_vec(), ..Rest::default() })),
        }
        Flow::Continue
    }

    fn stop(&mut self) -> Flow {
        self.rest = None;
        Flow::Stop
    }
}

/// Hands on a message that lies whole in the buffer.
#[inline]
fn in_place(
    payload: &mut [u8],
    header: &FrameHeader,
    on: &mut impl FnMut(Incoming<'_>) -> Flow,
) -> Result<Flow, ProtocolError> {
    unmask(payload, header.mask, 0);
    let flow = if header.opcode == Opcode::Text {
        on(Incoming::Text(valid_text(payload)?))
    } else {
        on(Incoming::Binary(payload))
    };
    if flow == Flow::Pause {
        // The raw frame is kept and will be read again, so it must be what it was.
        unmask(payload, header.mask, 0);
    }
    Ok(flow)
}

/// Up to this length the standard library's check, which has nothing to set up, is the faster one.
const SHORT_TEXT: usize = 256;

#[inline]
fn valid_text(payload: &[u8]) -> Result<&str, ProtocolError> {
    if payload.len() <= SHORT_TEXT {
        return std::str::from_utf8(payload).map_err(|_| ProtocolError::BadUtf8);
    }
    simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::BadUtf8)
}

impl Rest {
    /// Moves what there is of an open frame's payload into the message; returns how much that was.
    fn append(&mut self, mut open: OpenFrame, data: &mut [u8]) -> Result<usize, ProtocolError> {
        let take = usize::try_from(open.remaining).unwrap_or(usize::MAX).min(data.len());
        let part = &mut data[..take];
        unmask(part, open.mask, open.offset);
        self.message.extend_from_slice(part);
        if self.kind == Some(Kind::Text) {
            match simdutf8::compat::from_utf8(&self.message[self.valid..]) {
                Ok(_) => self.valid = self.message.len(),
                // Broken in the middle: the client hears of it before the rest has come (Autobahn 6.3, 6.4).
                Err(error) if error.error_len().is_some() => return Err(ProtocolError::BadUtf8),
                Err(error) => self.valid += error.valid_up_to(),
            }
        }
        open.remaining -= take as u64;
        open.offset = (open.offset + take) & 3;
        self.open = (open.remaining > 0).then_some(open);
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        for piece in bytes.chunks(step.max(1)) {
            let mut next: &[u8] = piece;
            loop {
                let mut buffer = receiver.tail().to_vec();
                buffer.extend_from_slice(next);
                next = &[];
                let flow = receiver.receive(&mut buffer, max, |incoming| {
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
        assert_eq!(
            feed(&mut Receiver::default(), &big[..6], 1, 100, 0),
            Err((vec![], ProtocolError::TooLarge))
        );
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
        assert_eq!(
            feed(&mut Receiver::default(), &bytes, 999, 99, 0),
            Ok(vec![Seen::Close(1000, "x".into())])
        );
    }
}
