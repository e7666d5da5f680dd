use tokio::io::{DuplexStream, duplex};
use wse_core::options::Secret;

use super::*;

fn guard(secret: Option<&str>, cluster_name: &str) -> Guard {
    let secret = secret.map(|secret| Secret::new(secret.as_bytes()));
    Guard { tls: None, secret, cluster_name: cluster_name.to_owned() }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

/// What the dialler and the acceptor come to; whoever refuses closes.
fn meet(dialler: &Guard, acceptor: &Guard) -> (Result<(), String>, Result<(), String>) {
    run(async {
        let (here, there) = duplex(4096);
        let dialled = async {
            let mut stream = here;
            dial(&mut stream, dialler, None).await.map_err(|refusal| refusal.to_string())
        };
        let accepted = async {
            let mut stream = there;
            accept(&mut stream, acceptor, None).await.map_err(|refusal| refusal.to_string())
        };
        tokio::join!(dialled, accepted)
    })
}

/// What the acceptor comes to with a dialler that says these bytes and ends, and what it says to that.
fn tell(acceptor: &Guard, bytes: &[u8]) -> (Result<(), Refusal>, Vec<u8>) {
    run(async {
        let (mut here, mut there): (DuplexStream, DuplexStream) = duplex(4096);
        here.write_all(bytes).await.expect("room");
        here.shutdown().await.expect("an end");
        let result = accept(&mut there, acceptor, None).await;
        drop(there);
        let mut said = Vec::new();
        here.read_to_end(&mut said).await.expect("an end");
        (result, said)
    })
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frames = Frames::new();
    frames.put(kind, "", payload);
    frames.bytes().to_vec()
}

fn challenge_of(role: u8, flags: u8) -> Vec<u8> {
    let payload = [&b"WSEL"[..], &[1, role, flags], &[7; 32]].concat();
    frame(Kind::Challenge as u8, &payload)
}

#[test]
fn nodes_that_know_the_same_secret_or_none_meet() {
    for secret in [None, Some("between us")] {
        let guard = guard(secret, "wse");
        assert_eq!(meet(&guard, &guard), (Ok(()), Ok(())));
    }
}

#[test]
fn another_secret_or_another_cluster_is_refused_and_both_sides_say_so() {
    let here = guard(Some("between us"), "wse");
    for there in [guard(Some("something else"), "wse"), guard(Some("between us"), "other")] {
        for (dialler, acceptor) in [(&here, &there), (&there, &here)] {
            let (dialled, accepted) = meet(dialler, acceptor);
            assert!(dialled.clone().is_err_and(|why| why.contains("where its proof was due")), "{dialled:?}");
            assert!(accepted.clone().is_err_and(|why| why.contains("does not know")), "{accepted:?}");
        }
    }
}

#[test]
fn a_secret_on_one_side_alone_is_named_on_both() {
    let (with, without) = (guard(Some("between us"), "wse"), guard(None, "wse"));
    let (here, there) = ("it has no cluster_secret", "it has a cluster_secret");
    for (dialler, acceptor, of_dialler, of_acceptor) in
        [(&with, &without, here, there), (&without, &with, there, here)]
    {
        let (dialled, accepted) = meet(dialler, acceptor);
        assert!(dialled.clone().is_err_and(|why| why.starts_with(of_dialler)), "{dialled:?}");
        assert!(accepted.clone().is_err_and(|why| why.starts_with(of_acceptor)), "{accepted:?}");
    }
}

#[test]
fn strangers_hear_nothing() {
    let guarded = guard(Some("between us"), "wse");
    let tls = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc];
    let long = Header { kind: Kind::Challenge as u8, flags: 0, topic_len: 0, payload_len: 257 }.encode();
    let cases: [&[u8]; 9] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        &tls,
        &[0; 100],
        &long,
        &challenge_of(1, 1),
        &challenge_of(0, 1)[..30],
        &frame(Kind::Hello as u8, b"WSEL"),
        &frame(Kind::Challenge as u8, b"WSEM0123456789012345678901234567890123456789"),
    ];
    for bytes in cases {
        let (result, said) = tell(&guarded, bytes);
        assert!(result.is_err(), "{bytes:?}");
        assert_eq!(said, b"", "{bytes:?}");
    }
    assert!(matches!(tell(&guarded, &tls).0, Err(Refusal::SpeaksTls)));
}

#[test]
fn nothing_is_proven_to_who_has_proven_nothing() {
    let guarded = guard(Some("between us"), "wse");
    let challenge = challenge_of(0, 1);
    for proof in [&b""[..], &[0; 31], &[0; 32], &[0; 64]] {
        let bytes = [challenge.clone(), frame(Kind::Proof as u8, proof)].concat();
        let (result, said) = tell(&guarded, &bytes);
        assert!(matches!(result, Err(Refusal::WrongProof)), "{result:?}");
        assert_eq!(said.len(), challenge.len(), "the acceptor's challenge and no more");
    }
}

#[test]
fn the_acceptors_own_challenge_and_proof_are_of_no_use_to_a_dialler() {
    // A stranger who dials and sends back what it hears: the role in the challenge is wrong already.
    let guarded = guard(Some("between us"), "wse");
    let (_, heard) = tell(&guarded, &challenge_of(0, 1));
    let (result, said) = tell(&guarded, &heard);
    assert!(matches!(result, Err(Refusal::Garbage("role"))), "{result:?}");
    assert_eq!(said, b"");
}

#[test]
fn nonces_are_fresh() {
    let guarded = guard(Some("between us"), "wse");
    let nonces: Vec<Vec<u8>> = (0..3).map(|_| tell(&guarded, &challenge_of(0, 1)).1).collect();
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2] && nonces[0] != nonces[2]);
}

#[test]
fn what_a_later_version_adds_to_a_challenge_is_ignored() {
    let payload = [&b"WSEL"[..], &[2, 0, 0xf0], &[7; 32], b"more"].concat();
    let bytes = [frame(Kind::Challenge as u8, &payload), frame(Kind::Proof as u8, b"")].concat();
    assert!(tell(&guard(None, "wse"), &bytes).0.is_ok());
}
