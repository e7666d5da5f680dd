//! How fast links are. Not a test of every day:
//!
//!     cargo test --release -p wse-link --test speed -- --ignored --nocapture --test-threads=1

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use common::certs::{Folder, guard, load};
use common::{MAX_FRAME, config, open, run};
use tokio::sync::Notify;
use wse_link::{Class, Closed, Frame, Frames, Guard, Link, Links, Owner, Port};

const MSG: u8 = 0x14;

/// Counts, and sends back what it is asked to.
struct Counter {
    frames: Cell<u64>,
    bytes: Cell<u64>,
    echoes: bool,
    came: Notify,
}

impl Owner for Counter {
    fn handle_connected(&self, link: &Link) {
        link.admit(MAX_FRAME);
    }
    fn handle_frames(&self, link: &Link, frames: &[Frame<'_>]) {
        self.frames.set(self.frames.get() + frames.len() as u64);
        let bytes: usize = frames.iter().map(|frame| frame.topic.len() + frame.payload.len()).sum();
        self.bytes.set(self.bytes.get() + bytes as u64);
        if self.echoes {
            for frame in frames {
                link.frame(Class::Data, frame.header.kind, frame.topic, frame.payload).expect("room");
            }
        }
        self.came.notify_one();
    }
    fn handle_closed(&self, _: &Link, _: &Closed) {}
}

fn counter(echoes: bool) -> Rc<Counter> {
    Rc::new(Counter { frames: Cell::default(), bytes: Cell::default(), echoes, came: Notify::new() })
}

/// Frames a second through one link, both ends and who pushes on one thread.
fn through_one_core(guard: &Guard, payload: usize, seconds: f64) -> (f64, f64) {
    let result = Rc::new(Cell::default());
    let told = result.clone();
    run(async move {
        let (here, there) = (counter(false), counter(false));
        let (dialler, acceptor) =
            (Links::new(config(guard.clone()), here), Links::new(config(guard.clone()), there.clone()));
        let port = Port::bind("127.0.0.1", 0).expect("a port");
        let address = port.address().to_string();
        acceptor.accept(port).expect("a runtime");
        let link = dialler.dial(&address, Duration::from_secs(5)).await.expect("a link");
        let payload = vec![b'x'; payload];
        let begun = Instant::now();
        let mut pushed = 0_u64;
        while begun.elapsed().as_secs_f64() < seconds {
            // As a publisher does: one by one, as long as there is room.
            for _ in 0..1000 {
                if link.waiting() > 1 << 20 || link.frame(Class::Data, MSG, "chat/room/7", &payload).is_err()
                {
                    break;
                }
                pushed += 1;
            }
            tokio::task::yield_now().await;
        }
        while there.frames.get() < pushed {
            there.came.notified().await;
        }
        let took = begun.elapsed().as_secs_f64();
        told.set((pushed as f64 / took, there.bytes.get() as f64 / took / 1e6));
    });
    result.get()
}

#[test]
#[ignore = "measures"]
fn frames_a_second_through_one_link_and_one_core() {
    let folder = Folder::of_guide();
    let tls = guard(load(&folder.files("node", "ca")).expect("good files"));
    for (name, guard) in [("plain", &open()), ("TLS", &tls)] {
        for payload in [20, 100, 1000, 10_000] {
            let (frames, megabytes) = through_one_core(guard, payload, 2.0);
            println!(
                "{name:5} {payload:6} bytes: {:6.2} million frames/s, {megabytes:6.0} MB/s",
                frames / 1e6
            );
        }
    }
}

#[test]
#[ignore = "measures"]
fn frames_that_are_pushed_in_runs() {
    run(async {
        let (here, there) = (counter(false), counter(false));
        let (dialler, acceptor) =
            (Links::new(config(open()), here), Links::new(config(open()), there.clone()));
        let port = Port::bind("127.0.0.1", 0).expect("a port");
        let address = port.address().to_string();
        acceptor.accept(port).expect("a runtime");
        let link = dialler.dial(&address, Duration::from_secs(5)).await.expect("a link");
        let mut run = Frames::new();
        (0..500).for_each(|_| run.put(MSG, "chat/room/7", &[b'x'; 20]));
        let begun = Instant::now();
        let mut pushed = 0_u64;
        while begun.elapsed().as_secs_f64() < 2.0 {
            while link.waiting() < 1 << 20 && link.push(Class::Data, &run).is_ok() {
                pushed += 500;
            }
            tokio::task::yield_now().await;
        }
        while there.frames.get() < pushed {
            there.came.notified().await;
        }
        println!(
            "runs of 500, 20 bytes: {:.2} million frames/s",
            pushed as f64 / begun.elapsed().as_secs_f64() / 1e6
        );
    });
}

/// An echo on a thread of its own; its address.
fn echo(guard: Guard) -> String {
    let (told, address): (SyncSender<String>, _) = sync_channel(1);
    thread::spawn(move || {
        run(async move {
            let links = Links::new(config(guard), counter(true));
            let port = Port::bind("127.0.0.1", 0).expect("a port");
            told.send(port.address().to_string()).expect("somebody waits");
            links.accept(port).expect("a runtime");
            std::future::pending::<()>().await;
        });
    });
    address.recv().expect("an address")
}

const ROUNDS: usize = 20_000;

fn median(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2].as_secs_f64() * 1e6
}

fn through_a_link(guard: Guard) -> f64 {
    let address = echo(guard.clone());
    let result = Rc::new(Cell::default());
    let told = result.clone();
    run(async move {
        let here = counter(false);
        let links = Links::new(config(guard), here.clone());
        let link = links.dial(&address, Duration::from_secs(5)).await.expect("a link");
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            link.frame(Class::Data, MSG, "t", &[b'x'; 91]).expect("room");
            here.came.notified().await;
            rounds.push(begun.elapsed());
        }
        told.set(median(rounds));
    });
    result.get()
}

fn through_raw_tcp() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("an option");
        let mut buffer = [0; 100];
        while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
    });
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("an option");
    let mut buffer = [b'x'; 100];
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        stream.write_all(&buffer).expect("writes");
        stream.read_exact(&mut buffer).expect("reads");
        rounds.push(begun.elapsed());
    }
    median(rounds)
}

#[test]
#[ignore = "measures"]
fn a_round_trip_of_a_hundred_bytes() {
    let folder = Folder::of_guide();
    for _ in 0..3 {
        let tls = guard(load(&folder.files("node", "ca")).expect("good files"));
        let (raw, link, tls) = (through_raw_tcp(), through_a_link(open()), through_a_link(tls));
        println!("raw TCP {raw:.1} us, link {link:.1} us ({:.1} times), TLS {tls:.1} us", link / raw);
    }
}
