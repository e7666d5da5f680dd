//! Certificates that are accepted, made as people make them, on both sides of a link.

mod common;

use std::sync::Arc;

use common::certs::*;
use common::*;
use wse_core::options::Secret;
use wse_link::tls::Tls;
use wse_link::{Class, Closed, Guard};

#[test]
fn the_guides_own_lines_make_two_nodes_meet() {
    run(async {
        let folder = Folder::of_guide();
        let files = folder.files("node", "ca");
        let (here, there) = (node(&files), node(&files));
        meet(&here, &there).await;
        let (dialled, _) = pair(&here, &there).await;
        assert_eq!(dialled.about().subject.as_deref(), Some("CN=wse-node-1"));
    });
}

#[test]
fn certificates_of_all_kinds_of_keys_and_both_versions_meet() {
    run(async {
        let folder = Folder::new();
        folder.authority("ca");
        folder.sh("openssl genrsa -out rsaca.key 2048 2>/dev/null
             openssl req -new -x509 -key rsaca.key -out rsaca.pem -days 365 -subj /CN=rsaca
             cat ca.pem rsaca.pem > both.pem");
        let p384 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
        let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
        folder.issue("v1", "ca", P256, "");
        folder.issue("v1rsa", "rsaca", rsa, "");
        folder.issue("v1p384", "ca", p384, "");
        folder.issue("v1ed", "ca", "-algorithm ED25519", "");
        folder.issue("v3", "rsaca", P256, V3);
        folder.issue("v3rsa", "ca", rsa, "extendedKeyUsage=serverAuth,clientAuth");
        let nodes =
            ["v1", "v1rsa", "v1p384", "v1ed", "v3", "v3rsa"].map(|name| node(&folder.files(name, "both")));
        for two in nodes.windows(2) {
            meet(&two[0], &two[1]).await;
        }
    });
}

#[test]
fn a_v3_certificate_comes_with_its_intermediate() {
    run(async {
        let folder = Folder::new();
        folder.authority("ca");
        folder.issue("middle", "ca", P256, "basicConstraints=critical,CA:TRUE");
        folder.issue("node", "middle", P256, V3);
        folder.sh("cp node.key chain.key; cat node.pem middle.pem > chain.pem");
        let files = folder.files("chain", "ca");
        meet(&node(&files), &node(&files)).await;
    });
}

#[test]
fn two_nodes_that_both_send_more_than_all_buffers_hold_hear_each_other() {
    run(async {
        let folder = Folder::of_guide();
        let encrypted = || guard(load(&folder.files("node", "ca")).expect("good files"));
        for guard in [encrypted(), open()] {
            let (here, there) = (Node::start(config(guard.clone())), Node::start(config(guard)));
            let (dialled, accepted) = pair(&here, &there).await;
            dialled.set_compress(true);
            let payload = |number: u8| [&[number][..], &[7; 500_000]].concat();
            for number in 0..30 {
                assert_eq!(dialled.frame(Class::Data, 0x14, "t", &payload(number)), Ok(()));
                assert_eq!(accepted.frame(Class::Data, 0x14, "t", &payload(number)), Ok(()));
            }
            let (one, other) = tokio::join!(here.frames(30), there.frames(30));
            for heard in [one, other] {
                assert!(heard.iter().zip(0..).all(|(frame, number)| frame.2 == payload(number)));
            }
            // And now both end at once.
            dialled.close(PATIENCE);
            accepted.close(PATIENCE);
            assert_eq!(here.closed().await, Closed::Here);
            assert_eq!(there.closed().await, Closed::Here);
        }
    });
}

#[test]
fn a_secret_is_proven_inside_of_tls_too() {
    run(async {
        let folder = Folder::of_guide();
        let with = |secret: &[u8]| {
            let tls = Some(Arc::new(load(&folder.files("node", "ca")).expect("good files")));
            Node::start(config(Guard { tls, secret: Some(Secret::new(secret)), cluster_name: "wse".into() }))
        };
        let (here, there, other) = (with(b"between us"), with(b"between us"), with(b"something else"));
        meet(&here, &there).await;
        assert!(denied(&here, &other).await.contains("cluster_secret or cluster_name differ"));
        let none = node(&folder.files("node", "ca"));
        assert!(denied(&here, &none).await.contains("it has no cluster_secret"));
        assert!(denied(&none, &here).await.contains("it has a cluster_secret"));
    });
}

#[test]
fn names_are_compared_only_when_asked_for() {
    run(async {
        let folder = Folder::new();
        folder.authority("ca");
        folder.issue("named", "ca", P256, V3);
        folder.issue("other", "ca", P256, "subjectAltName=DNS:elsewhere.example");
        folder.issue("v1", "ca", P256, "");
        let files = folder.files("named", "ca");
        let strict = Tls::load(&files, true, Arc::new(Off(0))).expect("good files");
        let strict = Node::start(config(guard(strict)));
        let named = node(&files);
        meet(&named, &node(&folder.files("other", "ca"))).await;
        for host in ["localhost", "127.0.0.1"] {
            let address = format!("{host}:{}", named.address.port());
            strict.links.dial(&address, PATIENCE).await.expect("a name of the certificate");
        }
        for name in ["other", "v1"] {
            let there = node(&folder.files(name, "ca"));
            assert!(denied(&strict, &there).await.contains("tls_verify_name"));
            there.dial(&strict).await.expect("only a dialler knows whom it wants");
        }
    });
}
