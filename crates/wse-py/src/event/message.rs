//! A message to publish, as text.

use pyo3::prelude::*;
use wse_core::protocol::quote::quote;

use super::trouble::{Step, Trouble};
use super::value::write_value;

/// The JSON text of a message to publish.
///
/// Values become JSON as in `send_event`.
///
/// Args:
///     message: The whole message, or with `event` what it carries.
///     event: The type of the message; it is made as {"t": event, "p": message}.
///
/// Raises:
///     TypeError: Something in it has no JSON form; the message tells where it is.
///     ValueError: A number is NaN or infinite, a text has a lone surrogate, two keys of a dict become the same text, or it nests too deep.
#[pyfunction]
#[pyo3(signature = (message, event=None))]
pub(crate) fn json_text(message: &Bound<'_, PyAny>, event: Option<&str>) -> PyResult<String> {
    let mut out = String::with_capacity(256);
    match event {
        None => write_value(&mut out, message, 0)?,
        Some(event) => {
            out.push_str("{\"t\":");
            quote(event, &mut out, usize::MAX);
            out.push_str(",\"p\":");
            let within_payload = |trouble: Trouble| trouble.within(Step::Key("p".into()));
            write_value(&mut out, message, 1).map_err(within_payload)?;
            out.push('}');
        }
    }
    Ok(out)
}
