//! What the node answers, in Python's terms.

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wse_node::server::ConnectionInfo;
use wse_node::{Drained, FetchError, StartError};

use crate::options;

/// What is known about a connection.
pub(crate) fn connection_info(py: Python<'_>, info: ConnectionInfo) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("address", info.address.ip().to_canonical().to_string())?;
    // No connection comes from port 0: it stands for one that no proxy has told.
    out.set_item("port", Some(info.address.port()).filter(|port| *port != 0))?;
    out.set_item("user_id", info.user_id)?;
    out.set_item("connected_at", info.connected_at)?;
    out.set_item("format", "json")?;
    out.set_item("compressed", info.compressed)?;
    out.set_item("topics", info.topics)?;
    out.set_item("queued_bytes", info.queued_bytes)?;
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
