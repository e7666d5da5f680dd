//! What all topics of a node share: who is there, what is to be said, and whose turn it is.

use std::collections::VecDeque;
use std::sync::Arc;

use wse_core::history::Epoch;

use super::chain::Chain;
use super::config::Config;
use super::faults::Fault;
use super::frames::about_many::{put_query_head, put_reply_head};
use super::output::{Counters, Output, Payload};
use super::rank::mix;
use super::term::Term;
use crate::ids::{NodeId, Session};
use crate::view::{Standing, acquaint_ms};
use crate::wire::Kind;

/// Another node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) standing: Standing,
    pub(crate) session: Option<Session>,
    pub(crate) is_leaving: bool,
    /// Topics are ranked over it from then on.
    ranked_from: u64,
    /// Frames that were not taken yet, in order.
    frames: VecDeque<Frame>,
    /// What it was asked, oldest first: the topics by number and the terms that were taken.
    batches: VecDeque<(u64, Vec<(u32, Term)>)>,
    /// How many logs it was asked for and has not answered.
    open: usize,
    /// Topics that wait to ask it.
    line: VecDeque<u32>,
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    topic: Arc<str>,
    payload: Payload,
    /// Answers in it, for the kinds that count them.
    items: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) me: NodeId,
    pub(crate) config: Config,
    pub(crate) now: u64,
    pub(crate) counters: Counters,
    pub(crate) leaving: bool,
    pub(crate) joining: bool,
    /// By id.
    pub(crate) peers: Vec<Peer>,
    /// Those that topics are ranked over.
    pub(crate) ranked: Vec<NodeId>,
    /// Bytes of the messages of all topics that are kept.
    pub(crate) kept_bytes: usize,
    /// Somebody wants to know what is committed.
    pub(crate) announces: bool,
    /// Bytes of the publications of all topics that are not acknowledged.
    pub(crate) unacked_bytes: usize,
    /// No publication of a topic that was forgotten has a number above it.
    pub(crate) published: u64,
    /// Topics that something happened to.
    pub(crate) dirty: Vec<u32>,
    /// Topics whose turn came to ask a peer.
    pub(crate) granted: VecDeque<(u32, NodeId)>,
    pub(crate) outputs: VecDeque<Output>,
    no_topic: Arc<str>,
    rng: u64,
    /// Whoever this node meets now is a newcomer.
    established: bool,
    /// When topics are ranked over this node itself.
    ranked_from: u64,
    next_batch: u64,
    #[cfg(feature = "faults")]
    pub(crate) fault: Option<Fault>,
}

impl Core {
    pub(crate) fn new(me: NodeId, seed: u64, config: Config, now: u64) -> Self {
        Self {
            me,
            config: config.checked(),
            now,
            counters: Counters::default(),
            leaving: false,
            joining: true,
            peers: Vec::new(),
            ranked: vec![me],
            kept_bytes: 0,
            announces: false,
            unacked_bytes: 0,
            published: 0,
            dirty: Vec::new(),
            granted: VecDeque::new(),
            outputs: VecDeque::new(),
            no_topic: "".into(),
            rng: seed,
            established: false,
            ranked_from: 0,
            next_batch: 0,
            #[cfg(feature = "faults")]
            fault: None,
        }
    }

    /// Whether a rule is left out, for the simulator.
    #[cfg(feature = "faults")]
    pub(crate) fn lacks(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// No rule is left out.
    #[cfg(not(feature = "faults"))]
    #[allow(clippy::unused_self, reason = "the other form needs it")]
    pub(crate) const fn lacks(&self, _: Fault) -> bool {
        false
    }

    /// A number drawn at random (SplitMix64).
    pub(crate) fn random(&mut self) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.rng)
    }

    /// A moment between so many milliseconds from now.
    pub(crate) fn soon(&mut self, least_ms: u64, most_ms: u64) -> u64 {
        self.now + least_ms + self.random() % (most_ms - least_ms)
    }

    /// An epoch that a log does not have.
    pub(crate) fn mint(&mut self, chain: &Chain) -> Epoch {
        loop {
            let epoch = Epoch::new(self.random() as u32);
            if !chain.has_epoch(epoch) {
                return epoch;
            }
        }
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<&Peer> {
        let at = self.peers.binary_search_by_key(&id, |peer| peer.id).ok()?;
        Some(&self.peers[at])
    }

    fn peer_mut(&mut self, id: NodeId) -> Option<&mut Peer> {
        let at = self.peers.binary_search_by_key(&id, |peer| peer.id).ok()?;
        Some(&mut self.peers[at])
    }

    /// The link to a node, if one stands.
    pub(crate) fn session(&self, id: NodeId) -> Option<Session> {
        self.peer(id)?.session
    }

    /// Whether a node may publish again: this one, or one that is remembered at all, since a death may turn out not to be true.
    pub(crate) fn may_publish(&self, id: NodeId) -> bool {
        id == self.me || self.peer(id).is_some()
    }

    /// Those whose memory may be there.
    pub(crate) fn not_dead(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.standing != Standing::Dead)
    }

    /// Forgets what was to be said on a link that is gone, and whose turn it was.
    pub(crate) fn forget_link(&mut self, id: NodeId, session: Option<Session>) {
        if let Some(peer) = self.peer_mut(id) {
            peer.session = session;
            peer.frames.clear();
            peer.batches.clear();
            peer.open = 0;
            peer.line.clear();
        }
        self.granted.retain(|(_, to)| *to != id);
    }

    pub(crate) fn add_peer(&mut self, id: NodeId, standing: Standing) {
        let wait = if self.established { self.acquaint_ms() } else { 0 };
        if let Err(at) = self.peers.binary_search_by_key(&id, |peer| peer.id) {
            let peer = Peer {
                id,
                standing,
                session: None,
                is_leaving: false,
                ranked_from: self.now + wait,
                frames: VecDeque::new(),
                batches: VecDeque::new(),
                open: 0,
                line: VecDeque::new(),
            };
            self.peers.insert(at, peer);
        }
    }

    fn acquaint_ms(&self) -> u64 {
        acquaint_ms(self.config.dead_after_ms)
    }

    /// A newcomer goes by what those have as home who have met it now and do not rank topics over it yet.
    pub(crate) fn set_established(&mut self, established: bool, has_elders: bool) {
        if !self.established && self.ranked_from == 0 && has_elders {
            self.ranked_from = self.now + self.acquaint_ms();
        }
        self.established = established;
    }

    pub(crate) fn set_standing(&mut self, id: NodeId, standing: Standing, is_leaving: bool) {
        if let Some(peer) = self.peer_mut(id) {
            peer.standing = standing;
            peer.is_leaving = is_leaving;
        }
    }

    /// Ranks topics over those who are to be ranked over now; answers whether they are others than before.
    pub(crate) fn rank_anew(&mut self) -> bool {
        let stays = |peer: &&Peer| {
            peer.standing != Standing::Dead && !peer.is_leaving && peer.ranked_from <= self.now
        };
        let mut ranked: Vec<NodeId> = self.peers.iter().filter(stays).map(|peer| peer.id).collect();
        if (!self.leaving && self.ranked_from <= self.now) || ranked.is_empty() {
            ranked.push(self.me);
        }
        ranked.sort_unstable();
        let is_other = ranked != self.ranked;
        self.ranked = ranked;
        is_other
    }

    /// When somebody is to be ranked over who is not yet.
    pub(crate) fn rank_again_at(&self) -> Option<u64> {
        let peers = self.peers.iter().map(|peer| peer.ranked_from);
        peers.chain([self.ranked_from]).filter(|from| *from > self.now).min()
    }

    // What is said about one topic.

    /// Says something about one topic, if there is a link.
    pub(crate) fn send(&mut self, to: NodeId, kind: Kind, topic: &Arc<str>, payload: Payload) {
        if let Some(peer) = self.peer_mut(to).filter(|peer| peer.session.is_some()) {
            peer.frames.push_back(Frame { kind, topic: topic.clone(), payload, items: 0 });
        }
    }

    pub(crate) fn send_new(
        &mut self,
        to: NodeId,
        kind: Kind,
        topic: &Arc<str>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.session(to).is_some() {
            let mut payload = Vec::new();
            write(&mut payload);
            self.send(to, kind, topic, Arc::new(payload));
        }
    }

    /// One more item for a frame about several topics: the last one that waits, if it is of this kind and has room.
    pub(crate) fn send_item(&mut self, to: NodeId, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        self.item(to, kind, |_| {}, write);
    }

    /// Answers whether a new frame was begun for the item; `None` without a link.
    fn item(
        &mut self,
        to: NodeId,
        kind: Kind,
        head: impl FnOnce(&mut Vec<u8>),
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<bool> {
        let (part_bytes, topic) = (self.config.part_bytes, self.no_topic.clone());
        let peer = self.peer_mut(to).filter(|peer| peer.session.is_some())?;
        let open =
            peer.frames.back_mut().filter(|frame| frame.kind == kind && frame.payload.len() < part_bytes);
        if let Some(frame) = open {
            write(Arc::get_mut(&mut frame.payload).expect("a frame that waits is nobody else's"));
            frame.items += 1;
            return Some(false);
        }
        let mut payload = Vec::new();
        head(&mut payload);
        write(&mut payload);
        peer.frames.push_back(Frame { kind, topic, payload: Arc::new(payload), items: 1 });
        Some(true)
    }

    /// Asks a peer for the log of a topic; it is remembered what the answer will be about.
    pub(crate) fn send_query(
        &mut self,
        to: NodeId,
        topic: u32,
        term: Term,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let batch = self.next_batch;
        let Some(began) = self.item(to, Kind::LogQuery, |out| put_query_head(out, batch), write) else {
            return;
        };
        self.next_batch += u64::from(began);
        let peer = self.peer_mut(to).expect("it was just sent to");
        if began {
            peer.batches.push_back((batch, Vec::new()));
        }
        peer.batches.back_mut().expect("a frame that waits has its batch").1.push((topic, term));
    }

    /// The topics that an answer is about; the batch is forgotten with its last answer.
    pub(crate) fn answered(
        &mut self,
        from: NodeId,
        batch: u64,
        start: u64,
        count: u64,
    ) -> Option<Vec<(u32, Term)>> {
        let peer = self.peer_mut(from)?;
        let at = peer.batches.iter().position(|(number, _)| *number == batch)?;
        let topics = &peer.batches[at].1;
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(start.checked_add(count)?).ok()?);
        let about = topics.get(start..end)?.to_vec();
        if end == topics.len() {
            peer.batches.remove(at);
        }
        Some(about)
    }

    /// One more answer of a batch.
    pub(crate) fn send_reply(
        &mut self,
        to: NodeId,
        batch: u64,
        number: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let (part_bytes, topic) = (self.config.part_bytes, self.no_topic.clone());
        let Some(peer) = self.peer_mut(to).filter(|peer| peer.session.is_some()) else { return };
        let open = peer.frames.back_mut().filter(|frame| {
            frame.kind == Kind::LogQueryReply
                && number > 0
                && frame.items > 0
                && frame.payload.len() < part_bytes
        });
        match open {
            Some(frame) => {
                write(Arc::get_mut(&mut frame.payload).expect("a frame that waits is nobody else's"));
                frame.items += 1;
            }
            None => {
                let mut payload = Vec::new();
                put_reply_head(&mut payload, batch, number);
                write(&mut payload);
                peer.frames.push_back(Frame {
                    kind: Kind::LogQueryReply,
                    topic,
                    payload: Arc::new(payload),
                    items: 1,
                });
            }
        }
    }

    /// The next frame to be sent.
    pub(crate) fn next_frame(&mut self) -> Option<Output> {
        self.peers.iter_mut().find_map(|peer| {
            let Frame { kind, topic, payload, .. } = peer.frames.pop_front()?;
            let session = peer.session.expect("frames wait only for a link");
            Some(Output::Send { to: peer.id, session, kind, topic, payload })
        })
    }

    // Whose turn it is to ask.

    /// Whether a topic may ask a peer at once; else it stands in line.
    pub(crate) fn enter_line(&mut self, to: NodeId, topic: u32) -> bool {
        let window = self.config.window;
        let Some(peer) = self.peer_mut(to) else { return false };
        if peer.open < window {
            peer.open += 1;
            true
        } else {
            peer.line.push_back(topic);
            false
        }
    }

    /// A peer has answered: the next in line asks.
    pub(crate) fn leave_line(&mut self, to: NodeId) {
        let Some(peer) = self.peer_mut(to) else { return };
        peer.open = peer.open.saturating_sub(1);
        if let Some(next) = peer.line.pop_front() {
            peer.open += 1;
            self.granted.push_back((next, to));
        }
    }
}
