//! The thread that calls an application's callbacks: events in their order, one after the other.

use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use wse_node::Node;

use crate::ending::CallsPython;
use crate::events::{Converted, Converter, Kind};

/// What the application wants to be called with.
pub(crate) struct Callbacks {
    pub(crate) on_connect: Py<PyAny>,
    pub(crate) on_message: Py<PyAny>,
    pub(crate) on_disconnect: Py<PyAny>,
}

impl Callbacks {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            on_connect: self.on_connect.clone_ref(py),
            on_message: self.on_message.clone_ref(py),
            on_disconnect: self.on_disconnect.clone_ref(py),
        }
    }
}

/// The thread that calls them.
pub(crate) struct Dispatcher {
    thread: Option<JoinHandle<()>>,
    id: ThreadId,
}

/// Events taken at a time: between two portions other Python threads get their turn.
const PORTION: usize = 256;

impl Dispatcher {
    /// Starts the thread; it ends when the queue of the running server is closed and empty.
    pub(crate) fn start(node: Arc<Node>, callbacks: Callbacks) -> std::io::Result<Self> {
        let calls = CallsPython::begin();
        let thread = std::thread::Builder::new().name("wse-callbacks".into()).spawn(move || {
            dispatch(&node, &callbacks);
            drop(calls);
        })?;
        Ok(Self { id: thread.thread().id(), thread: Some(thread) })
    }

    /// Waits for the last callbacks, unless it is one of them that asks.
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take()
            && std::thread::current().id() != self.id
            && thread.join().is_err()
        {
            tracing::error!("the thread of the callbacks had panicked");
        }
    }
}

fn dispatch(node: &Node, callbacks: &Callbacks) {
    let events = node.events();
    let run = events.run();
    while !events.is_finished() {
        events.wait(Duration::from_secs(1));
        let taken = events.take(PORTION);
        if taken.is_empty() {
            continue;
        }
        Python::attach(|py| {
            let mut converter = Converter::new(py, run);
            for part in &taken {
                for event in part.events() {
                    let called = converter.convert(part, event).and_then(|event| call(py, callbacks, event));
                    if let Err(error) = called {
                        report(py, &error);
                    }
                }
            }
        });
    }
}

fn call(py: Python<'_>, callbacks: &Callbacks, event: Converted<'_>) -> PyResult<()> {
    let Converted { kind, conn, data } = event;
    match kind {
        Kind::Connect | Kind::AuthConnect => callbacks.on_connect.call1(py, (conn, data)),
        Kind::Disconnect => callbacks.on_disconnect.call1(py, (conn,)),
        Kind::Msg | Kind::Raw | Kind::Bin => callbacks.on_message.call1(py, (conn, data)),
        // Not asked for where there are callbacks: none of them is for it.
        Kind::PresenceJoin | Kind::PresenceLeave | Kind::Authorize | Kind::AuthRefresh => return Ok(()),
    }
    .map(|_| ())
}

/// An exception in a callback harms nobody, and is not lost: it goes to the log with its traceback.
fn report(py: Python<'_>, error: &PyErr) {
    let logged = py.import("logging").and_then(|logging| {
        let logger = logging.call_method1("getLogger", ("wse_server",))?;
        let traceback = error.traceback(py);
        let exc_info = PyTuple::new(
            py,
            [
                error.get_type(py).into_any(),
                error.value(py).clone().into_any(),
                traceback.into_pyobject(py)?.into_any(),
            ],
        )?;
        let kwargs = pyo3::types::PyDict::new(py);
        kwargs.set_item("exc_info", exc_info)?;
        logger.call_method("error", ("a callback raised",), Some(&kwargs))
    });
    if let Err(logging_error) = logged {
        // Not even the logger works; Python's own way of last resort does.
        logging_error.write_unraisable(py, None);
    }
}
