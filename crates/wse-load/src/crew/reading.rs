//! What comes to the clients.

use std::io::{self, Read as _};

use memchr::memmem;
use wse_core::websocket::Opcode;

use super::{Crew, READ_BYTES};
use crate::client::{Coming, State, reason};
use crate::frames::{self, Came};
use crate::plan::Role;
use crate::tally::count;
use crate::{handshake, requests};

/// Reads of one socket in one turn; the others want theirs.
const READS: usize = 4;

impl Crew {
    /// The socket has something to read, or its end.
    pub(super) fn on_readable(&mut self, slot: u32, to_the_end: bool, now: u64) {
        for _ in 0..READS {
            let Some(client) = &mut self.slots[slot as usize] else { return };
            if client.state == State::Connecting {
                return;
            }
            let kept = client.reader.kept().len();
            if self.buffer.len() < kept + READ_BYTES {
                self.buffer.resize(kept + READ_BYTES, 0);
            }
            self.buffer[..kept].copy_from_slice(client.reader.kept());
            match client.stream.read(&mut self.buffer[kept..kept + READ_BYTES]) {
                Ok(0) => {
                    self.lose(slot, "ended without a close");
                    return;
                }
                Ok(read) => {
                    self.take(slot, kept + read, now);
                    if read < READ_BYTES && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lose(slot, &reason(&error));
                    return;
                }
            }
        }
        self.again.push(slot);
    }

    /// Looks at the first `len` bytes of the buffer as what came to this client.
    fn take(&mut self, slot: u32, len: usize, now: u64) {
        let buffer = std::mem::take(&mut self.buffer);
        let data = &buffer[..len];
        if self.group.role == Role::Post {
            self.take_answers(slot, data);
        } else if self.slots[slot as usize].as_ref().is_some_and(|client| client.state == State::Upgrading) {
            self.take_upgrade(slot, data, now);
        } else {
            self.take_frames(slot, data, now);
        }
        self.buffer = buffer;
    }

    fn take_upgrade(&mut self, slot: u32, data: &[u8], now: u64) {
        let Some(client) = &mut self.slots[slot as usize] else { return };
        let Some(end) = memmem::find(data, b"\r\n\r\n") else {
            if data.len() > handshake::LONGEST_ANSWER {
                self.lose(slot, "no HTTP");
            } else {
                client.reader.keep(data);
            }
            return;
        };
        if let Err(why) = handshake::check(&data[..end + 2]) {
            self.lose(slot, &why);
            return;
        }
        client.state = State::Greeting;
        client.reader.keep(&[]);
        if !self.group.hello.is_empty() {
            self.say_hello(slot);
        }
        if self.group.ready.is_empty() {
            self.become_ready(slot);
        }
        self.take_frames(slot, &data[end + 4..], now);
    }

    fn take_frames(&mut self, slot: u32, data: &[u8], now: u64) {
        let Some(client) = &mut self.slots[slot as usize] else { return };
        let mut reader = std::mem::take(&mut client.reader);
        let outcome = reader.take(data, |came| self.on_came(slot, &came, now));
        match outcome {
            Err(why) => self.lose(slot, why),
            Ok(()) => {
                if let Some(client) = &mut self.slots[slot as usize] {
                    client.reader = reader;
                }
                self.flush(slot);
            }
        }
    }

    fn on_came(&mut self, slot: u32, came: &Came<'_>, now: u64) {
        let Some(client) = &mut self.slots[slot as usize] else { return };
        match came {
            Came::Begin(_) if client.state == State::Greeting => self.on_greeted(slot, came),
            Came::Begin(message) => {
                client.coming = Coming { at: self.finder.at(message), n: self.finder.n(message) };
                if client.coming.at.is_none() {
                    self.on_word(slot, message);
                }
            }
            Came::Whole(len) => self.on_whole(slot, *len, now),
            Came::Ping(payload) => frames::write(client.out(), Opcode::Pong, payload),
            Came::Close(code) => {
                let why = code
                    .map_or_else(|| "closed without a code".to_owned(), |code| format!("closed with {code}"));
                frames::write(client.out(), Opcode::Close, &code.unwrap_or(1000).to_be_bytes());
                // It ends anyway.
                let _ = client.flush();
                self.lose(slot, &why);
            }
        }
    }

    /// A message before the client is ready: the answer that it waits for, a refusal, or something else.
    fn on_greeted(&mut self, slot: u32, came: &Came<'_>) {
        let Came::Begin(message) = came else { return };
        if memmem::find(message, &self.group.ready).is_some() {
            self.become_ready(slot);
        } else if let Some(code) = code_in(message) {
            self.lose(slot, &code);
        }
    }

    /// A message that is none of the load's: what the server says itself.
    fn on_word(&mut self, slot: u32, message: &[u8]) {
        if memmem::find(message, b"\"t\":\"error\"").is_some()
            && let Some(code) = code_in(message)
        {
            count(&mut self.tally.refused, &code);
        } else if message.starts_with(b"{\"c\":\"WSE\",\"t\":\"ping\"") {
            let Some(client) = &mut self.slots[slot as usize] else { return };
            frames::write(client.out(), Opcode::Text, b"{\"t\":\"pong\"}");
        }
    }

    fn on_whole(&mut self, slot: u32, len: u64, now: u64) {
        let Some(client) = &mut self.slots[slot as usize] else { return };
        if client.state != State::Open {
            return;
        }
        let coming = std::mem::take(&mut client.coming);
        // What the server says itself is no message of the load.
        let Some(at) = coming.at else { return };
        self.tally.received += 1;
        self.tally.received_bytes += len;
        if let Some(n) = coming.n {
            match client.heard {
                Some(last) if n <= last => self.tally.doubled += 1,
                Some(last) => self.tally.lost += n - last - 1,
                None => {}
            }
            client.heard = Some(client.heard.map_or(n, |last| last.max(n)));
        }
        if self.group.role != Role::Echo {
            self.tally.latency.record(now.saturating_sub(at));
        } else if client.echo == Some(at) {
            client.echo = None;
            self.tally.latency.record(now.saturating_sub(at));
            self.say_again(slot);
        }
    }

    fn take_answers(&mut self, slot: u32, data: &[u8]) {
        let mut at = 0;
        loop {
            let Some(client) = &mut self.slots[slot as usize] else { return };
            match requests::answer(&data[at..]) {
                Ok(Some((status, len))) => {
                    client.under_way = client.under_way.saturating_sub(1);
                    at += len;
                    if status != 200 {
                        count(&mut self.tally.refused, &format!("HTTP {status}"));
                    }
                }
                Ok(None) => {
                    client.reader.keep(&data[at..]);
                    return;
                }
                Err(why) => {
                    self.lose(slot, why);
                    return;
                }
            }
        }
    }
}

/// The error code in a word of the server's: `"code":"..."`.
fn code_in(message: &[u8]) -> Option<String> {
    const FIELD: &[u8] = b"\"code\":\"";
    let rest = &message[memmem::find(message, FIELD)? + FIELD.len()..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let code = std::str::from_utf8(&rest[..end]).ok()?;
    Some(code.chars().take(64).collect())
}
