//! Arguments from Python, checked at the door.

use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySequence, PyString, PyTuple};
use wse_core::acl::Acl;
use wse_core::topic::{Filter, TopicError};
use wse_core::websocket::close::{MAX_REASON, may_be_sent};
use wse_node::Unsendable;

/// What kind of thing somebody gave instead.
pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string())
}

/// A message given as `str`, or as `bytes` of UTF-8.
#[inline]
pub(crate) fn text<'a>(argument: &str, value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    if let Ok(text) = value.cast::<PyString>() {
        return text.to_str().map_err(|error| {
            match error.is_instance_of::<PyUnicodeEncodeError>(value.py()) {
                true => {
                    PyValueError::new_err(format!("{argument} has a lone surrogate, which UTF-8 can't carry"))
                }
                false => error,
            }
        });
    }
    let Ok(bytes) = value.cast::<PyBytes>() else {
        let given = type_name(value);
        return Err(PyTypeError::new_err(format!(
            "{argument} must be str, or bytes with UTF-8, not {given}"
        )));
    };
    std::str::from_utf8(bytes.as_bytes()).map_err(|_| {
        PyValueError::new_err(format!(
            "{argument} is sent as text, and these bytes are no UTF-8; binary goes by send_bytes and broadcast_all_bytes"
        ))
    })
}

/// A topic to publish to.
#[inline]
pub(crate) fn topic(value: &str) -> PyResult<Filter<'_>> {
    Filter::parse_exact(value).map_err(|error| topic_error("topic", value, error))
}

/// A topic to recover.
pub(crate) fn topic_without_pattern(value: &str) -> PyResult<Filter<'_>> {
    let filter = filter(value)?;
    if filter.is_pattern() {
        return Err(PyValueError::new_err(format!(
            "topic {value:?} is a pattern (it has '*' or '?'): only the topics that it means have a history to recover"
        )));
    }
    Ok(filter)
}

/// A topic or a pattern.
pub(crate) fn filter(value: &str) -> PyResult<Filter<'_>> {
    Filter::parse(value).map_err(|error| topic_error("topic", value, error))
}

pub(crate) fn topic_error(argument: &str, value: &str, error: TopicError) -> PyErr {
    let shown: String = value.chars().take(80).collect();
    PyValueError::new_err(format!("{argument} {shown:?}: {error}"))
}

/// A list of topics and patterns. A single text is refused: its characters would be taken for topics.
pub(crate) fn topic_list(value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    text_list("topics", value)
}

/// The name of a queue group, which is no place to be present in.
pub(crate) fn queue_group(name: Option<&str>, with_presence: bool) -> PyResult<()> {
    let Some(name) = name else { return Ok(()) };
    if with_presence {
        return Err(PyValueError::new_err(
            "presence_data and queue_group exclude each other: a member of a group is not present in its topic",
        ));
    }
    let (len, has_controls) = (name.len(), name.chars().any(char::is_control));
    if !(1..=255).contains(&len) || has_controls {
        let shown: String = name.chars().take(80).collect();
        return Err(PyValueError::new_err(format!(
            "queue_group must have 1-255 bytes of UTF-8 without control characters, got {shown:?} with {len} bytes"
        )));
    }
    Ok(())
}

/// Topics of a queue group: a pattern has none.
pub(crate) fn group_topics(filters: &[Filter<'_>]) -> PyResult<()> {
    match filters.iter().find(|filter| filter.is_pattern()) {
        None => Ok(()),
        Some(pattern) => Err(PyValueError::new_err(format!(
            "topic {:?}: a queue group is of a topic, and this is a pattern (it has '*' or '?')",
            pattern.as_str()
        ))),
    }
}

/// An access list; none where neither list is given.
pub(crate) fn acl(
    allow: Option<&Bound<'_, PyAny>>,
    deny: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Acl>> {
    let texts = |argument, value: Option<&Bound<'_, PyAny>>| {
        value.map(|value| text_list(argument, value)).transpose()
    };
    let (allow, deny) = (texts("allow", allow)?, texts("deny", deny)?);
    if allow.is_none() && deny.is_none() {
        return Ok(None);
    }
    let allow = allow.as_deref().map(|texts| filters("allow", texts)).transpose()?;
    let deny = filters("deny", deny.as_deref().unwrap_or_default())?;
    Ok(Some(Acl::new(allow.as_deref(), &deny)))
}

fn filters<'a>(argument: &str, texts: &'a [String]) -> PyResult<Vec<Filter<'a>>> {
    let parse = |text: &'a String| Filter::parse(text).map_err(|error| topic_error(argument, text, error));
    texts.iter().map(parse).collect()
}

fn text_list(argument: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let wrong =
        || PyTypeError::new_err(format!("{argument} must be a list of str, not {}", type_name(value)));
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Err(wrong());
    }
    let items: Vec<Bound<'_, PyAny>> = match value.cast::<PySequence>() {
        Ok(sequence) => sequence.try_iter()?.collect::<PyResult<_>>()?,
        Err(_) => value.try_iter().map_err(|_| wrong())?.collect::<PyResult<_>>()?,
    };
    let one = |item: &Bound<'_, PyAny>| match item.cast::<PyString>() {
        Ok(text) => Ok(text.to_str()?.to_owned()),
        Err(_) => Err(PyTypeError::new_err(format!(
            "{argument} must be a list of str, and one of them is {}",
            type_name(item)
        ))),
    };
    items.iter().map(one).collect()
}

/// A list or tuple of messages; its elements are held, so that they stay while the GIL is released.
pub(crate) fn messages<'py>(value: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if let Ok(list) = value.cast::<PyList>() {
        return Ok(list.iter().collect());
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return Ok(tuple.iter().collect());
    }
    Err(PyTypeError::new_err(format!("messages must be a list or tuple of str, not {}", type_name(value))))
}

/// A close code and its reason, which are named `code` and `reason` with what is put before both.
pub(crate) fn close(before: &str, code: i64, reason: &str) -> PyResult<u16> {
    let code = u16::try_from(code).ok().filter(|code| may_be_sent(*code)).ok_or_else(|| {
        PyValueError::new_err(format!(
            "{before}code must be 1000-1003, 1007-1014 or 3000-4999 (RFC 6455, section 7.4), got {code}"
        ))
    })?;
    if reason.len() > MAX_REASON {
        let len = reason.len();
        return Err(PyValueError::new_err(format!(
            "{before}reason must have at most {MAX_REASON} bytes of UTF-8, this one has {len}"
        )));
    }
    Ok(code)
}

/// A number of seconds to wait.
pub(crate) fn seconds(argument: &str, value: f64) -> PyResult<std::time::Duration> {
    std::time::Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| duration.as_secs() <= 86_400 * 365)
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "{argument} must be a number of seconds from 0 to a year, got {value}"
            ))
        })
}

/// The length in bytes above which an event is compressed.
pub(crate) fn compression_threshold(value: i64) -> PyResult<usize> {
    usize::try_from(value).map_err(|_| {
        PyValueError::new_err(format!("compression_threshold must be at least 0 bytes, got {value}"))
    })
}

pub(crate) fn unsendable(error: Unsendable) -> PyErr {
    match error {
        Unsendable::TooLong { len, limit } => PyValueError::new_err(format!(
            "message of {len} bytes: no client may be more than max_outbound_queue_bytes = {limit} behind, so it could never be sent"
        )),
        Unsendable::OwnStamp(error) => PyValueError::new_err(error.to_string()),
    }
}

/// The longest page.
const MAX_PAGE: usize = 16 << 20;

/// Where a page may be.
pub(crate) fn page_path(path: &str) -> PyResult<()> {
    if matches!(path, "/health" | "/metrics" | "/ready") {
        return Err(PyValueError::new_err(format!("path {path:?} is the server's own")));
    }
    if !path.starts_with('/')
        || path.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'?' | b'#'))
    {
        return Err(PyValueError::new_err(format!(
            "path must begin with '/' and have visible ASCII characters only, without '?' and '#'; got {path:?}"
        )));
    }
    Ok(())
}

/// What a page may call itself.
pub(crate) fn media_type(text: &str) -> PyResult<()> {
    if !text.contains('/') || text.bytes().any(|byte| !(byte.is_ascii_graphic() || byte == b' ')) {
        return Err(PyValueError::new_err(format!(
            "content_type must be a media type such as 'text/html', got {text:?}"
        )));
    }
    Ok(())
}

/// How long a page may be.
pub(crate) fn page_body(body: &[u8]) -> PyResult<()> {
    if body.len() > MAX_PAGE {
        return Err(PyValueError::new_err(format!(
            "body must have at most {MAX_PAGE} bytes, got {}",
            body.len()
        )));
    }
    Ok(())
}

/// The address to listen on.
pub(crate) fn host(host: &Bound<'_, PyAny>) -> PyResult<String> {
    let given = || type_name(host);
    let text = host
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("host must be str, not {}", given())))?;
    let text = text.to_str()?;
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(PyValueError::new_err(format!(
            "host must be an address or a name such as '127.0.0.1', got {text:?}"
        )));
    }
    Ok(text.to_owned())
}

/// The port to listen on.
pub(crate) fn port(port: &Bound<'_, PyAny>) -> PyResult<u16> {
    let is_bool = port.is_instance_of::<pyo3::types::PyBool>();
    if is_bool || !port.is_instance_of::<pyo3::types::PyInt>() {
        return Err(PyTypeError::new_err(format!(
            "port must be an integer from 0 to 65535, not {}",
            type_name(port)
        )));
    }
    port.extract()
        .map_err(|_| PyValueError::new_err(format!("port must be an integer from 0 to 65535, got {port}")))
}
