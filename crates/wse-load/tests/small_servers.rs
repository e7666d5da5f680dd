//! Loads against servers of a few lines, which accept, echo, refuse and close as a test wants it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use wse_core::websocket::frame::write_frame;
use wse_core::websocket::{Flow, Incoming, Inflation, Opcode, Receiver};
use wse_load::{Group, Load, Plan, Role, Stage, Tally, Template};

const PATIENCE: Duration = Duration::from_secs(10);
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Serves each connection with `serve`, which is told how many came before, in a thread of its own.
fn server(serve: impl Fn(usize, TcpStream) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            thread::spawn(move || serve(number, stream));
        }
    });
    address
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

/// Answers each text by what `answer` makes of it, until the client goes or there is no answer.
fn converse(mut stream: TcpStream, answer: impl Fn(&str) -> Option<String>) {
    let (mut receiver, mut buffer) = (Receiver::default(), vec![0; 1 << 16]);
    loop {
        let kept = receiver.tail().len();
        buffer[..kept].copy_from_slice(receiver.tail());
        let Ok(read @ 1..) = stream.read(&mut buffer[kept..]) else { return };
        let mut out = Vec::new();
        let mut ends = false;
        let flow = receiver.receive(&mut buffer[..kept + read], 1 << 20, Inflation::Refused, |incoming| {
            match incoming {
                Incoming::Text(text) => match answer(text) {
                    Some(answer) => write_frame(&mut out, Opcode::Text, answer.as_bytes()),
                    None => ends = true,
                },
                Incoming::Close(_) => ends = true,
                _ => {}
            }
            Flow::Continue
        });
        assert!(flow.is_ok());
        let gone = stream.write_all(&out).is_err();
        if ends {
            let _ = stream.write_all(&[0x88, 2, 0x10, 0x04]);
        }
        if gone || ends {
            return;
        }
    }
}

fn group(role: Role, clients: u32) -> Group {
    Group {
        role,
        clients,
        threads: 1,
        hello: Template::default(),
        ready: Vec::new(),
        message: Template::new(r#"{"t":"x","p":{"at":$at,"n":$n}}"#),
        rate: 0.0,
        topics: 0,
        request: Vec::new(),
    }
}

fn plan(address: SocketAddr, groups: Vec<Group>) -> Plan {
    Plan {
        address,
        request: format!("GET /wse HTTP/1.1\r\nHost: {address}\r\n").into_bytes(),
        tokens: Vec::new(),
        sources: Vec::new(),
        concurrency: 4,
        connect_timeout: Duration::from_secs(5),
        limit: Duration::from_secs(60),
        groups,
    }
}

fn settle(load: &Load) -> Tally {
    assert_eq!(load.wait(Stage::Connecting, PATIENCE), Stage::Ready);
    load.tally().1
}

/// Looks again and again, until it is so.
fn until(load: &Load, what: impl Fn(&Tally) -> bool) -> Tally {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let tally = load.tally().1;
        if what(&tally) {
            return tally;
        }
        assert!(std::time::Instant::now() < deadline, "never so: {tally:?}");
        thread::yield_now();
    }
}

#[test]
fn echoes_are_counted_and_timed_and_stop_when_the_work_ends() {
    let address = server(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(ACCEPTED).unwrap();
        converse(stream, |text| Some(text.to_owned()));
    });
    let load = Load::start(plan(address, vec![Group { threads: 2, ..group(Role::Echo, 7) }])).unwrap();
    let ready = settle(&load);
    assert_eq!((ready.begun, ready.ready, ready.open, ready.sent, ready.received), (7, 7, 7, 0, 0));
    assert_eq!(ready.connecting.count(), 7);
    assert!(ready.connect_from.unwrap() < ready.connect_to);

    load.begin();
    assert_eq!(load.wait(Stage::Ready, PATIENCE), Stage::Working);
    let tally = until(&load, |tally| tally.received >= 100);
    assert_eq!(tally.latency.count(), tally.received);
    assert!(tally.latency.max() > 0);
    load.rest();
    let rest = until(&load, |tally| tally.sent == tally.received);
    assert_eq!((rest.lost, rest.doubled), (0, 0));
    load.reset();
    assert_eq!((load.tally().1.received, load.tally().1.ready), (0, 7));
    load.stop();
    assert_eq!(load.stage(), Stage::Ended);
}

#[test]
fn failures_are_counted_by_their_reasons() {
    let address = server(|number, mut stream| {
        read_request(&mut stream);
        match number {
            0 => stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap(),
            1 => stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap(),
            2 => {}
            3 => {
                // It never answers.
                let _ = stream.read(&mut [0]);
            }
            _ => {
                stream.write_all(ACCEPTED).unwrap();
                converse(stream, |_| None);
            }
        }
    });
    let connect_timeout = Duration::from_millis(300);
    let load =
        Load::start(Plan { connect_timeout, concurrency: 1, ..plan(address, vec![group(Role::Send, 5)]) })
            .unwrap();
    let tally = settle(&load);
    let failed: Vec<_> = tally.failed.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
    assert_eq!(
        failed,
        [
            ("HTTP 503", 1),
            ("ended without a close", 1),
            ("no answer to the upgrade in time", 1),
            ("the upgrade is answered wrongly", 1),
        ]
    );
    assert_eq!((tally.ready, tally.failures()), (1, 4));
    load.begin();
    let tally = until(&load, |tally| tally.open == 0);
    assert_eq!(tally.ended.keys().collect::<Vec<_>>(), ["closed with 4100"]);
}

#[test]
fn nobody_there_is_a_reason_too() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tally = settle(&Load::start(plan(nobody, vec![group(Role::Hold, 3)])).unwrap());
    assert_eq!(tally.failed.get("refused"), Some(&3));
}

#[test]
fn a_client_is_ready_when_its_hello_is_answered_and_fails_when_it_is_refused() {
    let address = server(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(ACCEPTED).unwrap();
        converse(stream, |text| {
            Some(if text == "topic 1" {
                r#"{"t":"error","p":{"code":"NOT_ALLOWED"}}"#.into()
            } else {
                "welcome".into()
            })
        });
    });
    let greeting = Group {
        hello: Template::new("topic $topic"),
        ready: b"welcome".to_vec(),
        topics: 2,
        ..group(Role::Hold, 6)
    };
    let tally = settle(&Load::start(plan(address, vec![greeting])).unwrap());
    assert_eq!((tally.ready, tally.failed.get("NOT_ALLOWED")), (3, Some(&3)));
}

// Elsewhere loopback has one address, unless somebody adds others.
#[cfg(target_os = "linux")]
#[test]
fn tokens_and_source_addresses_go_round() {
    let address = server(|_, mut stream| {
        let request = read_request(&mut stream);
        let last = stream.peer_addr().unwrap().ip().to_string().pop();
        let fits = request.contains(if last == Some('2') { "Bearer two\r\n" } else { "Bearer three\r\n" });
        stream.write_all(if fits { ACCEPTED } else { b"HTTP/1.1 401 No\r\n\r\n" }).unwrap();
        converse(stream, |_| None);
    });
    let sources = vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
    let tokens = vec!["two".to_owned(), "three".to_owned()];
    let tally =
        settle(&Load::start(Plan { sources, tokens, ..plan(address, vec![group(Role::Hold, 8)]) }).unwrap());
    assert_eq!((tally.ready, tally.failures()), (8, 0));
}

#[test]
fn a_paced_load_keeps_its_rate_and_counts_from_the_moment_that_was_meant() {
    let address = server(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(ACCEPTED).unwrap();
        converse(stream, |text| Some(text.to_owned()));
    });
    let load = Load::start(plan(address, vec![Group { rate: 500.0, ..group(Role::Send, 5) }])).unwrap();
    settle(&load);
    load.begin();
    let began = std::time::Instant::now();
    let tally = until(&load, |tally| tally.received >= 200);
    let rate = tally.sent as f64 / began.elapsed().as_secs_f64();
    assert!(rate < 510.0, "{rate} a second");
    assert_eq!((tally.lost, tally.doubled, tally.late.count()), (0, 0, tally.sent));
    assert!(tally.latency.quantile(0.5) >= tally.late.quantile(0.01));
}

#[test]
fn what_is_lost_or_comes_twice_is_noticed() {
    let address = server(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(ACCEPTED).unwrap();
        // Of each topic the third message is lost and the fifth comes as the second.
        converse(stream, |text| {
            Some(
                text.replace("\"n\":3}", "\"x\":0}").replace("\"at\":0,", "").replace("\"n\":5}", "\"n\":2}"),
            )
        });
    });
    let load = Load::start(plan(address, vec![Group { rate: 200.0, ..group(Role::Send, 1) }])).unwrap();
    settle(&load);
    load.begin();
    let tally = until(&load, |tally| tally.received >= 8);
    // Numbers 1 2 - 4 2 6: three is missing, and so is five; two came again.
    assert_eq!((tally.lost, tally.doubled), (2, 1));
}

#[test]
fn requests_are_answered_one_by_one() {
    let address = server(|_, mut stream| {
        for number in 0.. {
            let request = read_request(&mut stream);
            let Some(length) = request.lines().find_map(|line| line.strip_prefix("Content-Length: ")) else {
                return;
            };
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            assert!(body.starts_with(b"{\"n\":"));
            let status = if number % 2 == 0 { "200 OK" } else { "429 Slow down" };
            if write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").is_err() {
                return;
            }
        }
    });
    let request = b"POST /api/publish HTTP/1.1\r\nHost: x\r\n".to_vec();
    let message = Template::new(r#"{"n":$n}"#);
    let load = Load::start(plan(address, vec![Group { request, message, ..group(Role::Post, 1) }])).unwrap();
    settle(&load);
    load.begin();
    let tally = until(&load, |tally| tally.refused.get("HTTP 429").is_some_and(|count| *count > 50));
    assert!(tally.sent >= 100);
}

#[test]
fn a_load_ends_by_itself_when_its_time_is_over() {
    let address = server(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(ACCEPTED).unwrap();
        converse(stream, |_| None);
    });
    let limit = Duration::from_millis(200);
    let load = Load::start(Plan { limit, ..plan(address, vec![group(Role::Hold, 2)]) }).unwrap();
    let stage = load.wait(load.stage(), PATIENCE);
    let stage = if stage == Stage::Ready { load.wait(Stage::Ready, PATIENCE) } else { stage };
    assert_eq!(stage, Stage::Ended);
}

#[cfg(target_os = "linux")]
#[test]
fn a_load_that_has_ended_said_goodbye_and_leaves_no_port_occupied() {
    static GOODBYES: AtomicU32 = AtomicU32::new(0);
    let address = server(|_, mut stream| {
        read_request(&mut stream);
        stream.write_all(ACCEPTED).unwrap();
        let mut frame = [0; 8];
        if stream.read_exact(&mut frame).is_ok() && frame[..2] == [0x88, 0x82] {
            GOODBYES.fetch_add(1, Ordering::SeqCst);
        }
    });
    let sources = vec!["127.0.0.77".parse().unwrap()];
    let load = Load::start(Plan { sources, ..plan(address, vec![group(Role::Hold, 20)]) }).unwrap();
    assert_eq!(settle(&load).ready, 20);
    load.stop();
    let deadline = std::time::Instant::now() + PATIENCE;
    while GOODBYES.load(Ordering::SeqCst) < 20 {
        assert!(std::time::Instant::now() < deadline, "{GOODBYES:?} of 20 said goodbye");
        thread::yield_now();
    }
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    assert!(!sockets.contains(" 4D00007F:"), "{sockets}");
}
