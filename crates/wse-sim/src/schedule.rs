//! What happens in a world, as its seed decides: a list of actions, any of which may be left out.

use crate::rng::Rng;

/// What kind of trouble there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Resets, crashes and overflowing queues.
    F,
    /// Partitions: whole, of one node, of one link, of one direction.
    P,
    /// Every node drains and restarts, one after the other.
    D,
    /// Like F or D, with the machine of members: crashes, stops and restarts elsewhere, clocks that differ, and processes that stand still.
    M,
    /// Like P, with the machine of members and all of that.
    N,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 5] = [Class::F, Class::P, Class::D, Class::M, Class::N];

    /// Those in which the world itself decides who notices what of whom, so that its seeds try what no machine would do.
    pub const MODELLED: [Class; 3] = [Class::F, Class::P, Class::D];

    /// Whether the machine of members decides who is there.
    #[must_use]
    pub fn has_machine(self) -> bool {
        matches!(self, Class::M | Class::N)
    }

    /// Whether nodes that live may take each other for dead.
    #[must_use]
    pub fn is_parted(self) -> bool {
        matches!(self, Class::P | Class::N)
    }
}

/// Which names a node is given to find the others by, in worlds with the machine of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finds {
    /// Those of all.
    Everybody,
    /// That of the first.
    First,
    /// Those of the first two.
    FirstTwo,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A node starts late.
    Join(usize),
    /// A node publishes so many messages to a topic.
    Publish(usize, usize, usize),
    /// A client goes to another node.
    Move(usize),
    /// A client goes, and comes back after so long.
    Away(usize, u64),
    /// A client comes for the first time.
    Arrive(usize),
    /// A link is reset.
    Reset(usize, usize),
    /// What one node sends to another is lost while its queue is full.
    Congest(usize, usize, u64),
    /// A node is killed.
    Crash(usize),
    /// A place without a node gets one.
    Restart(usize),
    /// Nothing passes between these, in this direction.
    Block(Vec<(usize, usize)>),
    /// It passes again.
    Unblock(Vec<(usize, usize)>),
    /// A node leaves.
    Drain(usize),
    /// A node says that it is gone, and is.
    Stop(usize),
    /// A node's process stands still for so long.
    Stall(usize, u64),
    /// A node's clock jumps forward by so much.
    Jump(usize, u64),
}

/// What a world is like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Places for nodes.
    pub nodes: usize,
    /// Topics.
    pub topics: usize,
    /// Clients, by the topic that they subscribe to.
    pub clients: Vec<usize>,
    /// Nodes that start late.
    pub late: Option<usize>,
    /// Copies beside the home.
    pub replicas: usize,
    /// A death is noticed by silence alone.
    pub is_slow_to_notice: bool,
    /// The longest that a frame takes.
    pub delay_ms: u64,
    /// What is kept is so little, or so short-lived, that clients come too late for it.
    pub is_tight: bool,
    /// Logs that nobody needs are forgotten while the world lasts.
    pub forgets: bool,
    /// How much goes into a frame.
    pub part_bytes: usize,
    /// How many logs are asked for at once.
    pub window: usize,
    /// By which names nodes find each other.
    pub finds: Finds,
    /// Who restarts may have another address, also one that another had.
    pub is_moving: bool,
    /// What happens when.
    pub actions: Vec<(u64, Action)>,
}

impl Shape {
    /// The world of a seed.
    #[must_use]
    pub fn new(rng: &mut Rng, class: Class) -> Self {
        let nodes = rng.pick(&[3, 3, 4, 4, 5]).min(if class == Class::D { 4 } else { 5 });
        let topics = rng.pick(&[1, 1, 2, 3]);
        let clients = (0..3 * topics.min(2)).map(|_| rng.index(topics)).collect();
        let mut shape = Self {
            nodes,
            topics,
            clients,
            late: (rng.percent(40)).then_some(nodes - 1),
            replicas: rng.pick(&[1, 1, 1, 1, 2, 2, 0]),
            is_slow_to_notice: rng.percent(50),
            delay_ms: rng.pick(&[20, 50, 300, 1000]),
            is_tight: rng.percent(25),
            forgets: false,
            part_bytes: rng.pick(&[40, 200, 100_000]),
            window: rng.pick(&[1, 64]),
            finds: Finds::Everybody,
            is_moving: false,
            actions: Vec::new(),
        };
        // In small parts each few messages are a round trip to whoever fetches them.
        shape.delay_ms = shape.delay_ms.min(match shape.part_bytes {
            0..100 => 50,
            100..1000 => 300,
            _ => 1000,
        });
        shape.everyday(rng);
        match class {
            Class::F => shape.crashes(rng),
            Class::P => shape.partitions(rng),
            Class::D => shape.drains(),
            Class::M | Class::N => shape.as_it_runs(rng, class),
        }
        if class.is_parted() && rng.percent(20) {
            let node = rng.index(nodes);
            shape.at(rng.within(10_000, 50_000), Action::Drain(node));
        }
        if shape.is_tight && rng.percent(50) {
            shape.forgetting(rng);
        }
        shape.actions.sort_by_key(|(at, _)| *at);
        shape
    }

    fn at(&mut self, at: u64, action: Action) {
        self.actions.push((at, action));
    }

    fn two(&self, rng: &mut Rng) -> (usize, usize) {
        let a = rng.index(self.nodes);
        (a, (a + 1 + rng.index(self.nodes - 1)) % self.nodes)
    }

    fn everyday(&mut self, rng: &mut Rng) {
        if let Some(late) = self.late {
            self.at(rng.within(5000, 30_000), Action::Join(late));
        }
        for client in 0..self.clients.len() {
            let at = if rng.percent(80) { rng.within(1000, 6000) } else { rng.within(6000, 50_000) };
            self.at(at, Action::Arrive(client));
        }
        for _ in 0..rng.within(6, 26) {
            let (node, topic) = (rng.index(self.nodes), rng.index(self.topics));
            let count = rng.pick(&[1, 1, 1, 2, 5, 12]);
            self.at(rng.within(1000, 56_000), Action::Publish(node, topic, count));
        }
        for _ in 0..rng.within(0, 7) {
            let client = rng.index(self.clients.len());
            self.at(rng.within(3000, 55_000), Action::Move(client));
        }
        for _ in 0..rng.within(0, 6) {
            let (a, b) = self.two(rng);
            self.at(rng.within(3000, 55_000), Action::Reset(a, b));
        }
        for _ in 0..rng.pick(&[0, 0, 1, 3]) {
            let (a, b) = self.two(rng);
            let lasts = rng.pick(&[50, 500, 3000]);
            self.at(rng.within(3000, 55_000), Action::Congest(a, b, lasts));
        }
    }

    /// For a while nobody wants to hear of a topic, nor says anything about it, until it may be forgotten.
    fn forgetting(&mut self, rng: &mut Rng) {
        self.forgets = true;
        for _ in 0..rng.within(1, 4) {
            let (topic, at) = (rng.index(self.topics), rng.within(6000, 40_000));
            let quiet = at..at + rng.within(9000, 14_000);
            let is_kept = |(when, action): &(u64, Action)| match action {
                Action::Publish(_, of, _) => *of != topic || !quiet.contains(when),
                Action::Arrive(client) => self.clients[*client] != topic || !quiet.contains(when),
                _ => true,
            };
            self.actions.retain(is_kept);
            for client in 0..self.clients.len() {
                if self.clients[client] == topic {
                    self.at(at, Action::Away(client, rng.within(8000, 20_000)));
                }
            }
        }
    }

    /// One node at a time, so far apart that its topics have copies again.
    fn crashes(&mut self, rng: &mut Rng) {
        let mut at = rng.within(4000, 20_000);
        for _ in 0..rng.within(1, 3) {
            let node = rng.index(self.nodes);
            self.at(at, Action::Crash(node));
            // What is on its way when a node dies is what is lost if anything is.
            for _ in 0..rng.pick(&[0, 1, 2, 4]) {
                let before = rng.within(0, 3 * self.delay_ms + 50);
                let from = if rng.percent(50) { node } else { rng.index(self.nodes) };
                let topic = rng.index(self.topics);
                self.at(at.saturating_sub(before), Action::Publish(from, topic, rng.pick(&[1, 3])));
            }
            let back = if rng.percent(50) { rng.within(100, 1000) } else { rng.within(9000, 20_000) };
            self.at(at + back, Action::Restart(node));
            at += rng.within(30_000, 34_000);
        }
    }

    fn drains(&mut self) {
        for node in 0..self.nodes {
            self.at(8000 + 14_000 * node as u64, Action::Drain(node));
        }
    }

    /// What a network and the machines on it are like.
    fn as_it_runs(&mut self, rng: &mut Rng, class: Class) {
        self.finds = rng.pick(&[Finds::Everybody, Finds::First, Finds::FirstTwo]);
        self.is_moving = rng.percent(50);
        match class {
            Class::N => self.partitions(rng),
            _ if self.nodes <= 4 && rng.percent(40) => self.drains(),
            _ => self.crashes(rng),
        }
        for (_, action) in &mut self.actions {
            if let Action::Crash(node) = *action
                && rng.percent(30)
            {
                *action = Action::Stop(node);
            }
        }
        if class == Class::M && self.finds == Finds::First {
            self.only_the_first_restarts();
        }
        // Shorter than what makes a member suspect, unless nodes may take each other for dead.
        let longest = if class == Class::N { 20_000 } else { 2000 };
        for _ in 0..rng.pick(&[0, 0, 1, 3]) {
            let node = rng.index(self.nodes);
            self.at(rng.within(1000, 45_000), Action::Stall(node, rng.within(200, longest)));
        }
        for _ in 0..rng.pick(&[0, 0, 1, 3]) {
            let node = rng.index(self.nodes);
            let by = rng.pick(&[500, 1500, 5000, 30_000]);
            // A subscriber that waits is answered without its home when the clock jumps over its limit.
            let by = if class == Class::N { by } else { by.min(1500) };
            self.at(rng.within(1000, 60_000), Action::Jump(node, by));
        }
    }

    /// Who starts while its only seed is away takes itself for the only one, and that parts it from the others.
    fn only_the_first_restarts(&mut self) {
        self.late = None;
        self.actions.retain(|(_, action)| match action {
            Action::Join(_) => false,
            Action::Crash(node) | Action::Stop(node) | Action::Drain(node) | Action::Restart(node) => {
                *node == 0
            }
            _ => true,
        });
    }

    /// A node starts while nobody can be reached, and takes itself for the only one.
    fn lonely_start(&mut self, rng: &mut Rng) {
        let late = self.nodes - 1;
        self.actions.retain(|(_, action)| !matches!(action, Action::Join(_)));
        self.late = Some(late);
        let at = rng.within(8000, 30_000);
        let others = 0..late;
        let pairs: Vec<(usize, usize)> = others.flat_map(|other| [(late, other), (other, late)]).collect();
        self.at(at - 1000, Action::Block(pairs.clone()));
        self.at(at, Action::Join(late));
        for _ in 0..3 {
            let client = rng.index(self.clients.len());
            self.at(at + rng.within(0, 6000), Action::Move(client));
        }
        self.at(at + rng.within(5500, 12_000), Action::Unblock(pairs));
    }

    fn partitions(&mut self, rng: &mut Rng) {
        if rng.percent(30) {
            self.lonely_start(rng);
            if rng.percent(60) {
                return;
            }
        }
        for _ in 0..rng.within(1, 4) {
            let at = rng.within(3000, 45_000);
            let lasts = if rng.percent(50) { rng.within(1000, 6000) } else { rng.within(9000, 20_000) };
            let all =
                (0..self.nodes).flat_map(|a| (0..self.nodes).map(move |b| (a, b))).filter(|(a, b)| a != b);
            let kind = rng.within(0, 100);
            let (x, y) = self.two(rng);
            let half = self.nodes / 2;
            let pairs: Vec<(usize, usize)> = match kind {
                0..35 => all.filter(|(a, b)| (*a < half) != (*b < half)).collect(),
                35..60 => all.filter(|(a, b)| *a == x || *b == x).collect(),
                60..80 => vec![(x, y)],
                _ => vec![(x, y), (y, x)],
            };
            self.at(at, Action::Block(pairs.clone()));
            self.at(at + lasts, Action::Unblock(pairs));
        }
        if rng.percent(40) {
            let (node, at) = (rng.index(self.nodes), rng.within(4000, 40_000));
            self.at(at, Action::Crash(node));
            self.at(at + rng.within(200, 15_000), Action::Restart(node));
        }
    }
}
