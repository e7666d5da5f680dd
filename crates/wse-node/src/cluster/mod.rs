//! This node among others: what `connect_cluster` starts.
//!
//! One thread runs the links and the machines of `wse-mesh` ([`thread`]). Other threads meet it in the [`Cluster`]: publishers look their
//! topic's route up and push to the links themselves ([`forward`]), subscriptions are told to the [`Interests`]. What peers send is put into the
//! inboxes of the shards by the cluster's thread, which reads no further from a peer whose messages find no room ([`deliver`]).

mod config;
mod deliver;
mod desk;
mod forward;
mod interests;
mod letters;
mod mirror;
mod server;
mod status;
mod thread;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use wse_core::history::Position;
use wse_core::options::Options;
use wse_link::tls::{Tls, TlsError};
use wse_link::{Bounds, Guard, Link};
use wse_mesh::ids::NodeId;
use wse_mesh::interest::PeerIndex;
use wse_mesh::log::Logs;
use wse_mesh::log::frames::MAX_NUMBER;
use wse_mesh::members::Members;

use crate::shared::{Shared, random_u64};

pub use config::{ClusterConfig, ConnectError};
pub use letters::DeadLetter;
pub use server::{Forwarding, NotStored};
pub use status::{ClusterHealth, PeerStatus};
pub use wse_link::tls::TlsFiles;
pub use wse_mesh::log::rank::MAX_REPLICAS;
pub use wse_mesh::view::Standing;

pub(crate) use desk::Desk;
pub use desk::StoredAt;
pub(crate) use forward::Backlog;
pub(crate) use interests::Interests;

use config::Ready;
use letters::DeadLetters;

/// Bytes that may wait for one peer; publishers wait beyond the first.
const BOUNDS: Bounds = Bounds { data: 8 << 20, control: 32 << 20 };
/// Bytes of messages from which a frame of a log takes no more.
const PART: usize = 256 * 1024;
/// Bytes of publications of this node that may wait to be stored.
const UNACKED: usize = 8 << 20;
/// A history that nobody needs is kept for so many times `dead_after`, or `recovery_ttl` if that is more: who is behind has found its way by then.
const FORGET: u32 = 10;
/// How long a subscription waits whose caller has set no limit: the logs answer before, one way or the other.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// What a frame has besides the message.
const FRAME_OVERHEAD: usize = 4 * 1024;

/// What the cluster's thread and all others share.
#[derive(Debug)]
pub(crate) struct Cluster {
    id: NodeId,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    pub(crate) interests: Arc<Interests>,
    desk: Arc<Desk>,
    /// The links that count, by the index of the peer.
    links: RwLock<Vec<Option<(NodeId, Link)>>>,
    /// Counts the messages of queue groups, and says whose turn it is.
    turn: AtomicU64,
    status: Mutex<Arc<Vec<PeerStatus>>>,
    letters: DeadLetters,
    pub(crate) counts: Counts,
    /// It is early, and this node does not know yet who is there and who hears what.
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
    /// There is to be one, or it is being connected.
    is_expected: AtomicBool,
}

impl ClusterSlot {
    /// A place for a cluster that is certain to be connected, if so.
    pub(crate) fn new(is_expected: bool) -> Self {
        Self { is_expected: AtomicBool::new(is_expected), ..Self::default() }
    }

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
        let was_expected = self.cluster.is_expected.swap(true, Relaxed);
        let connected = self.connect_first_cluster(config, public_port);
        if connected.is_err() {
            self.cluster.is_expected.store(was_expected, Relaxed);
        }
        connected
    }

    fn connect_first_cluster(
        self: &Arc<Self>,
        config: &ClusterConfig,
        public_port: u16,
    ) -> Result<(), ConnectError> {
        // Whatever may be published here must fit, and where there are histories a part of a log before it.
        let longest = self.options.max_message_size.max(self.options.max_outbound_queue_bytes);
        let part = if self.histories.is_some() { 2 * PART } else { 0 };
        let max_frame = (longest + part + FRAME_OVERHEAD).min(wse_mesh::wire::header::MAX_FRAME);
        let Ready { members, guard, port } =
            config.make_ready(public_port, max_frame, self.histories.is_some())?;
        say_what_guards(&guard, port.address());
        let id = self.id;
        let members = Members::new(members, id, random_u64(), self.clock.now_ms());
        let news = Arc::new(Notify::new());
        let desk = Arc::new(Desk::new(news.clone()));
        let logs = self.histories.as_ref().map(|histories| {
            let kept_bytes = histories.join_cluster();
            let config = log_config(&self.options, config, kept_bytes);
            Logs::new(id, random_u64(), config, self.clock.now_ms())
        });
        let listening = logs.as_ref().map(|_| desk.clone());
        let cluster = Arc::new(Cluster {
            id,
            address: port.address(),
            tls: guard.tls.clone(),
            interests: Arc::new(Interests::new(id, random_u64(), news, listening)),
            desk,
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
        let start =
            thread::Start { shared: self.clone(), cluster: cluster.clone(), members, links, port, logs };
        let thread = std::thread::Builder::new().name("wse-cluster".into()).spawn(move || start.run())?;
        *cluster.thread.lock() = Some(thread);
        if let Some(histories) = &self.histories {
            let unheard = |topic: &&Arc<str>| !self.topics.has_subscribers(topic);
            histories.names().iter().filter(unheard).for_each(|topic| histories.forget(topic));
        }
        // From here on whatever gets its first receiver is told, and what has some already is told now.
        self.topics.join_cluster(&cluster.interests);
        let _ = self.cluster.cluster.set(cluster);
        Ok(())
    }
}

/// What is asked of the logs. They know no offset as high as some that clients can name, and nobody has such a position.
fn wish(topic: &str, position: Option<Position>) -> desk::Wish {
    let position = position.filter(|position| position.offset < MAX_NUMBER);
    desk::Wish { topic: topic.into(), position }
}

impl Shared {
    /// Whether a client may be subscribed to a topic from a position. For a thread that must not wait, and asks again.
    pub(crate) fn may_hear_from(&self, topic: &str, position: Option<Position>) -> bool {
        self.is_heard_from(topic, position).is_some()
    }

    /// The same with the answer: whether the topic's home said so.
    pub(crate) fn is_heard_from(&self, topic: &str, position: Option<Position>) -> Option<bool> {
        let Some(cluster) = self.cluster.get().filter(|_| self.histories.is_some()) else {
            return Some(true);
        };
        cluster.is_heard_from(self, topic, position)
    }

    /// Waits until somebody may be subscribed to all these topics from these positions; whether their homes said so, in time.
    pub(crate) fn wait_to_hear<'a>(
        &self,
        topics: impl Iterator<Item = (&'a str, Option<Position>)>,
        timeout: Option<Duration>,
    ) -> bool {
        let Some(cluster) = self.cluster.get().filter(|_| self.histories.is_some()) else { return true };
        // Asked for together, then waited for one after the other.
        let asked: Vec<_> = topics
            .map(|it| (it, cluster.is_heard_from(self, it.0, it.1)))
            .filter(|it| it.1 != Some(true))
            .collect();
        let deadline = Instant::now() + timeout.unwrap_or(LONGEST_WAIT);
        asked.iter().fold(true, |confirmed, ((topic, position), _)| {
            let answer = cluster.desk.wait_for_answer(&wish(topic, *position), self, deadline);
            confirmed & (answer == Some(true))
        })
    }
}

/// What the logs of a node are told: of its share of the budget a topic has at most an eighth.
fn log_config(options: &Options, config: &ClusterConfig, kept_bytes: usize) -> wse_mesh::log::Config {
    wse_mesh::log::Config {
        replicas: config.replicas,
        limits: wse_mesh::log::Limits {
            messages: options.recovery_buffer_size.next_power_of_two(),
            ttl_ms: options.recovery_ttl.as_millis() as u64,
            bytes: (kept_bytes / 8).max(options.max_message_size),
        },
        kept_bytes,
        forget_ms: options.recovery_ttl.max(FORGET * config.dead_after).as_millis() as u64,
        unacked_bytes: UNACKED,
        dead_after_ms: config.dead_after.as_millis() as u64,
        part_bytes: PART,
        ..wse_mesh::log::Config::default()
    }
}

impl Shared {
    /// Whether this node has just begun to look for the others, and does not know yet who is there and who hears what, or is still to begin.
    pub(crate) fn is_joining(&self) -> bool {
        let slot = &self.cluster;
        slot.get().map_or_else(|| slot.is_expected.load(Relaxed), |cluster| cluster.joining.load(Relaxed))
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

    /// Whether somebody may be subscribed to a topic with history from where they want to: this node hears the topic, and has what lies after
    /// the position, or it is known that nobody has. `None` while that is being seen to.
    fn is_heard_from(&self, shared: &Shared, topic: &str, position: Option<Position>) -> Option<bool> {
        let now_ms = shared.clock.now_ms();
        let covered = shared.histories.as_ref().is_none_or(|it| it.covers(topic, position, now_ms));
        if covered { Some(true) } else { self.desk.is_answered(&wish(topic, position), now_ms) }
    }

    /// Where publications and subscriptions of topics with history are left.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
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
