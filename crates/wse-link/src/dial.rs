//! Finding a node by its address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::guard::Guard;
use crate::handshake::{self, Opened};
use crate::opening::Refusal;
use crate::socket;

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Why a dial came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The address is not `host:port`, or the name has no address.
    Name,
    /// There is no way there, or the connection was lost.
    Unreachable,
    /// The host is there, and nobody listens on the port: what was there is gone.
    Refused,
    /// Nothing came back in time.
    Timeout,
    /// Somebody is there who is not of this cluster, or takes this node for not being of it: TLS or the secret.
    Denied,
}

/// A dial that came to nothing. With several addresses it is the failure that tells most: it is [`Failure::Refused`] only if no
/// address of the name could have been the node's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}")]
pub struct DialError {
    /// What kind it is.
    pub failure: Failure,
    /// The words for the log, with the address that was tried.
    pub text: String,
}

/// A peer that was dialled and has passed the guard.
pub(crate) struct Dialled {
    pub(crate) opened: Opened,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

impl DialError {
    fn new(failure: Failure, text: impl fmt::Display) -> Self {
        Self { failure, text: text.to_string() }
    }
}

/// Resolves a name anew and tries its addresses in turn.
pub(crate) async fn dial(address: &str, guard: &Guard, timeout: Duration) -> Result<Dialled, DialError> {
    let deadline = Instant::now() + timeout;
    let (host, port) = split(address)
        .ok_or_else(|| DialError::new(Failure::Name, format_args!("{address:?} is not host:port")))?;
    let addresses = resolve(host, port, deadline).await?;
    let mut worst: Option<DialError> = None;
    for (at, remote) in addresses.iter().enumerate() {
        // Each gets its share of what is left, so that one that is silent leaves time for the next.
        let share = (deadline - Instant::now()) / (addresses.len() - at) as u32;
        match try_one(host, *remote, guard, Instant::now() + share).await {
            Ok(dialled) => return Ok(dialled),
            Err(error) => {
                if worst.as_ref().is_none_or(|worst| error.failure > worst.failure) {
                    worst = Some(error);
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| DialError::new(Failure::Name, format_args!("{host} has no address"))))
}

async fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, DialError> {
    match timeout_at(deadline, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let mut found: Vec<SocketAddr> = Vec::new();
            for address in addresses.take(MAX_ADDRESSES) {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            Ok(found)
        }
        Ok(Err(error)) => {
            Err(DialError::new(Failure::Name, format_args!("{host} can't be resolved: {error}")))
        }
        Err(_) => Err(DialError::new(Failure::Name, format_args!("{host} was not resolved in time"))),
    }
}

async fn try_one(
    host: &str,
    remote: SocketAddr,
    guard: &Guard,
    deadline: Instant,
) -> Result<Dialled, DialError> {
    let late = |what| DialError::new(Failure::Timeout, format_args!("{remote}: no {what} in time"));
    let stream = match timeout_at(deadline, TcpStream::connect(remote)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(of_connecting(remote, &error)),
        Err(_) => return Err(late("connection")),
    };
    let local = match stream.local_addr() {
        // Nobody listens there, and the system chose the very port for this end: TCP then connects it to itself.
        Ok(local) if local == remote => {
            return Err(of_connecting(remote, &io::ErrorKind::ConnectionRefused.into()));
        }
        Ok(local) => local,
        Err(error) => return Err(of_connecting(remote, &error)),
    };
    socket::prepare(&stream);
    match timeout_at(deadline, handshake::dial(stream, remote, host, guard)).await {
        Ok(Ok(opened)) => Ok(Dialled { opened, local, remote }),
        Ok(Err(refusal)) => Err(of_opening(remote, &refusal)),
        Err(_) => Err(late("answer of a node")),
    }
}

fn of_connecting(remote: SocketAddr, error: &io::Error) -> DialError {
    let failure = match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        io::ErrorKind::TimedOut => Failure::Timeout,
        _ => Failure::Unreachable,
    };
    DialError::new(failure, format_args!("{remote}: {error}"))
}

fn of_opening(remote: SocketAddr, refusal: &Refusal) -> DialError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match refusal {
        Refusal::Lost(error)
            if matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe) =>
        {
            let text =
                "it closed the connection in the opening; is TLS set there and not here, or has it no room?";
            DialError::new(Failure::Denied, format_args!("{remote}: {text}"))
        }
        Refusal::Lost(_) => DialError::new(Failure::Unreachable, format_args!("{remote}: {refusal}")),
        _ => DialError::new(Failure::Denied, format_args!("{remote}: {refusal}")),
    }
}

/// Host and port of `host:port` and `[v6]:port`.
fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 && !host.is_empty() => Some((host, port)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(split("10.0.0.2:9999"), Some(("10.0.0.2", 9999)));
        assert_eq!(split("wse-0.wse.svc:1"), Some(("wse-0.wse.svc", 1)));
        assert_eq!(split("[::1]:9999"), Some(("::1", 9999)));
        for wrong in
            ["", "host", "host:", ":1", "host:0", "host:65536", "host:+1", "::1:99", "[::1:9", "[::1]"]
        {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_counts_as_refused_only_if_no_address_could_have_been_the_nodes() {
        assert!(Failure::Denied > Failure::Timeout && Failure::Timeout > Failure::Refused);
        assert!(Failure::Refused > Failure::Unreachable && Failure::Unreachable > Failure::Name);
    }
}
