//! Frames about several topics: lists up to the end of the payload.

use wse_core::history::Position;

use super::{
    counted, epoch, last, outline, put_epoch, put_last, put_outline, put_term, put_topic, term, topic,
};
use crate::log::history::Outline;
use crate::log::last::Last;
use crate::log::term::Term;
use crate::wire::bytes::{Malformed, Reader, put_number};

fn all<'a, T>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut items = Vec::new();
    while reader.left() > 0 {
        items.push(read(reader)?);
    }
    Ok(items)
}

/// LOG_QUERY: the speaker wants to be home of these topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Named in the answer. One link has each number once.
    pub batch: u64,
    /// Topics and the terms that are taken.
    pub topics: Vec<(&'a str, Term)>,
}

pub(crate) fn put_query_head(out: &mut Vec<u8>, batch: u64) {
    put_number(out, batch);
}

impl<'a> Query<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let reader = &mut Reader::new(payload);
        let batch = reader.number("batch")?;
        Ok(Self { batch, topics: all(reader, |reader| Ok((topic(reader)?, term(reader, "term")?)))? })
    }
}

/// What a node answers to being asked about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It agrees and has nothing.
    Nothing,
    /// It agrees and has this log.
    Log {
        /// The log without its messages.
        outline: Outline,
        /// How much is committed.
        commit: u64,
        /// The publishers.
        last: Last,
    },
    /// It does not agree.
    Refused {
        /// The highest term that it has heard of.
        promised: Term,
    },
}

/// LOG_QUERY_REPLY: answers about the topics of a batch, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryReply {
    /// Of the question.
    pub batch: u64,
    /// Which topic of the batch the first answer is about.
    pub start: u64,
    /// The answers.
    pub replies: Vec<Reply>,
}

pub(crate) fn put_reply_head(out: &mut Vec<u8>, batch: u64, start: u64) {
    put_number(out, batch);
    put_number(out, start);
}

impl Reply {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Reply::Nothing => out.push(0),
            Reply::Log { outline, commit, last } => {
                out.push(1);
                put_outline(out, outline);
                put_number(out, *commit);
                put_last(out, last);
            }
            Reply::Refused { promised } => {
                out.push(2);
                put_term(out, *promised);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.byte("answer")? {
            0 => Ok(Reply::Nothing),
            1 => {
                let outline = outline(reader)?;
                let commit = counted(reader, "commit")?;
                if commit > outline.top || outline.chain.is_empty() {
                    return Err(Malformed("commit"));
                }
                Ok(Reply::Log { outline, commit, last: last(reader)? })
            }
            2 => Ok(Reply::Refused { promised: term(reader, "promised")? }),
            _ => Err(Malformed("answer")),
        }
    }
}

impl QueryReply {
    /// Reads a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let reader = &mut Reader::new(payload);
        let (batch, start) = (reader.number("batch")?, reader.number("start")?);
        Ok(Self { batch, start, replies: all(reader, Reply::read)? })
    }
}

/// One item of LOG_INVITE: the speaker is home and waits for the receiver to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invite<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Of the home.
    pub term: Term,
    /// The receiver is to keep a copy.
    pub replica: bool,
}

impl<'a> Invite<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_topic(out, self.topic);
        put_term(out, self.term);
        out.push(u8::from(self.replica));
    }

    /// Reads all items of a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode_all(payload: &'a [u8]) -> Result<Vec<Self>, Malformed> {
        all(&mut Reader::new(payload), |reader| {
            Ok(Self {
                topic: topic(reader)?,
                term: term(reader, "term")?,
                replica: reader.byte("replica")? & 1 != 0,
            })
        })
    }
}

/// One item of LOG_ATTACH: what the speaker has of a topic that it wants to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach<'a> {
    /// The topic.
    pub topic: &'a str,
    /// What it has.
    pub outline: Outline,
}

impl<'a> Attach<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_topic(out, self.topic);
        put_outline(out, &self.outline);
    }

    /// Reads all items of a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode_all(payload: &'a [u8]) -> Result<Vec<Self>, Malformed> {
        all(&mut Reader::new(payload), |reader| Ok(Self { topic: topic(reader)?, outline: outline(reader)? }))
    }
}

/// One item of LOG_OFFER (the term of the home that speaks) and LOG_NACK (the highest term that was promised).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicTerm<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The term.
    pub term: Term,
}

impl<'a> TopicTerm<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_topic(out, self.topic);
        put_term(out, self.term);
    }

    /// Reads all items of a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode_all(payload: &'a [u8]) -> Result<Vec<Self>, Malformed> {
        all(&mut Reader::new(payload), |reader| {
            Ok(Self { topic: topic(reader)?, term: term(reader, "term")? })
        })
    }
}

/// Reads LOG_DETACH and LOG_UNFOLLOW: the topics.
///
/// # Errors
/// It is not one.
pub fn decode_detach(payload: &[u8]) -> Result<Vec<&str>, Malformed> {
    all(&mut Reader::new(payload), topic)
}

/// One item of LOG_HINT: there are messages after a position of a topic that the receiver may have patterns for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint<'a> {
    /// The topic.
    pub topic: &'a str,
    /// What comes after it is new.
    pub position: Position,
}

impl<'a> Hint<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_topic(out, self.topic);
        put_epoch(out, self.position.epoch);
        put_number(out, self.position.offset);
    }

    /// Reads all items of a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode_all(payload: &'a [u8]) -> Result<Vec<Self>, Malformed> {
        all(&mut Reader::new(payload), |reader| {
            let topic = topic(reader)?;
            let position = Position { epoch: epoch(reader, "epoch")?, offset: counted(reader, "offset")? };
            Ok(Self { topic, position })
        })
    }
}

/// One item of LOG_COMMIT: how much is committed; `floor` is 0. And of LOG_REPLICA_ACK: the last offset that a replica holds, and its floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpTo<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Of the home.
    pub term: Term,
    /// Up to which offset.
    pub offset: u64,
    /// Where what is held begins.
    pub floor: u64,
}

impl<'a> UpTo<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_topic(out, self.topic);
        put_term(out, self.term);
        put_number(out, self.offset);
        put_number(out, self.floor);
    }

    /// Reads all items of a payload.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode_all(payload: &'a [u8]) -> Result<Vec<Self>, Malformed> {
        all(&mut Reader::new(payload), |reader| {
            Ok(Self {
                topic: topic(reader)?,
                term: term(reader, "term")?,
                offset: counted(reader, "offset")?,
                floor: counted(reader, "floor")?,
            })
        })
    }
}
