//! How the application hears of events: a queue that it drains, or callbacks.

use std::time::Instant;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use wse_node::events::Keep;

use super::{RustWSEServer, SIGNALS};
use crate::arguments as arg;
use crate::callbacks::Callbacks;
use crate::ending::Release as _;
use crate::events;

#[pymethods]
impl RustWSEServer {
    /// From the next `start` on, keeps events for `drain_inbound`.
    ///
    /// Args:
    ///     claims: Tells with "auth_connect" all claims of the token, a dict, rather than the user id, and an event "auth_refresh" with those of
    ///         a fresh one.
    ///     authorize: Asks the program by events "authorize" what each client may subscribe and publish to by itself; the client waits until
    ///         `authorize_connection` has answered. What access lists refuse is not asked for.
    ///
    /// Raises:
    ///     RuntimeError: The server is running, or callbacks are set.
    #[pyo3(signature = (*, claims=false, authorize=false))]
    fn enable_drain_mode(&self, claims: bool, authorize: bool) -> PyResult<()> {
        let mut hearing = self.hearing.lock();
        self.refuse_while_running("enable_drain_mode")?;
        if hearing.callbacks.is_some() {
            return Err(PyRuntimeError::new_err(
                "callbacks are set: a server has either callbacks or drain mode",
            ));
        }
        hearing.drain_mode = Some(Keep { presence: true, claims, questions: authorize });
        Ok(())
    }

    /// Takes events in the order in which they happened.
    ///
    /// Args:
    ///     max_count: Events at the most.
    ///     timeout_ms: Milliseconds to wait for the first; 0 does not wait. The GIL is released meanwhile.
    ///
    /// Returns:
    ///     Tuples (kind, conn_id, data): "connect" with the cookies, "auth_connect" with the user id, "msg" with a dict, "raw" with
    ///     other text, "bin" with bytes, "disconnect" with None; "presence_join" and "presence_leave" with a dict of topic, user_id and
    ///     data, where presence is enabled; "auth_refresh" and "authorize" where `enable_drain_mode` was asked for them. Empty when the time ran out or `stop` was called.
    ///
    /// Raises:
    ///     RuntimeError: `enable_drain_mode` was not called.
    ///     ValueError: A number is out of range.
    #[pyo3(signature = (max_count=256, timeout_ms=50.0))]
    fn drain_inbound<'py>(
        &self,
        py: Python<'py>,
        max_count: i64,
        timeout_ms: f64,
    ) -> PyResult<Bound<'py, PyList>> {
        if self.hearing.lock().drain_mode.is_none() {
            return Err(PyRuntimeError::new_err("drain_inbound needs enable_drain_mode() before start()"));
        }
        let max_count = usize::try_from(max_count)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| PyValueError::new_err(format!("max_count must be at least 1, got {max_count}")))?;
        let timeout = arg::seconds("timeout_ms / 1000", timeout_ms / 1000.0)?;
        let started = Instant::now();
        loop {
            // A start puts another queue in the place of the last.
            let queue = self.node.events();
            let taken = queue.take(max_count);
            let left = timeout.saturating_sub(started.elapsed());
            if !taken.is_empty() || left.is_zero() {
                return events::list(py, &taken, queue.run());
            }
            let was_finished = queue.is_finished();
            py.release(|| queue.wait(left.min(SIGNALS)));
            if queue.is_finished() && !was_finished {
                return Ok(PyList::empty(py));
            }
            py.check_signals()?;
        }
    }

    /// A file descriptor that can be read exactly while `drain_inbound` has events to give, for programs whose event loop waits for descriptors:
    /// `loop.add_reader(server.event_fd(), take)`, where `take` calls `drain_inbound(256, 0)`.
    ///
    /// After `stop` it can be read until the next `start`, so that a loop sees the end: take what is left and remove the reader.
    ///
    /// Returns:
    ///     The same number each time. It is not to be read, written or closed, and lives as long as the server object.
    ///
    /// Raises:
    ///     OSError: The process has no descriptors left.
    ///     RuntimeError: `enable_drain_mode` was not called.
    fn event_fd(&self) -> PyResult<i32> {
        if self.hearing.lock().drain_mode.is_none() {
            return Err(PyRuntimeError::new_err("event_fd needs enable_drain_mode() before start()"));
        }
        Ok(self.node.event_fd()?)
    }

    /// From the next `start` on, calls these off the I/O threads, one event after the other.
    ///
    /// Args:
    ///     on_connect: Called with (conn_id, cookies or user id).
    ///     on_message: Called with (conn_id, dict | str | bytes).
    ///     on_disconnect: Called with (conn_id).
    ///
    /// An exception in one of them goes to the log and harms nobody. Presence is not called back: `presence` tells who is there, and drain
    /// mode who comes and goes.
    ///
    /// Raises:
    ///     RuntimeError: The server is running, or is in drain mode.
    ///     TypeError: One of them is not callable.
    fn set_callbacks(
        &self,
        on_connect: Bound<'_, PyAny>,
        on_message: Bound<'_, PyAny>,
        on_disconnect: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        for (name, callback) in
            [("on_connect", &on_connect), ("on_message", &on_message), ("on_disconnect", &on_disconnect)]
        {
            if !callback.is_callable() {
                return Err(PyTypeError::new_err(format!(
                    "{name} must be callable, not {}",
                    arg::type_name(callback)
                )));
            }
        }
        let mut hearing = self.hearing.lock();
        self.refuse_while_running("set_callbacks")?;
        if hearing.drain_mode.is_some() {
            return Err(PyRuntimeError::new_err(
                "drain mode is on: a server has either callbacks or drain mode",
            ));
        }
        hearing.callbacks = Some(Callbacks {
            on_connect: on_connect.unbind(),
            on_message: on_message.unbind(),
            on_disconnect: on_disconnect.unbind(),
        });
        Ok(())
    }

    /// Events that wait to be drained or called back.
    fn inbound_queue_depth(&self) -> usize {
        self.node.events().depth()
    }

    /// Events lost: those that nobody had taken when the server was stopped or started anew. A slow program loses none.
    fn inbound_dropped_count(&self) -> u64 {
        self.node.dropped_events()
    }
}
