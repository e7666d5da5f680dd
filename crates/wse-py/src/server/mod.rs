//! `RustWSEServer`: each method converts, calls the node, converts.

mod cluster;
mod hearing;
mod reloading;
mod sending;
mod topics;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wse_node::events::Keep;
use wse_node::{ConfigError, Drained, Node, Publication};

use crate::arguments as arg;
use crate::callbacks::{Callbacks, Dispatcher};
use crate::ending::Release as _;
use crate::json_text::dict_text;
use crate::position::Position;
use crate::{answers, ending, options, tokens};

/// How often a thread that waits for events looks whether Python wants it for a signal.
const SIGNALS: Duration = Duration::from_millis(200);

/// A WebSocket server: topics, fan-out and limits, driven from any Python thread.
///
/// Args:
///     host: The address to listen on, such as "0.0.0.0" or "127.0.0.1".
///     port: The port; 0 takes any free one, which `port` tells after `start`.
///     **options: See the reference of options.
///
/// Raises:
///     TypeError: An option is unknown or of the wrong type.
///     ValueError: An option has a value that is not allowed.
///     NotImplementedError: An option asks for something that this version does not have.
#[pyclass(module = "wse_server._native", frozen)]
pub(crate) struct RustWSEServer {
    node: Arc<Node>,
    host: String,
    port: u16,
    hearing: Mutex<Hearing>,
}

/// How the application hears of events.
#[derive(Default)]
struct Hearing {
    /// What is told beside messages in drain mode, if that is on.
    drain_mode: Option<Keep>,
    callbacks: Option<Callbacks>,
    dispatcher: Option<Dispatcher>,
}

#[pymethods]
impl RustWSEServer {
    #[new]
    #[pyo3(signature = (host, port, **options))]
    fn new(
        host: &Bound<'_, PyAny>,
        port: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let host = arg::host(host)?;
        let port = arg::port(port)?;
        let options = options::from_kwargs(options)?;
        let node = Node::new(host.clone(), port, options).map_err(|error| match error {
            ConfigError::Option(error) => options::to_exception(error),
            ConfigError::Key(error) => tokens::key_exception(&error),
        })?;
        let node = Arc::new(node);
        ending::remember(&node);
        Ok(Self { node, host, port, hearing: Mutex::default() })
    }

    /// Opens the port and starts the I/O threads; when it returns the port accepts.
    ///
    /// Args:
    ///     joining: This server is to be a node of a cluster: `connect_cluster` follows. Until it has joined the others `/ready` says 503,
    ///         from its first moment on, so that no balancer sends it clients between the two calls.
    ///
    /// Raises:
    ///     OSError: The address can't be bound.
    ///     RuntimeError: The server is already running.
    ///     ValueError: The variable ALLOWED_ORIGINS is malformed.
    #[pyo3(signature = (*, joining=false))]
    fn start(&self, py: Python<'_>, joining: bool) -> PyResult<()> {
        let origins = std::env::var("ALLOWED_ORIGINS").ok();
        // The lock is not kept while the GIL is away: a thread that drains takes it with the GIL held.
        let (kept, keep, callbacks) = {
            let hearing = self.hearing.lock();
            let callbacks = hearing.callbacks.as_ref().map(|callbacks| callbacks.clone_ref(py));
            (
                hearing.drain_mode.is_some() || callbacks.is_some(),
                hearing.drain_mode.unwrap_or_default(),
                callbacks,
            )
        };
        match (kept, callbacks.is_some()) {
            (false, _) => {}
            (true, true) => self.node.keep_events(Keep::default()),
            (true, false) => self.node.keep_events(keep),
        }
        py.release(|| self.node.start(origins.as_deref(), joining)).map_err(answers::start_exception)?;
        if let Some(callbacks) = callbacks {
            let dispatcher = Dispatcher::start(self.node.clone(), callbacks)?;
            self.hearing.lock().dispatcher = Some(dispatcher);
        }
        Ok(())
    }

    /// Closes every connection with 1012 (come back), then the port. Waits at most about a second; does nothing when not running.
    ///
    /// Callbacks hear of all disconnects before it returns; a drain loop finds them in the queue.
    fn stop(&self, py: Python<'_>) {
        let node = &self.node;
        py.release(|| {
            node.stop();
            let dispatcher = self.hearing.lock().dispatcher.take();
            if let Some(dispatcher) = dispatcher {
                dispatcher.join();
            }
        });
    }

    /// Empties the server for one that takes its place: new clients get 503 with Retry-After, and `/ready` answers 503.
    ///
    /// Those that are here are told `reconnect`, spread over the timeout, get what was accepted for them, and are closed. Publishing
    /// goes on meanwhile. Returns as soon as all are gone; the server stays started, and refuses, until `stop`. A second call tells and
    /// closes at once whoever is left and ends with the sooner of both timeouts; `stop` from another thread ends it too.
    ///
    /// Args:
    ///     close_code: 1000-1003, 1007-1014 or 3000-4999. After 1000, 1001 and 4403 clients stay away.
    ///     close_reason: Text for people, at most 123 bytes of UTF-8.
    ///     timeout: Seconds until the rest is cut. The last client is told when a quarter of it is left, or 5 seconds.
    ///
    /// Returns:
    ///     {"drained": n, "cut": n}: clients that are gone with all that was accepted for them, and clients that did not answer the
    ///     close in time. Zeros when nobody was there or the server does not run.
    ///
    /// Raises:
    ///     TypeError: An argument has another type.
    ///     ValueError: The code must not be sent, the reason is too long, or the timeout is negative or no number.
    #[pyo3(signature = (close_code=4300, close_reason="", timeout=30.0))]
    fn drain<'py>(
        &self,
        py: Python<'py>,
        close_code: i64,
        close_reason: &str,
        timeout: f64,
    ) -> PyResult<Bound<'py, PyDict>> {
        let code = arg::close("close_", close_code, close_reason)?;
        let timeout = arg::seconds("timeout", timeout)?;
        let mut result = Drained { drained: 0, cut: 0 };
        if let Some(server) = self.node.server() {
            let draining = py.release(|| server.drain(code, close_reason, timeout));
            result = loop {
                if let Some(drained) = py.release(|| draining.wait(SIGNALS)) {
                    break drained;
                }
                py.check_signals()?;
            };
        }
        answers::drained(py, result)
    }

    /// Whether the port accepts.
    fn is_running(&self) -> bool {
        self.node.is_running()
    }

    /// The host that the server was made with.
    #[getter]
    fn host(&self) -> &str {
        &self.host
    }

    /// The port that the server listens on; before `start` the one that it was made with.
    #[getter]
    fn port(&self) -> u16 {
        self.node.address().map_or(self.port, |address| address.port())
    }

    fn __repr__(&self) -> String {
        let state = if self.is_running() { "running" } else { "stopped" };
        format!("<RustWSEServer {}:{} {state}>", self.host, self.port())
    }
}

impl RustWSEServer {
    /// Presence data as JSON, where there is presence.
    fn presence_text(&self, argument: &str, data: &Bound<'_, PyAny>) -> PyResult<String> {
        if !self.node.options().presence_enabled {
            return Err(PyValueError::new_err(format!(
                "{argument}: the server was made without presence_enabled=True"
            )));
        }
        dict_text(argument, data)
    }

    fn refuse_while_running(&self, method: &str) -> PyResult<()> {
        if self.is_running() {
            return Err(PyRuntimeError::new_err(format!("{method} must be called before start()")));
        }
        Ok(())
    }
}

impl Drop for RustWSEServer {
    fn drop(&mut self) {
        // The object may go while its threads run: they must not be waited for with the GIL held, since callbacks need it.
        let node = self.node.clone();
        let dispatcher = self.hearing.get_mut().dispatcher.take();
        Python::attach(|py| {
            py.release(|| {
                node.stop();
                if let Some(dispatcher) = dispatcher {
                    dispatcher.join();
                }
            });
        });
    }
}

/// Sends what can be sent at once with the GIL held, and waits for the rest without it.
#[inline]
fn deliver(py: Python<'_>, publication: Option<Publication<'_>>) -> Option<Position> {
    let mut publication = publication?;
    let position =
        if publication.try_finish() { publication.position() } else { py.release(|| publication.finish()) };
    position.map(Position::at)
}
