//! What tells a client that messages of a topic do not come, so that no gap is unknown.

use serde_json::{Map, Value};

use crate::history::{Epoch, Position};

/// Messages that a client does not get. It is said before the next message of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap<'a> {
    /// Of a topic with history: these, both ends included.
    Lost {
        /// Which topic.
        topic: &'a str,
        /// Whose numbers these are.
        epoch: Epoch,
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
    },
    /// Of a topic with history that goes on under another epoch: from where on.
    Turned {
        /// Which topic.
        topic: &'a str,
        /// Whose numbers were used before.
        epoch: Epoch,
        /// The first that is missing, or would be the next.
        from: u64,
        /// How many are missing, if that can be known: then 0.
        missed: Option<u64>,
        /// The position to go on from.
        next: Position,
    },
    /// Of a topic without history: so many, if that can be known.
    Uncounted {
        /// Which topic.
        topic: &'a str,
        /// How many are missing, if that can be known.
        missed: Option<u64>,
    },
}

impl Gap<'_> {
    /// The message.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut p = Map::new();
        match *self {
            Self::Lost { topic, epoch, from, to } => {
                p.insert("topic".into(), topic.into());
                p.insert("epoch".into(), epoch.to_string().into());
                p.insert("from".into(), from.into());
                p.insert("to".into(), to.into());
                p.insert("missed".into(), (to + 1).saturating_sub(from).into());
            }
            Self::Turned { topic, epoch, from, missed, next } => {
                p.insert("topic".into(), topic.into());
                p.insert("epoch".into(), epoch.to_string().into());
                p.insert("from".into(), from.into());
                let to = missed.map(|missed| (from + missed).saturating_sub(1));
                p.insert("to".into(), to.into());
                p.insert("missed".into(), missed.into());
                p.insert("next_epoch".into(), next.epoch.to_string().into());
                p.insert("next_offset".into(), next.offset.into());
            }
            Self::Uncounted { topic, missed } => {
                p.insert("topic".into(), topic.into());
                p.insert("missed".into(), missed.into());
            }
        }
        serde_json::json!({"c": "WSE", "t": "gap", "p": Value::from(p), "v": 1}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch::new(0x1234_abcd);

    #[test]
    fn a_gap_says_what_is_missing_and_from_where_to_go_on() {
        for (gap, expected) in [
            (
                Gap::Lost { topic: "a", epoch: EPOCH, from: 8, to: 10 },
                r#"{"topic":"a","epoch":"1234abcd","from":8,"to":10,"missed":3}"#,
            ),
            (
                Gap::Turned {
                    topic: "a",
                    epoch: EPOCH,
                    from: 8,
                    missed: Some(0),
                    next: Position { epoch: Epoch::new(1), offset: 7 },
                },
                r#"{"topic":"a","epoch":"1234abcd","from":8,"to":7,"missed":0,"next_epoch":"00000001","next_offset":7}"#,
            ),
            (
                Gap::Turned {
                    topic: "a\"",
                    epoch: EPOCH,
                    from: 8,
                    missed: None,
                    next: Position { epoch: EPOCH, offset: 20 },
                },
                r#"{"topic":"a\"","epoch":"1234abcd","from":8,"to":null,"missed":null,"next_epoch":"1234abcd","next_offset":20}"#,
            ),
            (Gap::Uncounted { topic: "a", missed: Some(4) }, r#"{"topic":"a","missed":4}"#),
            (Gap::Uncounted { topic: "a", missed: None }, r#"{"topic":"a","missed":null}"#),
        ] {
            assert_eq!(gap.to_text(), format!(r#"{{"c":"WSE","t":"gap","p":{expected},"v":1}}"#));
        }
    }
}
