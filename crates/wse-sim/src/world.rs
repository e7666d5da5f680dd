//! The world: places with nodes, links between them on which frames take their time, and clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use wse_mesh::ids::{NodeId, Session};
use wse_mesh::log::{Config, Fault, Limits, Logs, Output, Payload};
use wse_mesh::view::{Standing, View};
use wse_mesh::wire::Kind;

use crate::clients::{Client, publication};
use crate::members::Members;
use crate::oracle::{Oracle, Stats};
use crate::rng::Rng;
use crate::schedule::{Action, Class, Shape};

const HEAL_MS: u64 = 64_000;
const END_MS: u64 = 125_000;
const DEAD_AFTER_MS: u64 = 8000;
/// More at one moment is a machine that spins.
const MOST_AT_ONCE: u32 = 200_000;

/// Which world.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Decides everything.
    pub seed: u64,
    /// The kind of trouble.
    pub class: Class,
    /// A rule that is left out.
    pub fault: Option<Fault>,
    /// Actions that are left out.
    pub skip: BTreeSet<usize>,
    /// What happens is written down.
    pub trace: bool,
}

/// What became of it.
#[derive(Debug)]
pub struct Report {
    /// What went wrong.
    pub violations: Vec<String>,
    /// What happened, in numbers.
    pub stats: Stats,
    /// What was to happen.
    pub actions: Vec<(u64, Action)>,
    /// What happened, in words.
    pub trace: String,
}

/// Runs a world to its end.
#[must_use]
pub fn run(setup: &Setup) -> Report {
    let mut world = World::new(setup);
    world.run();
    world.finish();
    let World { oracle, shape, trace, .. } = world;
    Report { violations: oracle.violations, stats: oracle.stats, actions: shape.actions, trace }
}

#[derive(Clone, Debug)]
enum Said {
    Log {
        kind: Kind,
        topic: Arc<str>,
        payload: Payload,
    },
    Leaving,
    Shutdown,
    /// Whom the speaker has met.
    Met(NodeId, usize),
}

#[derive(Debug)]
enum Event {
    Frame { from: usize, to: usize, session: Session, said: Said },
    Tick,
    Timer { place: usize, id: NodeId },
    Act(usize),
    Connect(usize),
    Closed { place: usize, peer: NodeId, session: Session },
    Kill { place: usize, id: NodeId },
    Leave(usize),
    Start(usize),
    Boot { place: usize, id: NodeId },
    CongestionOver { from: usize, to: usize },
    Heal,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    logs: Logs,
    members: Members,
    view: Option<View>,
    timer_ms: u64,
    has_left: bool,
}

struct World {
    setup: Setup,
    shape: Shape,
    rng: Rng,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    nodes: Vec<Option<Node>>,
    clients: Vec<Client>,
    next_session: u64,
    next_token: u64,
    next_publication: u64,
    published: Vec<u64>,
    in_order: BTreeMap<(usize, usize, Session), u64>,
    blocked: BTreeSet<(usize, usize)>,
    held: BTreeMap<(usize, usize), VecDeque<(Session, Said)>>,
    congested: BTreeMap<(usize, usize), bool>,
    kills: usize,
    /// Links of nodes that died, on which nothing arrives any more.
    lost_with: BTreeSet<(usize, Session)>,
    is_healed: bool,
    /// Clients that have come.
    arrived: BTreeSet<usize>,
    oracle: Oracle,
    trace: String,
}

impl World {
    fn new(setup: &Setup) -> Self {
        let mut rng = Rng::new(setup.seed ^ 0x5eed_0000_0000 ^ (setup.class as u64) << 56);
        let shape = Shape::new(&mut rng, setup.class);
        let clients = shape.clients.iter().enumerate().map(|(number, topic)| Client::new(number, *topic));
        let is_tight = shape.is_tight || shape.replicas == 0;
        let mut world = Self {
            setup: setup.clone(),
            clients: clients.collect(),
            nodes: (0..shape.nodes).map(|_| None).collect(),
            oracle: Oracle::new(setup.class, is_tight, shape.part_bytes < 1000 || shape.delay_ms >= 1000),
            shape,
            rng,
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            next_session: 0,
            next_token: 0,
            next_publication: 0,
            published: Vec::new(),
            in_order: BTreeMap::new(),
            blocked: BTreeSet::new(),
            held: BTreeMap::new(),
            congested: BTreeMap::new(),
            kills: 0,
            lost_with: BTreeSet::new(),
            is_healed: false,
            arrived: BTreeSet::new(),
            trace: String::new(),
        };
        for place in 0..world.shape.nodes {
            if world.shape.late != Some(place) {
                world.start(place, false);
            }
        }
        for a in 0..world.shape.nodes {
            for b in 0..a {
                world.link(a, b);
            }
        }
        for number in 0..world.shape.actions.len() {
            if !setup.skip.contains(&number) {
                world.at(world.shape.actions[number].0, Event::Act(number));
            }
        }
        world.at(500, Event::Tick);
        world.at(HEAL_MS, Event::Heal);
        world
    }

    fn at(&mut self, at: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((at.max(self.now), self.next_event), event);
    }

    fn note(&mut self, what: impl FnOnce(&World) -> String) {
        if self.setup.trace {
            let line = what(self);
            let _ = writeln!(self.trace, "{:7.3}  {line}", self.now as f64 / 1000.0);
        }
    }

    fn run(&mut self) {
        let (mut at_once, mut moment) = (0_u32, 0);
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > END_MS || (!self.oracle.violations.is_empty() && !self.setup.trace) {
                break;
            }
            self.now = at;
            at_once = if moment == at { at_once + 1 } else { 0 };
            moment = at;
            if at_once > MOST_AT_ONCE {
                self.oracle.broken(format!("SPIN {MOST_AT_ONCE} events at {at} ms, now {event:?}"));
                break;
            }
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Frame { from, to, session, said } => self.arrive(from, to, session, said),
            Event::Tick => self.tick(),
            Event::Timer { place, id } => {
                if let Some(node) = self.node_if(place, id) {
                    node.timer_ms = u64::MAX;
                    let now = self.now;
                    self.node_if(place, id).expect("just seen").logs.handle_timeout(now);
                    self.drain(place);
                }
            }
            Event::Act(number) => self.act(number),
            Event::Connect(client) => self.connect(client),
            Event::Closed { place, peer, session } => {
                if self.nodes[place].as_mut().is_some_and(|node| node.members.down(peer, session)) {
                    self.view(place);
                }
            }
            Event::Kill { place, id } => {
                if let Some(node) = self.node_if(place, id) {
                    if !node.has_left && self.setup.class != Class::P {
                        self.oracle.broken(format!("END node {place} could not leave"));
                    }
                    self.kill(place);
                    if !self.is_healed {
                        let back = self.now + self.rng.within(500, 6000);
                        self.at(back, Event::Start(place));
                    }
                }
            }
            Event::Leave(place) => self.leave(place),
            Event::Start(place) => self.start_again(place),
            Event::Boot { place, id } => self.boot(place, id),
            Event::CongestionOver { from, to } => {
                if self.congested.remove(&(from, to)) == Some(true) {
                    self.tell_congested(from, to);
                }
            }
            Event::Heal => {
                self.is_healed = true;
                self.note(|_| "## all heals".into());
                self.unblock(&self.blocked.clone());
                for place in 0..self.shape.nodes {
                    self.start_again(place);
                }
            }
        }
    }

    fn node_if(&mut self, place: usize, id: NodeId) -> Option<&mut Node> {
        self.nodes[place].as_mut().filter(|node| node.id == id)
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|place| self.nodes[*place].is_some()).collect()
    }

    // Nodes.

    fn start(&mut self, place: usize, has_seeds: bool) {
        let id = NodeId(self.rng.bits());
        let limits = if self.shape.is_tight {
            Limits { messages: 5, ttl_ms: 20_000, bytes: 2000 }
        } else {
            Limits { messages: 10_000, ttl_ms: 600_000, bytes: 1 << 24 }
        };
        let config = Config {
            replicas: self.shape.replicas,
            limits,
            unacked_bytes: 1 << 20,
            dead_after_ms: DEAD_AFTER_MS,
            part_bytes: self.shape.part_bytes,
            window: self.shape.window,
        };
        let mut logs = Logs::new(id, self.rng.bits(), config, self.now);
        plant(&mut logs, self.setup.fault);
        let members = Members::new(id, place, self.now, has_seeds);
        self.note(|_| format!("## node {place} starts as {id}"));
        self.nodes[place] = Some(Node { id, logs, members, view: None, timer_ms: u64::MAX, has_left: false });
        self.view(place);
    }

    fn start_again(&mut self, place: usize) {
        if self.nodes[place].is_none() {
            let has_seeds = !self.alive().is_empty();
            self.start(place, has_seeds);
            let id = self.nodes[place].as_ref().expect("it has started").id;
            self.boot(place, id);
        }
    }

    /// A node looks for its seeds.
    fn boot(&mut self, place: usize, id: NodeId) {
        let Some(node) = self.node_if(place, id) else { return };
        if node.members.known.values().any(|known| known.session.is_some()) {
            return;
        }
        let others: Vec<usize> = self.alive().into_iter().filter(|other| *other != place).collect();
        if !others.is_empty() {
            let seed = self.rng.pick(&others);
            self.link(place, seed);
        }
        let again = self.now + self.rng.within(200, 1000);
        self.at(again, Event::Boot { place, id });
    }

    fn kill(&mut self, place: usize) {
        let Some(node) = self.nodes[place].take() else { return };
        self.note(|_| format!("## node {place} is gone"));
        if !node.has_left && self.rng.percent(50) {
            // What it has sent and nobody has got yet goes with it.
            self.lost_with
                .extend(node.members.known.values().filter_map(|known| Some((place, known.session?))));
        }
        self.oracle.stats.taken += node.logs.counters().taken;
        self.oracle.stats.fetches += node.logs.counters().fetches;
        self.kills += 1;
        for other in self.alive() {
            let session = self.nodes[other].as_ref().and_then(|other| other.members.session(node.id));
            if let Some(session) = session
                && !self.blocked.contains(&(place, other))
                && !self.shape.is_slow_to_notice
            {
                let at = self.now + self.rng.within(10, 1000);
                self.at(at, Event::Closed { place: other, peer: node.id, session });
            }
        }
        for client in 0..self.clients.len() {
            if self.clients[client].at == Some(place) {
                self.clients[client].disconnect();
                let at = self.now + self.rng.within(100, 3000);
                self.at(at, Event::Connect(client));
            }
        }
    }

    /// Tells a node who is there, if that has changed.
    fn view(&mut self, place: usize) {
        let now = self.now;
        let Some(node) = &mut self.nodes[place] else { return };
        let view = node.members.view(now);
        if node.view.as_ref() != Some(&view) {
            node.logs.handle_view(&view, now);
            node.view = Some(view);
            self.drain(place);
        }
    }

    /// Does all that a node says.
    fn drain(&mut self, place: usize) {
        while let Some(output) = self.nodes[place].as_mut().and_then(|node| node.logs.poll_output()) {
            self.output(place, output);
        }
        let now = self.now;
        let Some(node) = &mut self.nodes[place] else { return };
        for (topic, name) in TOPICS.iter().enumerate().take(self.shape.topics) {
            let Some(look) = node.logs.inspect(name) else { continue };
            if let (Some(term), Some(segment)) = (look.home, look.outline.chain.last()) {
                self.oracle.is_home(topic, term, node.id);
                self.oracle.has_stamped(topic, node.id, segment, look.outline.top);
            }
        }
        if let Some(at) = node.logs.poll_timeout().map(|at| at.max(now)).filter(|at| *at < node.timer_ms) {
            node.timer_ms = at;
            let id = node.id;
            self.at(at, Event::Timer { place, id });
        }
    }

    fn output(&mut self, place: usize, output: Output) {
        match output {
            Output::Send { to, session, kind, topic, payload } => {
                let known = self.nodes[place].as_ref().and_then(|node| node.members.known.get(&to));
                let Some(to) = known.map(|known| known.place) else { return };
                self.oracle.stats.frames += 1;
                if Logs::may_drop(kind)
                    && self.rng.percent(60)
                    && let Some(dropped) = self.congested.get_mut(&(place, to))
                {
                    *dropped = true;
                    self.note(|_| format!("{place} -> {to}  lost: {kind:?} {topic}"));
                    return;
                }
                self.send(place, to, session, Said::Log { kind, topic, payload });
            }
            Output::Deliver { topic, run } => {
                let number = number_of(&topic);
                self.note(|_| {
                    format!(
                        "   node {place} delivers {topic} {}:{} x{}",
                        run.epoch,
                        run.first,
                        run.messages.len()
                    )
                });
                for client in self
                    .clients
                    .iter_mut()
                    .filter(|client| client.at == Some(place) && client.topic == number)
                {
                    if client.connection.as_ref().is_some_and(|connection| connection.is_answered) {
                        client.deliver(&mut self.oracle, &run);
                    }
                }
            }
            Output::Gap { topic, gap } => {
                let number = number_of(&topic);
                self.note(|_| format!("   node {place} tells a gap of {topic}: {gap:?}"));
                for client in self
                    .clients
                    .iter_mut()
                    .filter(|client| client.at == Some(place) && client.topic == number)
                {
                    client.gap(&mut self.oracle, &gap);
                }
            }
            Output::Answer { topic, token, confirmed, recovered, position, replay } => {
                self.oracle.stats.unconfirmed += u64::from(!confirmed);
                let client = self.clients.iter_mut().find(|client| {
                    client.at == Some(place)
                        && client.connection.as_ref().is_some_and(|own| own.token == token)
                });
                if let Some(client) = client {
                    let (number, before) = (client.number, client.position);
                    client.answer(&mut self.oracle, confirmed, recovered, position, &replay);
                    self.note(|_| format!("   node {place} answers client {number} of {topic}: recovered {recovered}, confirmed {confirmed}, {position:?}, had {before:?}"));
                } else {
                    self.unfollow_if_alone(place, number_of(&topic));
                }
            }
            Output::Stored { topic, token, position, copies } => {
                self.note(|_| {
                    format!(
                        "   node {place} hears that {token} of {topic} is stored at {position:?} x{copies}"
                    )
                });
                self.oracle.stats.stored += 1;
                self.oracle.stored.insert(token, (number_of(&topic), position));
                if let Some(position) = position {
                    self.oracle.stamped(number_of(&topic), position, token);
                }
            }
            Output::Dropped { topic, runs } => {
                for run in runs {
                    for (message, offset) in run.messages.iter().zip(run.first..) {
                        let at = wse_core::history::Position { epoch: run.epoch, offset };
                        self.oracle.stats.dropped += 1;
                        self.oracle.stamped(number_of(&topic), at, publication(message));
                    }
                }
            }
            Output::Left => {
                self.note(|_| format!("   node {place} has left"));
                self.oracle.stats.left += 1;
                let node = self.nodes[place].as_mut().expect("it speaks");
                node.has_left = true;
                let id = node.id;
                for (to, session) in self.linked(place) {
                    self.send(place, to, session, Said::Shutdown);
                }
                let at = self.now + self.rng.within(10, 500);
                self.at(at, Event::Kill { place, id });
            }
        }
    }

    // Links.

    fn link(&mut self, a: usize, b: usize) {
        let is_cut = self.blocked.contains(&(a, b)) || self.blocked.contains(&(b, a));
        if is_cut || self.nodes[a].is_none() || self.nodes[b].is_none() || a == b {
            return;
        }
        self.next_session += 1;
        let session = Session(self.next_session);
        let told = [a, b].map(|place| {
            let node = self.nodes[place].as_ref().expect("just seen");
            (node.id, place, node.members.is_leaving, node.members.gossip())
        });
        self.note(|_| format!("## link {session:?} between {a} and {b}"));
        let now = self.now;
        for (me, (id, place, is_leaving, gossip)) in [(a, &told[1]), (b, &told[0])] {
            let node = self.nodes[me].as_mut().expect("just seen");
            node.members.hello(*id, *place, *is_leaving, session, gossip, now);
        }
        self.view(a);
        self.view(b);
        for (me, (id, place, ..)) in [(a, &told[1]), (b, &told[0])] {
            for (to, session) in self.linked(me) {
                if to != *place {
                    self.send(me, to, session, Said::Met(*id, *place));
                }
            }
        }
    }

    /// Whom a node has links to.
    fn linked(&self, place: usize) -> Vec<(usize, Session)> {
        let node = self.nodes[place].as_ref();
        let known = node.into_iter().flat_map(|node| node.members.known.values());
        known.filter_map(|known| Some((known.place, known.session?))).collect()
    }

    fn send(&mut self, from: usize, to: usize, session: Session, said: Said) {
        let lasts = 1 + self.rng.within(0, self.shape.delay_ms);
        let last = self.in_order.entry((from, to, session)).or_default();
        let at = (self.now + lasts).max(*last);
        *last = at;
        self.at(at, Event::Frame { from, to, session, said });
    }

    fn arrive(&mut self, from: usize, to: usize, session: Session, said: Said) {
        if !self.is_linked(from, to, session) || self.lost_with.contains(&(from, session)) {
            return;
        }
        if self.blocked.contains(&(from, to)) || self.held.contains_key(&(from, to)) {
            self.held.entry((from, to)).or_default().push_back((session, said));
        } else {
            self.hear(from, to, session, &said);
        }
    }

    fn is_linked(&self, from: usize, to: usize, session: Session) -> bool {
        let node = self.nodes[to].as_ref();
        node.is_some_and(|node| {
            node.members.known.values().any(|known| known.place == from && known.session == Some(session))
        })
    }

    fn hear(&mut self, from: usize, to: usize, session: Session, said: &Said) {
        let now = self.now;
        let Some(node) = &mut self.nodes[to] else { return };
        let by_session = node.members.known.iter_mut().find(|(_, known)| known.session == Some(session));
        let Some((id, known)) = by_session else { return };
        let id = *id;
        match said {
            Said::Log { kind, topic, payload } => {
                let heard = node.logs.handle_frame(id, session, *kind, topic, payload, now);
                if let Err(error) = heard {
                    self.oracle.broken(format!("FRAME {kind:?} from {from} to {to}: {error}"));
                }
                self.note(|_| format!("{from} -> {to}  {}", describe(*kind, topic, payload)));
                self.drain(to);
            }
            Said::Met(id, place) => {
                let (id, place) = (*id, *place);
                node.members.learn(id, place, now);
                self.view(to);
            }
            Said::Leaving => {
                known.is_leaving = true;
                self.note(|_| format!("{from} -> {to}  leaving"));
                self.view(to);
            }
            Said::Shutdown => {
                known.standing = Standing::Dead;
                known.session = None;
                self.note(|_| format!("{from} -> {to}  shutdown"));
                self.view(to);
            }
        }
    }

    /// One side closes; the other notices if that passes.
    fn close(&mut self, place: usize, peer: NodeId) {
        let Some(node) = &mut self.nodes[place] else { return };
        let id = node.id;
        let Some(known) = node.members.known.get(&peer) else { return };
        let (other, Some(session)) = (known.place, known.session) else { return };
        node.members.down(peer, session);
        self.view(place);
        if !self.blocked.contains(&(place, other)) {
            let at = self.now + self.rng.within(10, 2000);
            self.at(at, Event::Closed { place: other, peer: id, session });
        }
    }

    /// Each second: who was heard, who is suspect or dead, who is dialled.
    fn tick(&mut self) {
        for place in self.alive() {
            let known: Vec<NodeId> =
                self.nodes[place].as_ref().expect("alive").members.known.keys().copied().collect();
            for id in known {
                self.look_after(place, id);
            }
            self.view(place);
        }
        let at = self.now + 1000;
        self.at(at, Event::Tick);
    }

    fn look_after(&mut self, place: usize, id: NodeId) {
        let now = self.now;
        let Some(node) = &self.nodes[place] else { return };
        let (me, known) = (node.id, node.members.known[&id].clone());
        let there = self.nodes[known.place].as_ref();
        let is_there = there.is_some_and(|there| there.id == id);
        let both =
            known.session.is_some() && there.is_some_and(|there| there.members.session(me) == known.session);
        let passes = !self.blocked.contains(&(known.place, place));
        let someone_else = there.filter(|there| there.id != id).map(|there| there.id);
        let node = self.nodes[place].as_mut().expect("just seen");
        let mine = node.members.known.get_mut(&id).expect("just seen");
        if is_there && both && passes {
            mine.heard_ms = now;
        }
        let silent_ms = now - mine.heard_ms;
        if silent_ms > DEAD_AFTER_MS && known.standing != Standing::Dead {
            node.members.bury(id);
            self.note(|_| format!("## node {place} takes {} for dead", known.place));
            self.close(place, id);
            self.view(place);
        } else if known.session.is_some()
            && silent_ms > DEAD_AFTER_MS / 2
            && known.standing == Standing::Alive
        {
            mine.standing = Standing::Suspect;
        }
        if self.nodes[place].as_ref().is_some_and(|node| node.members.session(id).is_some()) {
            return;
        }
        let dials = self.rng.percent(if self.setup.class == Class::P { 50 } else { 80 });
        let has_left = self.nodes[known.place].as_ref().is_some_and(|there| there.has_left);
        let is_linked_to = |other: NodeId| {
            self.nodes[place].as_ref().is_some_and(|node| node.members.session(other).is_some())
        };
        match someone_else {
            _ if has_left => {}
            _ if is_there && dials => self.link(place, known.place),
            Some(other) if dials && !is_linked_to(other) => self.link(place, known.place),
            None if !is_there
                && known.standing != Standing::Dead
                && passes
                && !self.shape.is_slow_to_notice
                && self.rng.percent(50) =>
            {
                self.nodes[place].as_mut().expect("just seen").members.bury(id);
                self.note(|_| format!("## node {place} is refused by {}", known.place));
                self.view(place);
            }
            _ => {}
        }
    }

    fn unblock(&mut self, pairs: &BTreeSet<(usize, usize)>) {
        for pair in pairs {
            self.blocked.remove(pair);
            for (session, said) in self.held.remove(pair).unwrap_or_default() {
                if self.is_linked(pair.0, pair.1, session) {
                    self.hear(pair.0, pair.1, session, &said);
                }
            }
        }
    }

    fn tell_congested(&mut self, from: usize, to: usize) {
        let now = self.now;
        let Some(node) = &mut self.nodes[from] else { return };
        let peer = node.members.known.iter().find(|(_, known)| known.place == to && known.session.is_some());
        if let Some((&peer, _)) = peer {
            self.oracle.stats.congested += 1;
            node.logs.handle_congested(peer, now);
            self.note(|_| format!("## the queue from {from} to {to} has overflowed"));
            self.drain(from);
        }
    }

    // Actions.

    fn act(&mut self, number: usize) {
        let action = self.shape.actions[number].1.clone();
        self.note(|_| format!("## {number}: {action:?}"));
        match action {
            Action::Join(place) | Action::Restart(place) => self.start_again(place),
            Action::Publish(place, topic, count) => self.publish(place, topic, count),
            Action::Arrive(client) => self.connect(client),
            Action::Move(client) => {
                if let Some(place) = self.clients[client].at {
                    let token = self.clients[client].connection.as_ref().map(|connection| connection.token);
                    self.clients[client].disconnect();
                    let topic = self.clients[client].topic;
                    let now = self.now;
                    if let (Some(node), Some(token)) = (&mut self.nodes[place], token) {
                        node.logs.cancel(TOPICS[topic], token, now);
                    }
                    self.unfollow_if_alone(place, topic);
                    let at = self.now + self.rng.within(50, 8000);
                    self.at(at, Event::Connect(client));
                }
            }
            Action::Reset(a, b) => {
                if let Some(peer) = self.nodes[b].as_ref().map(|node| node.id) {
                    self.close(a, peer);
                }
            }
            Action::Congest(from, to, lasts) => {
                if !self.is_healed && !self.congested.contains_key(&(from, to)) {
                    self.congested.insert((from, to), false);
                    let at = self.now + lasts;
                    self.at(at, Event::CongestionOver { from, to });
                }
            }
            Action::Crash(place) => {
                if self.alive().len() > 2 {
                    self.kill(place);
                }
            }
            Action::Block(pairs) => self.blocked.extend(pairs),
            Action::Unblock(pairs) => self.unblock(&pairs.into_iter().collect()),
            Action::Drain(place) => self.leave(place),
        }
    }

    fn leave(&mut self, place: usize) {
        let now = self.now;
        if self.setup.class == Class::D
            && !self.is_healed
            && self.nodes.iter().flatten().any(|node| node.members.is_leaving)
        {
            // One after the other.
            let later = self.now + 1000;
            self.at(later, Event::Leave(place));
            return;
        }
        let least = if self.setup.class == Class::P { 2 } else { 1 };
        if self.alive().len() <= least || self.is_healed {
            return;
        }
        let Some(node) = &mut self.nodes[place] else { return };
        node.members.is_leaving = true;
        node.logs.leave(now);
        let id = node.id;
        for (to, session) in self.linked(place) {
            self.send(place, to, session, Said::Leaving);
        }
        self.view(place);
        // A node that leaves is waited for, unless a partition may keep it for ever.
        let at = self.now + if self.setup.class == Class::P { 12_000 } else { 50_000 };
        self.at(at, Event::Kill { place, id });
    }

    fn publish(&mut self, place: usize, topic: usize, count: usize) {
        let now = self.now;
        for _ in 0..count {
            let padding = self.rng.pick(&[0, 3, 100]);
            let Some(node) = &mut self.nodes[place] else { return };
            self.next_publication += 1;
            let id = self.next_publication;
            let mut message = id.to_le_bytes().to_vec();
            message.resize(8 + padding, 0);
            let published = node.logs.publish(TOPICS[topic], message.into(), Some(id), now);
            assert!(published.is_ok(), "there is room for what a world publishes");
            self.published.push(id);
        }
        self.drain(place);
    }

    fn connect(&mut self, client: usize) {
        let alive = self.alive();
        if self.clients[client].at.is_some() || alive.is_empty() {
            return;
        }
        let place = self.rng.pick(&alive);
        self.next_token += 1;
        self.arrived.insert(client);
        let (token, now) = (self.next_token, self.now);
        self.clients[client].connect(place, token);
        let (topic, position) = (self.clients[client].topic, self.clients[client].position);
        self.note(|_| format!("## client {client} of t{topic} comes to {place} with {position:?}"));
        let node = self.nodes[place].as_mut().expect("it is alive");
        node.logs.recover(TOPICS[topic], token, position, now);
        self.drain(place);
    }

    fn unfollow_if_alone(&mut self, place: usize, topic: usize) {
        let now = self.now;
        let is_there = |client: &Client| {
            client.at == Some(place)
                && client.topic == topic
                && client.connection.as_ref().is_some_and(|connection| connection.is_answered)
        };
        if !self.clients.iter().any(is_there)
            && let Some(node) = &mut self.nodes[place]
        {
            node.logs.unfollow(TOPICS[topic], now);
            self.drain(place);
        }
    }

    // The end.

    fn finish(&mut self) {
        if !self.oracle.violations.is_empty() {
            return;
        }
        for place in self.alive() {
            let counters = self.nodes[place].as_ref().expect("alive").logs.counters();
            self.oracle.stats.taken += counters.taken;
            self.oracle.stats.fetches += counters.fetches;
        }
        for topic in 0..self.shape.topics {
            self.finish_topic(topic);
        }
    }

    fn finish_topic(&mut self, topic: usize) {
        let name = TOPICS[topic];
        let looks = self.alive().into_iter().filter_map(|place| {
            let node = self.nodes[place].as_ref().expect("alive");
            Some((place, node.logs.inspect(name)?, node.logs.kept(name)))
        });
        let looks = looks.collect::<Vec<_>>();
        let is_used = looks.iter().any(|(_, look, _)| !look.outline.chain.is_empty() || look.unacked);
        for (place, look, _) in &looks {
            if look.unacked {
                self.oracle.broken(format!("END {name}: publications of {place} are never stored"));
            }
            let kept = look.outline.top - look.outline.floor;
            if self.shape.is_tight && kept > 5 {
                self.oracle.broken(format!("G8 {name}: {place} keeps {kept} messages"));
            }
        }
        if !is_used {
            return;
        }
        let homes: Vec<_> = looks.iter().filter(|(_, look, _)| look.home.is_some()).collect();
        let &[(_, home, kept)] = &homes[..] else {
            let places: Vec<usize> = homes.iter().map(|(place, _, _)| *place).collect();
            self.oracle.broken(format!("END {name}: homes at {places:?}"));
            return;
        };
        if !home.is_settled || home.commit != home.outline.top {
            self.oracle.broken(format!("END {name}: the home is not settled"));
        }
        let mut log: BTreeMap<u64, u64> = BTreeMap::new();
        for run in kept {
            for (message, offset) in run.messages.iter().zip(run.first..) {
                let at = wse_core::history::Position { epoch: run.epoch, offset };
                self.oracle.stamped(topic, at, publication(message));
                log.insert(offset, publication(message));
            }
        }
        // What is not kept any more was stamped all the same.
        let segments = home.outline.chain.segments();
        for (at, segment) in segments.iter().enumerate() {
            let end = segments.get(at + 1).map_or(home.outline.top, |next| next.first - 1);
            self.oracle.had(topic, segment.epoch, segment.first..=end);
        }
        self.check_log(topic, &log, home.outline.floor);
        self.check_clients(topic, &log, home.outline.floor, home.outline.top);
    }

    fn check_log(&mut self, topic: usize, log: &BTreeMap<u64, u64>, floor: u64) {
        let name = TOPICS[topic];
        let once: BTreeSet<u64> = log.values().copied().collect();
        let is_whole = self.setup.class != Class::P;
        if once.len() != log.len() && is_whole {
            self.oracle.broken(format!("G2 {name}: a publication is twice in the log {:?}", log.values()));
        }
        let one_side = self.kills == 0 && !self.oracle.is_forked(topic);
        let survives = (is_whole || one_side) && (self.shape.replicas > 0 || self.kills == 0);
        let stored = self.oracle.stored.clone();
        for (id, (of, position)) in stored {
            let is_below = position.map_or(floor > 0, |position| position.offset <= floor);
            if of == topic && survives && !is_below && !once.contains(&id) {
                self.oracle
                    .broken(format!("G5 {name}: publication {id} was stored at {position:?} and is lost"));
            }
        }
    }

    fn check_clients(&mut self, topic: usize, log: &BTreeMap<u64, u64>, floor: u64, top: u64) {
        for client in self.clients.iter().filter(|client| client.topic == topic) {
            let number = client.number;
            if !self.arrived.contains(&number) {
                continue;
            }
            let is_answered = client.connection.as_ref().is_some_and(|connection| connection.is_answered);
            if !is_answered {
                self.oracle.broken(format!("END client {number} was never answered"));
                continue;
            }
            if client.position.is_some_and(|at| at.offset != top) {
                self.oracle.broken(format!("G3 client {number} stays at {:?} behind {top}", client.position));
            }
            let wrong =
                client.seen.iter().find(|(offset, id)| *offset > floor && log.get(offset) != Some(id));
            if let Some((offset, id)) = wrong {
                self.oracle.broken(format!(
                    "G6 client {number} saw {id} at {offset}, where the log has {:?}",
                    log.get(offset)
                ));
            }
        }
    }
}

#[cfg(feature = "faults")]
fn plant(logs: &mut Logs, fault: Option<Fault>) {
    logs.plant(fault);
}

#[cfg(not(feature = "faults"))]
fn plant(_: &mut Logs, fault: Option<Fault>) {
    assert!(fault.is_none(), "faults are planted with the feature `faults` only");
}

const TOPICS: [&str; 3] = ["t0", "t1", "t2"];

fn number_of(topic: &str) -> usize {
    TOPICS.iter().position(|name| *name == topic).expect("topics of the world")
}

/// A frame in words.
fn describe(kind: Kind, topic: &str, payload: &[u8]) -> String {
    use wse_mesh::log::frames::about_many as many;
    use wse_mesh::log::frames::about_one as one;
    let what = match kind {
        Kind::LogQuery => format!("{:?}", many::Query::decode(payload)),
        Kind::LogQueryReply => format!("{:?}", many::QueryReply::decode(payload)),
        Kind::LogInvite => format!("{:?}", many::Invite::decode_all(payload)),
        Kind::LogAttach => format!("{:?}", many::Attach::decode_all(payload)),
        Kind::LogDetach => format!("{:?}", many::decode_detach(payload)),
        Kind::LogOffer | Kind::LogNack => format!("{:?}", many::TopicTerm::decode_all(payload)),
        Kind::LogCommit | Kind::LogReplicaAck => format!("{:?}", many::UpTo::decode_all(payload)),
        Kind::LogReplicaSync | Kind::LogSync => one::Sync::decode(payload).map_or_else(
            |error| error.to_string(),
            |sync| {
                format!(
                    "{:?} lead {:?} floor {} fresh {} chain {:?} commit {} entries {}..={}",
                    sync.term,
                    sync.lead,
                    sync.floor,
                    sync.fresh,
                    sync.chain,
                    sync.commit,
                    sync.entries.first,
                    sync.entries.end()
                )
            },
        ),
        Kind::LogReplicate | Kind::LogEntries => one::Entries::decode(payload).map_or_else(
            |error| error.to_string(),
            |frame| {
                format!(
                    "{:?} commit {} entries {}..={}",
                    frame.term,
                    frame.commit,
                    frame.entries.first,
                    frame.entries.end()
                )
            },
        ),
        Kind::LogFetch => format!("{:?}", one::Fetch::decode(payload)),
        Kind::LogFetched => one::Fetched::decode(payload).map_or_else(
            |error| error.to_string(),
            |frame| {
                format!(
                    "{:?} more {} entries {}..={}",
                    frame.fetch,
                    frame.more,
                    frame.entries.first,
                    frame.entries.end()
                )
            },
        ),
        Kind::LogHeadQuery => format!("{:?}", one::HeadQuery::decode(payload)),
        Kind::LogHeadReply => format!("{:?}", one::HeadQuery::decode_reply(payload)),
        Kind::LogPublish => one::Publish::decode(payload).map_or_else(
            |error| error.to_string(),
            |frame| format!("base {} first {} x{}", frame.base, frame.first, frame.messages.len()),
        ),
        Kind::LogPublishAck => format!("{:?}", one::Stored::decode_all(payload)),
        _ => String::new(),
    };
    format!("{kind:?} {topic} {what}")
}
