//! What the node answers, in Python's terms.

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wse_core::presence::{Present, Stats};
use wse_node::gate::{Granted, Standing};
use wse_node::server::ConnectionInfo;
use wse_node::{Drained, FetchError, StartError};

use crate::{events, options};

/// What is known about a connection.
pub(crate) fn connection_info(py: Python<'_>, info: ConnectionInfo) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("address", info.address.ip().to_canonical().to_string())?;
    // No connection comes from port 0: it stands for one that no proxy has told.
    out.set_item("port", Some(info.address.port()).filter(|port| *port != 0))?;
    out.set_item("user_id", info.user_id)?;
    out.set_item("connected_at", info.connected_at)?;
    out.set_item("format", info.format.name())?;
    out.set_item("compressed", info.compressed)?;
    out.set_item("topics", info.topics)?;
    out.set_item("queued_bytes", info.queued_bytes)?;
    Ok(out)
}

/// The outcome of a subscription with recovery; `None` of a connection that is not there.
pub(crate) fn recovery<'py>(
    py: Python<'py>,
    topics: &[String],
    granted: Option<Granted>,
) -> PyResult<Bound<'py, PyDict>> {
    let granted = granted.unwrap_or_else(|| Granted {
        refused: topics.iter().map(|topic| (topic.clone(), "the connection is closed".into())).collect(),
        ..Granted::default()
    });
    let all = PyDict::new(py);
    for topic in &granted.subscribed {
        let of = PyDict::new(py);
        let standing =
            granted.standing.iter().rev().find(|(name, _)| name == topic).map(|(_, standing)| standing);
        of.set_item("epoch", standing.map(|standing| standing.position.epoch.to_string()))?;
        of.set_item("offset", standing.map(|standing| standing.position.offset))?;
        of.set_item("recoverable", standing.is_some())?;
        of.set_item("recovered", standing.is_some_and(Standing::recovered))?;
        of.set_item("count", standing.map_or(0, Standing::count))?;
        all.set_item(topic, of)?;
    }
    let refused = PyDict::new(py);
    for (topic, reason) in &granted.refused {
        refused.set_item(topic, reason)?;
    }
    let recovered = granted.refused.is_empty()
        && !granted.standing.is_empty()
        && granted.standing.iter().all(|(_, standing)| standing.recovered());
    let out = PyDict::new(py);
    out.set_item("recovered", recovered)?;
    out.set_item("topics", all)?;
    out.set_item("refused", refused)?;
    Ok(out)
}

/// Who is present in a topic.
pub(crate) fn presence(py: Python<'_>, present: Vec<Present>) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    for Present { user, data, connections } in present {
        let one = PyDict::new(py);
        one.set_item("data", events::object(py, data.as_str().as_bytes())?)?;
        one.set_item("connections", connections)?;
        out.set_item(&*user, one)?;
    }
    Ok(out)
}

/// How many are present in a topic.
pub(crate) fn presence_stats(py: Python<'_>, stats: Stats) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("num_users", stats.users)?;
    out.set_item("num_connections", stats.connections)?;
    Ok(out)
}

/// What became of the clients of a drain.
pub(crate) fn drained(py: Python<'_>, result: Drained) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("drained", result.drained)?;
    out.set_item("cut", result.cut)?;
    Ok(out)
}

/// Why a server did not start.
pub(crate) fn start_exception(error: StartError) -> PyErr {
    match error {
        StartError::Running => PyRuntimeError::new_err(error.to_string()),
        StartError::Option(error) => options::to_exception(error),
        StartError::Bind(_, ref inner) | StartError::Host(_, ref inner) => match inner.raw_os_error() {
            Some(number) => PyOSError::new_err((number, error.to_string())),
            None => PyOSError::new_err(error.to_string()),
        },
        StartError::Keys(_, FetchError::Content(_)) => PyValueError::new_err(error.to_string()),
        StartError::Keys(_, FetchError::File(ref inner)) => match inner.raw_os_error() {
            Some(number) => PyOSError::new_err((number, error.to_string())),
            None => PyOSError::new_err(error.to_string()),
        },
        StartError::Keys(..) => PyOSError::new_err(error.to_string()),
        StartError::System(inner) => inner.into(),
    }
}
