//! Events as Python objects, made in one go under one acquisition of the GIL.

use jiter::{FloatMode, PartialMode, PythonParse, StringCacheMode};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyList, PyString, PyTuple};
use wse_core::ConnId;
use wse_core::protocol::command::prefix_len;
use wse_node::Server;
use wse_node::events::{Event, EventKind, Taken};

use crate::gc;
use crate::tokens::claims_dict;

/// JSON as Python's own parser reads it; what it would not give back alike is refused.
const JSON: PythonParse = PythonParse {
    allow_inf_nan: false,
    cache_mode: StringCacheMode::All,
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

/// The first place of an event.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Connect,
    AuthConnect,
    Msg,
    Raw,
    Bin,
    Disconnect,
    PresenceJoin,
    PresenceLeave,
    Authorize,
    AuthRefresh,
}

impl Kind {
    fn name(self, py: Python<'_>) -> &Bound<'_, PyString> {
        match self {
            Self::Connect => intern!(py, "connect"),
            Self::AuthConnect => intern!(py, "auth_connect"),
            Self::Msg => intern!(py, "msg"),
            Self::Raw => intern!(py, "raw"),
            Self::Bin => intern!(py, "bin"),
            Self::Disconnect => intern!(py, "disconnect"),
            Self::PresenceJoin => intern!(py, "presence_join"),
            Self::PresenceLeave => intern!(py, "presence_leave"),
            Self::Authorize => intern!(py, "authorize"),
            Self::AuthRefresh => intern!(py, "auth_refresh"),
        }
    }
}

/// An event in Python's terms.
pub(crate) struct Converted<'py> {
    pub(crate) kind: Kind,
    pub(crate) conn: Bound<'py, PyString>,
    pub(crate) data: Bound<'py, PyAny>,
}

impl<'py> Converter<'py> {
    pub(crate) fn new(py: Python<'py>, run: u64) -> Self {
        Self { py, run, last: None }
    }

    /// One event.
    pub(crate) fn convert(&mut self, taken: &Taken, event: &Event) -> PyResult<Converted<'py>> {
        let conn = match event.conn {
            Some(conn) => self.conn(conn),
            None => intern!(self.py, "").clone(),
        };
        let bytes = taken.bytes(event);
        let (kind, data) = match event.kind {
            EventKind::Text => self.text(bytes)?,
            EventKind::Binary => (Kind::Bin, PyBytes::new(self.py, bytes).into_any()),
            EventKind::Connect => {
                (Kind::Connect, PyString::new(self.py, &String::from_utf8_lossy(bytes)).into_any())
            }
            EventKind::AuthConnect => (Kind::AuthConnect, self.str(bytes)?),
            EventKind::Disconnect => (Kind::Disconnect, self.py.None().into_bound(self.py)),
            EventKind::PresenceJoin => (Kind::PresenceJoin, object(self.py, bytes)?),
            EventKind::PresenceLeave => (Kind::PresenceLeave, object(self.py, bytes)?),
            EventKind::Authorize => (Kind::Authorize, object(self.py, bytes)?),
            EventKind::AuthRefresh => (Kind::AuthRefresh, claims_dict(self.py, bytes)?.into_any()),
            EventKind::Claims => (Kind::AuthConnect, claims_dict(self.py, bytes)?.into_any()),
        };
        Ok(Converted { kind, conn, data })
    }

    /// One event as `drain_inbound` gives it.
    pub(crate) fn tuple(&mut self, taken: &Taken, event: &Event) -> PyResult<Bound<'py, PyTuple>> {
        let Converted { kind, conn, data } = self.convert(taken, event)?;
        let tuple = PyTuple::new(self.py, [kind.name(self.py).as_any(), conn.as_any(), &data])?;
        if matches!(kind, Kind::Connect | Kind::Raw | Kind::Bin | Kind::Disconnect) {
            gc::untrack(&tuple);
        }
        Ok(tuple)
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

    /// A JSON object becomes a dict, whatever old prefix is before it; any other text, and an object that Python's `json` would
    /// not give back alike, stays the text it was.
    fn text(&self, bytes: &[u8]) -> PyResult<(Kind, Bound<'py, PyAny>)> {
        let json = &bytes[prefix_len(bytes)..];
        if json.trim_ascii_start().first() == Some(&b'{')
            && let Ok(value) = JSON.python_parse(self.py, json)
            && !(may_overflow(json) && has_infinity(&value))
            && let Ok(dict) = value.cast_into::<PyDict>()
        {
            fold(&dict, intern!(self.py, "type"), intern!(self.py, "t"))?;
            fold(&dict, intern!(self.py, "payload"), intern!(self.py, "p"))?;
            return Ok((Kind::Msg, dict.into_any()));
        }
        Ok((Kind::Raw, self.str(bytes)?))
    }
}

/// An object of the engine's own.
pub(crate) fn object<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    JSON.python_parse(py, json).map_err(|error| PyRuntimeError::new_err(error.to_string()))
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
/// That takes an exponent or a run of 300 digits, so nearly every message is cleared without a look at its values.
fn may_overflow(bytes: &[u8]) -> bool {
    has_exponent(bytes) || has_long_run(bytes)
}

/// A digit before an `e`. Without a branch in the loop, so that it is done many bytes at a time.
fn has_exponent(bytes: &[u8]) -> bool {
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    pairs.fold(false, |found, (digit, e)| found | (digit.is_ascii_digit() & (e | 0x20 == b'e')))
}

/// A run of 300 digits covers two of every 128th bytes in a row.
fn has_long_run(bytes: &[u8]) -> bool {
    let sampled = bytes.iter().step_by(128).map(u8::is_ascii_digit);
    sampled.clone().zip(sampled.skip(1)).any(|(one, next)| one && next)
}

/// Whether an infinity is among the floats of a parsed message.
fn has_infinity(value: &Bound<'_, PyAny>) -> bool {
    if let Ok(float) = value.cast::<PyFloat>() {
        float.value().is_infinite()
    } else if let Ok(dict) = value.cast::<PyDict>() {
        dict.iter().any(|(_, value)| has_infinity(&value))
    } else if let Ok(list) = value.cast::<PyList>() {
        list.iter().any(|value| has_infinity(&value))
    } else {
        false
    }
}

/// A connection id as Python sees it.
pub(crate) fn id_text<'py>(py: Python<'py>, id: ConnId, run: u64) -> Bound<'py, PyString> {
    let text = id.to_text(run);
    PyString::new(py, std::str::from_utf8(&text).unwrap_or_default())
}

/// Events as `drain_inbound` returns them.
pub(crate) fn list<'py>(py: Python<'py>, taken: &[Taken], run: u64) -> PyResult<Bound<'py, PyList>> {
    let _paused = gc::Paused::new(py);
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
