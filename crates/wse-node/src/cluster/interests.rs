//! What this node and the others have receivers of, for all threads.
//!
//! The lock is held for microseconds and is the innermost of all but those of links. Whoever changes something under it leaves the frames that
//! follow to the cluster's thread, which is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;
use wse_mesh::ids::NodeId;
use wse_mesh::interest::{Exchange, Interest, Limits, Route, Version};

use super::Desk;

/// Routes that are remembered before all are forgotten.
const REMEMBERED: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Interests {
    exchange: Mutex<Exchange>,
    /// What was true of routes: each is good as long as this stands.
    generation: AtomicU64,
    routes: RwLock<HashMap<Box<str>, Remembered, RandomState>>,
    confirmed: Mutex<Version>,
    confirmation: Condvar,
    /// Tells the cluster's thread that there is something to say.
    pub(super) news: Arc<Notify>,
    announced: Mutex<Vec<Announced>>,
    /// Where topics have histories: who is told of their subscribers instead of the peers, as messages come by the logs.
    desk: Option<Arc<Desk>>,
}

/// Something that a client wants to subscribe to, told to the peers before it does.
#[derive(Debug)]
struct Announced {
    topic: String,
    group: Option<String>,
    since_ms: u64,
}

impl Announced {
    fn is(&self, interest: &Interest<'_>) -> bool {
        self.topic == interest.filter().as_str() && self.group.as_deref() == interest.group()
    }
}

/// How long a client's subscription waits for the peers.
const PATIENCE_MS: u64 = 1000;
/// When the client has subscribed or never will.
const OVER_MS: u64 = 5000;

#[derive(Debug)]
struct Remembered {
    generation: u64,
    route: Arc<Route>,
}

impl Interests {
    pub(super) fn new(me: NodeId, seed: u64, news: Arc<Notify>, desk: Option<Arc<Desk>>) -> Self {
        Self {
            exchange: Mutex::new(Exchange::new(me, Limits::default(), seed)),
            generation: AtomicU64::new(0),
            routes: RwLock::default(),
            confirmed: Mutex::default(),
            confirmation: Condvar::new(),
            news,
            announced: Mutex::default(),
            desk,
        }
    }

    /// The first receiver of something has come.
    pub(crate) fn add(&self, interest: &Interest<'_>) {
        if self.is_of_log(interest) {
            return;
        }
        self.exchange.lock().add(interest);
        self.news.notify_one();
    }

    /// The last receiver of something is gone.
    pub(crate) fn remove(&self, interest: &Interest<'_>) {
        if self.is_of_log(interest) {
            return;
        }
        self.exchange.lock().remove(interest);
        self.news.notify_one();
    }

    /// Whether it is about the subscribers of a topic with history. Then whoever keeps the logs is told.
    fn is_of_log(&self, interest: &Interest<'_>) -> bool {
        let Some(desk) = &self.desk else { return false };
        let filter = interest.filter();
        if filter.is_pattern() {
            desk.patterns_changed();
        } else if interest.group().is_none() {
            desk.subscribers_changed(filter.as_str());
            return true;
        }
        false
    }

    /// Whether the peers know of something that a client wants to subscribe to, or have not said so for a second. If this is the first that
    /// they could hear of it they are told.
    pub(crate) fn is_in_force(&self, interest: &Interest<'_>, now_ms: u64) -> bool {
        let mut exchange = self.exchange.lock();
        if exchange.table().linked().is_empty() {
            return true;
        }
        let known = exchange.version_of(interest);
        if known.is_some_and(|version| exchange.acknowledged(version)) {
            return true;
        }
        let mut announced = self.announced.lock();
        if let Some(known) = announced.iter().find(|announced| announced.is(interest)) {
            return now_ms >= known.since_ms + PATIENCE_MS;
        }
        if known.is_none() {
            exchange.add(interest);
            self.news.notify_one();
        }
        announced.push(Announced {
            topic: interest.filter().as_str().to_owned(),
            group: interest.group().map(str::to_owned),
            since_ms: now_ms,
        });
        false
    }

    /// Forgets what was announced long ago; calls `end` with each, which [removes](Self::remove) it if there are no receivers.
    pub(super) fn forget_announced(&self, now_ms: u64, mut end: impl FnMut(&str, Option<&str>)) {
        let over: Vec<Announced> = {
            let mut announced = self.announced.lock();
            let (over, left) = announced.drain(..).partition(|known| now_ms >= known.since_ms + OVER_MS);
            *announced = left;
            over
        };
        over.iter().for_each(|known| end(&known.topic, known.group.as_deref()));
    }

    /// The cluster's thread is to look what there is to send.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock()
    }

    /// Where messages of a topic go.
    pub(super) fn route(&self, topic: &str) -> Arc<Route> {
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(known) = self.routes.read().get(topic)
            && known.generation == generation
        {
            return known.route.clone();
        }
        let exchange = self.exchange.lock();
        // The generation that was told, which may be behind the table: then the route is looked up once more, and no older one is kept.
        let generation = self.generation.load(Ordering::Acquire);
        let route = Arc::new(exchange.table().route(topic));
        drop(exchange);
        let mut routes = self.routes.write();
        if routes.len() >= REMEMBERED {
            routes.clear();
        }
        routes.insert(topic.into(), Remembered { generation, route: route.clone() });
        route
    }

    /// Routes that were asked for before may be wrong.
    pub(super) fn changed(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// All that was added up to a version is in force everywhere.
    pub(super) fn confirm(&self, version: Version) {
        let mut confirmed = self.confirmed.lock();
        *confirmed = version.max(*confirmed);
        self.confirmation.notify_all();
    }

    /// Waits until every peer with a link sends what this node has receivers of now; false if that took too long.
    pub(super) fn wait_for_confirmation(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let version = {
            let exchange = self.exchange.lock();
            let version = exchange.version();
            if exchange.acknowledged(version) {
                return true;
            }
            version
        };
        let mut confirmed = self.confirmed.lock();
        while *confirmed < version {
            if self.confirmation.wait_until(&mut confirmed, deadline).timed_out() {
                return *confirmed >= version;
            }
        }
        true
    }
}
