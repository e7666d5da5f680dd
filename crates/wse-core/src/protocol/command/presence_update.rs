//! `presence_update {"data"}`: a client changes what others see of it in its topics.

use super::fields::{Fields, MAX_FIELDS};
use super::{BadCommand, Cid};

/// The command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceUpdate<'a> {
    /// What the answer is to be called; without it there is none.
    pub cid: Option<Cid>,
    /// A JSON object as it was written.
    pub data: &'a str,
}

impl<'a> PresenceUpdate<'a> {
    /// Reads `p`.
    pub(super) fn parse(p: Option<&'a str>, cid: Option<Cid>) -> Result<Self, BadCommand> {
        let fields = Fields::read("p", p, MAX_FIELDS)?;
        let data = fields.get("data").filter(|data| data.starts_with('{'));
        let data = data.ok_or_else(|| fields.wrong("data", "an object"))?;
        Ok(Self { cid, data })
    }
}
