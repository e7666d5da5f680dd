//! Messages of topics without history on their way to the peers, pushed by whoever publishes them.

use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wse_core::topic::Filter;
use wse_core::websocket::Opcode;
use wse_link::{Class, Link, NotPushed};
use wse_mesh::ids::NodeId;
use wse_mesh::interest::{Orders, Route};
use wse_mesh::wire::Kind;

use super::Cluster;
use crate::inbox::Message;
use crate::log::limited;
use crate::shared::Shared;

/// How long a publisher waits for a peer that takes nothing at all; then its message is given up. Longer than the second for which a node
/// takes nothing when its clients have just stalled (`shard/hold`): that one goes on.
const STUCK: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK: Duration = Duration::from_micros(500);

/// A message that some peers have no room for.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    left: Vec<Left>,
}

#[derive(Debug)]
struct Left {
    peer: NodeId,
    link: Link,
    topic: String,
    payload: Vec<u8>,
    /// Where in the payload the message begins.
    start: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

impl Shared {
    /// Gives a message of a topic to the peers that have receivers of it; what is left of it has to be waited for.
    #[inline]
    pub(crate) fn forward(&self, topic: Filter<'_>, message: &Message<'_>) -> Option<Backlog> {
        // Topics with history go by their logs.
        let cluster = self.cluster.get().filter(|_| self.histories.is_none())?;
        let backlog = cluster.forward(self, topic, message);
        (!backlog.is_empty()).then_some(backlog)
    }

    /// Waits until the peers have room, or take nothing for two seconds.
    pub(crate) fn finish_forward(&self, backlog: Backlog) {
        let Some(cluster) = self.cluster.get() else { return };
        for left in backlog.left {
            cluster.push_patiently(self, &left);
        }
    }

    /// The same for a thread that must not wait: it has seen that there is room.
    pub(crate) fn forward_now(&self, topic: Filter<'_>, message: &Message<'_>) {
        let (Some(cluster), Some(backlog)) = (self.cluster.get(), self.forward(topic, message)) else {
            return;
        };
        backlog.left.iter().for_each(|left| cluster.give_up(self, left, NotPushed::Full));
    }

    /// Whether every peer that would get a message of this topic has room.
    pub(crate) fn peers_have_room(&self, topic: Filter<'_>) -> bool {
        let Some(cluster) = self.cluster.get() else { return true };
        let route = cluster.interests.route(topic.as_str());
        route.is_empty() || {
            let links = cluster.links.read();
            links.iter().flatten().all(|(_, link)| link.waiting() < super::BOUNDS.data / 2)
        }
    }
}

impl Cluster {
    fn forward(&self, shared: &Shared, topic: Filter<'_>, message: &Message<'_>) -> Backlog {
        thread_local!(static PAYLOAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        let route = self.interests.route(topic.as_str());
        let mut backlog = Backlog::default();
        if route.is_empty() {
            return backlog;
        }
        PAYLOAD.with_borrow_mut(|payload| {
            if route.is_plain() {
                fill(payload, &Orders::plain(message.opcode == Opcode::Binary), message);
                for peer in route.peers.iter() {
                    self.push(shared, peer, topic, payload, 1, &mut backlog);
                }
            } else {
                self.share(shared, &route, topic, message, payload, &mut backlog);
            }
            payload.shrink_to(64 * 1024);
        });
        backlog
    }

    /// Gives a message of a topic with history to one member of each of its queue groups, here or at a peer.
    pub(super) fn share_out(&self, shared: &Shared, route: &Route, topic: Filter<'_>, message: &Message<'_>) {
        let local = shared.topics.group_names(topic.as_str());
        let local: Vec<&str> = local.iter().map(String::as_str).collect();
        shared.put_from_peer(topic, *message, false, &local);
        let turn = self.turn.fetch_add(1, Relaxed);
        let id_of = |peer| self.link(peer).map_or(NodeId(0), |(id, _)| id);
        let (mut payload, mut backlog) = (Vec::new(), Backlog::default());
        for (peer, orders) in route.share(&local, false, turn, id_of).peers {
            // Its subscribers hear the log itself.
            let orders = Orders { plain: false, ..orders };
            if !orders.groups.is_empty() || orders.unknown.is_some() {
                let start = fill(&mut payload, &orders, message);
                self.push(shared, peer, topic, &payload, start, &mut backlog);
            }
        }
        backlog.left.iter().for_each(|left| self.give_up(shared, left, NotPushed::Full));
    }

    /// Where queue groups have members, or it is not known who has.
    fn share(
        &self,
        shared: &Shared,
        route: &Route,
        topic: Filter<'_>,
        message: &Message<'_>,
        payload: &mut Vec<u8>,
        backlog: &mut Backlog,
    ) {
        let local = shared.topics.group_names(topic.as_str());
        let local: Vec<&str> = local.iter().map(String::as_str).collect();
        let turn = self.turn.fetch_add(1, Relaxed);
        let id_of = |peer| self.link(peer).map_or(NodeId(0), |(id, _)| id);
        for (peer, orders) in route.share(&local, message.opcode == Opcode::Binary, turn, id_of).peers {
            let start = fill(payload, &orders, message);
            self.push(shared, peer, topic, payload, start, backlog);
        }
    }

    fn push(
        &self,
        shared: &Shared,
        peer: wse_mesh::interest::PeerIndex,
        topic: Filter<'_>,
        payload: &[u8],
        start: usize,
        backlog: &mut Backlog,
    ) {
        let links = self.links.read();
        let Some((id, link)) = links.get(peer.get()).and_then(Option::as_ref) else { return };
        match link.frame(Class::Data, Kind::Msg as u8, topic.as_str(), payload) {
            Ok(()) => {
                self.counts.sent.fetch_add(1, Relaxed);
            }
            Err(why) => {
                let left = Left {
                    peer: *id,
                    link: link.clone(),
                    topic: topic.as_str().to_owned(),
                    payload: payload.to_vec(),
                    start,
                };
                drop(links);
                match why {
                    NotPushed::Full => backlog.left.push(left),
                    why => self.give_up(shared, &left, why),
                }
            }
        }
    }

    /// Hands a message on to a peer, for a queue group whose members here have just gone.
    pub(super) fn hand_on(
        &self,
        shared: &Shared,
        peer: wse_mesh::interest::PeerIndex,
        topic: Filter<'_>,
        orders: &Orders<'_>,
        body: &[u8],
    ) {
        let mut payload = Vec::new();
        orders.encode(&mut payload);
        let start = payload.len();
        payload.extend_from_slice(body);
        let mut backlog = Backlog::default();
        self.push(shared, peer, topic, &payload, start, &mut backlog);
        backlog.left.iter().for_each(|left| self.give_up(shared, left, NotPushed::Full));
    }

    fn push_patiently(&self, shared: &Shared, left: &Left) {
        let bytes_out = || left.link.counters().bytes_out.load(Relaxed);
        let (mut moved, mut since) = (bytes_out(), Instant::now());
        loop {
            match left.link.frame(Class::Data, Kind::Msg as u8, &left.topic, &left.payload) {
                Ok(()) => {
                    self.counts.sent.fetch_add(1, Relaxed);
                    return;
                }
                Err(NotPushed::Full) if !shared.is_stopping() => {}
                Err(why) => return self.give_up(shared, left, why),
            }
            if bytes_out() != moved {
                (moved, since) = (bytes_out(), Instant::now());
            } else if since.elapsed() >= STUCK {
                return self.give_up(shared, left, NotPushed::Full);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn give_up(&self, shared: &Shared, left: &Left, why: NotPushed) {
        let reason = match why {
            NotPushed::Full => "the queue to the peer was full",
            NotPushed::Closed => "the link was closed",
            NotPushed::TooLong => "longer than the peer takes",
        };
        self.counts.dropped.fetch_add(1, Relaxed);
        self.letters.add(&left.topic, &left.payload[left.start..], left.peer, reason, shared.clock.unix_ms());
        limited!(warn, shared.clock, peer = %left.peer, reason, "messages for a peer were given up: get_cluster_dlq_entries()");
    }
}

/// Orders and the message; where the message begins.
fn fill(payload: &mut Vec<u8>, orders: &Orders<'_>, message: &Message<'_>) -> usize {
    payload.clear();
    orders.encode(payload);
    let start = payload.len();
    payload.extend_from_slice(message.head);
    payload.extend_from_slice(message.tail);
    start
}
