//! Clients, and what they check of all that they are told.

use std::collections::BTreeSet;

use wse_core::history::Position;
use wse_mesh::log::{Gap, Run};

use crate::oracle::Oracle;

/// One subscription of a client at a node.
#[derive(Debug)]
pub struct Connection {
    /// By which it is answered.
    pub token: u64,
    /// It was.
    pub is_answered: bool,
    /// Where it stands.
    position: Option<Position>,
    /// All publications that came by it.
    ids: BTreeSet<u64>,
}

/// A client of one topic.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub number: usize,
    /// What it subscribes to.
    pub topic: usize,
    /// The place of the node where it is.
    pub at: Option<usize>,
    /// Its subscription.
    pub connection: Option<Connection>,
    /// What it would give to go on.
    pub position: Option<Position>,
    /// Offsets and publications since it was last told of a gap.
    pub seen: Vec<(u64, u64)>,
}

/// The publication of a message.
#[must_use]
pub fn publication(message: &[u8]) -> u64 {
    u64::from_le_bytes(message[..8].try_into().expect("messages begin with their number"))
}

impl Client {
    /// A client that was nowhere yet.
    #[must_use]
    pub fn new(number: usize, topic: usize) -> Self {
        Self { number, topic, at: None, connection: None, position: None, seen: Vec::new() }
    }

    /// It connects to a node.
    pub fn connect(&mut self, at: usize, token: u64) {
        self.at = Some(at);
        self.connection =
            Some(Connection { token, is_answered: false, position: None, ids: BTreeSet::new() });
    }

    /// Its connection is gone.
    pub fn disconnect(&mut self) {
        self.at = None;
        self.connection = None;
    }

    /// It is answered.
    pub fn answer(
        &mut self,
        oracle: &mut Oracle,
        confirmed: bool,
        recovered: bool,
        position: Option<Position>,
        replay: &[Run],
    ) {
        let Some(connection) = &mut self.connection else { return };
        if connection.is_answered {
            oracle.broken(format!("A client {} is answered twice", self.number));
        }
        connection.is_answered = true;
        if let Some(before) = self.position {
            *if recovered { &mut oracle.stats.recovered } else { &mut oracle.stats.not_recovered } += 1;
            if !recovered {
                oracle.cut(confirmed, &format!("client {} is not recovered from {before}", self.number));
            }
        } else if recovered {
            oracle.broken(format!("G6 client {} had no position to recover from", self.number));
        }
        if recovered {
            connection.position = self.position;
        } else {
            self.seen.clear();
            self.position = position;
            connection.position = position;
        }
        for run in replay {
            if self
                .connection
                .as_ref()
                .is_some_and(|own| own.position.is_some_and(|at| at.epoch != run.epoch))
            {
                let next = Position { epoch: run.epoch, offset: run.first - 1 };
                self.move_on(oracle, next);
            }
            self.deliver(oracle, run);
        }
        if let Some(position) = position
            && self.connection.as_ref().is_some_and(|own| own.position != Some(position))
        {
            self.move_on(oracle, position);
        }
    }

    /// Only the epoch is another.
    fn move_on(&mut self, oracle: &mut Oracle, next: Position) {
        let Some(connection) = &mut self.connection else { return };
        oracle.stats.seams += 1;
        if connection.position.map(|at| at.offset) != Some(next.offset) {
            let at = connection.position.map_or_else(String::new, |at| at.to_string());
            oracle.broken(format!("G3 client {} at {at} is moved on to {next}", self.number));
        }
        connection.position = Some(next);
        self.position = Some(next);
    }

    /// Messages come.
    pub fn deliver(&mut self, oracle: &mut Oracle, run: &Run) {
        let Some(connection) = &mut self.connection else { return };
        for (message, offset) in run.messages.iter().zip(run.first..) {
            let (number, id) = (self.number, publication(message));
            let at = Position { epoch: run.epoch, offset };
            oracle.stamped(self.topic, at, id);
            oracle.stats.messages += 1;
            if !connection.is_answered {
                oracle.broken(format!("G4 client {number} gets {at} before its answer"));
            }
            if connection.position != Some(Position { epoch: run.epoch, offset: offset - 1 }) {
                let stood = connection.position.map_or_else(String::new, |at| at.to_string());
                oracle.broken(format!("G3 client {number} at {stood} gets {at} without notice"));
            }
            if self.seen.iter().any(|(_, seen)| *seen == id) {
                oracle.broken(format!("G2 client {number} sees publication {id} twice, again as {at}"));
            } else if !connection.ids.insert(id) {
                oracle.repeated(&format!(
                    "connection of client {number} sees publication {id} twice, again as {at}"
                ));
            }
            self.seen.push((offset, id));
            connection.position = Some(at);
            self.position = Some(at);
        }
    }

    /// Messages will not come.
    pub fn gap(&mut self, oracle: &mut Oracle, gap: &Gap) {
        let Some(connection) = self.connection.as_mut().filter(|connection| connection.is_answered) else {
            return;
        };
        if connection.position != gap.after {
            let (stood, after) = (connection.position, gap.after);
            oracle.broken(format!("G3 client {} at {stood:?} is told of a gap after {after:?}", self.number));
        }
        match (gap.missed, gap.after) {
            (Some(0), _) => {
                self.move_on(oracle, gap.next);
                return;
            }
            (Some(missed), Some(after)) if gap.next.offset == after.offset + missed => {
                oracle.late(&format!("client {} misses {missed} after {after}", self.number));
            }
            (Some(_), _) => {
                oracle.broken(format!("G3 client {} is told a wrong number: {gap:?}", self.number))
            }
            (None, Some(after)) => oracle.cut(true, &format!("client {} is cut at {after}", self.number)),
            (None, None) => {}
        }
        self.seen.clear();
        connection.position = Some(gap.next);
        self.position = Some(gap.next);
    }
}
