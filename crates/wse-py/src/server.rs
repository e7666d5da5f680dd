//! `RustWSEServer`: each method converts, calls the node, converts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use wse_core::auth::Minter;
use wse_node::gate::{From, Wish};
use wse_node::server::parse_filters;
use wse_node::{ConfigError, Drained, Node, Payload, Publication};

use crate::arguments as arg;
use crate::callbacks::{Callbacks, Dispatcher};
use crate::ending::Release as _;
use crate::event::EventText;
use crate::json_text::dict_text;
use crate::position::{Position, Positions};
use crate::{answers, ending, events, options, tokens};

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
    minter: Option<Minter>,
    host: String,
    port: u16,
    hearing: Mutex<Hearing>,
}

/// How the application hears of events.
#[derive(Default)]
struct Hearing {
    drain_mode: bool,
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
        let minter = tokens::minter(&options)?;
        let node = Node::new(host.clone(), port, options).map_err(|error| match error {
            ConfigError::Option(error) => options::to_exception(error),
            ConfigError::Key(error) => tokens::key_exception(&error),
        })?;
        let node = Arc::new(node);
        ending::remember(&node);
        Ok(Self { node, minter, host, port, hearing: Mutex::default() })
    }

    /// Opens the port and starts the I/O threads; when it returns the port accepts.
    ///
    /// Raises:
    ///     OSError: The address can't be bound.
    ///     RuntimeError: The server is already running.
    ///     ValueError: The variable ALLOWED_ORIGINS is malformed.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let origins = std::env::var("ALLOWED_ORIGINS").ok();
        // The lock is not kept while the GIL is away: a thread that drains takes it with the GIL held.
        let (kept, callbacks) = {
            let hearing = self.hearing.lock();
            let callbacks = hearing.callbacks.as_ref().map(|callbacks| callbacks.clone_ref(py));
            (hearing.drain_mode || callbacks.is_some(), callbacks)
        };
        match (kept, callbacks.is_some()) {
            (false, _) => {}
            (true, true) => self.node.keep_events(),
            (true, false) => self.node.keep_events_with_presence(),
        }
        py.release(|| self.node.start(origins.as_deref())).map_err(answers::start_exception)?;
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

    /// From the next `start` on, keeps events for `drain_inbound`.
    ///
    /// Raises:
    ///     RuntimeError: The server is running, or callbacks are set.
    fn enable_drain_mode(&self) -> PyResult<()> {
        let mut hearing = self.hearing.lock();
        self.refuse_while_running("enable_drain_mode")?;
        if hearing.callbacks.is_some() {
            return Err(PyRuntimeError::new_err(
                "callbacks are set: a server has either callbacks or drain mode",
            ));
        }
        hearing.drain_mode = true;
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
    ///     data, where presence is enabled. Empty when the time ran out or `stop` was called.
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
        if !self.hearing.lock().drain_mode {
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
        if hearing.drain_mode {
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

    /// Sends text to one connection, behind all that was sent to it before. A closed or unknown connection is no error.
    ///
    /// Raises:
    ///     ValueError: The text is no UTF-8 or longer than max_outbound_queue_bytes.
    fn send(&self, py: Python<'_>, conn_id: &str, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let text = arg::text("message", message)?;
        let Some(server) = self.node.server() else { return Ok(()) };
        deliver(py, server.to_connection(conn_id, Payload::Text(text)).map_err(arg::unsendable)?);
        Ok(())
    }

    /// Sends bytes to one connection as a binary frame, behind all that was sent to it before.
    ///
    /// Raises:
    ///     ValueError: They are more than max_outbound_queue_bytes.
    fn send_bytes(&self, py: Python<'_>, conn_id: &str, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let Some(server) = self.node.server() else { return Ok(()) };
        deliver(
            py,
            server.to_connection(conn_id, Payload::Binary(data.as_bytes())).map_err(arg::unsendable)?,
        );
        Ok(())
    }

    /// Sends an event to one connection, behind all that was sent to it before, in the form that the connection wants.
    ///
    /// The envelope is completed: category `c` (`S` for snapshots, else `U`), `id` (a fresh one), `ts` (now), `seq` (the next number of
    /// the connection), `p` ({}) and `v` (1) where they are missing, or None; `pri`, `cid`, `sig` and all other members are kept. A
    /// connection that asked for msgpack gets msgpack; one whose `client_hello` said `features.compression` gets JSON of more than
    /// `compression_threshold` bytes in a zlib stream (not with `compression="off"`); one that exchanged keys gets it sealed.
    ///
    /// Values become JSON: datetime, date and time as ISO 8601; UUID and Decimal as text; a member of an Enum as its value; bytes,
    /// bytearray and memoryview as hexadecimal digits; dataclasses as objects; tuples and sets as lists. Maps and lists may nest 64 deep.
    /// Keys that are int, Enum, UUID, Decimal, datetime, date or time become text.
    ///
    /// Args:
    ///     conn_id: A connection; for a closed or unknown one nothing happens.
    ///     event: A dict with a text `t`, or `type`; `payload` is the long name of `p`.
    ///     compression_threshold: Bytes of JSON above which a zlib stream is made.
    ///
    /// Returns:
    ///     Bytes of the message as it is queued. 0: it was dropped, since the connection is gone or was sent an event with this `id`
    ///     before. The last 50,000 given ids of a connection are remembered; memory for them is taken as they come, up to 1.2 MB.
    ///
    /// Raises:
    ///     TypeError: The event is no dict, or something in it has no JSON form; the message tells where it is.
    ///     ValueError: A number is NaN or infinite, a text has a lone surrogate, two keys of a dict become the same text, it nests too deep
    ///         or has no type, the threshold is negative, or the message is longer than max_outbound_queue_bytes.
    #[pyo3(signature = (conn_id, event, compression_threshold=1024))]
    fn send_event(
        &self,
        py: Python<'_>,
        conn_id: &str,
        event: &Bound<'_, PyAny>,
        compression_threshold: i64,
    ) -> PyResult<usize> {
        let threshold = arg::compression_threshold(compression_threshold)?;
        let text = EventText::of(event)?;
        let Some(server) = self.node.server() else { return Ok(0) };
        let Some(sending) = server.event(conn_id, text.event(), threshold) else { return Ok(0) };
        match sending.try_finish().map_err(arg::unsendable)? {
            Some(bytes) => Ok(bytes),
            None => py.release(|| sending.finish()).map_err(arg::unsendable),
        }
    }

    /// Sends text to every connection. A JSON object without a category `c` gets one.
    ///
    /// Raises:
    ///     ValueError: The text is no UTF-8 or longer than max_outbound_queue_bytes.
    fn broadcast_all(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let text = arg::text("message", message)?;
        let Some(server) = self.node.server() else { return Ok(()) };
        deliver(py, Some(server.to_everyone(Payload::Json(text)).map_err(arg::unsendable)?));
        Ok(())
    }

    /// Sends bytes to every connection as a binary frame.
    ///
    /// Raises:
    ///     ValueError: They are more than max_outbound_queue_bytes.
    fn broadcast_all_bytes(&self, py: Python<'_>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let Some(server) = self.node.server() else { return Ok(()) };
        deliver(py, Some(server.to_everyone(Payload::Binary(data.as_bytes())).map_err(arg::unsendable)?));
        Ok(())
    }

    /// Publishes text to the subscribers of a topic on this node. On a single node this is the same as `broadcast`.
    ///
    /// Returns:
    ///     As `broadcast`.
    ///
    /// Raises:
    ///     ValueError: As for `broadcast`.
    fn broadcast_local(
        &self,
        py: Python<'_>,
        topic: &str,
        message: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Position>> {
        let text = arg::text("message", message)?;
        let topic = arg::topic(topic)?;
        let Some(server) = self.node.server() else { return Ok(None) };
        Ok(deliver(py, server.to_topic(topic, text).map_err(arg::unsendable)?))
    }

    /// Publishes text to the subscribers of a topic. A JSON object without a category `c` gets one.
    ///
    /// With history (`recovery_enabled`) it is stamped in front of everything else with topic, epoch and offset (`tp`, `e`, `o`) and kept; text
    /// that is no JSON object is kept without a stamp. Waits, with the GIL released, while the I/O threads are behind or most
    /// subscribers are.
    ///
    /// Args:
    ///     topic: 1-255 bytes of UTF-8 without control characters and wildcards.
    ///     message: JSON or other text; bytes are taken as UTF-8.
    ///     wait: "local" or "stored"; a single node has nobody to wait for.
    ///     timeout: Seconds to wait for "stored".
    ///
    /// Returns:
    ///     The position of the message; None where topics have no history, or while the server does not run.
    ///
    /// Raises:
    ///     ValueError: The topic is malformed or a pattern; the text is no UTF-8 or longer than max_outbound_queue_bytes; a message for a
    ///         topic with history has a field `tp`, `e` or `o` of its own; or another `wait`.
    #[pyo3(signature = (topic, message, *, wait="local", timeout=10.0))]
    fn broadcast(
        &self,
        py: Python<'_>,
        topic: &str,
        message: &Bound<'_, PyAny>,
        wait: &str,
        timeout: f64,
    ) -> PyResult<Option<Position>> {
        if !matches!(wait, "local" | "stored") {
            return Err(PyValueError::new_err(format!("wait must be 'local' or 'stored', got {wait:?}")));
        }
        arg::seconds("timeout", timeout)?;
        self.broadcast_local(py, topic, message)
    }

    /// Publishes many messages to one topic, in order; far cheaper than a call for each.
    ///
    /// Returns:
    ///     The position of the last message; None where topics have no history, for an empty list, or while the server does not run.
    ///
    /// Raises:
    ///     TypeError: `messages` is not a list or tuple of str.
    ///     ValueError: As for `broadcast`; nothing is sent then.
    fn broadcast_many(
        &self,
        py: Python<'_>,
        topic: &str,
        messages: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Position>> {
        let topic = arg::topic(topic)?;
        let held = arg::messages(messages)?;
        let texts =
            held.iter().map(|message| arg::text("messages", message)).collect::<PyResult<Vec<&str>>>()?;
        let Some(server) = self.node.server() else { return Ok(None) };
        let last = py.release(|| server.publish_many(topic, &texts)).map_err(arg::unsendable)?;
        Ok(last.map(Position))
    }

    /// Subscribes a connection to topics and patterns (`*` any run of characters, `?` one).
    ///
    /// Whatever is published after it returns reaches the connection; one that matches several ways gets each message once.
    ///
    /// Args:
    ///     conn_id: A connection; a closed or unknown one is refused for every topic.
    ///     topics: Topics and patterns.
    ///     presence_data: Makes the connection's user present in the topics (not the patterns) with these data, a dict of what JSON knows.
    ///         None leaves it a silent listener. Data over presence_max_data_size are refused with a line in the log, and the user is
    ///         not present by them; beyond presence_max_members neither.
    ///     queue_group: Makes the connection a member of this group of each topic rather than a subscriber: each message goes to one member of
    ///         the group. 1-255 bytes of UTF-8 without control characters. Patterns have no groups.
    ///     timeout: Seconds to wait for other nodes; there are none.
    ///
    /// Returns:
    ///     {"subscribed": [...], "refused": {topic: reason}, "confirmed": True}
    ///
    /// Raises:
    ///     TypeError: `topics` is not a list of str, or the presence data have no JSON form.
    ///     ValueError: A topic is malformed, presence_data is given without presence_enabled, or a queue group has a malformed name, a pattern
    ///         among its topics or presence data; nothing is subscribed then.
    #[pyo3(signature = (conn_id, topics, presence_data=None, queue_group=None, timeout=1.0))]
    fn subscribe_connection<'py>(
        &self,
        py: Python<'py>,
        conn_id: &str,
        topics: &Bound<'py, PyAny>,
        presence_data: Option<&Bound<'py, PyAny>>,
        queue_group: Option<&str>,
        timeout: f64,
    ) -> PyResult<Bound<'py, PyDict>> {
        let presence = presence_data.map(|data| self.presence_text("presence_data", data)).transpose()?;
        arg::queue_group(queue_group, presence.is_some())?;
        arg::seconds("timeout", timeout)?;
        let topics = arg::topic_list(topics)?;
        let filters =
            parse_filters(&topics).map_err(|(at, error)| arg::topic_error("topic", &topics[at], error))?;
        if queue_group.is_some() {
            arg::group_topics(&filters)?;
        }
        let found = self.node.server().and_then(|server| server.parse_id(conn_id).map(|conn| (server, conn)));
        let (subscribed, refused) = match found {
            Some((server, conn)) => {
                let result = py.release(|| {
                    let presence = presence.and_then(|json| server.presence_data(&json).ok());
                    let presence = presence.as_ref();
                    let group = queue_group;
                    let wish = |filter: &_| Wish { filter: *filter, from: From::Now, presence, group };
                    let wishes: Vec<Wish<'_>> = filters.iter().map(wish).collect();
                    server.subscribe(conn, &wishes)
                });
                (result.subscribed, result.refused)
            }
            None => (
                vec![],
                topics.into_iter().map(|topic| (topic, "the connection is closed".to_owned())).collect(),
            ),
        };
        let out = PyDict::new(py);
        out.set_item("subscribed", subscribed)?;
        let reasons = PyDict::new(py);
        for (topic, reason) in refused {
            reasons.set_item(topic, reason)?;
        }
        out.set_item("refused", reasons)?;
        out.set_item("confirmed", true)?;
        Ok(out)
    }

    /// Subscribes a connection to topics, and replays what it missed of those that have history.
    ///
    /// What is replayed comes before anything published later, in order and once. A topic that the connection has already is served
    /// again from the position that is given.
    ///
    /// Args:
    ///     conn_id: A connection; a closed or unknown one is refused for every topic.
    ///     topics: Topics, no patterns.
    ///     recover: Whether what was missed is wanted; without it the answer only tells where the topics stand.
    ///     epoch: With `offset`, the position of the last message that the client has, for every topic given.
    ///     offset: As `epoch`.
    ///     positions: The same for each topic: {topic: (epoch, offset)} or {topic: Position}; excludes `epoch` and `offset`.
    ///
    /// Returns:
    ///     {"recovered": bool, "topics": {topic: {"epoch", "offset", "recoverable", "recovered", "count"}}, "refused": {topic: reason}}.
    ///     `recovered` of a topic is True if and only if every message after the position is on its way; otherwise nothing is replayed.
    ///     `epoch` and `offset` are its last message at this moment, to go on from; None without history (`recoverable` False).
    ///     `count` is how many messages are replayed. `recovered` above is True if that is true of all topics given.
    ///
    /// Raises:
    ///     TypeError: `topics` is not a list of str, or `positions` not such a dict.
    ///     ValueError: A topic is malformed or a pattern, a position is none, or only one of epoch and offset is given; nothing is
    ///         subscribed then.
    #[pyo3(signature = (conn_id, topics, recover=false, epoch=None, offset=None, positions=None))]
    #[expect(clippy::too_many_arguments, reason = "as the documented call has them")]
    fn subscribe_with_recovery<'py>(
        &self,
        py: Python<'py>,
        conn_id: &str,
        topics: &Bound<'py, PyAny>,
        recover: bool,
        epoch: Option<&str>,
        offset: Option<&Bound<'py, PyAny>>,
        positions: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let starts = Positions::read(recover, epoch, offset, positions)?;
        let topics = arg::topic_list(topics)?;
        let wishes = topics.iter().map(|topic| starts.wish(topic)).collect::<PyResult<Vec<_>>>()?;
        let found = self.node.server().and_then(|server| server.parse_id(conn_id).map(|conn| (server, conn)));
        let granted = found.map(|(server, conn)| py.release(|| server.subscribe(conn, &wishes)));
        answers::recovery(py, &topics, granted)
    }

    /// Ends subscriptions of a connection and its memberships in queue groups of the topics, all of them without `topics`. What was published before still arrives.
    ///
    /// Raises:
    ///     TypeError: `topics` is not a list of str.
    ///     ValueError: A topic is malformed.
    #[pyo3(signature = (conn_id, topics=None))]
    fn unsubscribe_connection(
        &self,
        py: Python<'_>,
        conn_id: &str,
        topics: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let topics = topics.map(arg::topic_list).transpose()?;
        let filters = match &topics {
            Some(topics) => Some(
                parse_filters(topics).map_err(|(at, error)| arg::topic_error("topic", &topics[at], error))?,
            ),
            None => None,
        };
        let Some(server) = self.node.server() else { return Ok(()) };
        if let Some(conn) = server.parse_id(conn_id) {
            py.release(|| server.unsubscribe(conn, filters.as_deref()));
        }
        Ok(())
    }

    /// The queue groups of a topic.
    ///
    /// Returns:
    ///     {group: members}, the number of connections of this node in each.
    ///
    /// Raises:
    ///     ValueError: The topic is malformed or a pattern.
    fn get_queue_group_info<'py>(&self, py: Python<'py>, topic: &str) -> PyResult<Bound<'py, PyDict>> {
        let topic = arg::topic(topic)?;
        let out = PyDict::new(py);
        for (group, members) in self.node.server().map_or_else(Vec::new, |server| server.queue_groups(topic))
        {
            out.set_item(group, members)?;
        }
        Ok(out)
    }

    /// Who is present in a topic.
    ///
    /// Returns:
    ///     {user_id: {"data": dict, "connections": int}}; without JWT the user id is the connection id. Empty without presence_enabled.
    ///
    /// Raises:
    ///     ValueError: The topic is malformed or a pattern.
    fn presence<'py>(&self, py: Python<'py>, topic: &str) -> PyResult<Bound<'py, PyDict>> {
        let topic = arg::topic(topic)?;
        let present = self.node.server().map(|server| py.release(|| server.presence(topic)));
        answers::presence(py, present.unwrap_or_default())
    }

    /// How many are present in a topic.
    ///
    /// Returns:
    ///     {"num_users": int, "num_connections": int}
    ///
    /// Raises:
    ///     ValueError: The topic is malformed or a pattern.
    fn presence_stats<'py>(&self, py: Python<'py>, topic: &str) -> PyResult<Bound<'py, PyDict>> {
        let topic = arg::topic(topic)?;
        let stats = self.node.server().map(|server| py.release(|| server.presence_stats(topic)));
        answers::presence_stats(py, stats.unwrap_or_default())
    }

    /// Changes what a connection's user shows, in every topic in which the connection is present; subscribers get `presence_update`.
    ///
    /// A closed or unknown connection, and one that is present nowhere, is no error.
    ///
    /// Args:
    ///     conn_id: A connection.
    ///     data: A dict of what JSON knows; over presence_max_data_size it is refused with a line in the log, and nothing changes.
    ///
    /// Raises:
    ///     TypeError: The data have no JSON form.
    ///     ValueError: The server was made without presence_enabled, or a number is not finite.
    fn update_presence(&self, py: Python<'_>, conn_id: &str, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let json = self.presence_text("data", data)?;
        let Some(server) = self.node.server() else { return Ok(()) };
        if let Some(conn) = server.parse_id(conn_id) {
            py.release(|| {
                if let Ok(data) = server.presence_data(&json) {
                    server.update_presence(conn, &data);
                }
            });
        }
        Ok(())
    }

    /// Says which topics a connection may hear; whatever it may no longer hear ends.
    ///
    /// It replaces the access list that the connection has, the one from its token (`wse_topics`) too. `deny` wins over `allow`. Of a
    /// pattern that is allowed in part the connection hears that part. What is published after this returned reaches the
    /// connection only if the list allows it.
    ///
    /// Args:
    ///     conn_id: A connection; for a closed or unknown one nothing happens.
    ///     allow: Topics and patterns (`*` any run of characters, `?` one); None allows everything, an empty list nothing.
    ///     deny: Topics and patterns that are refused nevertheless; None is the same as an empty list.
    ///
    /// Returns:
    ///     The topics and patterns whose subscriptions have ended, sorted. The client is told of them by an error NOT_ALLOWED.
    ///
    /// Raises:
    ///     TypeError: `allow` or `deny` is neither None nor a list of str.
    ///     ValueError: A topic or pattern is malformed; nothing is changed then.
    #[pyo3(signature = (conn_id, allow=None, deny=None))]
    fn set_topic_acl(
        &self,
        py: Python<'_>,
        conn_id: &str,
        allow: Option<&Bound<'_, PyAny>>,
        deny: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<String>> {
        let acl = arg::acl(allow, deny)?;
        let Some(server) = self.node.server() else { return Ok(Vec::new()) };
        let Some(conn) = server.parse_id(conn_id) else { return Ok(Vec::new()) };
        Ok(py.release(|| server.set_acl(conn, acl)))
    }

    /// How many connections are subscribed to exactly this topic or pattern.
    ///
    /// Raises:
    ///     ValueError: The topic is malformed.
    fn get_topic_subscriber_count(&self, topic: &str) -> PyResult<usize> {
        let filter = arg::filter(topic)?;
        Ok(self.node.server().map_or(0, |server| server.subscriber_count(filter)))
    }

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
        tokens::mint(self.minter.as_ref(), claims)
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
    position.map(Position)
}
