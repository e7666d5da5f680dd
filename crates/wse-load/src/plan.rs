//! What a load is to do: where to, how many, and what each of them does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;

use crate::template::Template;

/// What the clients of a group do once they are connected and the work has begun. Whatever comes is counted in every role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing: they are there and hear.
    Hold,
    /// Each has one message under way, and sends the next when something came back.
    Echo,
    /// They send, at the group's rate or as fast as the server reads.
    Send,
    /// The same by requests of the HTTP API instead of messages; such a connection is no WebSocket.
    Post,
}

/// Clients that are alike.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they do.
    pub role: Role,
    /// How many they are.
    pub clients: u32,
    /// Threads that share them.
    pub threads: u32,
    /// What each says once it is connected; may be empty.
    pub hello: Template,
    /// What stands in the answer to that; a client is ready when it comes. Empty: it is ready when it is connected.
    pub ready: Vec<u8>,
    /// What they send; the body of a request for [`Role::Post`].
    pub message: Template,
    /// Messages per second of the whole group, each with a moment of its own; 0 for as fast as it goes.
    pub rate: f64,
    /// `$topic` goes round among so many; 0: it is the number of the client.
    pub topics: u64,
    /// [`Role::Post`]: the head of each request, up to its length.
    pub request: Vec<u8>,
}

/// A load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The only address that is ever connected to.
    pub address: SocketAddr,
    /// The upgrade request of all clients without its key, from the first line to the last header.
    pub request: Vec<u8>,
    /// Bearer tokens, of which client i shows the i-th, and again from the first.
    pub tokens: Vec<String>,
    /// Addresses of this machine that the clients take in turn; empty: the system chooses.
    pub sources: Vec<IpAddr>,
    /// Connects under way at the same time.
    pub concurrency: u32,
    /// After that a client that is not ready has failed.
    pub connect_timeout: Duration,
    /// After that everything ends, whatever is still to be done.
    pub limit: Duration,
    /// Who does what.
    pub groups: Vec<Group>,
}

/// A plan that can't be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// No group, or one without clients or threads.
    #[error("a load needs clients, and a thread for them")]
    Nobody,
    /// More clients than a number of a slot can say.
    #[error("a load has at most a million clients")]
    TooMany,
    /// No connect may be under way.
    #[error("concurrency must be at least 1")]
    NoConcurrency,
    /// Not a number, or negative.
    #[error("a rate must be a finite number that is not negative")]
    BadRate,
    /// Numbers of messages go round in one thread, or they would not be in order.
    #[error("a group that sends to several topics in turn has one thread")]
    Divided,
    /// Nothing to send.
    #[error("a group that sends needs a message")]
    NoMessage,
    /// An address to come from that is not of the kind of the server's.
    #[error("source addresses must be of the server's kind, IPv4 or IPv6")]
    BadSource,
}

/// As many clients a load may have.
const MOST_CLIENTS: u64 = 1_000_000;

impl Plan {
    /// # Errors
    /// What can't be meant.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.groups.is_empty() || self.groups.iter().any(|group| group.clients == 0 || group.threads == 0)
        {
            return Err(PlanError::Nobody);
        }
        if self.groups.iter().map(|group| u64::from(group.clients)).sum::<u64>() > MOST_CLIENTS {
            return Err(PlanError::TooMany);
        }
        if self.concurrency == 0 {
            return Err(PlanError::NoConcurrency);
        }
        if self.sources.iter().any(|source| source.is_ipv4() != self.address.is_ipv4()) {
            return Err(PlanError::BadSource);
        }
        self.groups.iter().try_for_each(Group::check)
    }
}

impl Group {
    fn check(&self) -> Result<(), PlanError> {
        if !self.rate.is_finite() || self.rate < 0.0 {
            return Err(PlanError::BadRate);
        }
        let sends = self.role != Role::Hold;
        if sends && self.message.is_empty() {
            return Err(PlanError::NoMessage);
        }
        if sends && self.topics > 0 && self.threads > 1 {
            return Err(PlanError::Divided);
        }
        Ok(())
    }

    /// The same group as each of its threads has it: clients and rate divided, and the number of the first client of each.
    #[must_use]
    pub(crate) fn divided(&self) -> Vec<(u32, Self)> {
        let threads = self.threads.min(self.clients);
        let mut first = 0;
        (0..threads)
            .map(|thread| {
                let clients = self.clients / threads + u32::from(thread < self.clients % threads);
                let rate = self.rate * f64::from(clients) / f64::from(self.clients);
                let part = (first, Self { clients, rate, threads: 1, ..self.clone() });
                first += clients;
                part
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn group(role: Role, clients: u32) -> Group {
        Group {
            role,
            clients,
            threads: 1,
            hello: Template::default(),
            ready: Vec::new(),
            message: Template::new(r#"{"at":$at,"n":$n}"#),
            rate: 0.0,
            topics: 0,
            request: Vec::new(),
        }
    }

    pub(crate) fn plan(address: SocketAddr, groups: Vec<Group>) -> Plan {
        Plan {
            address,
            request: format!("GET /wse HTTP/1.1\r\nHost: {address}\r\n").into_bytes(),
            tokens: Vec::new(),
            sources: Vec::new(),
            concurrency: 16,
            connect_timeout: Duration::from_secs(5),
            limit: Duration::from_secs(30),
            groups,
        }
    }

    #[test]
    fn a_plan_that_cannot_be_meant_is_refused() {
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let check = |change: fn(&mut Plan)| {
            let mut one = plan(here, vec![group(Role::Send, 3)]);
            change(&mut one);
            one.check()
        };
        assert_eq!(check(|_| {}), Ok(()));
        assert_eq!(check(|plan| plan.groups.clear()), Err(PlanError::Nobody));
        assert_eq!(check(|plan| plan.groups[0].clients = 0), Err(PlanError::Nobody));
        assert_eq!(check(|plan| plan.groups[0].clients = 1_000_001), Err(PlanError::TooMany));
        assert_eq!(check(|plan| plan.concurrency = 0), Err(PlanError::NoConcurrency));
        assert_eq!(check(|plan| plan.groups[0].rate = f64::NAN), Err(PlanError::BadRate));
        assert_eq!(check(|plan| plan.groups[0].rate = -1.0), Err(PlanError::BadRate));
        assert_eq!(check(|plan| plan.groups[0].message = Template::default()), Err(PlanError::NoMessage));
        assert_eq!(
            check(|plan| {
                plan.groups[0].topics = 2;
                plan.groups[0].threads = 2;
            }),
            Err(PlanError::Divided)
        );
        assert_eq!(check(|plan| plan.sources.push("::1".parse().unwrap())), Err(PlanError::BadSource));
    }

    #[test]
    fn threads_share_clients_and_rate() {
        let parts = Group { threads: 3, rate: 30.0, ..group(Role::Hold, 10) }.divided();
        let shape: Vec<_> = parts.iter().map(|(first, part)| (*first, part.clients, part.rate)).collect();
        assert_eq!(shape, [(0, 4, 12.0), (4, 3, 9.0), (7, 3, 9.0)]);
        assert_eq!(Group { threads: 8, ..group(Role::Hold, 2) }.divided().len(), 2);
    }
}
