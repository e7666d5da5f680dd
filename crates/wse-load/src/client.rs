//! One client: a socket, how far it is, and what it has still to say.

use std::io::{self, Write as _};

use mio::net::TcpStream;

use crate::frames::Reader;

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    Upgrading,
    /// It has said its hello and waits for the answer.
    Greeting,
    Open,
}

/// What the beginning of the message that is coming said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coming {
    pub(crate) at: Option<u64>,
    pub(crate) n: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) state: State,
    pub(crate) reader: Reader,
    pub(crate) coming: Coming,
    /// When the connect began.
    pub(crate) begun_at: u64,
    /// The stamp of the echo that it waits for.
    pub(crate) echo: Option<u64>,
    /// Messages that it has sent.
    pub(crate) said: u64,
    /// Requests that wait for their answer.
    pub(crate) under_way: u32,
    /// The number of the last message that it heard.
    pub(crate) heard: Option<u64>,
    out: Vec<u8>,
    written: usize,
    /// The socket takes no more until it says so.
    blocked: bool,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, begun_at: u64) -> Self {
        Self {
            stream,
            state: State::Connecting,
            reader: Reader::default(),
            coming: Coming::default(),
            begun_at,
            echo: None,
            said: 0,
            under_way: 0,
            heard: None,
            out: Vec::new(),
            written: 0,
            blocked: false,
        }
    }

    /// Where to put what is to be sent; [`flush`](Client::flush) sends it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Bytes that the socket has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.written
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// The socket says that it takes more.
    pub(crate) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.blocked && self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written == self.out.len() {
            self.written = 0;
            self.out.clear();
        }
        Ok(())
    }

    /// The socket takes nothing any more.
    pub(crate) fn stop_writing(&mut self) {
        self.out = Vec::new();
        self.written = 0;
        self.blocked = true;
    }

    /// Gives back the memory of what was sent: thousands of clients say something once.
    pub(crate) fn trim(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
    }
}

/// Why a socket is no good, in the words of a report.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::TimedOut => "timed out".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no free port at the source address".to_owned(),
        _ => match error.raw_os_error() {
            Some(23 | 24) => "no file descriptor left".to_owned(),
            _ => error.to_string(),
        },
    }
}
