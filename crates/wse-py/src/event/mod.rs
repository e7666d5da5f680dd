//! An event of a Python dict as JSON text, written straight from the objects.

mod known;
mod message;
mod text;
mod trouble;
mod value;

pub(crate) use message::json_text;
pub(crate) use text::EventText;
