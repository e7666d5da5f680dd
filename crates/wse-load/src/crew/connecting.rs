//! From nothing to a client that is ready, so many at a time.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::Crew;
use crate::client::{Client, State, reason};
use crate::handshake;
use crate::plan::Role;
use crate::tally::count;

impl Crew {
    /// Begins as many connects as may be under way, and gives those up that take too long.
    pub(super) fn connect_more(&mut self, now: u64) {
        self.give_up(now);
        while self.next < self.group.clients && self.under_way < self.concurrency {
            let slot = self.next;
            self.next += 1;
            self.tally.begun += 1;
            self.tally.connect_from.get_or_insert(now);
            match self.connect(slot) {
                Ok(stream) => {
                    self.slots[slot as usize] = Some(Client::new(stream, self.orders.now()));
                    self.under_way += 1;
                    let patience = self.orders.plan.connect_timeout.as_nanos() as u64;
                    self.connecting.push_back((now + patience, slot));
                }
                Err(error) => count(&mut self.tally.failed, &reason(&error)),
            }
        }
    }

    fn give_up(&mut self, now: u64) {
        while let Some(&(deadline, slot)) = self.connecting.front() {
            let client = &self.slots[slot as usize];
            let why = match client.as_ref().map(|client| client.state) {
                None | Some(State::Open) => None,
                Some(_) if now < deadline => return,
                Some(State::Connecting) => Some("no connection in time"),
                Some(State::Upgrading) => Some("no answer to the upgrade in time"),
                Some(State::Greeting) => Some("no answer to the first message in time"),
            };
            self.connecting.pop_front();
            if let Some(why) = why {
                self.lose(slot, why);
            }
        }
    }

    fn connect(&self, slot: u32) -> io::Result<TcpStream> {
        let plan = &self.orders.plan;
        let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = self.source(slot) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&plan.address.into()) {
            Ok(()) => {}
            Err(error)
                if error.raw_os_error() == Some(EINPROGRESS) || error.kind() == io::ErrorKind::WouldBlock => {
            }
            Err(error) => return Err(error),
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(
            &mut stream,
            Token(slot as usize),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(stream)
    }

    fn source(&self, slot: u32) -> Option<IpAddr> {
        let sources = &self.orders.plan.sources;
        let client = (self.first + slot) as usize;
        (!sources.is_empty()).then(|| sources[client % sources.len()])
    }

    /// The socket is writable for the first time: it is connected, or will never be.
    pub(super) fn on_connected(&mut self, slot: u32) {
        let Some(client) = &mut self.slots[slot as usize] else { return };
        let failed = match client.stream.take_error() {
            Ok(None) => match client.stream.peer_addr() {
                Ok(_) => None,
                // Not yet: it says again when it is.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(error) => Some(error),
            },
            Ok(Some(error)) | Err(error) => Some(error),
        };
        if let Some(error) = failed {
            self.lose(slot, &reason(&error));
            return;
        }
        if self.group.role == Role::Post {
            self.become_ready(slot);
            return;
        }
        let tokens = &self.orders.plan.tokens;
        let number = (self.first + slot) as usize;
        let token = (!tokens.is_empty()).then(|| tokens[number % tokens.len()].as_str());
        client.state = State::Upgrading;
        *client.out() = handshake::request(&self.orders.plan.request, token);
        self.flush(slot);
    }

    /// From here on it is a client like the others.
    pub(super) fn become_ready(&mut self, slot: u32) {
        let now = self.orders.now();
        let Some(client) = &mut self.slots[slot as usize] else { return };
        client.state = State::Open;
        client.trim();
        self.under_way -= 1;
        self.tally.ready += 1;
        self.tally.open += 1;
        self.tally.connect_to = now;
        self.tally.connecting.record(now - client.begun_at);
        self.start_late(slot, now);
    }
}

/// The connect is under way.
const EINPROGRESS: i32 = if cfg!(target_os = "macos") { 36 } else { 115 };
