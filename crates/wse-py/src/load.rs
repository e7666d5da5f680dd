//! The load generator for Python: what `wse bench` and the measurements of this repository run. It is no part of the public API.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use wse_load::load::StartError;
use wse_load::{Group, Histogram, Load, Plan, Role, Tally, Template};

use crate::ending::Release as _;

/// Many WebSocket clients on few threads, and what they saw. Private: `wse bench` is its face.
///
/// Args:
///     address: The IP address of the server, the only one that is connected to.
///     port: Its port.
///     request: The upgrade request from its first line to its last header, without those of the WebSocket itself.
///     tokens: Bearer tokens, shown in turn.
///     sources: Addresses of this machine that the clients take in turn.
///     concurrency: Connects under way at the same time.
///     connect_timeout: Seconds until a client that is not ready has failed.
///     limit: Seconds until everything ends.
///
/// Raises:
///     ValueError: An address is none, or a time is negative.
#[pyclass(module = "wse_server._native", frozen)]
pub(crate) struct LoadRun {
    state: Mutex<State>,
}

enum State {
    Planned(Plan),
    Running(std::sync::Arc<Load>),
}

#[pymethods]
impl LoadRun {
    #[new]
    #[pyo3(signature = (address, port, request, *, tokens=None, sources=None, concurrency=256, connect_timeout=10.0, limit=3600.0))]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
    fn new(
        address: &str,
        port: u16,
        request: &str,
        tokens: Option<Vec<String>>,
        sources: Option<Vec<String>>,
        concurrency: u32,
        connect_timeout: f64,
        limit: f64,
    ) -> PyResult<Self> {
        let address = parse_address(address)?;
        let plan = Plan {
            address: (address, port).into(),
            request: request.as_bytes().to_vec(),
            tokens: tokens.unwrap_or_default(),
            sources: sources
                .unwrap_or_default()
                .iter()
                .map(|source| parse_address(source))
                .collect::<PyResult<_>>()?,
            concurrency,
            connect_timeout: seconds("connect_timeout", connect_timeout)?,
            limit: seconds("limit", limit)?,
            groups: Vec::new(),
        };
        Ok(Self { state: Mutex::new(State::Planned(plan)) })
    }

    /// Adds clients that are alike, before `start`.
    ///
    /// Args:
    ///     role: "hold", "echo", "send", or "post" for requests of the HTTP API.
    ///     clients: How many.
    ///     threads: Threads that share them.
    ///     hello: What each says once connected; `$topic` and `$client` stand for numbers.
    ///     ready: What stands in the answer to it.
    ///     message: What they send; `$at` and `$n` stand for the time and the number in the topic.
    ///     rate: Messages per second of the whole group; 0 for as fast as it goes.
    ///     topics: `$topic` goes round among so many; 0: it is the client's number.
    ///     request: For "post" the head of each request, up to its length.
    ///
    /// Raises:
    ///     RuntimeError: It has started.
    ///     ValueError: There is no such role.
    #[pyo3(signature = (role, clients, *, threads=1, hello="", ready="", message="", rate=0.0, topics=0, request=""))]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the Python method")]
    fn add(
        &self,
        role: &str,
        clients: u32,
        threads: u32,
        hello: &str,
        ready: &str,
        message: &str,
        rate: f64,
        topics: u64,
        request: &str,
    ) -> PyResult<()> {
        let role = match role {
            "hold" => Role::Hold,
            "echo" => Role::Echo,
            "send" => Role::Send,
            "post" => Role::Post,
            other => {
                return Err(PyValueError::new_err(format!(
                    "role is {other:?}; allowed: hold, echo, send, post"
                )));
            }
        };
        let group = Group {
            role,
            clients,
            threads,
            hello: Template::new(hello),
            ready: ready.as_bytes().to_vec(),
            message: Template::new(message),
            rate,
            topics,
            request: request.as_bytes().to_vec(),
        };
        match &mut *self.state.lock() {
            State::Planned(plan) => plan.groups.push(group),
            State::Running(_) => return Err(PyRuntimeError::new_err("the load has started")),
        }
        Ok(())
    }

    /// Starts the threads, which connect at once.
    ///
    /// Raises:
    ///     OSError: The system refuses a thread or an epoll.
    ///     RuntimeError: It has started before.
    ///     ValueError: What was asked for can't be meant.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let plan = match &*self.state.lock() {
            State::Planned(plan) => plan.clone(),
            State::Running(_) => return Err(PyRuntimeError::new_err("the load has started")),
        };
        let load = py.release(|| Load::start(plan)).map_err(|error| match error {
            StartError::Plan(error) => PyValueError::new_err(error.to_string()),
            StartError::Io(error) => PyOSError::new_err(error.to_string()),
        })?;
        *self.state.lock() = State::Running(std::sync::Arc::new(load));
        Ok(())
    }

    /// The work begins: those that send do so from now on.
    ///
    /// Raises:
    ///     RuntimeError: It was not started.
    fn begin(&self) -> PyResult<()> {
        self.running()?.begin();
        Ok(())
    }

    /// The work ends; the clients stay, and what comes still counts.
    ///
    /// Raises:
    ///     RuntimeError: It was not started.
    fn rest(&self) -> PyResult<()> {
        self.running()?.rest();
        Ok(())
    }

    /// What is measured begins to count anew.
    ///
    /// Raises:
    ///     RuntimeError: It was not started.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        let load = self.running()?;
        py.release(|| load.reset());
        Ok(())
    }

    /// How far it is: "connecting", "ready", "working" or "ended".
    ///
    /// Raises:
    ///     RuntimeError: It was not started.
    fn stage(&self) -> PyResult<&'static str> {
        Ok(self.running()?.stage().name())
    }

    /// Waits for another stage than the present one, at most so many seconds, and returns it.
    ///
    /// Raises:
    ///     RuntimeError: It was not started.
    ///     ValueError: The time is negative.
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<&'static str> {
        let load = self.running()?;
        let timeout = seconds("timeout", timeout)?;
        Ok(py.release(|| load.wait(load.stage(), timeout)).name())
    }

    /// What all have seen until now: counts, durations in nanoseconds as (longest of the class, how many), and `now`, the time of it in seconds.
    ///
    /// Raises:
    ///     RuntimeError: It was not started.
    fn tally<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let load = self.running()?;
        let (now, tally) = py.release(|| load.tally());
        to_dict(py, now, &tally)
    }

    /// Closes all connections and waits for the threads. What they saw can still be asked for.
    fn stop(&self, py: Python<'_>) {
        if let Ok(load) = self.running() {
            py.release(|| load.stop());
        }
    }
}

impl LoadRun {
    fn running(&self) -> PyResult<std::sync::Arc<Load>> {
        match &*self.state.lock() {
            State::Planned(_) => Err(PyRuntimeError::new_err("the load was not started")),
            State::Running(load) => Ok(load.clone()),
        }
    }
}

fn parse_address(text: &str) -> PyResult<IpAddr> {
    text.parse().map_err(|_| PyValueError::new_err(format!("{text:?} is no IP address")))
}

fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| PyValueError::new_err(format!("{name} is {value}; allowed: seconds, not negative")))
}

fn to_dict<'py>(py: Python<'py>, now: u64, tally: &Tally) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("now", now as f64 / 1e9)?;
    for (name, count) in [
        ("begun", tally.begun),
        ("ready", tally.ready),
        ("open", tally.open),
        ("sent", tally.sent),
        ("sent_bytes", tally.sent_bytes),
        ("received", tally.received),
        ("received_bytes", tally.received_bytes),
        ("lost", tally.lost),
        ("doubled", tally.doubled),
    ] {
        dict.set_item(name, count)?;
    }
    for (name, reasons) in [("failed", &tally.failed), ("ended", &tally.ended), ("refused", &tally.refused)] {
        dict.set_item(name, reasons_dict(py, reasons)?)?;
    }
    let connect_s = tally.connect_from.map_or(0, |from| tally.connect_to.saturating_sub(from)) as f64 / 1e9;
    dict.set_item("connect_s", connect_s)?;
    for (name, histogram) in
        [("connecting", &tally.connecting), ("latency", &tally.latency), ("late", &tally.late)]
    {
        dict.set_item(name, classes(py, histogram)?)?;
    }
    Ok(dict)
}

fn reasons_dict<'py>(py: Python<'py>, reasons: &BTreeMap<String, u64>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (reason, count) in reasons {
        dict.set_item(reason, count)?;
    }
    Ok(dict)
}

fn classes<'py>(py: Python<'py>, histogram: &Histogram) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, histogram.classes().collect::<Vec<_>>())
}
