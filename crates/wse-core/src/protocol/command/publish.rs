//! `publish {"topic", "data"}`: a client says something to all who hear a topic.

use super::fields::{Fields, MAX_FIELDS, name, quoted, text};
use super::{BadCommand, Cid};
use crate::protocol::scan::Members;
use crate::protocol::words::is_servers;
use crate::topic::OwnedFilter;

/// The command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// What the answer is to be called; without it there is none.
    pub cid: Option<Cid>,
    /// One topic, no pattern.
    pub topic: OwnedFilter,
    /// The message, a JSON object as it was written.
    pub data: &'a str,
}

impl<'a> Publish<'a> {
    /// Reads `p`.
    pub(super) fn parse(p: Option<&'a str>, cid: Option<Cid>) -> Result<Self, BadCommand> {
        let fields = Fields::read("p", p, MAX_FIELDS)?;
        let topic = fields.text("topic")?;
        let topic = OwnedFilter::parse_exact(&topic)
            .map_err(|error| BadCommand::action(format!("p.topic is {}: {error}", quoted(&topic))))?;
        let data = fields.get("data").filter(|data| data.starts_with('{'));
        let data = data.ok_or_else(|| fields.wrong("data", "an object, the message"))?;
        no_forgery(data)?;
        Ok(Self { cid, topic, data })
    }
}

/// Others must not take a client's message for one of the server, nor its fields for a stamp. Each member is looked at, since of two
/// with one name the first counts for some readers and the last for others.
fn no_forgery(data: &str) -> Result<(), BadCommand> {
    for member in Members::new(data) {
        let name = name(member.key);
        match &*name {
            "tp" | "e" | "o" => {
                return Err(BadCommand::action(format!(
                    "p.data must not have a field {name:?}: the server writes tp (topic), e (epoch) and o (offset)"
                )));
            }
            "c" if !matches!(member.value, b"\"U\"" | b"\"S\"") => {
                return Err(BadCommand::not_allowed(
                    "p.data.c is not for a client to say; \"U\" and \"S\" are allowed, or none",
                ));
            }
            "t" | "type" => {
                let value = std::str::from_utf8(member.value).unwrap_or_default();
                let Some(kind) = text(value) else {
                    return Err(BadCommand::action(format!("p.data.{name} must be a text")));
                };
                if is_servers(&kind) {
                    return Err(BadCommand::not_allowed(format!(
                        "p.data.{name} is {kind:?}, which only the server says; any other type is allowed"
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
