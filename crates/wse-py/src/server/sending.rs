//! To one connection, to all, to those who hear a topic.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use wse_core::topic::Filter;
use wse_node::cluster::NotStored;
use wse_node::{Payload, Server};

use super::{RustWSEServer, deliver};
use crate::arguments as arg;
use crate::ending::Release as _;
use crate::event::EventText;
use crate::position::{Position, PublishTimeout};

#[pymethods]
impl RustWSEServer {
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

    /// Publishes text to the subscribers of a topic on this node. Outside of a cluster this is the same as `broadcast`; in one it has no stamp
    /// and is kept in no history.
    ///
    /// Returns:
    ///     As `broadcast`; None in a cluster.
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
        Ok(deliver(py, server.to_topic_here(topic, text).map_err(arg::unsendable)?))
    }

    /// Publishes text to the subscribers of a topic, in a cluster those of all nodes. A JSON object without a category `c` gets one.
    ///
    /// With history (`recovery_enabled`) it is stamped in front of everything else with topic, epoch and offset (`tp`, `e`, `o`) and kept; text
    /// that is no JSON object is kept without a stamp. Waits, with the GIL released, while the I/O threads are behind or most
    /// subscribers are, or while the queue to another node is full; a node that takes nothing for two seconds loses it (`get_cluster_dlq_entries`).
    ///
    /// Args:
    ///     topic: 1-255 bytes of UTF-8 without control characters and wildcards.
    ///     message: JSON or other text; bytes are taken as UTF-8.
    ///     wait: With "local" it returns when this node has taken the message, which from there on is sent until it is stored. With "stored" it
    ///         returns when the topic's home has stamped it and all its replicas hold it: then it outlives the loss of any one of them. The same
    ///         on a single node, and for topics without history, which nobody stores.
    ///     timeout: Seconds to wait for "stored".
    ///
    /// Returns:
    ///     The position of the message; None where topics have no history, or while the server does not run, and in a cluster with wait="local",
    ///     since another node may give it its position. `copies` of the position says on how many nodes it is, if "stored" was waited for.
    ///
    /// Raises:
    ///     ValueError: The topic is malformed or a pattern; the text is no UTF-8 or longer than max_outbound_queue_bytes; a message for a
    ///         topic with history has a field `tp`, `e` or `o` of its own; or another `wait`.
    ///     PublishTimeout: With "stored": it is not known whether the message is stored. It is published, and may be stored later.
    #[pyo3(signature = (topic, message, *, wait="local", timeout=10.0))]
    fn broadcast(
        &self,
        py: Python<'_>,
        topic: &str,
        message: &Bound<'_, PyAny>,
        wait: &str,
        timeout: f64,
    ) -> PyResult<Option<Position>> {
        let stored = wait_for_stored(wait, timeout)?;
        let text = arg::text("message", message)?;
        let topic = arg::topic(topic)?;
        let Some(server) = self.node.server() else { return Ok(None) };
        if let Some(timeout) = stored
            && server.has_cluster_logs()
        {
            return publish_stored(py, &server, topic, &[text], timeout);
        }
        let position = deliver(py, server.to_topic(topic, text).map_err(arg::unsendable)?);
        if let Some(forwarding) = server.forward(topic, text).map_err(arg::unsendable)? {
            py.release(|| forwarding.finish());
        }
        Ok(position)
    }

    /// Whether a message for a topic would be taken at once, here and by all other nodes, or its publisher would have to wait. For programs
    /// that must not wait; it may be another answer a moment later.
    ///
    /// Raises:
    ///     ValueError: The topic is malformed or a pattern.
    fn has_room(&self, topic: &str) -> PyResult<bool> {
        let topic = arg::topic(topic)?;
        Ok(self.node.server().is_none_or(|server| server.has_room(topic)))
    }

    /// Publishes many messages to one topic, in order; far cheaper than a call for each.
    ///
    /// Args:
    ///     topic: As for `broadcast`.
    ///     messages: A list or tuple of what `broadcast` takes.
    ///     wait: As for `broadcast`; "stored" waits for all of them.
    ///     timeout: Seconds to wait for "stored".
    ///
    /// Returns:
    ///     The position of the last message, as `broadcast` does; None for an empty list too.
    ///
    /// Raises:
    ///     TypeError: `messages` is not a list or tuple of str.
    ///     ValueError: As for `broadcast`; nothing is sent then.
    ///     PublishTimeout: With "stored": it is not known how many of the messages are stored.
    #[pyo3(signature = (topic, messages, *, wait="local", timeout=10.0))]
    fn broadcast_many(
        &self,
        py: Python<'_>,
        topic: &str,
        messages: &Bound<'_, PyAny>,
        wait: &str,
        timeout: f64,
    ) -> PyResult<Option<Position>> {
        let stored = wait_for_stored(wait, timeout)?;
        let topic = arg::topic(topic)?;
        let held = arg::messages(messages)?;
        let texts =
            held.iter().map(|message| arg::text("messages", message)).collect::<PyResult<Vec<&str>>>()?;
        let Some(server) = self.node.server() else { return Ok(None) };
        if let Some(timeout) = stored
            && server.has_cluster_logs()
        {
            return publish_stored(py, &server, topic, &texts, timeout);
        }
        let last = py.release(|| {
            let last = server.publish_many(topic, &texts)?;
            for text in &texts {
                if let Some(forwarding) = server.forward(topic, text)? {
                    forwarding.finish();
                }
            }
            Ok(last)
        });
        let last = last.map_err(arg::unsendable)?;
        Ok(last.map(Position::at))
    }
}

/// How long to wait for "stored", if that is wanted.
fn wait_for_stored(wait: &str, timeout: f64) -> PyResult<Option<Duration>> {
    let timeout = arg::seconds("timeout", timeout)?;
    match wait {
        "local" => Ok(None),
        "stored" => Ok(Some(timeout)),
        _ => Err(PyValueError::new_err(format!("wait must be 'local' or 'stored', got {wait:?}"))),
    }
}

fn publish_stored(
    py: Python<'_>,
    server: &Server,
    topic: Filter<'_>,
    texts: &[&str],
    timeout: Duration,
) -> PyResult<Option<Position>> {
    match py.release(|| server.publish_stored(topic, texts, timeout)) {
        Ok(stored) => Ok(stored.and_then(|at| Some(Position::stored(at.position?, at.copies)))),
        Err(NotStored::Unsendable(error)) => Err(arg::unsendable(error)),
        Err(error @ NotStored::Timeout(_)) => Err(PublishTimeout::new_err(error.to_string())),
    }
}
