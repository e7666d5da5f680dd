//! Everything at once, from real threads over real sockets: what the thread sanitizer (`make tsan`) looks at.
//!
//! It also runs without the sanitizer, for what can be seen from outside: order, one end for each beginning, and a stop that comes
//! back while everybody is in the middle of something.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use socket2::SockRef;
use wse_core::ConnId;
use wse_core::options::Options;
use wse_core::presence::Data;
use wse_core::topic::Filter;
use wse_node::events::{EventKind, Keep};
use wse_node::gate::{From, Wish};
use wse_node::{Node, Payload, Server};

/// Threads with clients, and how often each of them comes.
const GUESTS: usize = 6;
const VISITS: usize = 8;
/// Threads that publish, each numbering its messages.
const PUBLISHERS: usize = 3;
/// A client that waits for longer has found a fault.
const PATIENCE: Duration = Duration::from_secs(60);

fn wishes<'a>(topics: &[Filter<'a>]) -> Vec<Wish<'a>> {
    topics
        .iter()
        .map(|filter| Wish { filter: *filter, from: From::Here, presence: None, group: None })
        .collect()
}

/// The same as somebody who is seen there.
fn wishes_to_be_seen<'a>(topics: &[Filter<'a>], data: &'a Data) -> Vec<Wish<'a>> {
    wishes(topics).into_iter().map(|wish| Wish { presence: Some(data), ..wish }).collect()
}

/// A membership in a queue group.
fn work(topic: Filter<'_>) -> Wish<'_> {
    Wish { filter: topic, from: From::Now, presence: None, group: Some("workers") }
}

fn node() -> Node {
    let options = Options {
        shards: 2,
        max_outbound_queue_bytes: 2 * 1024 * 1024,
        max_inbound_queue_size: 64,
        recovery_enabled: true,
        presence_enabled: true,
        ..Options::default()
    };
    let node = Node::new("127.0.0.1".into(), 0, options).unwrap();
    node.keep_events(Keep { presence: true, ..Keep::default() });
    node
}

/// A client as blocking as they come.
struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// The last number of each publisher.
    last: HashMap<String, u64>,
}

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self { stream, bytes: Vec::new(), last: HashMap::new() };
        client.stream.write_all(
            b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )?;
        let end = loop {
            if let Some(end) = client.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            client.read()?;
        };
        assert!(client.bytes.starts_with(b"HTTP/1.1 101 "));
        client.bytes.drain(..end);
        Ok(client)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(size) => {
                self.bytes.extend_from_slice(&buffer[..size]);
                Ok(())
            }
            Err(error) => {
                // A timeout is the server's silence, everything else one of the ends that are to be expected.
                assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "nothing came for {PATIENCE:?}");
                Err(error)
            }
        }
    }

    /// Sends a short text, its mask being zero.
    fn send(&mut self, text: &str) -> io::Result<()> {
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame)
    }

    /// Reads until `count` messages have come.
    fn receive(&mut self, count: usize) -> io::Result<()> {
        let mut seen = 0;
        while seen < count {
            self.read()?;
            while let Some(payload) = self.frame() {
                self.check(&payload);
                seen += 1;
            }
        }
        Ok(())
    }

    /// The next whole frame's payload; those of this test are short.
    fn frame(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(*self.bytes.get(1)?);
        assert!(length < 126, "a frame of the server with {length} in its second byte");
        if self.bytes.len() < 2 + length {
            return None;
        }
        Some(self.bytes.drain(..2 + length).skip(2).collect())
    }

    fn check(&mut self, payload: &[u8]) {
        let Ok(text) = std::str::from_utf8(payload) else { return };
        let Some((publisher, number)) = text.split_once(' ') else { return };
        if let Ok(number) = number.parse::<u64>() {
            let last = self.last.insert(publisher.to_owned(), number);
            assert!(last < Some(number), "{publisher} {number} came after {last:?}");
        }
    }
}

/// Comes, talks, listens, and leaves in one of three ways; being sent away in the middle is no fault.
fn visit(address: SocketAddr, turn: usize) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    for number in 0..20 {
        client.send(&format!("said {number}"))?;
    }
    client.receive(50 + turn * 17 % 100)?;
    match turn % 3 {
        0 => client.stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]),
        1 => SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)),
        _ => Ok(()),
    }
}

/// Publishes in every way there is until told to stop; the numbers rise by one. What goes to everyone has numbers of its own: a client that fell
/// behind gets the messages of the topic again when it reads, after what was not the topic's.
fn publish(server: &Server, name: usize, over: &AtomicBool) {
    let topic = Filter::parse("news.one").unwrap();
    let jobs = Filter::parse("jobs").unwrap();
    let (mut number, mut to_all) = (0_u64, 0_u64);
    let mut next = || {
        number += 1;
        format!("p{name} {number}")
    };
    while !over.load(Ordering::Relaxed) {
        let text = next();
        if let Some(publication) = server.to_topic(topic, &text).unwrap() {
            publication.finish();
        }
        let texts: Vec<String> = (0..20).map(|_| next()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        server.publish_many(topic, &texts).unwrap();
        server.publish_many(jobs, &["job", "job", "job"]).unwrap();
        to_all += 1;
        let text = format!("all{name} {to_all}");
        let mut publication = server.to_everyone(Payload::Text(&text)).unwrap();
        if !publication.try_finish() {
            publication.finish();
        }
    }
}

/// Does to connections all that a program may do, while they come and go.
fn meddle(server: &Server, over: &AtomicBool) {
    let topics = [Filter::parse("news.one").unwrap(), Filter::parse("news.*").unwrap()];
    let jobs = Filter::parse("jobs").unwrap();
    let data = [Data::empty(), Data::new("{\"n\":1}", 100).unwrap()];
    let mut turn = 0_usize;
    while !over.load(Ordering::Relaxed) {
        for conn in server.connections() {
            turn += 1;
            match turn % 8 {
                0 => {
                    server.unsubscribe(conn, None);
                    let _ = server.subscribe(conn, &wishes_to_be_seen(&topics, &data[0]));
                }
                1 => {
                    server.unsubscribe(conn, Some(&topics[..1]));
                    let _ = server.subscribe(conn, &wishes(&topics));
                }
                2 => drop(server.connection_info(conn)),
                3 if turn % 200 == 3 => server.disconnect(conn, 4000, "by lot"),
                4 => server.update_presence(conn, &data[turn % 16 / 8]),
                5 => drop(server.subscribe(conn, &[work(jobs)])),
                6 => server.unsubscribe(conn, Some(&[jobs])),
                _ => drop((
                    server.presence(topics[0]),
                    server.queue_groups(jobs),
                    server.subscriber_count(topics[0]),
                )),
            }
        }
        thread::yield_now();
    }
}

/// Takes events until there can be no more, subscribes whoever comes, and checks that each beginning has its end.
fn drain(node: &Node, server: &Server, over: &AtomicBool) {
    let topics = [Filter::parse("news.one").unwrap(), Filter::parse("news.*").unwrap()];
    let (mut present, mut seen): (HashSet<ConnId>, HashSet<ConnId>) = (HashSet::new(), HashSet::new());
    loop {
        // Asked before taking: what is there afterwards came before the end.
        let last = over.load(Ordering::Acquire);
        let taken = node.take_events(256, Duration::from_millis(20));
        if taken.is_empty() && last {
            break;
        }
        for event in taken.iter().flat_map(wse_node::events::Taken::events) {
            let conn = event.conn.expect("there is no other node");
            match event.kind {
                EventKind::Connect | EventKind::AuthConnect => {
                    assert!(present.insert(conn), "{conn:?} connected twice");
                    let _ = server.subscribe(conn, &wishes(&topics));
                }
                EventKind::Disconnect => {
                    assert!(present.remove(&conn), "an end without a beginning");
                    assert!(!seen.contains(&conn), "an end of somebody who is still there");
                }
                EventKind::Claims | EventKind::Authorize | EventKind::AuthRefresh => {
                    unreachable!("nobody asked for it")
                }
                EventKind::PresenceJoin => assert!(seen.insert(conn), "somebody joined twice"),
                EventKind::PresenceLeave => assert!(seen.remove(&conn), "somebody left twice"),
                EventKind::Text | EventKind::Binary => {
                    assert!(present.contains(&conn), "a message of nobody");
                    let id = conn.to_text(server.run());
                    let id = str::from_utf8(&id).unwrap();
                    if let Some(publication) = server.to_connection(id, Payload::Text("heard")).unwrap() {
                        publication.finish();
                    }
                }
            }
        }
    }
    assert_eq!(present.len(), 0, "without an end after the stop");
}

/// Stays until the server is stopped, reading all that comes or only coming and going.
fn stay(address: SocketAddr, briefly: bool) {
    while let Ok(mut client) = Client::connect(address) {
        let _ = client.receive(if briefly { 0 } else { usize::MAX });
    }
}

fn join(threads: Vec<ScopedJoinHandle<'_, ()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// One life of a server; it is stopped while everything goes on.
fn life(node: &Node) {
    node.start(None, false).unwrap();
    let (server, address) = (node.server().unwrap(), node.address().unwrap());
    let (over, drained) = (AtomicBool::new(false), AtomicBool::new(false));
    let (over, drained, server) = (&over, &drained, &server);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        let draining = scope.spawn(move || drain(node, server, drained));
        let mut others = vec![scope.spawn(move || meddle(server, over))];
        others.extend((0..PUBLISHERS).map(|name| scope.spawn(move || publish(server, name, over))));
        others.extend((0..4).map(|turn| scope.spawn(move || stay(address, turn == 0))));
        let served = &served;
        let guests = (0..GUESTS).map(|guest| {
            scope.spawn(move || {
                for turn in 0..VISITS {
                    if visit(address, guest + turn).is_ok() {
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                    assert!(node.health().connections <= node.options().max_connections);
                }
            })
        });
        join(guests.collect());
        node.stop();
        drained.store(true, Ordering::Release);
        over.store(true, Ordering::Relaxed);
        // One by one: how a scope waits for the rest is a part of the library that the sanitizer does not see.
        others.push(draining);
        join(others);
    });
    assert!(served.into_inner() > 0, "not one guest was served to the end");
}

#[test]
fn everything_at_once_from_all_sides_and_a_stop_in_the_midst() {
    let node = node();
    for _ in 0..2 {
        life(&node);
    }
}
