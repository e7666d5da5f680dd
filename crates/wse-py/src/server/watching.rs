//! Who is connected, how the server is, and what it serves and signs beside that.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use super::RustWSEServer;
use crate::arguments as arg;
use crate::ending::Release as _;
use crate::{answers, events, tokens};

#[pymethods]
impl RustWSEServer {
    /// How many connections are open.
    fn get_connection_count(&self) -> usize {
        self.node.server().map_or(0, |server| server.connection_count())
    }

    /// The ids of the open connections.
    fn get_connections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        match self.node.server() {
            Some(server) => events::ids(py, &server),
            None => Ok(PyList::empty(py)),
        }
    }

    /// What is known about a connection, or None if it is closed or unknown.
    ///
    /// Returns:
    ///     A dict with address (the client's, behind trusted proxies too), port (None where a proxy did not tell it), user_id (None
    ///     without JWT), connected_at (seconds since 1970), format ("json" or "msgpack"), compressed (bool), topics (sorted list) and queued_bytes.
    fn get_connection_info<'py>(
        &self,
        py: Python<'py>,
        conn_id: &str,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let info = self.node.server().and_then(|server| {
            let conn = server.parse_id(conn_id)?;
            py.release(|| server.connection_info(conn))
        });
        info.map(|info| answers::connection_info(py, info)).transpose()
    }

    /// Closes a connection after all that was sent to it before. A closed or unknown connection is no error.
    ///
    /// Args:
    ///     conn_id: A connection.
    ///     code: 1000-1003, 1007-1014 or 3000-4999. After 1000, 1001 and 4403 clients stay away.
    ///     reason: Text for people, at most 123 bytes of UTF-8.
    ///
    /// Raises:
    ///     ValueError: The code must not be sent, or the reason is too long.
    #[pyo3(signature = (conn_id, code=1000, reason=""))]
    fn disconnect(&self, conn_id: &str, code: i64, reason: &str) -> PyResult<()> {
        let code = arg::close("", code, reason)?;
        if let Some(server) = self.node.server()
            && let Some(conn) = server.parse_id(conn_id)
        {
            server.disconnect(conn, code, reason);
        }
        Ok(())
    }

    /// The state of the server as a dict of numbers and booleans; see the page on monitoring.
    fn health_snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = py.release(|| self.node.health().to_json());
        jiter::PythonParse::default()
            .python_parse(py, json.as_bytes())
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    /// The state of the server for Prometheus, in its text format 0.0.4: what `GET /metrics` answers. See the page on monitoring.
    ///
    /// Counters begin anew with every `start`; a server that does not run tells zeros.
    fn prometheus_metrics(&self, py: Python<'_>) -> String {
        py.release(|| self.node.metrics())
    }

    /// Serves a small page at `path` on the same port, before or after `start`.
    ///
    /// Args:
    ///     path: Begins with "/"; "/health", "/ready" and "/metrics" are taken.
    ///     content_type: Its media type, such as "text/html; charset=utf-8".
    ///     body: At most 16 MiB; str is sent as UTF-8.
    ///
    /// Raises:
    ///     TypeError: The body is neither str nor bytes.
    ///     ValueError: The path or the media type is malformed, or the body too long.
    fn add_static(&self, path: &str, content_type: &str, body: &Bound<'_, PyAny>) -> PyResult<()> {
        arg::page_path(path)?;
        arg::media_type(content_type)?;
        let bytes = match body.cast::<PyBytes>() {
            Ok(bytes) => bytes.as_bytes(),
            Err(_) => arg::text("body", body)?.as_bytes(),
        };
        arg::page_body(bytes)?;
        self.node.add_page(path, content_type, bytes);
        Ok(())
    }

    /// Signs claims with the server's own key.
    ///
    /// Args:
    ///     claims: The payload; the server asks for `sub` and `exp`, and for `iss` and `aud` where they are configured.
    ///
    /// Raises:
    ///     RuntimeError: The server has no key to sign with.
    ///     TypeError: A claim has no JSON form.
    ///     ValueError: The token would be too long.
    fn mint_token(&self, claims: &Bound<'_, PyAny>) -> PyResult<String> {
        tokens::mint(self.node.minter().as_deref(), claims)
    }
}
