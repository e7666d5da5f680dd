//! This node among others: what `connect_cluster` starts.
//!
//! One thread runs the links and the machines of `wse-mesh` ([`thread`]). Other threads meet it in the [`Cluster`]: publishers look their
//! topic's route up and push to the links themselves ([`forward`]), subscriptions are told to the [`Interests`]. What peers send is put into the
//! inboxes of the shards by the cluster's thread, which reads no further from a peer whose messages find no room ([`deliver`]).

mod config;
mod deliver;
mod forward;
mod interests;
mod letters;
mod server;
mod status;
mod thread;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use wse_link::tls::{Tls, TlsError};
use wse_link::{Bounds, Guard, Link};
use wse_mesh::ids::NodeId;
use wse_mesh::interest::PeerIndex;
use wse_mesh::members::Members;

use crate::shared::{Shared, random_u64};

pub use config::{ClusterConfig, ConnectError};
pub use letters::DeadLetter;
pub use server::Forwarding;
pub use status::{ClusterHealth, PeerStatus};
pub use wse_link::tls::TlsFiles;
pub use wse_mesh::view::Standing;

pub(crate) use forward::Backlog;
pub(crate) use interests::Interests;

use config::Ready;
use letters::DeadLetters;

/// Bytes that may wait for one peer; publishers wait beyond the first.
const BOUNDS: Bounds = Bounds { data: 8 << 20, control: 32 << 20 };
/// What a frame has besides the message.
const FRAME_OVERHEAD: usize = 4 * 1024;

/// What the cluster's thread and all others share.
#[derive(Debug)]
pub(crate) struct Cluster {
    id: NodeId,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    pub(crate) interests: Arc<Interests>,
    /// The links that count, by the index of the peer.
    links: RwLock<Vec<Option<(NodeId, Link)>>>,
    /// Counts the messages of queue groups, and says whose turn it is.
    turn: AtomicU64,
    status: Mutex<Arc<Vec<PeerStatus>>>,
    letters: DeadLetters,
    pub(crate) counts: Counts,
    /// No other node was reached yet, and it is early.
    joining: AtomicBool,
    leaving: AtomicBool,
    stopping: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What is counted beside what each link counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) unknown: AtomicU64,
    /// Of links that are gone.
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
}

/// The place of the cluster in a server: empty until it is connected.
#[derive(Debug, Default)]
pub(crate) struct ClusterSlot {
    cluster: OnceLock<Arc<Cluster>>,
    connecting: Mutex<()>,
}

impl ClusterSlot {
    #[inline]
    pub(crate) fn get(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }
}

impl Shared {
    /// Makes this node one of a cluster.
    pub(crate) fn connect_cluster(
        self: &Arc<Self>,
        config: &ClusterConfig,
        public_port: u16,
    ) -> Result<(), ConnectError> {
        let _only_one = self.cluster.connecting.lock();
        if self.cluster.get().is_some() {
            return Err(ConnectError::Already);
        }
        if self.histories.is_some() {
            return Err(ConnectError::History);
        }
        // Whatever may be published here must fit.
        let longest = self.options.max_message_size.max(self.options.max_outbound_queue_bytes);
        let max_frame = (longest + FRAME_OVERHEAD).min(wse_mesh::wire::header::MAX_FRAME);
        let Ready { members, guard, port } = config.make_ready(public_port, max_frame)?;
        say_what_guards(&guard, port.address());
        let id = self.id;
        let members = Members::new(members, id, random_u64(), self.clock.now_ms());
        let cluster = Arc::new(Cluster {
            id,
            address: port.address(),
            tls: guard.tls.clone(),
            interests: Arc::new(Interests::new(id, random_u64())),
            links: RwLock::default(),
            turn: AtomicU64::new(0),
            status: Mutex::default(),
            letters: DeadLetters::default(),
            counts: Counts::default(),
            joining: AtomicBool::new(members.view().joining),
            leaving: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        let links = wse_link::Config {
            guard,
            max_frame,
            bounds: BOUNDS,
            opening: wse_link::OPENING,
            openings: wse_link::OPENINGS,
        };
        let start = thread::Start { shared: self.clone(), cluster: cluster.clone(), members, links, port };
        let thread = std::thread::Builder::new().name("wse-cluster".into()).spawn(move || start.run())?;
        *cluster.thread.lock() = Some(thread);
        // From here on whatever gets its first receiver is told, and what has some already is told now.
        self.topics.join_cluster(&cluster.interests);
        let _ = self.cluster.cluster.set(cluster);
        Ok(())
    }
}

impl Shared {
    /// Whether this node has not found the others yet, and has just begun to look for them.
    pub(crate) fn is_joining(&self) -> bool {
        self.cluster.get().is_some_and(|cluster| cluster.joining.load(Relaxed))
    }
}

fn say_what_guards(guard: &Guard, address: SocketAddr) {
    if guard.is_open() {
        tracing::warn!(
            %address,
            "the cluster port is guarded by nothing: whoever reaches it reads and writes everything; give tls_ca, tls_cert and tls_key, \
             or cluster_secret"
        );
    } else {
        tracing::info!(%address, guard = %guard, "listening for other nodes");
    }
}

impl Cluster {
    /// The node's own name.
    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Where it listens for others.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads certificates anew, for links from here on.
    pub(crate) fn reload_tls(&self, files: &TlsFiles) -> Option<Result<(), TlsError>> {
        self.tls.as_ref().map(|tls| tls.reload(files))
    }

    /// Tells the others that this node is about to go.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Relaxed);
        self.interests.news.notify_one();
    }

    /// Tells the others that this node is gone, and waits until its links have ended.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.interests.news.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the cluster's thread had panicked");
        }
    }

    /// Waits until all that this node has receivers of is in force at every peer with a link.
    pub(crate) fn wait_for_confirmation(&self, timeout: Duration) -> bool {
        self.interests.wait_for_confirmation(timeout)
    }

    /// The messages that could not be given to a peer, the oldest first.
    pub(crate) fn dead_letters(&self) -> Vec<DeadLetter> {
        self.letters.list()
    }

    fn link(&self, peer: PeerIndex) -> Option<(NodeId, Link)> {
        self.links.read().get(peer.get()).cloned().flatten()
    }
}
