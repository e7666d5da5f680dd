//! What topics with history cost, without sockets: `cargo run --release -p wse-sim --example rate`.
//!
//! Three nodes in one thread hand their frames to each other at once. One publishes, one is home, one keeps the copy, all have subscribers; the
//! time of each is taken apart. Then a node with many topics dies, and the others take over.

use std::time::{Duration, Instant};

use wse_mesh::ids::{Incarnation, NodeId, Session};
use wse_mesh::log::{Config, Limits, Logs, Output};
use wse_mesh::view::{Member, Standing, View};

const BATCH: usize = 256;
const MESSAGES: usize = 1 << 20;
const TOPICS: usize = 100_000;

struct Nodes {
    logs: Vec<Logs>,
    spent: Vec<Duration>,
    dead: Option<usize>,
    now: u64,
    frames: u64,
    bytes: u64,
    delivered: u64,
    stored: u64,
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64 + 1)
}

impl Nodes {
    fn new(config: Config) -> Self {
        let logs = (0..3).map(|node| Logs::new(id(node), node as u64, config, 0)).collect();
        let (spent, dead, now) = (vec![Duration::ZERO; 3], None, 1);
        let mut nodes = Self { logs, spent, dead, now, frames: 0, bytes: 0, delivered: 0, stored: 0 };
        nodes.tell_views();
        nodes
    }

    fn tell_views(&mut self) {
        for node in self.alive() {
            let member = |other: usize| {
                let is_dead = self.dead == Some(other);
                Member {
                    id: id(other),
                    incarnation: Incarnation(0),
                    standing: if is_dead { Standing::Dead } else { Standing::Alive },
                    leaving: false,
                    elder: false,
                    session: (!is_dead).then_some(Session((node.min(other) * 3 + node.max(other)) as u64)),
                }
            };
            let members = (0..3).filter(|other| *other != node).map(member).collect();
            let view = View { me: id(node), leaving: false, joining: false, established: true, members };
            let begin = Instant::now();
            self.logs[node].handle_view(&view, self.now);
            self.spent[node] += begin.elapsed();
        }
    }

    fn alive(&self) -> Vec<usize> {
        (0..3).filter(|node| self.dead != Some(*node)).collect()
    }

    /// Hands frames on until nobody says anything.
    fn settle(&mut self) {
        let mut goes_on = true;
        while goes_on {
            goes_on = false;
            for node in self.alive() {
                let begin = Instant::now();
                let outputs: Vec<Output> = std::iter::from_fn(|| self.logs[node].poll_output()).collect();
                self.spent[node] += begin.elapsed();
                goes_on |= !outputs.is_empty();
                for output in outputs {
                    self.output(node, &output);
                }
            }
        }
    }

    fn output(&mut self, from: usize, output: &Output) {
        match output {
            Output::Send { to, session, kind, topic, payload } => {
                let to = to.0 as usize - 1;
                self.frames += 1;
                self.bytes += payload.len() as u64;
                if self.dead != Some(to) {
                    let begin = Instant::now();
                    self.logs[to]
                        .handle_frame(id(from), *session, *kind, topic, payload, self.now)
                        .expect("well formed");
                    self.spent[to] += begin.elapsed();
                }
            }
            Output::Deliver { run, .. } => self.delivered += run.messages.len() as u64,
            Output::Stored { .. } => self.stored += 1,
            _ => {}
        }
    }

    /// Lets time pass.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 50;
            for node in self.alive() {
                let begin = Instant::now();
                self.logs[node].handle_timeout(self.now);
                self.spent[node] += begin.elapsed();
            }
            self.settle();
        }
    }
}

fn main() {
    let config = Config {
        limits: Limits { messages: 1000, ttl_ms: 300_000, bytes: 1 << 20 },
        unacked_bytes: 64 << 20,
        ..Config::default()
    };
    messages(config);
    many_topics(config);
}

fn messages(config: Config) {
    let mut nodes = Nodes::new(config);
    let topic = "room";
    for node in 0..3 {
        nodes.logs[node].recover(topic, node as u64, None, nodes.now);
    }
    nodes.settle();
    nodes.pass(3000);
    let home = (0..3).find(|node| nodes.logs[*node].inspect(topic).is_some_and(|look| look.is_settled));
    let home = home.expect("there is a home");
    let is_copy = |node: &usize| {
        nodes.logs[*node].inspect(topic).is_some_and(|look| look.upstream.is_some_and(|up| up.1))
    };
    let copy = (0..3).find(is_copy).expect("there is a copy");
    let publisher = 3 - home - copy;
    (nodes.frames, nodes.bytes, nodes.delivered, nodes.spent) = (0, 0, 0, vec![Duration::ZERO; 3]);
    let message = [b'x'; 100];
    for batch in 0..MESSAGES / BATCH {
        for at in 0..BATCH {
            let begin = Instant::now();
            let token = (batch * BATCH + at) as u64;
            nodes.logs[publisher]
                .publish(topic, message.as_slice().into(), Some(token), nodes.now)
                .expect("there is room");
            nodes.spent[publisher] += begin.elapsed();
        }
        nodes.settle();
    }
    assert_eq!((nodes.delivered, nodes.stored), (3 * MESSAGES as u64, MESSAGES as u64));
    println!(
        "{MESSAGES} messages of 100 bytes in batches of {BATCH}: {} frames, {} bytes",
        nodes.frames, nodes.bytes
    );
    for (name, node) in [("home", home), ("copy", copy), ("publisher and follower", publisher)] {
        let seconds = nodes.spent[node].as_secs_f64();
        println!(
            "  {name:22} {:5.0} ns a message, {:.2} million a second",
            seconds * 1e9 / MESSAGES as f64,
            MESSAGES as f64 / seconds / 1e6
        );
    }
}

fn many_topics(config: Config) {
    let mut nodes = Nodes::new(config);
    for topic in 0..TOPICS {
        let name = format!("some-topic-of-{topic:08}");
        nodes.logs[topic % 3]
            .publish(&name, b"hello".as_slice().into(), None, nodes.now)
            .expect("there is room");
        if topic % 1000 == 999 {
            nodes.settle();
        }
    }
    nodes.settle();
    nodes.pass(5000);
    let of = |nodes: &Nodes| -> Vec<usize> { nodes.logs.iter().map(Logs::topic_count).collect() };
    println!("{TOPICS} topics with a message each: {:?} have a place at the nodes", of(&nodes));
    (nodes.frames, nodes.bytes, nodes.spent) = (0, 0, vec![Duration::ZERO; 3]);
    nodes.pass(2000);
    println!("  idle for two seconds: {} frames, {:?}", nodes.frames, nodes.spent);
    (nodes.frames, nodes.bytes, nodes.spent) = (0, 0, vec![Duration::ZERO; 3]);
    nodes.dead = Some(0);
    nodes.tell_views();
    nodes.settle();
    nodes.pass(2000);
    let homes = (0..TOPICS).filter(|topic| {
        let name = format!("some-topic-of-{topic:08}");
        let settled = |node: usize| {
            nodes.logs[node].inspect(&name).is_some_and(|look| look.is_settled && look.commit == 1)
        };
        settled(1) || settled(2)
    });
    println!(
        "  a node dies: {} topics are settled, {} frames, {} bytes, {:?}",
        homes.count(),
        nodes.frames,
        nodes.bytes,
        nodes.spent
    );
}
