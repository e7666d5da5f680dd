//! What any thread may ask of a running server about its cluster.

use std::net::SocketAddr;
use std::time::Duration;

use wse_core::topic::Filter;
use wse_link::tls::{TlsError, TlsFiles};
use wse_mesh::ids::NodeId;

use super::{Backlog, ClusterConfig, ConnectError, DeadLetter, PeerStatus, StoredAt};
use crate::publish::{Payload, Unsendable, message};
use crate::server::Server;
use crate::shared::Shared;

/// A message that peers have no room for: what is left of a publication.
pub struct Forwarding<'a> {
    shared: &'a Shared,
    backlog: Backlog,
}

impl Forwarding<'_> {
    /// Waits until they have, or take nothing for two seconds: then it is given up for them, and counted.
    pub fn finish(self) {
        self.shared.finish_forward(self.backlog);
    }
}

/// Why it is not known that messages are stored.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NotStored {
    /// They can't be sent to anybody; none was published.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    /// They are published, and may be stored or not.
    #[error("it is not known after {0:?} whether the message is stored")]
    Timeout(Duration),
}

impl Server {
    /// Makes this server a node of a cluster; `public_port` is the one for its clients.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing has changed then.
    pub fn connect_cluster(&self, config: &ClusterConfig, public_port: u16) -> Result<(), ConnectError> {
        self.owned().connect_cluster(config, public_port)
    }

    /// Whether it is one.
    #[inline]
    #[must_use]
    pub fn is_in_cluster(&self) -> bool {
        self.shared().cluster.get().is_some()
    }

    /// Whether it keeps logs together with the other nodes.
    #[must_use]
    pub fn has_cluster_logs(&self) -> bool {
        self.is_in_cluster() && self.shared().histories.is_some()
    }

    /// Its name among the nodes, and where it listens for them.
    #[must_use]
    pub fn cluster_identity(&self) -> Option<(NodeId, SocketAddr)> {
        self.shared().cluster.get().map(|cluster| (cluster.id(), cluster.address()))
    }

    /// Gives a message of a topic to the other nodes that have receivers of it. What is returned is to be waited for.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn forward<'a>(
        &'a self,
        topic: Filter<'_>,
        text: &str,
    ) -> Result<Option<Forwarding<'a>>, Unsendable> {
        let shared = self.shared();
        if shared.cluster.get().is_none() {
            return Ok(None);
        }
        let message = message(shared, Payload::Json(text))?;
        Ok(shared.forward(topic, &message).map(|backlog| Forwarding { shared, backlog }))
    }

    /// In a cluster with histories: publishes messages of one topic and waits until the home of the topic and its replicas hold the last of them,
    /// and with it all before. `Ok(None)` without a cluster or histories.
    ///
    /// # Errors
    /// [`NotStored`].
    pub fn publish_stored(
        &self,
        topic: Filter<'_>,
        texts: &[&str],
        timeout: Duration,
    ) -> Result<Option<StoredAt>, NotStored> {
        let shared = self.shared();
        let Some(cluster) = shared.cluster.get().filter(|_| shared.histories.is_some()) else {
            return Ok(None);
        };
        if texts.is_empty() {
            return Ok(None);
        }
        let ticket = cluster.desk.ticket();
        if let Err(error) = shared.publish_at_desk(&cluster.desk, topic, texts, Some(ticket)) {
            cluster.desk.forget_ticket(ticket);
            return Err(error.into());
        }
        cluster.desk.wait_until_stored(ticket, timeout).map(Some).ok_or(NotStored::Timeout(timeout))
    }

    /// Waits until every peer with a link sends what this node has receivers of; false if that took too long.
    #[must_use]
    pub fn confirm_subscriptions(&self, timeout: Duration) -> bool {
        self.shared().cluster.get().is_none_or(|cluster| cluster.wait_for_confirmation(timeout))
    }

    /// The other nodes, and addresses behind which none was found yet.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let shared = self.shared();
        shared.cluster.get().map_or_else(Vec::new, |cluster| cluster.peers(shared.clock.now_ms()))
    }

    /// How many other nodes are reachable.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.shared().cluster.get().map_or(0, |cluster| cluster.peer_count())
    }

    /// Reads the certificates of this node anew; `None` if it is in no cluster with TLS.
    #[must_use]
    pub fn reload_cluster_tls(&self, files: &TlsFiles) -> Option<Result<(), TlsError>> {
        self.shared().cluster.get()?.reload_tls(files)
    }

    /// The last messages that a peer was not given.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared().cluster.get().map_or_else(Vec::new, |cluster| cluster.dead_letters())
    }
}
