//! Accepting, in one place, and handing the sockets round robin to all shards.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};

use super::conn::{Conn, Handshake};
use super::{LISTENER, Shard};
use crate::inbox::Entry;
use crate::log::limited;

/// Sockets taken in one turn, so that a storm of connections keeps no message waiting.
const PER_TURN: usize = 256;
/// How long to wait when the process has no descriptors left.
const RETRY_MS: u64 = 100;

/// The listening socket.
pub(super) struct Acceptor {
    listener: TcpListener,
    next: usize,
    retry_at_ms: Option<u64>,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, next: 0, retry_at_ms: None }
    }

    pub(super) fn retry_at_ms(&self) -> Option<u64> {
        self.retry_at_ms
    }
}

impl Shard {
    /// Registers the listening socket; the first thing that the accepting shard does.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        match &mut self.acceptor {
            Some(acceptor) => {
                self.poll.registry().register(&mut acceptor.listener, LISTENER, Interest::READABLE)
            }
            None => Ok(()),
        }
    }

    /// Takes waiting sockets. Readiness is told at its edge only, so whatever ends this early must also say when to go on.
    pub(super) fn accept(&mut self) {
        for _ in 0..PER_TURN {
            let Some(acceptor) = &mut self.acceptor else { return };
            match acceptor.listener.accept() {
                Ok((stream, address)) => {
                    acceptor.retry_at_ms = None;
                    let shard = acceptor.next % self.shared.shards.len();
                    acceptor.next = shard + 1;
                    self.hand_to(shard, stream, address);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client has gone already, or a signal came: neither says anything about the next one.
                Err(error) if is_of_one_socket(&error) => {}
                Err(error) => {
                    self.handle().stats.accept_pauses.add(1);
                    limited!(warn, self.shared.clock, %error, "accepting pauses; raise the limit of open files (ulimit -n) or lower max_connections");
                    if let Some(acceptor) = &mut self.acceptor {
                        acceptor.retry_at_ms = Some(self.now_ms + RETRY_MS);
                    }
                    return;
                }
            }
        }
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.retry_at_ms = Some(self.now_ms);
        }
    }

    /// Tries again where accepting had to end early.
    pub(super) fn accept_if_due(&mut self) {
        if self.acceptor.as_ref().and_then(Acceptor::retry_at_ms).is_some_and(|at| at <= self.now_ms) {
            if let Some(acceptor) = &mut self.acceptor {
                acceptor.retry_at_ms = None;
            }
            self.accept();
        }
    }

    /// Stops listening.
    pub(super) fn stop_accepting(&mut self) {
        self.acceptor = None;
    }

    fn hand_to(&mut self, shard: usize, stream: TcpStream, address: SocketAddr) {
        if shard == usize::from(self.index) {
            self.adopt(stream, address);
        } else {
            // A shard that has ended drops the socket with its inbox.
            let _ = self.shared.shards[shard]
                .inbox
                .put_now(|state| state.entries.push(Entry::Adopt(Box::new((stream, address)))));
        }
    }

    /// Makes a connection of a socket.
    pub(super) fn adopt(&mut self, stream: TcpStream, address: SocketAddr) {
        let deadline_ms = self.now_ms + self.shared.options.handshake_timeout.as_millis() as u64;
        let handshake = Handshake::new(&self.shared, address);
        let slot =
            self.slots.insert(Conn::new(stream, handshake, &self.shared.rate, self.now_ms, deadline_ms));
        let token = Token((self.slots.generation(slot) as usize) << 32 | slot as usize);
        let conn = self.slots.get_mut(slot).expect("just put there");
        let registry = self.poll.registry();
        if let Err(error) =
            registry.register(&mut conn.stream, token, Interest::READABLE | Interest::WRITABLE)
        {
            limited!(warn, self.shared.clock, %error, "a socket could not be registered");
            self.slots.remove(slot);
            return;
        }
        self.schedule(slot, deadline_ms);
    }
}

fn is_of_one_socket(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
