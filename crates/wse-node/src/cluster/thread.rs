//! The cluster's thread: it runs the links, tells the machines what comes, and does what they say.

mod answers;
mod frames;
mod joining;
mod logs;
mod presence;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::task::{LocalSet, spawn_local};
use wse_link::{Class, Closed, DialError, Failure, Frame, Link, Links, Owner, Port};
use wse_mesh::ids::{NodeId, Session};
use wse_mesh::interest::{Note, Output as InterestOutput};
use wse_mesh::log::Logs;
use wse_mesh::members::{DIAL_MS, DialFailure, Level, Members, Output, Terms};
use wse_mesh::view::Standing;
use wse_mesh::wire::hello::{HISTORY, ZSTD};
use wse_mesh::wire::{Address, Kind};

use self::frames::Waiting;
use self::joining::JOINING_MS;
use self::logs::Keeper;
use super::Cluster;
use crate::presence::{Attendance, Void};
use crate::shared::Shared;

/// How long a link that is closed here may take to write what it has.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often it is looked whether there is room for a peer whose messages found none.
const LOOK: Duration = Duration::from_millis(1);
/// How long a node that ends waits for others to take over its topics.
const HAND_OVER_MS: u64 = 5000;
/// Threads that resolve names.
const RESOLVERS: usize = 4;

/// All that the thread begins with.
pub(super) struct Start {
    pub(super) shared: Arc<Shared>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) members: Members,
    pub(super) links: wse_link::Config,
    pub(super) port: Port,
    /// Where topics have histories.
    pub(super) logs: Option<Logs>,
}

impl Start {
    pub(super) fn run(self) {
        // However it ends: nobody may wait for it then.
        let _closing = Closing(self.cluster.clone());
        if let Err(error) = self.try_run() {
            tracing::error!(%error, "the cluster's thread ends: this node is alone from now on");
        }
    }

    fn try_run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVERS)
            .build()?;
        let tasks = LocalSet::new();
        let ended = tasks.block_on(&runtime, async move {
            let core = Core::new(self.shared, self.cluster, self.members, self.logs);
            let links = Links::new(self.links, core.clone());
            links.accept(self.port)?;
            *core.dialler.borrow_mut() = Some(links);
            core.serve().await;
            core.end().await;
            io::Result::Ok(())
        });
        drop(tasks);
        runtime.shutdown_background();
        ended
    }
}

/// Closes the desk when the thread ends.
struct Closing(Arc<Cluster>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.desk().close();
    }
}

/// What the thread has of its own. Nothing here is called from within itself, so each borrow ends before the next begins.
struct Core {
    this: Weak<Core>,
    shared: Arc<Shared>,
    cluster: Arc<Cluster>,
    members: RefCell<Members>,
    links: RefCell<HashMap<Session, Link>>,
    /// The peers whose link counts.
    peers: RefCell<HashMap<Session, NodeId>>,
    /// Peers that had a link before.
    known: RefCell<hashbrown::HashSet<NodeId>>,
    /// What peers sent and what found no room; their links are paused.
    waiting: RefCell<HashMap<Session, VecDeque<Waiting>>>,
    dialler: RefCell<Option<Links>>,
    /// The address of the dial that the machine is being told of and what was wrong, for the line that it may write about it.
    dial_error: RefCell<Option<(Address, DialError)>>,
    /// Users of dead nodes who have still to leave.
    void: Cell<Void>,
    /// When the loop looks again at the latest.
    wakes_at_ms: Cell<u64>,
    joins_until_ms: u64,
    left: Cell<bool>,
    /// Until when it is waited for others to take over what this node keeps.
    leaves_at_ms: Cell<Option<u64>>,
    keeper: Option<Keeper>,
}

impl Core {
    fn new(shared: Arc<Shared>, cluster: Arc<Cluster>, members: Members, logs: Option<Logs>) -> Rc<Self> {
        let joins_until_ms = shared.clock.now_ms() + JOINING_MS;
        Rc::new_cyclic(|this| Self {
            this: this.clone(),
            joins_until_ms,
            shared,
            cluster,
            members: RefCell::new(members),
            links: RefCell::default(),
            peers: RefCell::default(),
            known: RefCell::default(),
            waiting: RefCell::default(),
            dialler: RefCell::default(),
            dial_error: RefCell::default(),
            void: Cell::default(),
            wakes_at_ms: Cell::new(0),
            left: Cell::new(false),
            leaves_at_ms: Cell::default(),
            keeper: logs.map(Keeper::new),
        })
    }

    fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// Looks at the timers and at what other threads want until the cluster stops.
    async fn serve(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.handle_view(self.members.borrow().view(), self.now_ms());
        }
        loop {
            let now_ms = self.now_ms();
            if self.may_end(now_ms) {
                return;
            }
            if self.cluster.leaving.load(Relaxed) && !self.left.replace(true) {
                self.leave(now_ms);
            }
            if let Some(keeper) = &self.keeper {
                keeper.handle_timeout(now_ms);
            }
            self.members.borrow_mut().handle_timeout(now_ms);
            self.cluster.interests.lock().handle_timeout(now_ms);
            let interests = &self.cluster.interests;
            interests.forget_announced(now_ms, |topic, group| {
                self.shared.topics.forget_announced(interests, topic, group);
            });
            self.settle();
            if self.void.get() == Void::More {
                // Links and dials are not kept waiting by a crowd that leaves.
                tokio::task::yield_now().await;
                continue;
            }
            let at_ms = self.next_ms();
            self.wakes_at_ms.set(at_ms);
            let rest = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
            let _ = tokio::time::timeout(rest, self.cluster.interests.news.notified()).await;
            self.wakes_at_ms.set(0);
        }
    }

    fn leave(&self, now_ms: u64) {
        self.members.borrow_mut().leave(now_ms);
        if let Some(keeper) = &self.keeper {
            self.settle();
            keeper.leave(now_ms);
        }
    }

    /// Whether the cluster is to be stopped and nobody needs what is kept here, or has not taken it over for long.
    fn may_end(&self, now_ms: u64) -> bool {
        if !self.cluster.stopping.load(Relaxed) {
            return false;
        }
        let Some(keeper) = &self.keeper else { return true };
        if !self.left.replace(true) {
            self.leave(now_ms);
        }
        let until = self.leaves_at_ms.get().unwrap_or(now_ms + HAND_OVER_MS);
        self.leaves_at_ms.set(Some(until));
        if !keeper.has_left.get() && now_ms >= until {
            tracing::warn!("no other node has taken over all topics of this one: it ends nevertheless");
            return true;
        }
        keeper.has_left.get()
    }

    fn next_ms(&self) -> u64 {
        let members = self.members.borrow().poll_timeout();
        let interests = self.cluster.interests.lock().poll_timeout();
        let presence = self.shared.attendance.as_ref().and_then(Attendance::poll_timeout);
        let void = (self.void.get() != Void::Nobody).then(|| self.now_ms() + LOOK.as_millis() as u64);
        let latest = self.now_ms() + if self.cluster.stopping.load(Relaxed) { 20 } else { 1000 };
        let is_about_to_join = self.cluster.joining.load(Relaxed) && self.now_ms() < self.joins_until_ms;
        let latest = if is_about_to_join { latest.min(self.joins_until_ms) } else { latest };
        let logs = self.keeper.as_ref().and_then(Keeper::poll_timeout);
        let members = members.into_iter().chain(logs).min();
        members.into_iter().chain(interests).chain(presence).chain(void).fold(latest, u64::min)
    }

    /// Says goodbye, and waits until it is heard.
    async fn end(&self) {
        self.members.borrow_mut().shutdown(self.now_ms());
        self.settle();
        self.dialler.borrow().iter().for_each(Links::stop_accepting);
        let deadline = tokio::time::Instant::now() + FAREWELL;
        while !self.links.borrow().is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        self.dialler.borrow_mut().take();
        self.cluster.links.write().clear();
    }

    /// Does what the machines want.
    fn settle(&self) {
        let mut is_status_new = false;
        loop {
            let output = self.members.borrow_mut().poll_output();
            match output {
                None => break,
                Some(Output::Dial { address }) => self.dial(address),
                Some(Output::Send { session, kind, payload }) => self.send(session, kind, &payload),
                Some(Output::Close { session, why }) => {
                    tracing::debug!(session = session.0, ?why, "a link to another node is closed");
                    if let Some(link) = self.links.borrow().get(&session) {
                        link.close(FAREWELL);
                    }
                }
                Some(Output::Up { id, session, terms }) => self.up(id, session, terms),
                Some(Output::Down { id, session }) => self.down(id, session),
                Some(Output::Changed) => self.look_for_dead(),
                Some(Output::Note { level, text }) => {
                    let why = self.why_not_dialled(&text);
                    match level {
                        Level::Debug => tracing::debug!("{text}{why}"),
                        Level::Info => tracing::info!("{text}{why}"),
                        Level::Warn => tracing::warn!("{text}{why}"),
                    }
                }
            }
            is_status_new = true;
        }
        if is_status_new && let Some(keeper) = &self.keeper {
            keeper.handle_view(self.members.borrow().view(), self.now_ms());
        }
        self.settle_interests();
        self.settle_presence();
        self.settle_logs();
        if is_status_new {
            self.cluster.keep_status(&self.members.borrow(), &self.links.borrow(), self.now_ms());
        }
        if self.cluster.joining.load(Relaxed) && self.has_joined() {
            self.cluster.joining.store(false, Relaxed);
        }
        if self.next_ms() < self.wakes_at_ms.get() {
            self.cluster.interests.news.notify_one();
        }
    }

    fn settle_interests(&self) {
        let interests = &self.cluster.interests;
        let mut exchange = interests.lock();
        while let Some(output) = exchange.poll_output() {
            match output {
                InterestOutput::Changed { generation } => interests.changed(generation),
                InterestOutput::Send { session, kind, payload, .. } => self.send(session, kind, &payload),
                InterestOutput::Confirmed(version) => interests.confirm(version),
                InterestOutput::Note(Note::TooLarge(peer)) => {
                    tracing::warn!(%peer, "a peer has too many subscriptions to be remembered: it is sent everything");
                }
            }
        }
    }

    fn send(&self, session: Session, kind: Kind, payload: &[u8]) {
        if let Some(link) = self.links.borrow().get(&session) {
            // One that has no room for control frames closes itself.
            let _ = link.frame(Class::Control, kind as u8, "", payload);
        }
    }

    fn dial(&self, address: Address) {
        let (Some(this), Some(dialler)) = (self.this.upgrade(), self.dialler.borrow().clone()) else {
            return;
        };
        spawn_local(async move {
            let dialled = dialler.dial(&address.to_string(), Duration::from_millis(DIAL_MS)).await;
            let now_ms = this.now_ms();
            match dialled {
                Ok(link) => {
                    let about = link.about();
                    let mut members = this.members.borrow_mut();
                    members.handle_dialled(link.session(), &address, about.local, about.remote, now_ms);
                }
                Err(error) => {
                    tracing::debug!(%address, %error, "another node was not reached");
                    let failure = match error.failure {
                        Failure::Refused => DialFailure::Refused,
                        Failure::Name | Failure::Unreachable => DialFailure::Unreachable,
                        Failure::Timeout => DialFailure::Timeout,
                        Failure::Denied => DialFailure::Denied,
                    };
                    this.members.borrow_mut().handle_dial_failed(&address, failure, now_ms);
                    if matches!(error.failure, Failure::Denied | Failure::Name) {
                        *this.dial_error.borrow_mut() = Some((address, error));
                    }
                }
            }
            this.settle();
            this.dial_error.take();
        });
    }

    /// The reason behind a line about a dial, in brackets: the machine knows its kind alone, and who is woken at night needs the words.
    fn why_not_dialled(&self, line: &str) -> String {
        match &*self.dial_error.borrow() {
            Some((address, error)) if line.starts_with(&format!("no link with {address}: ")) => {
                format!(" ({})", error.text)
            }
            _ => String::new(),
        }
    }

    fn up(&self, id: NodeId, session: Session, terms: Terms) {
        let Some(link) = self.links.borrow().get(&session).cloned() else { return };
        link.admit(terms.max_frame);
        link.set_compress(terms.capabilities & ZSTD != 0);
        if let Some(keeper) = &self.keeper {
            keeper.note_peer(id, terms.capabilities & HISTORY != 0);
        }
        if !self.known.borrow_mut().insert(id) {
            self.cluster.counts.reconnects.fetch_add(1, Relaxed);
        }
        let index = self.cluster.interests.lock().handle_up(id, session);
        let Ok(index) = index else {
            tracing::warn!(peer = %id, "there are more than 64 other nodes: this one is sent nothing");
            return;
        };
        self.peers.borrow_mut().insert(session, id);
        let mut links = self.cluster.links.write();
        if links.len() <= index.get() {
            links.resize(index.get() + 1, None);
        }
        links[index.get()] = Some((id, link));
        drop(links);
        self.attend(|presence| presence.handle_up(id, session));
    }

    fn down(&self, id: NodeId, session: Session) {
        self.peers.borrow_mut().remove(&session);
        self.waiting.borrow_mut().remove(&session);
        let mut exchange = self.cluster.interests.lock();
        let index = exchange.index_of(id);
        exchange.handle_down(id, session);
        drop(exchange);
        self.attend(|presence| presence.handle_down(id, session));
        let mut links = self.cluster.links.write();
        if let Some(place) = index.and_then(|index| links.get_mut(index.get()))
            && place.as_ref().is_some_and(|(_, link)| link.session() == session)
        {
            *place = None;
        }
    }

    fn look_for_dead(&self) {
        let members = self.members.borrow();
        let mut exchange = self.cluster.interests.lock();
        let view = members.view();
        let dead = || view.members.iter().filter(|member| member.standing == Standing::Dead);
        for member in dead() {
            exchange.handle_dead(member.id);
            self.known.borrow_mut().remove(&member.id);
        }
        drop(exchange);
        self.attend(|presence| dead().for_each(|member| presence.handle_dead(member.id)));
    }
}

impl Owner for Core {
    fn handle_connected(&self, link: &Link) {
        self.links.borrow_mut().insert(link.session(), link.clone());
        let about = link.about();
        if about.dialled.is_none() {
            let now_ms = self.now_ms();
            self.members.borrow_mut().handle_accepted(link.session(), about.remote, about.local, now_ms);
            self.settle();
        }
    }

    fn handle_frames(&self, link: &Link, frames: &[Frame<'_>]) {
        for frame in frames {
            if let Err(malformed) = self.handle_frame(link, frame) {
                self.refuse(link.session(), malformed);
                return;
            }
        }
        self.members.borrow_mut().handle_heard(link.session(), self.now_ms());
        self.settle();
    }

    fn handle_closed(&self, link: &Link, why: &Closed) {
        tracing::debug!(remote = %link.about().remote, %why, "a link to another node has ended");
        let counters = link.counters();
        self.cluster.counts.bytes_in.fetch_add(counters.bytes_in.load(Relaxed), Relaxed);
        self.cluster.counts.bytes_out.fetch_add(counters.bytes_out.load(Relaxed), Relaxed);
        let now_ms = self.now_ms();
        if let Closed::Malformed(malformed) = why {
            self.members.borrow_mut().handle_malformed(link.session(), *malformed, now_ms);
        }
        self.members.borrow_mut().handle_closed(link.session(), now_ms);
        self.links.borrow_mut().remove(&link.session());
        self.settle();
    }
}
