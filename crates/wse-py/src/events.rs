//! Events as Python objects, made in one go under one acquisition of the GIL.

use jiter::{FloatMode, PartialMode, PythonParse, StringCacheMode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use wse_core::ConnId;
use wse_node::Server;
use wse_node::events::{Event, EventKind, Taken};

/// JSON as Python's own parser reads it; what it would not give back alike is refused.
const JSON: PythonParse = PythonParse {
    allow_inf_nan: false,
    cache_mode: StringCacheMode::Keys,
    partial_mode: PartialMode::Off,
    catch_duplicate_keys: false,
    float_mode: FloatMode::Float,
};

/// Makes Python objects of events, and remembers the last connection: messages of one client often come together.
pub(crate) struct Converter<'py> {
    py: Python<'py>,
    run: u64,
    last: Option<(ConnId, Bound<'py, PyString>)>,
}

/// What the second and third place of an event hold.
pub(crate) struct Converted<'py> {
    pub(crate) kind: &'static str,
    pub(crate) conn: Bound<'py, PyString>,
    pub(crate) data: Bound<'py, PyAny>,
}

impl<'py> Converter<'py> {
    pub(crate) fn new(py: Python<'py>, run: u64) -> Self {
        Self { py, run, last: None }
    }

    /// One event.
    pub(crate) fn convert(&mut self, taken: &Taken, event: &Event) -> PyResult<Converted<'py>> {
        let conn = self.conn(event.conn);
        let bytes = taken.bytes(event);
        let (kind, data) = match event.kind {
            EventKind::Text => self.text(bytes)?,
            EventKind::Binary => ("bin", PyBytes::new(self.py, bytes).into_any()),
            EventKind::Connect => ("connect", PyString::new(self.py, &String::from_utf8_lossy(bytes)).into_any()),
            EventKind::AuthConnect => ("auth_connect", self.str(bytes)?),
            EventKind::Disconnect => ("disconnect", self.py.None().into_bound(self.py)),
        };
        Ok(Converted { kind, conn, data })
    }

    /// One event as `drain_inbound` gives it.
    pub(crate) fn tuple(&mut self, taken: &Taken, event: &Event) -> PyResult<Bound<'py, PyTuple>> {
        let Converted { kind, conn, data } = self.convert(taken, event)?;
        let py = self.py;
        let kind = match kind {
            "msg" => intern!(py, "msg"),
            "raw" => intern!(py, "raw"),
            "bin" => intern!(py, "bin"),
            "connect" => intern!(py, "connect"),
            "auth_connect" => intern!(py, "auth_connect"),
            _ => intern!(py, "disconnect"),
        };
        PyTuple::new(py, [kind.as_any(), conn.as_any(), &data])
    }

    fn conn(&mut self, id: ConnId) -> Bound<'py, PyString> {
        if let Some((last, text)) = &self.last
            && *last == id
        {
            return text.clone();
        }
        let text = id_text(self.py, id, self.run);
        self.last = Some((id, text.clone()));
        text
    }

    fn str(&self, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyString::from_bytes(self.py, bytes)?.into_any())
    }

    /// A JSON object becomes a dict; any other text, and an object that Python's `json` would not give back alike, stays text.
    fn text(&self, bytes: &[u8]) -> PyResult<(&'static str, Bound<'py, PyAny>)> {
        if bytes.trim_ascii_start().first() == Some(&b'{')
            && !may_overflow(bytes)
            && let Ok(value) = JSON.python_parse(self.py, bytes)
            && let Ok(dict) = value.cast_into::<PyDict>()
        {
            fold(&dict, intern!(self.py, "type"), intern!(self.py, "t"))?;
            fold(&dict, intern!(self.py, "payload"), intern!(self.py, "p"))?;
            return Ok(("msg", dict.into_any()));
        }
        Ok(("raw", self.str(bytes)?))
    }
}

/// Renames a long name to its short one, unless the message has both.
fn fold(dict: &Bound<'_, PyDict>, long: &Bound<'_, PyString>, short: &Bound<'_, PyString>) -> PyResult<()> {
    if let Some(value) = dict.get_item(long)?
        && !dict.contains(short)?
    {
        dict.set_item(short, value)?;
        dict.del_item(long)?;
    }
    Ok(())
}

/// Whether a number in the text may be too large for a float: it would be read as infinity, and `json` writes that as no JSON.
///
/// Looks for an exponent of three digits or a run of more than 300, which messages of people do not have; text inside strings counts
/// too, at the price of being handed over as text.
fn may_overflow(bytes: &[u8]) -> bool {
    let mut run = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if byte.is_ascii_digit() {
            run += 1;
            if run >= 300 {
                return true;
            }
            continue;
        }
        if matches!(byte, b'e' | b'E') && run > 0 {
            let digits = bytes[at + 1..].strip_prefix(b"+").unwrap_or(&bytes[at + 1..]);
            if digits.iter().take(3).filter(|digit| digit.is_ascii_digit()).count() == 3 {
                return true;
            }
        }
        run = 0;
    }
    false
}

/// A connection id as Python sees it.
pub(crate) fn id_text<'py>(py: Python<'py>, id: ConnId, run: u64) -> Bound<'py, PyString> {
    let text = id.to_text(run);
    PyString::new(py, std::str::from_utf8(&text).unwrap_or_default())
}

/// Events as `drain_inbound` returns them.
pub(crate) fn list<'py>(py: Python<'py>, taken: &[Taken], run: u64) -> PyResult<Bound<'py, PyList>> {
    let mut converter = Converter::new(py, run);
    let mut out = Vec::with_capacity(taken.iter().map(|part| part.events().len()).sum());
    for part in taken {
        for event in part.events() {
            out.push(converter.tuple(part, event)?);
        }
    }
    PyList::new(py, out)
}

/// Connection ids as a list.
pub(crate) fn ids<'py>(py: Python<'py>, server: &Server) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, server.connections().into_iter().map(|id| id_text(py, id, server.run())))
}
