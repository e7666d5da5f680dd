//! What the shards of one running server and the threads of the application share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, RwLock};
use wse_core::ConnId;
use wse_core::http::Response;
use wse_core::options::Options;
use wse_core::protocol::command::ClientMay;
use wse_core::protocol::stamp::Stampable;
use wse_core::proxy::Networks;
use wse_core::rate::Rate;
use wse_core::websocket::upgrade::Policy;
use wse_mesh::ids::NodeId;

use crate::api::{Api, Counts};
use crate::clock::Clock;
use crate::cluster::ClusterSlot;
use crate::drain::Drains;
use crate::events::Events;
use crate::histories::Histories;
use crate::inbox::{Inbox, Message};
use crate::keyring::Keyring;
use crate::people::{Asked, People};
use crate::presence::Attendance;
use crate::squeeze::{Deflaters, Squeezed, Squeezers, compressions};
use crate::stats::{Histogram, Laggards, Stats, Totals};
use crate::topics::{Audience, Topics};

/// One shard as the other threads see it.
#[derive(Debug)]
pub(crate) struct ShardHandle {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) people: People,
    pub(crate) stats: Stats,
}

/// Pages added by the application, by path.
pub(crate) type Pages = RwLock<HashMap<String, Arc<Response>>>;

pub(crate) struct Shared {
    pub(crate) options: Options,
    /// What upgrades must be; the origins in it may be replaced.
    pub(crate) policy: ArcSwap<Policy>,
    /// What tokens are checked with, if they are.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// Whose word about a client's address is believed.
    pub(crate) proxies: Networks,
    pub(crate) rate: Rate,
    /// What clients may do themselves.
    pub(crate) may: ClientMay,
    pub(crate) clock: Clock,
    /// Tells the connection ids of this run from those of others.
    pub(crate) run: u64,
    /// What this node is called among others, whether there are any or not.
    pub(crate) id: NodeId,
    pub(crate) topics: Topics,
    /// What of the topics is kept, where anything is.
    pub(crate) histories: Option<Histories>,
    /// What became of clients that fell behind.
    pub(crate) laggards: Laggards,
    /// Who is present where; `None` without `presence_enabled`.
    pub(crate) attendance: Option<Attendance>,
    pub(crate) events: Arc<Events>,
    pub(crate) pages: Arc<Pages>,
    /// The HTTP API, if there is one.
    pub(crate) api: Option<Arc<Api>>,
    /// How plain requests were answered.
    pub(crate) requests: Counts,
    pub(crate) shards: Vec<ShardHandle>,
    /// Admitted connections.
    pub(crate) connections: AtomicUsize,
    /// Bytes of all runs that some client still has to be sent, each counted once.
    pub(crate) outbound: AtomicUsize,
    /// Messages compressed for all who get them: one for each window, however many clients.
    pub(crate) compressions: AtomicU64,
    pub(crate) deflaters: Deflaters,
    pub(crate) squeezers: Squeezers,
    /// What the ids of events are hashed with.
    pub(crate) id_seed: u64,
    /// Nanoseconds that a broadcast took, of those that are measured.
    pub(crate) broadcasts: Histogram,
    pub(crate) drains: Arc<Drains>,
    pub(crate) stopping: AtomicBool,
    /// The cluster that this node is part of.
    pub(crate) cluster: ClusterSlot,
    gate: Gate,
}

/// Where publishers wait while most subscribers of their topic are far behind.
#[derive(Debug, Default)]
struct Gate {
    lock: Mutex<()>,
    opened: Condvar,
}

/// Drawn from the system's generator.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

/// The size of one connection's id, drawn from the system's generator.
pub(crate) fn random_u64() -> u64 {
    u64::from_ne_bytes(random_bytes())
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "built once, in one place")]
    pub(crate) fn new(
        options: Options,
        policy: Policy,
        keyring: Option<Arc<Keyring>>,
        events: Arc<Events>,
        pages: Arc<Pages>,
        inboxes: Vec<Arc<Inbox>>,
        clock: Clock,
        run: u64,
        joins_cluster: bool,
    ) -> Self {
        let shards: Vec<ShardHandle> = inboxes
            .into_iter()
            .map(|inbox| ShardHandle { inbox, people: People::default(), stats: Stats::default() })
            .collect();
        let id = NodeId(random_u64());
        Self {
            id,
            rate: Rate { capacity: options.rate_limit_capacity, refill: options.rate_limit_refill },
            may: ClientMay { subscribe: options.client_subscriptions, publish: options.client_publish },
            proxies: Networks::new(&options.trusted_proxies),
            topics: Topics::new(shards.len()),
            histories: Histories::of(&options),
            laggards: Laggards::default(),
            attendance: options.presence_enabled.then(|| Attendance::new(id, options.presence_max_members)),
            api: Api::of(&options),
            requests: Counts::default(),
            options,
            policy: ArcSwap::from_pointee(policy),
            keyring,
            clock,
            run,
            events,
            pages,
            shards,
            connections: AtomicUsize::new(0),
            outbound: AtomicUsize::new(0),
            compressions: AtomicU64::new(0),
            deflaters: Deflaters::default(),
            squeezers: Squeezers::default(),
            id_seed: random_u64(),
            broadcasts: Histogram::default(),
            drains: Arc::default(),
            stopping: AtomicBool::new(false),
            cluster: ClusterSlot::new(joins_cluster),
            gate: Gate::default(),
        }
    }

    /// Why new clients had better go elsewhere, in a word; `None` while they are welcome.
    pub(crate) fn why_not_ready(&self) -> Option<&'static str> {
        if self.is_stopping() {
            Some("stopping")
        } else if self.drains.have_begun() {
            Some("draining")
        } else if self.is_joining() {
            Some("joining")
        } else {
            None
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Ends all waiting and tells every shard to end.
    pub(crate) fn begin_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(keyring) = &self.keyring {
            keyring.stop();
        }
        if let Some(api) = &self.api {
            api.close();
        }
        for shard in &self.shards {
            shard.inbox.wake();
        }
        self.open_gate();
    }

    /// Waits until no shard holds the audience back.
    pub(crate) fn wait_while_held(&self, audience: &Audience) {
        let mut guard = self.gate.lock.lock();
        while audience.is_held() && !self.is_stopping() {
            // The shard that holds looks again every few milliseconds and tells; the limit only guards against its death.
            self.gate.opened.wait_for(&mut guard, Duration::from_millis(500));
        }
    }

    /// Lets waiting publishers look again.
    pub(crate) fn open_gate(&self) {
        drop(self.gate.lock.lock());
        self.gate.opened.notify_all();
    }

    /// Takes a place for one more connection, if there is one.
    pub(crate) fn admit(&self) -> bool {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        if before < self.options.max_connections {
            return true;
        }
        self.connections.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// The lane in which one connection wants its messages, as a bit; none if they are sealed for it, which its shard does.
    pub(crate) fn lanes_of(&self, conn: ConnId) -> u16 {
        let people = &self.shards[usize::from(conn.shard)].people;
        people
            .with(conn, |person| if person.asked == Asked::Sealing { 0 } else { person.wire.lanes() })
            .unwrap_or(0)
    }

    /// Makes what follows the head of a message that is still to be stamped, for these lanes, if there are any.
    pub(crate) fn squeeze_tail(&self, message: &Stampable<'_>, lanes: u16) -> Option<Squeezed> {
        (lanes != 0).then(|| {
            let compressions = compressions(message.rest().len(), lanes);
            self.compressions.fetch_add(u64::from(compressions), Ordering::Relaxed);
            self.deflaters.squeeze_tail(message, lanes)
        })
    }

    /// Makes the frames of a message for these lanes, if there are any.
    pub(crate) fn squeeze(&self, message: &Message<'_>, lanes: u16) -> Option<Squeezed> {
        (lanes != 0).then(|| {
            self.compressions.fetch_add(u64::from(compressions(message.len(), lanes)), Ordering::Relaxed);
            self.deflaters.squeeze(message, lanes)
        })
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals::of(self.shards.iter().map(|shard| &shard.stats))
    }
}
