//! A node on a real port, as a test sees it: what its owner was told, one thing after the other.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

pub mod certs;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::timeout;
use wse_core::options::Secret;
use wse_link::{Bounds, Closed, Config, Frame, Frames, Guard, Link, Links, OPENING, OPENINGS, Owner, Port};
use wse_mesh::ids::Session;

/// For what must happen: reaching it is a failure, so it may be long.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const MAX_FRAME: usize = 4 << 20;

#[derive(Debug)]
pub enum Event {
    Connected(Link),
    Frames(Session, Vec<(u8, String, Vec<u8>)>),
    Closed(Session, Closed),
}

/// An owner that tells the test everything, and admits a link at once or never.
pub struct Recorder {
    events: UnboundedSender<Event>,
    admits: Admits,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Admits {
    AtOnce,
    Never,
}

impl Owner for Recorder {
    fn handle_connected(&self, link: &Link) {
        if self.admits == Admits::AtOnce {
            link.admit(MAX_FRAME);
        }
        let _ = self.events.send(Event::Connected(link.clone()));
    }

    fn handle_frames(&self, link: &Link, frames: &[Frame<'_>]) {
        let owned = |frame: &Frame<'_>| (frame.header.kind, frame.topic.to_owned(), frame.payload.to_owned());
        let _ = self.events.send(Event::Frames(link.session(), frames.iter().map(owned).collect()));
    }

    fn handle_closed(&self, link: &Link, why: &Closed) {
        let _ = self.events.send(Event::Closed(link.session(), why.clone()));
    }
}

pub struct Node {
    pub links: Links,
    pub address: SocketAddr,
    events: RefCell<UnboundedReceiver<Event>>,
}

pub fn config(guard: Guard) -> Config {
    let bounds = Bounds { data: 16 << 20, control: 1 << 20 };
    Config { guard, max_frame: MAX_FRAME, bounds, opening: OPENING, openings: OPENINGS }
}

pub fn open() -> Guard {
    Guard { tls: None, secret: None, cluster_name: "wse".into() }
}

pub fn secret(secret: &str) -> Guard {
    Guard { secret: Some(Secret::new(secret.as_bytes())), ..open() }
}

impl Node {
    pub fn start(config: Config) -> Self {
        Self::with(config, Admits::AtOnce, "127.0.0.1")
    }

    pub fn with(config: Config, admits: Admits, host: &str) -> Self {
        let (sender, events) = unbounded_channel();
        let links = Links::new(config, Rc::new(Recorder { events: sender, admits }));
        let port = Port::bind(host, 0).expect("a free port");
        let address = port.address();
        links.accept(port).expect("a runtime");
        Self { links, address, events: RefCell::new(events) }
    }

    /// The next thing that its owner is told.
    #[allow(clippy::await_holding_refcell_ref, reason = "one task waits for a node at a time")]
    pub async fn next(&self) -> Event {
        timeout(PATIENCE, self.events.borrow_mut().recv()).await.expect("in time").expect("an event")
    }

    pub async fn connected(&self) -> Link {
        match self.next().await {
            Event::Connected(link) => link,
            other => panic!("{other:?} where a link should stand"),
        }
    }

    /// The end of the next link that ends, whatever came on it before.
    pub async fn closed(&self) -> Closed {
        loop {
            if let Event::Closed(_, why) = self.next().await {
                return why;
            }
        }
    }

    /// So many frames.
    pub async fn frames(&self, count: usize) -> Vec<(u8, String, Vec<u8>)> {
        let mut all = Vec::new();
        while all.len() < count {
            match self.next().await {
                Event::Frames(_, frames) => all.extend(frames),
                other => panic!("{other:?} after {} frames of {count}", all.len()),
            }
        }
        assert_eq!(all.len(), count);
        all
    }

    pub async fn dial(&self, other: &Node) -> Result<Link, wse_link::DialError> {
        self.links.dial(&other.address.to_string(), PATIENCE).await
    }
}

/// Two nodes with a link: the dialler's end and the acceptor's.
pub async fn pair(here: &Node, there: &Node) -> (Link, Link) {
    let dialled = here.dial(there).await.expect("a link");
    here.connected().await;
    (dialled, there.connected().await)
}

/// Runs a test as a node runs its links.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

/// Waits until something is so that no event tells of.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("in time");
}

/// A peer that is no node but knows how a link without a guard is opened.
pub async fn raw(node: &Node) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.expect("connects");
    stream.write_all(&challenge(0)).await.expect("writes");
    stream.write_all(&frame(0x09, "", b"")).await.expect("writes");
    let mut answer = vec![0; challenge(1).len() + frame(0x09, "", b"").len()];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    stream
}

pub fn challenge(role: u8) -> Vec<u8> {
    frame(0x08, "", &[&b"WSEL"[..], &[1, role, 0], &[7; 32]].concat())
}

pub fn frame(kind: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut frames = Frames::new();
    frames.put(kind, topic, payload);
    frames.bytes().to_vec()
}

/// Until the node closes the connection, by an end or a reset; what it said before.
pub async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("in time");
    heard
}
