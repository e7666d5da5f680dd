//! Messages of peers on their way into the inboxes of this node.

use std::sync::atomic::Ordering::Relaxed;

use wse_core::topic::Filter;
use wse_core::websocket::Opcode;
use wse_mesh::interest::Orders;
use wse_mesh::wire::Malformed;

use super::Cluster;
use crate::inbox::Message;
use crate::shared::Shared;

impl Cluster {
    /// Gives a message of a topic to its receivers here, if they have room for it; false if they have not.
    ///
    /// # Errors
    /// It is no message: the link is to be closed.
    pub(super) fn deliver(&self, shared: &Shared, topic: &str, payload: &[u8]) -> Result<bool, Malformed> {
        let topic = Filter::parse_exact(topic).map_err(|_| Malformed("topic of a message"))?;
        let (orders, body) = Orders::decode(payload)?;
        if !orders.binary && simdutf8::basic::from_utf8(body).is_err() {
            return Err(Malformed("text of a message"));
        }
        if !shared.has_local_room_for(topic) {
            return Ok(false);
        }
        self.counts.delivered.fetch_add(1, Relaxed);
        let opcode = if orders.binary { Opcode::Binary } else { Opcode::Text };
        let message = Message { opcode, head: &[], tail: body };
        if orders.groups.is_empty() && orders.unknown.is_none() {
            shared.put_from_peer(topic, message, orders.plain, &[]);
            return Ok(true);
        }
        let local = shared.topics.group_names(topic.as_str());
        let local: Vec<&str> = local.iter().map(String::as_str).collect();
        let turn = self.turn.fetch_add(1, Relaxed);
        let duties = self.interests.lock().duties(topic, &local, &orders, turn);
        shared.put_from_peer(topic, message, duties.plain, &duties.groups);
        for (peer, orders) in &duties.hand_on {
            self.hand_on(shared, *peer, topic, orders, body);
        }
        self.counts.dropped.fetch_add(duties.lost.len() as u64, Relaxed);
        Ok(true)
    }
}
