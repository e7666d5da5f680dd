//! A small world for membership: hosts with an address, processes on them, names that lead to hosts, and a network that delays, breaks and holds.
//! One seed decides everything.

mod network;
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wse_mesh::ids::{NodeId, Session};
use wse_mesh::members::{Config, DIAL_MS, DialFailure, Level, Members, Output};
use wse_mesh::view::{Member, Standing};
use wse_mesh::wire::hello::{Versions, ZSTD};
use wse_mesh::wire::{Address, Kind};

use network::{Coming, Event, Network, Place};

pub const PORT: u16 = 9999;
pub const DEAD_AFTER_MS: u64 = 8_000;

/// Numbers that follow from a seed (SplitMix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.between(1, count) == 1
    }

    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.between(0, items.len() as u64 - 1) as usize]
    }
}

/// A process of some host; the number is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub u32);

pub struct Process {
    pub host: usize,
    pub members: Members,
    /// What `Up` and `Down` have said.
    pub ups: BTreeMap<NodeId, Session>,
    /// Each link by the name that the process gave it.
    pub sessions: BTreeMap<Session, Place>,
    last_session: u64,
    timer_at: u64,
    /// SIGSTOP: what happened meanwhile.
    stopped: Option<Vec<Event>>,
    /// Whom this process sees alive.
    alive: BTreeSet<NodeId>,
    /// Whom this process has seen dead.
    seen_dead: BTreeSet<NodeId>,
}

pub struct World {
    pub now: u64,
    pub seed: u64,
    pub chance: Chance,
    pub network: Network,
    pub processes: BTreeMap<Life, Process>,
    /// When each process ended.
    pub ended: BTreeMap<NodeId, u64>,
    names: BTreeMap<String, usize>,
    last_life: u32,
    pub sent: BTreeMap<&'static str, u64>,
    pub downs: u64,
    pub dials: u64,
    pub notes: Vec<(u64, Life, Level, String)>,
    /// Somebody who runs was seen dead.
    pub false_deaths: u64,
    /// Somebody who runs was alive and then suspect.
    pub doubts: u64,
    pub trace: bool,
}

pub fn ip_of(host: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, (host >> 8) as u8, host as u8))
}

pub fn address_of(host: usize) -> Address {
    Address::of(ip_of(host), PORT).unwrap()
}

pub fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// A node that is told nothing.
pub fn config() -> Config {
    Config {
        cluster: "test".to_owned(),
        advertised: None,
        cluster_port: PORT,
        peers: Vec::new(),
        seeds: Vec::new(),
        heartbeat_ms: 2_000,
        dead_after_ms: DEAD_AFTER_MS,
        max_frame: 1 << 20,
        versions: Versions::OURS,
        capabilities: ZSTD,
    }
}

impl World {
    pub fn new(seed: u64, hosts: usize) -> Self {
        let mut chance = Chance::new(seed);
        let slowest = chance.pick(&[2, 10, 40]);
        Self {
            now: chance.between(0, 100_000),
            seed,
            network: Network::new(hosts, slowest),
            chance,
            processes: BTreeMap::new(),
            ended: BTreeMap::new(),
            names: BTreeMap::new(),
            last_life: 0,
            sent: BTreeMap::new(),
            downs: 0,
            dials: 0,
            notes: Vec::new(),
            false_deaths: 0,
            doubts: 0,
            trace: false,
        }
    }

    pub fn name(&mut self, name: &str, host: usize) {
        self.names.insert(name.to_owned(), host);
    }

    /// A process on a host, under a new id.
    pub fn start(&mut self, host: usize, config: Config) -> Life {
        assert!(self.on(host).is_none(), "a port has one listener");
        self.last_life += 1;
        let life = Life(self.last_life);
        let (id, seed) = (NodeId(self.chance.number()), self.chance.number());
        self.say(|| format!("start {life:?} on {host} as {id}"));
        let process = Process {
            host,
            members: Members::new(config, id, seed, self.now),
            ups: BTreeMap::new(),
            sessions: BTreeMap::new(),
            last_session: self.chance.between(0, 1_000_000),
            timer_at: u64::MAX,
            stopped: None,
            alive: BTreeSet::new(),
            seen_dead: BTreeSet::new(),
        };
        self.processes.insert(life, process);
        self.drain(life);
        life
    }

    pub fn on(&self, host: usize) -> Option<Life> {
        self.processes.iter().find(|(_, process)| process.host == host).map(|(life, _)| *life)
    }

    pub fn id(&self, life: Life) -> NodeId {
        self.processes[&life].members.view().me
    }

    /// The process is killed; if its host lives, that says so to whoever has a link.
    pub fn crash(&mut self, life: Life, host_lives: bool) {
        self.say(|| format!("crash {life:?}, its host lives: {host_lives}"));
        self.network.cut_held(life);
        self.end(life, host_lives);
    }

    fn end(&mut self, life: Life, host_lives: bool) {
        let process = self.processes.remove(&life).expect("it runs");
        self.ended.insert(process.members.view().me, self.now);
        self.network.end_of(self.now, &mut self.chance, life, host_lives);
    }

    pub fn leave(&mut self, life: Life) {
        let now = self.now;
        self.say(|| format!("drain {life:?}"));
        self.processes.get_mut(&life).unwrap().members.leave(now);
        self.drain(life);
    }

    pub fn shutdown(&mut self, life: Life) {
        let now = self.now;
        self.say(|| format!("shutdown {life:?}"));
        self.processes.get_mut(&life).unwrap().members.shutdown(now);
        self.drain(life);
        assert_eq!(self.processes[&life].members.poll_timeout(), None, "nothing is left to do");
        assert!(self.processes[&life].ups.is_empty(), "all links are down");
        self.end(life, true);
    }

    pub fn stop(&mut self, life: Life) {
        self.say(|| format!("SIGSTOP {life:?}"));
        self.processes.get_mut(&life).unwrap().stopped.get_or_insert_default();
    }

    pub fn is_stopped(&self, life: Life) -> bool {
        self.processes[&life].stopped.is_some()
    }

    /// All blocks are lifted.
    pub fn heal(&mut self) {
        self.say(|| "heal".to_owned());
        for (place, coming) in self.network.heal() {
            self.happen(Event::Comes(place, coming));
        }
    }

    /// A link breaks at some of its ends.
    pub fn reset(&mut self, link: u64, sides: &[usize]) {
        self.say(|| format!("reset link {link} at {sides:?}"));
        self.network.reset(self.now, &mut self.chance, link, sides);
    }

    pub fn go_on(&mut self, life: Life) {
        let Some(process) = self.processes.get_mut(&life) else { return };
        let Some(missed) = process.stopped.take() else { return };
        self.say(|| format!("SIGCONT {life:?}"));
        for event in missed {
            self.reach(event);
        }
        if self.processes.contains_key(&life) {
            self.timer(life);
        }
    }

    /// Everything that happens up to a time.
    pub fn run_until(&mut self, until: u64) {
        while let Some((at, event)) = self.network.next(until) {
            debug_assert!(at >= self.now, "time goes forward");
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    pub fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + ms);
    }

    /// Something happens, if the network lets it.
    fn happen(&mut self, event: Event) {
        match event {
            Event::Comes(place, coming) => {
                if let Some(coming) = self.network.pass(place, coming) {
                    self.reach(Event::Comes(place, coming));
                }
            }
            event => self.reach(event),
        }
    }

    /// A process is reached; the kernel takes what comes for one that is stopped, but nobody looks at it.
    fn reach(&mut self, event: Event) {
        let life = match &event {
            Event::Timer(life) | Event::NotDialled(life, ..) => *life,
            Event::Comes(place, _) => self.network.end(*place).life,
        };
        if let Some(missed) = self.processes.get_mut(&life).and_then(|process| process.stopped.as_mut()) {
            missed.push(event);
            return;
        }
        match event {
            Event::Comes(place, coming) => self.comes(life, place, coming),
            _ if !self.processes.contains_key(&life) => {}
            Event::Timer(_) => self.timer(life),
            Event::NotDialled(_, address, failure) => {
                let process = self.processes.get_mut(&life).expect("it runs");
                process.members.handle_dial_failed(&address, failure, self.now);
                self.drain(life);
            }
        }
    }

    /// Something comes to an end of a link.
    fn comes(&mut self, life: Life, place: Place, coming: Coming) {
        let (now, seed, far) = (self.now, self.seed, self.network.end((place.0, 1 - place.1)).host);
        let end = self.network.end_mut(place);
        let at = |host| SocketAddr::new(ip_of(host), PORT);
        let (local, remote, is_open, session) = (at(end.host), at(far), end.is_open, end.session);
        let Some(process) = self.processes.get_mut(&life).filter(|_| is_open) else {
            if coming != Coming::Closed {
                self.network.nobody(now, &mut self.chance, place);
            }
            return;
        };
        let members = &mut process.members;
        match (coming, session) {
            (coming @ (Coming::Accepted | Coming::Dialled(_)), _) => {
                process.last_session += 1;
                let session = Session(process.last_session);
                process.sessions.insert(session, place);
                end.session = Some(session);
                match coming {
                    Coming::Dialled(address) => members.handle_dialled(session, &address, local, remote, now),
                    _ => members.handle_accepted(session, remote, local, now),
                }
            }
            (Coming::Frame(kind, payload), Some(session)) => {
                let read = members.handle_frame(session, kind, &payload, now);
                assert_eq!(read, Ok(()), "seed {seed}: {kind:?} at {life:?}: nodes understand each other");
            }
            (Coming::Closed, Some(session)) => {
                end.is_open = false;
                process.sessions.remove(&session);
                members.handle_closed(session, now);
            }
            // The dialler ended while its connection was held: what it sent later comes to nothing.
            (Coming::Frame(..) | Coming::Closed, None) => end.is_open = false,
        }
        self.drain(life);
    }

    fn timer(&mut self, life: Life) {
        let process = self.processes.get_mut(&life).expect("it was just found");
        process.timer_at = u64::MAX;
        if process.members.poll_timeout().is_some_and(|at| at <= self.now) {
            process.members.handle_timeout(self.now);
            let again = process.members.poll_timeout();
            assert!(
                again.is_none_or(|at| at > self.now),
                "seed {}: a timer that was served is over",
                self.seed
            );
        }
        self.drain(life);
    }

    /// Does what a process wants done.
    fn drain(&mut self, life: Life) {
        while let Some(output) = self.processes.get_mut(&life).expect("it runs").members.poll_output() {
            self.put(life, output);
        }
        let process = self.processes.get_mut(&life).expect("it runs");
        if let Some(at) = process.members.poll_timeout()
            && at < process.timer_at
        {
            process.timer_at = at;
            let late = self.chance.between(0, 3);
            self.network.at(at.max(self.now) + late, Event::Timer(life));
        }
    }

    fn put(&mut self, life: Life, output: Output) {
        let (now, seed) = (self.now, self.seed);
        let process = self.processes.get_mut(&life).expect("it runs");
        match output {
            Output::Dial { address } => self.dial(life, address),
            Output::Send { session, kind, payload } => {
                *self.sent.entry(name_of(kind)).or_default() += 1;
                if let Some(place) = process.sessions.get(&session) {
                    self.network.send(now, &mut self.chance, *place, Coming::Frame(kind, payload));
                }
            }
            Output::Close { session, why } => {
                if let Some(place) = process.sessions.remove(&session) {
                    self.network.close(now, &mut self.chance, place);
                }
                self.say(|| format!("{life:?} closes {session:?}: {why:?}"));
            }
            Output::Up { id, session, terms } => {
                assert_eq!(terms.version, 1);
                assert_eq!(process.ups.insert(id, session), None, "seed {seed}: one link counts at a time");
                self.say(|| format!("{life:?} up {id} {session:?}"));
            }
            Output::Down { id, session } => {
                assert_eq!(process.ups.remove(&id), Some(session), "seed {seed}: what goes down was up");
                self.downs += 1;
                self.say(|| format!("{life:?} down {id} {session:?}"));
            }
            Output::Changed => self.look(life),
            Output::Note { level, text } => {
                self.say(|| format!("{life:?} notes {text}"));
                self.notes.push((now, life, level, text));
            }
        }
    }

    fn dial(&mut self, life: Life, address: Address) {
        self.dials += 1;
        let (host, _) = address.as_str().rsplit_once(':').expect("it was parsed");
        let found = self.names.get(host).copied();
        let found =
            found.or_else(|| (0..self.network.hosts()).find(|index| ip_of(*index).to_string() == host));
        let listener = found.map(|host| (host, self.on(host)));
        let from = self.processes[&life].host;
        self.say(|| format!("{life:?} dials {address}"));
        let fate = match listener {
            Some((host, _)) if !self.network.is_up(host) => Err(DialFailure::Timeout),
            Some((host, _)) if self.network.is_blocked(from, host) || self.network.is_blocked(host, from) => {
                Err(DialFailure::Timeout)
            }
            Some((host, Some(listener))) => Ok((host, listener)),
            Some((_, None)) => Err(DialFailure::Refused),
            None => Err(DialFailure::Unreachable),
        };
        let wait = self.network.delay(&mut self.chance) + self.network.delay(&mut self.chance);
        match fate {
            Ok((host, listener)) => {
                self.network.connect(self.now, &mut self.chance, (from, life), (host, listener), address);
            }
            Err(failure) => {
                let wait = if failure == DialFailure::Timeout { DIAL_MS } else { wait };
                self.network.at(self.now + wait, Event::NotDialled(life, address, failure));
            }
        }
    }

    /// The view of a process has changed: nobody who ended comes back from the dead, and who runs is not dead.
    fn look(&mut self, life: Life) {
        let process = self.processes.get_mut(&life).expect("it runs");
        let view = process.members.view().clone();
        let mut dead = 0;
        for member in &view.members {
            if member.standing == Standing::Dead {
                process.seen_dead.insert(member.id);
                dead += u64::from(!self.ended.contains_key(&member.id));
            } else if let Some(ended) = self.ended.get(&member.id) {
                let since = self.now - ended;
                assert!(
                    since < 1_000 || !process.seen_dead.contains(&member.id),
                    "seed {}: {} was revived at {life:?} {since} ms after its end",
                    self.seed,
                    member.id
                );
            } else {
                // It was taken for dead, and is not.
                process.seen_dead.remove(&member.id);
            }
        }
        self.false_deaths += dead;
        let is_alive = |member: &&Member| member.standing == Standing::Alive;
        let alive: BTreeSet<NodeId> = view.members.iter().filter(is_alive).map(|member| member.id).collect();
        self.doubts +=
            process.alive.iter().filter(|id| !alive.contains(*id) && !self.ended.contains_key(*id)).count()
                as u64;
        process.alive = alive;
        self.say(|| {
            let members = view.members.iter().map(|member| format!("{}={:?}", member.id, member.standing));
            format!("{life:?} sees {}", members.collect::<Vec<_>>().join(" "))
        });
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9} {}", self.now, line());
        }
    }
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Hello => "HELLO",
        Kind::Stand => "STAND",
        Kind::Keep => "KEEP",
        Kind::PeerAnnounce => "PEER_ANNOUNCE",
        Kind::PeerList => "PEER_LIST",
        Kind::Ping => "PING",
        Kind::Pong => "PONG",
        Kind::Drain => "DRAIN",
        Kind::Shutdown => "SHUTDOWN",
        _ => panic!("membership says {kind:?}"),
    }
}
