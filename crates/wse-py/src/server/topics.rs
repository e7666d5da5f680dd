//! Who hears which topic, what was missed, and who is there.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use wse_node::asking::{Action, Decision};
use wse_node::gate::{From, Wish};
use wse_node::server::parse_filters;

use super::RustWSEServer;
use crate::answers;
use crate::arguments as arg;
use crate::ending::Release as _;
use crate::position::Positions;

#[pymethods]
impl RustWSEServer {
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
    ///     timeout: Seconds to wait until all other nodes that are reachable know, in a cluster; 0 does not wait. Only the first subscriber of
    ///         a topic on this node has to.
    ///
    /// Returns:
    ///     {"subscribed": [...], "refused": {topic: reason}, "confirmed": bool}. Not confirmed means that `timeout` ran out first: messages of
    ///     this node arrive, and those of others as soon as they know.
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
        let timeout = arg::seconds("timeout", timeout)?;
        let mut confirmed = true;
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
                    confirmed = server.wait_to_subscribe(conn, &wishes, Some(timeout));
                    let result = server.subscribe(conn, &wishes);
                    confirmed &= result.subscribed.is_empty() || server.confirm_subscriptions(timeout);
                    result
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
        out.set_item("confirmed", confirmed)?;
        Ok(out)
    }

    /// Subscribes a connection to topics, and replays what it missed of those that have history.
    ///
    /// What is replayed comes before anything published later, in order and once. A topic that the connection has already is served
    /// again from the position that is given. In a cluster any node answers for all: it waits until it hears the topic, and has brought what was
    /// missed; without an answer of the topic's home (after twice `dead_after` and 4 s) nothing is recovered.
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
        let granted = found.map(|(server, conn)| {
            py.release(|| {
                // The answer says for each topic what came of it.
                let _ = server.wait_to_subscribe(conn, &wishes, None);
                server.subscribe(conn, &wishes)
            })
        });
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

    /// Answers an event "authorize": whether a client may have the topics that it asks for.
    ///
    /// The client's command goes on, and is answered to the client, with the reason for what is refused. What is decided about publishing holds
    /// for the length of the connection, or until `forget_authorizations`; each subscription is asked for anew.
    ///
    /// Args:
    ///     conn_id: The connection of the event; a closed or unknown one does nothing.
    ///     action: "subscribe" or "publish", as in the event.
    ///     decisions: {topic: True} for what is allowed, {topic: False} or {topic: "the reason"} for what is not. A topic of the event
    ///         that is left out is asked for again.
    ///
    /// Raises:
    ///     TypeError: `decisions` is not such a dict.
    ///     ValueError: There is no such action.
    fn authorize_connection(
        &self,
        conn_id: &str,
        action: &str,
        decisions: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let action = Action::named(action).ok_or_else(|| {
            PyValueError::new_err(format!("action must be 'subscribe' or 'publish', got {action:?}"))
        })?;
        let decisions = decisions.iter().map(|(topic, decision)| decision_of(&topic, &decision));
        let decisions = decisions.collect::<PyResult<Vec<_>>>()?;
        if let Some(server) = self.node.server()
            && let Some(conn) = server.parse_id(conn_id)
        {
            server.decide(conn, action, decisions);
        }
        Ok(())
    }

    /// Forgets what was decided about topics of a connection by `authorize_connection`, so that its next publications ask again.
    fn forget_authorizations(&self, conn_id: &str) {
        if let Some(server) = self.node.server()
            && let Some(conn) = server.parse_id(conn_id)
        {
            server.forget_decisions(conn);
        }
    }

    /// Stops reading what a client sends, so that it is slowed down and no other; what was read before still arrives.
    ///
    /// Its pings are not answered meanwhile and it is not closed as idle. That it has gone is noticed when it is read again.
    fn pause_reading(&self, conn_id: &str) {
        self.hold(conn_id, true);
    }

    /// Goes on with a connection after `pause_reading`.
    fn resume_reading(&self, conn_id: &str) {
        self.hold(conn_id, false);
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

    /// Who is present in a topic, in the whole cluster.
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

    /// How many are present in a topic, in the whole cluster.
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
}

impl RustWSEServer {
    fn hold(&self, conn_id: &str, holds: bool) {
        if let Some(server) = self.node.server()
            && let Some(conn) = server.parse_id(conn_id)
        {
            server.hold_reading(conn, holds);
        }
    }
}

/// The reason for what is refused without one.
const REFUSED: &str = "the server does not allow it";

fn decision_of(topic: &Bound<'_, PyAny>, decision: &Bound<'_, PyAny>) -> PyResult<(String, Decision)> {
    let wrong = || {
        PyTypeError::new_err(format!(
            "decisions must map a topic to True, False or a reason, not {} to {}",
            arg::type_name(topic),
            arg::type_name(decision)
        ))
    };
    let topic = topic.extract::<String>().map_err(|_| wrong())?;
    let decision = if let Ok(reason) = decision.extract::<String>() {
        Err(reason)
    } else {
        let allowed = decision.extract::<bool>().map_err(|_| wrong())?;
        if allowed { Ok(()) } else { Err(REFUSED.to_owned()) }
    };
    Ok((topic, decision))
}
