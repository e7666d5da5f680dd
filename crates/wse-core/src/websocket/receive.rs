//! What arrives on one connection: bytes in, whole messages and control frames out.
//!
//! A frame that lies whole in the caller's buffer is unmasked there and handed on without a copy. Only what is cut by the end
//! of the buffer is kept, and an idle connection keeps nothing but a null pointer.

use super::close::CloseFrame;
use super::deflate::Inflater;
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

/// What is to become of compressed messages.
#[derive(Debug)]
pub enum Inflation<'a> {
    /// None may come: permessage-deflate was not agreed on.
    Refused,
    /// They are opened by this inflater.
    By(&'a mut Inflater),
    /// They are skipped: the connection is closing, and nobody reads them.
    Skipped,
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
    /// `message` is still to be inflated.
    compressed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

impl Kind {
    fn of(opcode: Opcode) -> Self {
        if opcode == Opcode::Text { Self::Text } else { Self::Binary }
    }
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
    /// `max_message_size` is the limit in bytes of a message, reassembled and inflated, noticed as soon as a header announces more.
    ///
    /// # Errors
    /// Everything that must fail the connection; what came before it has been handed to `on`.
    pub fn receive(
        &mut self,
        data: &mut [u8],
        max_message_size: usize,
        mut inflation: Inflation<'_>,
        mut on: impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<Flow, ProtocolError> {
        let mut at = 0;
        let deflate = !matches!(inflation, Inflation::Refused);
        if self.rest.as_ref().is_some_and(|rest| rest.ready) {
            match self.finish_message(max_message_size, &mut inflation, &mut on)? {
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
                    None if open.fin => {
                        match self.finish_message(max_message_size, &mut inflation, &mut on)? {
                            Flow::Continue => {}
                            Flow::Pause => {
                                self.keep_tail(&data[at..]);
                                return Ok(Flow::Pause);
                            }
                            Flow::Stop => return Ok(self.stop()),
                        }
                    }
                    None => {}
                }
            }
            let Some(header) = FrameHeader::parse(&data[at..], deflate)? else {
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
                let payload = &mut data[body..end];
                let flow = if header.compressed {
                    unmask(payload, header.mask, 0);
                    let kind = Kind::of(header.opcode);
                    match self.open_message(payload, kind, max_message_size, &mut inflation, &mut on)? {
                        Flow::Pause => {
                            self.keep_tail(&data[end..]);
                            return Ok(Flow::Pause);
                        }
                        flow => flow,
                    }
                } else {
                    in_place(payload, &header, &mut on)?
                };
                match flow {
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
        let compressed = header.compressed || self.rest.as_ref().is_some_and(|rest| rest.compressed);
        let limit = if compressed { deflate_bound(max_message_size) } else { max_message_size };
        if header.payload_len > limit.saturating_sub(assembled) as u64 {
            return Err(ProtocolError::TooLarge);
        }
        Ok(())
    }

    /// Begins to collect a frame's payload.
    fn open(&mut self, header: &FrameHeader) {
        let rest = self.rest.get_or_insert_default();
        rest.tail = Vec::new();
        if header.opcode != Opcode::Continuation {
            rest.kind = Some(Kind::of(header.opcode));
            rest.compressed = header.compressed;
        }
        rest.open =
            Some(OpenFrame { fin: header.fin, mask: header.mask, offset: 0, remaining: header.payload_len });
    }

    /// Inflates a whole message and hands it on; refused, it is kept as it is now.
    fn open_message(
        &mut self,
        payload: &[u8],
        kind: Kind,
        max_message_size: usize,
        inflation: &mut Inflation<'_>,
        on: &mut impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<Flow, ProtocolError> {
        let Inflation::By(inflater) = inflation else { return Ok(Flow::Continue) };
        let message = inflater.inflate(payload, max_message_size)?;
        let flow = match kind {
            Kind::Text => on(Incoming::Text(valid_text(message)?)),
            Kind::Binary => on(Incoming::Binary(message)),
        };
        if flow == Flow::Pause {
            let rest = self.rest.get_or_insert_default();
            rest.valid = message.len();
            rest.message = message.to_vec();
            rest.kind = Some(kind);
            rest.ready = true;
        }
        Ok(flow)
    }

    /// Hands on the message that was collected.
    fn finish_message(
        &mut self,
        max_message_size: usize,
        inflation: &mut Inflation<'_>,
        on: &mut impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<Flow, ProtocolError> {
        let rest = self.rest.as_mut().expect("a message is finished only after it was begun");
        if std::mem::take(&mut rest.compressed) {
            let payload = std::mem::take(&mut rest.message);
            let kind = rest.kind.take().expect("a message has a kind");
            return self.open_message(&payload, kind, max_message_size, inflation, on);
        }
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

/// Bytes that a message of `len` has at the most when it is compressed: stored in blocks of which each costs five bytes, and the end.
fn deflate_bound(len: usize) -> usize {
    len.saturating_add(len / 1024).saturating_add(64)
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

#[inline]
fn valid_text(payload: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::BadUtf8)
}

impl Rest {
    /// Moves what there is of an open frame's payload into the message; returns how much that was.
    fn append(&mut self, mut open: OpenFrame, data: &mut [u8]) -> Result<usize, ProtocolError> {
        let take = usize::try_from(open.remaining).unwrap_or(usize::MAX).min(data.len());
        let part = &mut data[..take];
        unmask(part, open.mask, open.offset);
        self.message.extend_from_slice(part);
        if self.kind == Some(Kind::Text) && !self.compressed {
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
mod tests;
