//! The world: places with nodes, links between them on which frames take their time, and clients.

mod acts;
mod ending;
mod links;
mod mesh;
mod nodes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use wse_mesh::ids::{NodeId, Session};
use wse_mesh::log::{Fault, Logs, Output, Payload};
use wse_mesh::members::{self, DialFailure};
use wse_mesh::view::View;
use wse_mesh::wire::Kind;

use crate::clients::{Client, publication};
use crate::members::Members;
use crate::network::{Clock, Hosts, Network, Parcel, Place};
use crate::oracle::{Oracle, Stats};
use crate::rng::Rng;
use crate::schedule::{Action, Class, Shape};
use mesh::{Dial, Machine};

const HEAL_MS: u64 = 64_000;
const END_MS: u64 = 125_000;
pub(crate) const DEAD_AFTER_MS: u64 = 8000;
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
    // In worlds with the machine of members.
    Comes(Place),
    Knock(Dial),
    Answered { wire: u64, dial: Dial },
    NotDialled { dial: Dial, failure: DialFailure },
    GoOn(usize),
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    logs: Logs,
    /// What stands in for the machine of members, where there is none.
    members: Members,
    machine: Option<Machine>,
    clock: Clock,
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
    network: Network,
    hosts: Hosts,
    /// Hosts that are gone with their processes.
    hosts_down: BTreeSet<usize>,
    /// Places whose processes stand still, and until when.
    stalled: BTreeMap<usize, u64>,
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
        let hosts = Hosts::new(shape.nodes);
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
            network: Network::default(),
            hosts,
            hosts_down: BTreeSet::new(),
            stalled: BTreeMap::new(),
            is_healed: false,
            arrived: BTreeSet::new(),
            trace: String::new(),
        };
        for place in 0..world.shape.nodes {
            if world.shape.late != Some(place) {
                world.start(place, false);
            }
        }
        if !setup.class.has_machine() {
            for a in 0..world.shape.nodes {
                for b in 0..a {
                    world.link(a, b);
                }
            }
            world.at(500, Event::Tick);
        }
        for number in 0..world.shape.actions.len() {
            if !setup.skip.contains(&number) {
                world.at(world.shape.actions[number].0, Event::Act(number));
            }
        }
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
        if let Some(until) = self.stalled_until(&event) {
            self.at(until, event);
            return;
        }
        match event {
            Event::Frame { from, to, session, said } => self.arrive(from, to, session, said),
            Event::Tick => self.tick(),
            Event::Timer { place, id } => self.timer(place, id),
            Event::Comes(at) => self.comes(at),
            Event::Knock(dial) => self.knock(dial),
            Event::Answered { wire, dial } => self.answered(wire, dial),
            Event::NotDialled { dial, failure } => self.dial_failed(&dial, failure),
            Event::GoOn(place) => drop(self.stalled.remove(&place)),
            Event::Act(number) => self.act(number),
            Event::Connect(client) => self.connect(client),
            Event::Closed { place, peer, session } => {
                if self.nodes[place].as_mut().is_some_and(|node| node.members.down(peer, session)) {
                    self.view(place);
                }
            }
            Event::Kill { place, id } => {
                if let Some(node) = self.node_if(place, id) {
                    if !node.has_left && !self.setup.class.is_parted() {
                        self.oracle.broken(format!("END node {place} could not leave"));
                    }
                    if self.setup.class.has_machine() {
                        self.tell(place, members::Members::shutdown);
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

    fn timer(&mut self, place: usize, id: NodeId) {
        let now = self.time(place);
        let Some(node) = self.node_if(place, id) else { return };
        node.timer_ms = u64::MAX;
        if node.machine.is_some() {
            self.tell(place, |members, now| members.handle_timeout(now));
        }
        if let Some(node) = self.node_if(place, id) {
            node.logs.handle_timeout(now);
            self.drain(place);
        }
    }

    /// Until when an event has to wait, since the process that it is for stands still.
    fn stalled_until(&self, event: &Event) -> Option<u64> {
        let place = match event {
            _ if self.stalled.is_empty() => return None,
            Event::Timer { place, .. } => *place,
            Event::Comes(at) => self.network.end(*at)?.host,
            Event::Knock(dial) | Event::Answered { dial, .. } | Event::NotDialled { dial, .. } => dial.place,
            Event::Act(number) => match self.shape.actions[*number].1 {
                Action::Publish(place, ..) | Action::Drain(place) | Action::Stop(place) => place,
                _ => return None,
            },
            _ => return None,
        };
        self.stalled.get(&place).copied()
    }

    /// What a node's clock shows; that of the world where there is none.
    fn time(&self, place: usize) -> u64 {
        self.nodes[place].as_ref().map_or(self.now, |node| node.clock.shows(self.now))
    }

    fn node_if(&mut self, place: usize, id: NodeId) -> Option<&mut Node> {
        self.nodes[place].as_mut().filter(|node| node.id == id)
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|place| self.nodes[*place].is_some()).collect()
    }

    /// Does all that a node says.
    fn drain(&mut self, place: usize) {
        while let Some(output) = self.nodes[place].as_mut().and_then(|node| node.logs.poll_output()) {
            self.output(place, output);
        }
        let Some(node) = &mut self.nodes[place] else { return };
        for (topic, name) in TOPICS.iter().enumerate().take(self.shape.topics) {
            let Some(look) = node.logs.inspect(name) else { continue };
            if let (Some(term), Some(segment)) = (look.home, look.outline.chain.last()) {
                self.oracle.is_home(topic, term, node.id);
                self.oracle.has_stamped(topic, node.id, segment, look.outline.top);
            }
        }
        self.arm(place);
    }

    /// The next timer of a node.
    fn arm(&mut self, place: usize) {
        let now = self.now;
        let Some(node) = &mut self.nodes[place] else { return };
        let members = node.machine.as_ref().and_then(|machine| machine.members.poll_timeout());
        let wanted = node.logs.poll_timeout().into_iter().chain(members).min();
        let at = wanted.map(|wanted| node.clock.when(wanted).max(now));
        if let Some(at) = at.filter(|at| *at < node.timer_ms) {
            node.timer_ms = at;
            let id = node.id;
            self.at(at, Event::Timer { place, id });
        }
    }

    fn output(&mut self, place: usize, output: Output) {
        match output {
            Output::Send { to, session, kind, topic, payload } => {
                let has_machine = self.setup.class.has_machine();
                let host = if has_machine {
                    self.host_of(place, session)
                } else {
                    let known = self.nodes[place].as_ref().and_then(|node| node.members.known.get(&to));
                    known.map(|known| known.place)
                };
                let Some(to) = host else { return };
                self.oracle.stats.frames += 1;
                if Logs::may_drop(kind)
                    && self.rng.percent(60)
                    && let Some(dropped) = self.congested.get_mut(&(place, to))
                {
                    *dropped = true;
                    self.note(|_| format!("{place} -> {to}  lost: {kind:?} {topic}"));
                    return;
                }
                if has_machine {
                    self.give_log(place, session, Parcel::Log(kind, topic, payload));
                } else {
                    self.send(place, to, session, Said::Log { kind, topic, payload });
                }
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
            Output::Discarded { topic, upto } => {
                self.note(|_| format!("   node {place} forgets {topic} up to {upto}"));
                self.oracle.discarded(number_of(&topic), upto);
            }
            Output::Committed { .. } | Output::Hinted { .. } => {
                unreachable!("nobody here has patterns or queue groups")
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
}

const TOPICS: [&str; 3] = ["t0", "t1", "t2"];

fn number_of(topic: &str) -> usize {
    TOPICS.iter().position(|name| *name == topic).expect("topics of the world")
}
