//! Membership in a small world of its own (`members_world`): nodes that start in any order, fail, move and come back.

#[allow(
    unreachable_pub,
    dead_code,
    reason = "a module of a test is reached from the test alone, and others use the rest of it"
)]
mod members_world;

use std::ops::Range;

use members_world::{Life, World, address, address_of, config};
use wse_mesh::members::Config;

/// How the nodes of a cluster find each other.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// Everybody has the name of the first one as seed, the first one too.
    SameSeed,
    /// Everybody but the first one has its address.
    Seed,
    /// The same two seeds for all.
    TwoSeeds,
    /// Everybody lists all others by address.
    Static,
    /// Everybody lists all, itself included, by name.
    StaticNames,
    /// Everybody lists all by name and has the first one's address as seed too.
    Both,
    /// Everybody knows the one before.
    Chain,
}

const PLANS: [Plan; 7] =
    [Plan::SameSeed, Plan::Seed, Plan::TwoSeeds, Plan::Static, Plan::StaticNames, Plan::Both, Plan::Chain];

fn name_of(index: usize) -> String {
    format!("wse-{index}.wse")
}

fn by_name(index: usize) -> wse_mesh::wire::Address {
    address(&format!("{}:9999", name_of(index)))
}

impl Plan {
    fn config(self, index: usize, count: usize) -> Config {
        let mut config = config();
        let others = || (0..count).filter(|other| *other != index);
        match self {
            Plan::SameSeed => config.seeds = vec![by_name(0)],
            Plan::Seed => {
                config.seeds = others().take(1).filter(|first| *first == 0).map(address_of).collect()
            }
            Plan::TwoSeeds => config.seeds = vec![by_name(0), by_name(1)],
            Plan::Static => config.peers = others().map(address_of).collect(),
            Plan::StaticNames => config.peers = (0..count).map(by_name).collect(),
            Plan::Both => {
                config.peers = (0..count).map(by_name).collect();
                config.seeds = vec![address_of(0)];
            }
            Plan::Chain => config.seeds = index.checked_sub(1).map(address_of).into_iter().collect(),
        }
        config
    }
}

/// A world with as many hosts as nodes and some to spare, and its plan.
struct Case {
    world: World,
    plan: Plan,
    count: usize,
}

impl Case {
    fn new(seed: u64, count: usize, plan: Plan) -> Self {
        let mut world = World::new(seed, 2 * count);
        for index in 0..count {
            world.name(&name_of(index), index);
        }
        Self { world, plan, count }
    }

    fn from_seed(seed: u64) -> Self {
        let mut chance = members_world::Chance::new(!seed);
        let (count, plan) = (chance.pick(&[2, 3, 3, 5, 5, 12]), chance.pick(&PLANS));
        Self::new(seed, count, plan)
    }

    fn config(&mut self, index: usize) -> Config {
        let mut config = self.plan.config(index, self.count);
        if self.world.chance.one_in(2) {
            config.advertised = Some(address_of(index));
        }
        config
    }

    /// All start, in any order: at once, one after the other, or scattered.
    fn start(&mut self) {
        let mut order: Vec<usize> = (0..self.count).collect();
        for at in (1..order.len()).rev() {
            let other = self.world.chance.between(0, at as u64) as usize;
            order.swap(at, other);
        }
        let gap_ms = self.world.chance.pick(&[0, 50, 700, 3_000]);
        for (position, index) in order.into_iter().enumerate() {
            if position > 0 {
                let wait_ms = self.world.chance.between(0, gap_ms);
                self.world.run_for(wait_ms);
            }
            let config = self.config(index);
            self.world.start(index, config);
        }
    }

    fn lives(&self) -> Vec<Life> {
        self.world.processes.keys().copied().collect()
    }
}

/// Seeds of a test: `WSE_SEEDS=A..B` for others.
#[allow(clippy::disallowed_methods, reason = "a longer run is asked for from outside")]
fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(asked) = std::env::var("WSE_SEEDS") else { return usual };
    let (from, to) = asked.split_once("..").expect("WSE_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// `WSE_TRACE=1` prints what happens.
#[allow(clippy::disallowed_methods, reason = "a trace is asked for from outside")]
fn is_traced() -> bool {
    std::env::var_os("WSE_TRACE").is_some()
}

#[test]
fn nodes_that_start_in_any_order_are_a_full_mesh_within_three_seconds_and_stay_one() {
    for seed in seeds(0..2_000) {
        let mut case = Case::from_seed(seed);
        case.world.trace = is_traced();
        case.start();
        case.world.run_for(3_000);
        case.world.check_whole();
        let downs = case.world.downs;
        case.world.run_for(15_000);
        case.world.check_whole();
        case.world.check_joined();
        assert_eq!(case.world.downs, downs, "seed {seed}: a link that counts is not given up");
        assert_eq!(case.world.downs, 0, "seed {seed}: nor was one before");
        let (deaths, doubts) = (case.world.false_deaths, case.world.doubts);
        assert_eq!(
            (deaths, doubts),
            (0, 0),
            "seed {seed}: nobody who runs was seen dead, or suspect after it was alive"
        );
    }
}

#[test]
fn whatever_breaks_the_nodes_find_each_other_again_and_nobody_comes_back_from_the_dead() {
    for seed in seeds(0..1_000) {
        let mut case = Case::from_seed(seed);
        case.world.trace = is_traced();
        case.start();
        case.world.run_for(3_000);
        for _ in 0..case.world.chance.between(1, 8) {
            let wait_ms = case.world.chance.pick(&[0, 100, 2_000, 6_000]);
            let wait_ms = case.world.chance.between(0, wait_ms);
            case.world.run_for(wait_ms);
            case.break_something();
        }
        case.mend_everything();
        case.world.run_for(20_000);
        case.world.check_whole();
        let downs = case.world.downs;
        case.world.run_for(20_000);
        case.world.check_whole();
        case.world.check_joined();
        assert_eq!(case.world.downs, downs, "seed {seed}: it is quiet");
    }
}

impl Case {
    /// Somebody who runs and was not stopped.
    fn somebody(&mut self) -> Option<Life> {
        let lives = self.lives();
        (!lives.is_empty()).then(|| self.world.chance.pick(&lives))
    }

    fn break_something(&mut self) {
        let Some(life) = self.somebody() else { return };
        match self.world.chance.between(0, 9) {
            0 | 1 => self.break_a_link(),
            2 | 3 => self.block(),
            4 => self.world.heal(),
            5 => self.world.crash(life, true),
            6 => self.lose_a_host(life),
            7 => self.world.stop(life),
            8 => {
                for life in self.lives() {
                    self.world.go_on(life);
                }
            }
            _ => self.end_well(life),
        }
        if self.world.chance.one_in(3) {
            self.restart();
        }
    }

    fn break_a_link(&mut self) {
        let links: Vec<u64> = self.world.network.open_links().map(|(link, _)| link).collect();
        if !links.is_empty() {
            let link = self.world.chance.pick(&links);
            let sides: &[usize] = self.world.chance.pick(&[&[0], &[1], &[0, 1]]);
            self.world.reset(link, sides);
        }
    }

    /// Between two, one way or both; or between halves; or around one.
    fn block(&mut self) {
        let hosts = self.world.network.hosts() as u64;
        let (one, other) = (self.world.chance.between(0, hosts - 1), self.world.chance.between(0, hosts - 1));
        let (kind, is_one_way) = (self.world.chance.between(0, 3), self.world.chance.one_in(2));
        for (from, to) in (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))) {
            let is_cut = match kind {
                0 | 1 => (from, to) == (one, other) || (!is_one_way && (to, from) == (one, other)),
                2 => (from % 2 == 0) != (to % 2 == 0),
                _ => from != to && (from == one || (to == one && !is_one_way)),
            };
            if is_cut && from != to {
                self.world.network.block(from as usize, to as usize);
            }
        }
    }

    fn lose_a_host(&mut self, life: Life) {
        let host = self.world.processes[&life].host;
        self.world.crash(life, false);
        self.world.network.set_up(host, false);
    }

    fn end_well(&mut self, life: Life) {
        if self.world.is_stopped(life) {
            return;
        }
        self.world.leave(life);
        let wait_ms = self.world.chance.between(0, 3_000);
        self.world.run_for(wait_ms);
        if !self.world.is_stopped(life) {
            self.world.shutdown(life);
        }
    }

    /// One of those that do not run starts again: where it was, or elsewhere, if the others have its name.
    fn restart(&mut self) {
        let runs =
            |index: &usize| [*index, index + self.count].iter().any(|host| self.world.on(*host).is_some());
        let Some(index) = (0..self.count).find(|index| !runs(index)) else { return };
        let has_name = matches!(self.plan, Plan::SameSeed | Plan::StaticNames | Plan::Both);
        let host = if has_name && self.world.chance.one_in(2) { index + self.count } else { index };
        self.world.network.set_up(host, true);
        self.world.name(&name_of(index), host);
        let mut config = self.config(index);
        config.advertised = config.advertised.map(|_| address_of(host));
        self.world.start(host, config);
    }

    fn mend_everything(&mut self) {
        self.world.heal();
        for life in self.lives() {
            self.world.go_on(life);
        }
        while self.world.processes.len() < self.count {
            self.restart();
        }
    }
}
