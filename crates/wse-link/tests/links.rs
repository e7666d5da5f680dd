//! Links on real sockets: what is pushed arrives, what is bounded stays so, and what ends says why.

mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use common::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wse_link::{Bounds, Class, Closed, Config, Failure, Frames, Link, NotPushed, Port};
use wse_mesh::wire::{Header, Malformed};

const MSG: u8 = 0x14;

#[test]
fn frames_arrive_in_the_order_in_which_they_were_pushed_both_ways() {
    run(async {
        let (here, there) = (Node::start(config(open())), Node::start(config(open())));
        let (dialled, accepted) = pair(&here, &there).await;
        assert_eq!(dialled.about().remote, there.address);
        assert_eq!(dialled.about().local, accepted.about().remote);
        assert_eq!(dialled.about().dialled, Some(there.address.to_string()));
        assert_eq!(accepted.about().dialled, None);
        for number in 0..30_000_u32 {
            let class = if number % 7 == 0 { Class::Control } else { Class::Data };
            assert_eq!(dialled.frame(class, MSG, "t", &number.to_le_bytes()), Ok(()));
        }
        let mut frames = Frames::new();
        (0..500_u32).for_each(|number| frames.put(MSG, "réponse", &number.to_le_bytes()));
        assert_eq!(accepted.push(Class::Data, &frames), Ok(()));
        assert_eq!(accepted.push_bytes(Class::Data, &frame(MSG, "réponse", &500_u32.to_le_bytes())), Ok(()));

        let heard = there.frames(30_000).await;
        assert!(
            heard
                .iter()
                .zip(0_u32..)
                .all(|(frame, number)| *frame == (MSG, "t".into(), number.to_le_bytes().into()))
        );
        let heard = here.frames(501).await;
        assert!(
            heard
                .iter()
                .zip(0_u32..)
                .all(|(frame, number)| frame.2 == number.to_le_bytes() && frame.1 == "réponse")
        );

        until(|| dialled.waiting() == 0 && accepted.waiting() == 0).await;
        for (one, other, frames, bytes) in
            [(&dialled, &accepted, 30_000, 30_000 * 13), (&accepted, &dialled, 501, 501 * 20)]
        {
            assert_eq!(one.counters().frames_out.load(Relaxed), frames);
            assert_eq!(other.counters().frames_in.load(Relaxed), frames);
            assert_eq!(one.counters().bytes_out.load(Relaxed), bytes);
            assert_eq!(other.counters().bytes_in.load(Relaxed), bytes);
        }
    });
}

#[test]
fn any_thread_pushes_and_wakes_the_link() {
    run(async {
        let (here, there) = (Node::start(config(open())), Node::start(config(open())));
        let (dialled, _accepted) = pair(&here, &there).await;
        let threads: Vec<_> = (0..4_u8)
            .map(|thread| {
                let link = dialled.clone();
                std::thread::spawn(move || {
                    for number in 0..2000_u32 {
                        let payload = [&[thread][..], &number.to_le_bytes()].concat();
                        assert_eq!(link.frame(Class::Data, MSG, "", &payload), Ok(()));
                    }
                })
            })
            .collect();
        let heard = there.frames(8000).await;
        threads.into_iter().for_each(|thread| thread.join().expect("pushed"));
        for thread in 0..4_u8 {
            let of_one = heard.iter().filter(|frame| frame.2[0] == thread);
            assert!(of_one.zip(0_u32..).all(|(frame, number)| frame.2[1..] == number.to_le_bytes()));
        }
        // One that comes when everything sleeps.
        let pushing = dialled.clone();
        std::thread::spawn(move || pushing.frame(Class::Data, MSG, "last", b""))
            .join()
            .expect("pushed")
            .expect("room");
        assert_eq!(there.frames(1).await[0].1, "last");
    });
}

#[test]
fn long_payloads_are_compressed_when_the_peer_can_undo_it() {
    run(async {
        let (here, there) = (Node::start(config(open())), Node::start(config(open())));
        let (dialled, _accepted) = pair(&here, &there).await;
        let payload = b"the same again and again, ".repeat(100_000);
        assert_eq!(dialled.frame(Class::Data, MSG, "t", &payload), Ok(()));
        assert_eq!(there.frames(1).await[0].2, payload);
        let plain = dialled.counters().bytes_out.load(Relaxed);
        assert!(plain > payload.len() as u64);
        dialled.set_compress(true);
        assert_eq!(dialled.frame(Class::Data, MSG, "t", &payload), Ok(()));
        assert_eq!(there.frames(1).await[0].2, payload);
        let squeezed = dialled.counters().bytes_out.load(Relaxed) - plain;
        assert!(squeezed < 5000, "{squeezed}");
    });
}

#[test]
fn a_frame_that_the_peer_does_not_take_is_not_pushed() {
    run(async {
        let (here, there) = (Node::start(config(open())), Node::start(config(open())));
        let (dialled, _accepted) = pair(&here, &there).await;
        dialled.admit(1000);
        assert_eq!(dialled.frame(Class::Data, MSG, "", &[0; 993]), Err(NotPushed::TooLong));
        dialled.set_compress(true);
        assert_eq!(
            dialled.frame(Class::Data, MSG, "", &[0; 993]),
            Err(NotPushed::TooLong),
            "it would inflate to that"
        );
        assert_eq!(dialled.frame(Class::Data, MSG, &"t".repeat(70_000), b""), Err(NotPushed::TooLong));
        assert_eq!(dialled.frame(Class::Data, MSG, "", &[0; 992]), Ok(()));
        assert_eq!(there.frames(1).await[0].2.len(), 992);
    });
}

/// Pushes data until there is no more room, with the peer's buffers full as well.
async fn fill(link: &Link) {
    let payload = [0; 60_000];
    loop {
        if link.frame(Class::Data, MSG, "", &payload).is_err() {
            let waiting = link.waiting();
            // The writer may still find room in the kernel.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            if link.waiting() == waiting {
                return;
            }
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_peer_that_does_not_read_costs_its_bounds_and_is_cut_when_control_frames_have_no_room() {
    run(async {
        let bounds = Bounds { data: 1 << 20, control: 100_000 };
        let node = Node::start(Config { bounds, max_frame: 100_000, ..config(open()) });
        let _peer = raw(&node).await;
        let link = node.connected().await;
        fill(&link).await;
        let dropped = link.counters().dropped.load(Relaxed);
        assert!(dropped > 0 && link.waiting() <= bounds.data);
        assert_eq!(link.frame(Class::Data, MSG, "", &[0; 60_000]), Err(NotPushed::Full));
        assert_eq!(link.counters().dropped.load(Relaxed), dropped + 1);
        assert_eq!(link.frame(Class::Control, 0x04, "", &[0; 50_000]), Ok(()));
        let control = || link.frame(Class::Control, 0x04, "", &[0; 50_000]);
        until(|| control() == Err(NotPushed::Full)).await;
        assert!(link.waiting() <= bounds.data + bounds.control);
        assert_eq!(node.closed().await, Closed::Behind);
        assert_eq!(control(), Err(NotPushed::Closed));
        assert_eq!(link.waiting(), 0, "its memory is given back though somebody holds the handle");
    });
}

#[test]
fn closing_lets_everything_out_first() {
    run(async {
        let (here, there) = (Node::start(config(open())), Node::start(config(open())));
        let (dialled, _accepted) = pair(&here, &there).await;
        let payload = vec![1; 1 << 20];
        (0..12).for_each(|_| assert_eq!(dialled.frame(Class::Data, MSG, "", &payload), Ok(())));
        dialled.close(PATIENCE);
        assert_eq!(dialled.frame(Class::Control, MSG, "", b""), Err(NotPushed::Closed));
        there.frames(12).await;
        assert_eq!(there.closed().await, Closed::ByPeer);
        assert_eq!(here.closed().await, Closed::Here);
    });
}

#[test]
fn closing_ends_at_its_deadline_when_the_peer_does_not() {
    run(async {
        let node = Node::start(config(open()));
        let _peer = raw(&node).await;
        let link = node.connected().await;
        fill(&link).await;
        let begun = Instant::now();
        link.close(Duration::from_millis(150));
        assert_eq!(node.closed().await, Closed::HereUnfinished);
        assert!(begun.elapsed() >= Duration::from_millis(150));
    });
}

#[test]
fn a_link_is_cut_at_once_whatever_it_is_doing() {
    run(async {
        let node = Node::start(config(open()));
        let mut peer = raw(&node).await;
        let link = node.connected().await;
        fill(&link).await;
        link.close(PATIENCE);
        link.cut("its heart stopped");
        assert_eq!(node.closed().await, Closed::Cut("its heart stopped".into()));
        rest(&mut peer).await;
    });
}

#[test]
fn what_is_no_frame_ends_the_link_after_the_frames_before_it() {
    run(async {
        let node = Node::start(config(open()));
        let header = Header { kind: MSG, flags: 0, topic_len: 0, payload_len: MAX_FRAME as u32 - 7 };
        let mut peer = raw(&node).await;
        node.connected().await;
        peer.write_all(&[frame(MSG, "good", b"one"), header.encode().to_vec()].concat())
            .await
            .expect("writes");
        assert_eq!(node.frames(1).await[0].1, "good");
        assert_eq!(node.closed().await, Closed::Malformed(Malformed("longer than the limit of frames")));

        let squeezed = zstd::bulk::compress(&vec![0; 8 << 20], 3).expect("compresses");
        let told = (MAX_FRAME as u32 - 8).to_le_bytes();
        let header = Header { kind: MSG, flags: 1, topic_len: 0, payload_len: squeezed.len() as u32 + 4 };
        let mut peer = raw(&node).await;
        node.connected().await;
        peer.write_all(&[&header.encode()[..], &told, &squeezed].concat()).await.expect("writes");
        let why = Malformed("is not what zstd makes, or inflates beyond what it says");
        assert_eq!(node.closed().await, Closed::Malformed(why));
    });
}

#[test]
fn a_link_that_its_owner_does_not_admit_is_closed_in_time() {
    run(async {
        let opening = Duration::from_millis(200);
        let here = Node::with(Config { opening, ..config(open()) }, Admits::Never, "127.0.0.1");
        let there = Node::start(config(open()));
        let begun = Instant::now();
        pair(&here, &there).await;
        assert_eq!(here.closed().await, Closed::Late);
        assert_eq!(there.closed().await, Closed::ByPeer);
        pair(&there, &here).await;
        assert_eq!(here.closed().await, Closed::Late);
        assert!(begun.elapsed() >= 2 * opening);
        // Long frames are for links that are admitted.
        let mut peer = raw(&here).await;
        here.connected().await;
        peer.write_all(&frame(MSG, "", &[0; 70_000])).await.expect("writes");
        assert_eq!(here.closed().await, Closed::Malformed(Malformed("longer than the limit of frames")));
    });
}

#[test]
fn a_peer_that_is_slow_or_silent_is_late_however_it_dawdles() {
    run(async {
        let opening = Duration::from_millis(300);
        let node = Node::start(Config { opening, ..config(open()) });
        let mut silent = TcpStream::connect(node.address).await.expect("connects");
        let mut slow = TcpStream::connect(node.address).await.expect("connects");
        let dawdling = async {
            for byte in challenge(0).iter().cycle() {
                if slow.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, dawdling).await.expect("it is cut off");
        assert_eq!(rest(&mut silent).await, b"");
        until(|| node.links.stats().late.load(Relaxed) == 2).await;
        assert_eq!(node.links.stats().opening.load(Relaxed), 0);
    });
}

#[test]
fn the_oldest_connection_that_is_not_admitted_gives_way() {
    run(async {
        let here = Node::with(Config { openings: 3, ..config(open()) }, Admits::Never, "127.0.0.1");
        let stats = here.links.stats();
        let mut strangers = Vec::new();
        for number in 1..=3 {
            strangers.push(TcpStream::connect(here.address).await.expect("connects"));
            until(|| stats.opening.load(Relaxed) == number).await;
        }
        let mut peer = raw(&here).await;
        here.connected().await;
        assert_eq!(rest(&mut strangers.remove(0)).await, b"");
        assert_eq!(stats.crowded.load(Relaxed), 1);
        // The link that stands without being admitted is one of them.
        strangers.extend([raw(&here).await, raw(&here).await, raw(&here).await]);
        for _ in 0..3 {
            here.connected().await;
        }
        assert_eq!(here.closed().await, Closed::Crowded);
        rest(&mut peer).await;
        assert_eq!(stats.opening.load(Relaxed), 3);
    });
}

#[test]
fn links_that_are_admitted_take_no_place_of_others() {
    run(async {
        let node = Node::start(Config { openings: 1, ..config(open()) });
        let mut peers = Vec::new();
        for _ in 0..5 {
            peers.push(raw(&node).await);
            node.connected().await;
            until(|| node.links.stats().opening.load(Relaxed) == 0).await;
        }
        peers[0].write_all(&frame(MSG, "still", b"here")).await.expect("writes");
        assert_eq!(node.frames(1).await[0].1, "still");
    });
}

#[test]
fn garbage_is_counted_and_the_port_goes_on() {
    run(async {
        let node = Node::start(config(secret("between us")));
        for number in 1..=50_u64 {
            let mut stranger = TcpStream::connect(node.address).await.expect("connects");
            let _ = stranger.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!(rest(&mut stranger).await, b"");
            until(|| node.links.stats().refused.load(Relaxed) == number).await;
        }
        let other = Node::start(config(secret("between us")));
        let (dialled, _) = pair(&other, &node).await;
        assert!(dialled.about().proven);
    });
}

#[test]
fn somebody_who_looks_whether_the_port_is_open_is_no_news() {
    run(async {
        let node = Node::start(config(secret("between us")));
        for number in 1..=3 {
            drop(TcpStream::connect(node.address).await.expect("connects"));
            until(|| node.links.stats().silent.load(Relaxed) == number).await;
        }
        assert_eq!(node.links.stats().refused.load(Relaxed), 0);
    });
}

#[test]
fn a_dial_says_what_kind_of_failure_it_was() {
    run(async {
        let here = Node::start(config(secret("between us")));
        let there = Node::start(config(secret("something else")));
        let dial = async |address: &str, within: Duration| {
            let failed = here.links.dial(address, within).await.expect_err("no link");
            (failed.failure, failed.text)
        };
        let (failure, text) = dial(&there.address.to_string(), PATIENCE).await;
        assert_eq!(failure, Failure::Denied);
        assert!(text.contains("cluster_secret or cluster_name differ"), "{text}");

        let gone = Port::bind("127.0.0.1", 0).expect("a free port").address();
        let (failure, text) = dial(&gone.to_string(), PATIENCE).await;
        assert_eq!(failure, Failure::Refused, "{text}");
        assert!(text.contains(&gone.to_string()), "{text}");

        let silent = Port::bind("127.0.0.1", 0).expect("a free port");
        let (failure, text) = dial(&silent.address().to_string(), Duration::from_millis(100)).await;
        assert_eq!(failure, Failure::Timeout, "{text}");

        for name in ["no-such-host.invalid:9999", "10.0.0.1", "10.0.0.1:port"] {
            let (failure, text) = dial(name, PATIENCE).await;
            assert_eq!(failure, Failure::Name, "{text}");
        }
    });
}

#[test]
fn names_are_resolved_and_ipv6_is_spoken() {
    run(async {
        let here = Node::start(config(open()));
        let named = format!("localhost:{}", here.address.port());
        let link = here.links.dial(&named, PATIENCE).await.expect("a link to itself");
        assert_eq!(link.about().remote, here.address);
        let there = Node::with(config(open()), Admits::AtOnce, "[::1]");
        assert!(there.address.is_ipv6());
        pair(&there, &there).await;
    });
}

#[test]
fn a_port_in_use_is_noticed_and_a_closed_one_is_free() {
    run(async {
        let node = Node::start(config(open()));
        let taken = Port::bind("127.0.0.1", node.address.port()).expect_err("in use");
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        assert!(taken.raw_os_error().is_some());
        let other = Node::start(config(open()));
        let (link, _) = pair(&other, &node).await;
        node.links.stop_accepting();
        until(|| Port::bind("127.0.0.1", node.address.port()).is_ok()).await;
        assert_eq!(link.frame(Class::Data, MSG, "links", b"stay"), Ok(()));
        assert_eq!(node.frames(1).await[0].1, "links");
    });
}

#[test]
fn a_peer_whose_connection_is_reset_is_lost() {
    run(async {
        let node = Node::start(config(open()));
        let peer = raw(&node).await;
        node.connected().await;
        peer.set_zero_linger().expect("an option");
        drop(peer);
        assert!(matches!(node.closed().await, Closed::Lost(_)));
    });
}
