//! Certificates, made as people make them, on both sides of a link.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use common::certs::*;
use common::*;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wse_core::options::Secret;
use wse_link::tls::{Tls, TlsFiles};
use wse_link::{Class, Closed, Failure, Guard};

fn node(files: &TlsFiles) -> Node {
    Node::start(config(guard(load(files).expect("good files"))))
}

/// What a dial comes to, with the words for the log.
async fn denied(here: &Node, there: &Node) -> String {
    let error = here.dial(there).await.expect_err("no link");
    assert_eq!(error.failure, Failure::Denied, "{error}");
    error.text
}

/// The link stands both ways and carries a frame.
async fn meet(here: &Node, there: &Node) {
    for (one, other) in [(here, there), (there, here)] {
        let (dialled, accepted) = pair(one, other).await;
        assert!(dialled.about().subject.is_some() && accepted.about().subject.is_some());
        let long = vec![7; 300_000];
        assert_eq!(dialled.frame(Class::Data, 0x14, "over TLS", &long), Ok(()));
        assert_eq!(other.frames(1).await[0].2, long);
        dialled.close(PATIENCE);
        assert_eq!(one.closed().await, Closed::Here);
        assert_eq!(other.closed().await, Closed::ByPeer);
    }
}

// ------------------------------------------------------------------------------------------------ what is accepted

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

// ------------------------------------------------------------------------------------------------ what is refused

/// Both ways: the dialler refuses what the acceptor shows, and the acceptor what the dialler shows. `words` is what the node that
/// refuses says when it dials, `heard` what the other one hears when it does.
async fn refused_both_ways(strict: &Node, shown: &Node, words: &str, heard: &str) {
    let text = denied(strict, shown).await;
    assert!(text.contains(words), "dialled: {text}");
    let before = strict.links.stats().refused.load(Relaxed);
    let text = denied(shown, strict).await;
    assert!(text.contains(heard), "accepted: {text}");
    until(|| strict.links.stats().refused.load(Relaxed) == before + 1).await;
}

#[test]
fn another_authority_is_refused() {
    run(async {
        let folder = Folder::new();
        // Also one of the same name, whose signature alone differs.
        folder.sh("mkdir x");
        folder.authority("ca");
        folder.authority("ca2");
        folder.sh("openssl ecparam -genkey -noout -name prime256v1 -out x/ca.key
             openssl req -new -x509 -key x/ca.key -out x/ca.pem -days 365 -subj /CN=ca");
        for extensions in ["", V3] {
            folder.issue("good", "ca", P256, extensions);
            folder.issue("stranger", "ca2", P256, extensions);
            folder.issue("imitator", "x/ca", P256, extensions);
            folder.sh("cat ca.pem ca2.pem > lax.pem; cat ca.pem x/ca.pem > lax2.pem");
            let strict = node(&folder.files("good", "ca"));
            let stranger = node(&folder.files("stranger", "lax"));
            refused_both_ways(
                &strict,
                &stranger,
                "was not issued by an authority of tls_ca",
                "refuses this node",
            )
            .await;
            let imitator = node(&folder.files("imitator", "lax2"));
            let words = if extensions.is_empty() {
                "is not signed by the authority that it names"
            } else {
                "its certificate"
            };
            refused_both_ways(&strict, &imitator, words, "refuses this node").await;
            meet(&node(&folder.files("good", "lax")), &stranger).await;
        }
    });
}

#[test]
fn what_has_expired_or_is_not_valid_yet_is_refused() {
    run(async {
        let folder = Folder::new();
        folder.sh("openssl ecparam -genkey -noout -name prime256v1 -out ca.key
             openssl req -new -x509 -key ca.key -out ca.pem -days 4000 -subj /CN=ca");
        for extensions in ["", V3] {
            folder.issue("short", "ca", P256, extensions);
            let shown = node(&folder.files("short", "ca"));
            // The same authority is valid for longer, and so is the certificate of a node whose clock is 200 days ahead.
            folder.issue("long", "ca", P256, extensions);
            folder.sh(
                "openssl x509 -req -in long.csr -CA ca.pem -CAkey ca.key -out long.pem -days 1000 $(test -s long.ext && echo -extfile long.ext)",
            );
            let ahead =
                Tls::load(&folder.files("long", "ca"), false, Arc::new(Off(200))).expect("good by its clock");
            let ahead = Node::start(config(guard(ahead)));
            refused_both_ways(&ahead, &shown, "its certificate has expired", "its clock").await;

            // A node whose clock is right, and one that is shown what will be valid only tomorrow.
            folder.sh(&later("later", extensions));
            let later =
                Tls::load(&folder.files("later", "ca"), false, Arc::new(Off(30))).expect("good by its clock");
            let later = Node::start(config(guard(later)));
            refused_both_ways(&shown, &later, "is not valid yet", "its clock").await;
        }
    });
}

/// `openssl ca` is the one that takes the first day of a certificate.
fn later(name: &str, extensions: &str) -> String {
    let extended = if extensions.is_empty() { "" } else { "-extfile short.ext" };
    format!(
        "rm -rf ca.db && mkdir ca.db && touch ca.db/index && echo 7{} > ca.db/serial
         printf '[ca]\\ndefault_ca=c\\n[c]\\ndatabase=ca.db/index\\nserial=ca.db/serial\\nnew_certs_dir=ca.db\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > ca.cnf
         openssl genpkey {P256} -out {name}.key
         openssl req -new -key {name}.key -out {name}.csr -subj /CN={name}
         from=$(date -u -d '+20 days' +%Y%m%d%H%M%SZ); to=$(date -u -d '+90 days' +%Y%m%d%H%M%SZ)
         openssl ca -batch -config ca.cnf -in {name}.csr -cert ca.pem -keyfile ca.key -out {name}.pem -notext -startdate $from -enddate $to {extended} 2>/dev/null",
        if extensions.is_empty() { 1 } else { 2 },
    )
}

/// Shows a certificate that no node would show: one that its own configuration would refuse.
async fn shown_to_dialler(folder: &Folder, name: &str, strict: &Node) -> String {
    let certified = certified(folder, name);
    let mut acceptor = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    acceptor.send_tls13_tickets = 0;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = async {
        let (stream, _) = listener.accept().await.expect("a dialler");
        let _ = tokio_rustls::TlsAcceptor::from(Arc::new(acceptor)).accept(stream).await;
    };
    let (_, dialled) = tokio::join!(serving, strict.links.dial(&address, PATIENCE));
    let error = dialled.expect_err("no link");
    assert_eq!(error.failure, Failure::Denied);
    error.text
}

/// The same on the other side: with which alert the acceptor refuses it.
async fn shown_to_acceptor(certified: Option<Arc<CertifiedKey>>, strict: &Node) -> AlertDescription {
    let before = strict.links.stats().refused.load(Relaxed);
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(lax::Lax));
    let dialler = match certified {
        Some(certified) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(strict.address).await.expect("connects");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let said = async {
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(dialler)).connect(name, stream).await?;
        stream.write_all(&challenge(0)).await?;
        stream.read_u8().await
    };
    let error =
        tokio::time::timeout(PATIENCE, said).await.expect("in time").expect_err("not a byte of the opening");
    until(|| strict.links.stats().refused.load(Relaxed) == before + 1).await;
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error}"),
    }
}

fn certified(folder: &Folder, name: &str) -> Arc<CertifiedKey> {
    let files = folder.files(name, "ca");
    let chain = CertificateDer::pem_file_iter(&files.cert).expect("a file").collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
    let load = |key| aws_lc_rs::default_provider().key_provider.load_private_key(key);
    // The library does not sign with weak keys. It need not: the certificate is looked at first.
    let key =
        load(key).or_else(|_| load(PrivateKeyDer::from_pem_file(folder.path("good.key")).expect("a key")));
    let key = key.expect("a key");
    Arc::new(CertifiedKey::new(chain.expect("certificates"), key))
}

mod lax {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    /// A dialler that takes whatever it is shown.
    #[derive(Debug)]
    pub(super) struct Lax;

    impl ServerCertVerifier for Lax {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
}

#[test]
fn weak_keys_broken_signatures_wrong_purposes_and_longer_ways_are_refused_on_both_sides_and_at_configuration()
{
    run(async {
        let folder = Folder::new();
        folder.authority("ca");
        folder.issue("good", "ca", P256, "");
        folder.issue("middle", "ca", P256, "basicConstraints=critical,CA:TRUE");
        folder.issue("leaf", "ca", P256, "basicConstraints=critical,CA:FALSE");
        let small = "-algorithm RSA -pkeyopt rsa_keygen_bits:1024";
        folder.issue("small", "ca", small, "");
        folder.issue("small3", "ca", small, V3);
        folder.issue("curve", "ca", "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "");
        // Version 1 through an intermediate, with the intermediate or without, and from somebody who is no authority.
        folder.issue("far", "middle", P256, "");
        folder.sh("cp far.key farther.key; cat far.pem middle.pem > farther.pem");
        folder.issue("forged", "leaf", P256, "");
        folder.sh("cat leaf.pem >> forged.pem");
        folder.issue("forged3", "leaf", P256, V3);
        folder.sh("cat leaf.pem >> forged3.pem");
        folder.sh(&format!(
            "openssl genpkey {P256} -out sha1.key; openssl req -new -key sha1.key -out sha1.csr -subj /CN=sha1
             openssl x509 -req -sha1 -in sha1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out sha1.pem -days 100"
        ));
        folder.issue("server", "ca", P256, "extendedKeyUsage=serverAuth");
        folder.issue("client", "ca", P256, "extendedKeyUsage=clientAuth");
        folder.sh(
            "openssl req -new -x509 -key good.key -out own.pem -days 100 -subj /CN=ca && cp good.key own.key",
        );

        let strict = node(&folder.files("good", "ca"));
        let (own_word, unknown) = (AlertDescription::CertificateUnknown, AlertDescription::UnknownCA);
        for (name, words, alert) in [
            ("small", "RSA of 1024 bits", own_word),
            ("small3", "RSA of 1024 bits", own_word),
            ("far", "was not issued by an authority of tls_ca", unknown),
            ("farther", "was not issued by an authority of tls_ca", unknown),
            ("forged", "was not issued by an authority of tls_ca", unknown),
            ("forged3", "EndEntityUsedAsCa", own_word),
            ("sha1", "SHA-1", own_word),
            ("own", "CaUsedAsEndEntity", own_word),
        ] {
            let text = shown_to_dialler(&folder, name, &strict).await;
            assert!(text.contains("its certificate") && text.contains(words), "{name}: {text}");
            assert_eq!(shown_to_acceptor(Some(certified(&folder, name)), &strict).await, alert, "{name}");
            let error = load(&folder.files(name, "ca")).expect_err(name).to_string();
            assert!(error.starts_with("tls_cert: ") && error.contains(words), "{name}: {error}");
        }
        // A kind of key that not even the library can hold.
        let error = load(&folder.files("curve", "ca")).expect_err("refused").to_string();
        assert!(error.contains("P-256, P-384 and P-521 are accepted"), "{error}");
        for (name, lacks) in [("server", "clientAuth"), ("client", "serverAuth")] {
            let error = load(&folder.files(name, "ca")).expect_err("refused").to_string();
            assert!(error.contains(&format!("not allowed for {lacks}")), "{error}");
        }
        assert!(shown_to_dialler(&folder, "client", &strict).await.contains("not allowed for serverAuth"));
        assert_eq!(shown_to_acceptor(Some(certified(&folder, "server")), &strict).await, own_word);
        // None at all: an acceptor in TLS always shows one, so this is the acceptor's to refuse.
        let alert = shown_to_acceptor(None, &strict).await;
        assert_eq!(alert, AlertDescription::CertificateRequired);
        meet(&strict, &node(&folder.files("good", "ca"))).await;
    });
}

#[test]
fn an_authority_of_the_file_vouches_only_as_far_as_it_may() {
    run(async {
        let folder = Folder::new();
        folder.authority("ca");
        // Only certain names: a certificate of version 1 has none that could be held against them.
        folder.sh(
            "openssl ecparam -genkey -noout -name prime256v1 -out few.key
             openssl req -new -x509 -key few.key -out few.pem -days 365 -subj /CN=few -addext 'nameConstraints=critical,permitted;DNS:example.com'
             cat few.pem ca.pem > both.pem",
        );
        folder.issue("v1few", "few", P256, "");
        folder.issue("v3few", "few", P256, "subjectAltName=DNS:a.example.com");
        let error = load(&folder.files("v1few", "both")).expect_err("refused").to_string();
        assert!(error.contains("constrained to certain names"), "{error}");
        // A new key for the old name: nodes with either certificate meet while the file has both.
        folder.sh("mkdir old && cp ca.pem ca.key old");
        folder.authority("ca");
        folder.sh("cat old/ca.pem ca.pem few.pem > all.pem");
        for extensions in ["", V3] {
            folder.issue("before", "old/ca", P256, extensions);
            folder.issue("after", "ca", P256, extensions);
            let (before, after) = (node(&folder.files("before", "all")), node(&folder.files("after", "all")));
            meet(&before, &after).await;
            meet(&before, &node(&folder.files("v3few", "all"))).await;
        }
        // One whose time is over vouches for nobody, though the file has another that is valid.
        folder.sh("openssl ecparam -genkey -noout -name prime256v1 -out long.key
             openssl req -new -x509 -key long.key -out long.pem -days 4000 -subj /CN=long
             cat ca.pem long.pem > mixed.pem");
        for (extensions, words) in [("", "no authority of tls_ca is valid now"), (V3, "was not issued by")] {
            folder.issue("orphan", "ca", P256, extensions);
            folder.sh("openssl x509 -req -in orphan.csr -CA ca.pem -CAkey ca.key -out orphan.pem -days 3000 $(test -s orphan.ext && echo -extfile orphan.ext)");
            load(&folder.files("orphan", "mixed")).expect("good today");
            let late = Tls::load(&folder.files("orphan", "mixed"), false, Arc::new(Off(500)));
            let error = late.expect_err("the authority has expired").to_string();
            assert!(error.contains(words), "{error}");
        }
    });
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    run(async {
        let folder = Folder::of_guide();
        folder.issue("thief", "ca", P256, "");
        let strict = node(&folder.files("node", "ca"));
        for v3 in ["", V3] {
            // The victim's certificate, signed for with another key.
            folder.issue("victim", "ca", P256, v3);
            folder.sh("cp victim.pem stolen.pem; cp thief.key stolen.key");
            assert!(!shown_to_dialler(&folder, "stolen", &strict).await.is_empty());
            let alert = shown_to_acceptor(Some(certified(&folder, "stolen")), &strict).await;
            assert_eq!(alert, AlertDescription::DecryptError);
        }
    });
}

#[test]
fn plaintext_and_tls_do_not_meet_and_both_say_why() {
    run(async {
        let folder = Folder::of_guide();
        let encrypted = node(&folder.files("node", "ca"));
        for guard in [open(), secret("between us")] {
            let plain = Node::start(config(guard));
            let text = denied(&encrypted, &plain).await;
            assert!(text.contains("is TLS set there?"), "{text}");
            let text = denied(&plain, &encrypted).await;
            assert!(text.contains("is TLS set there and not here"), "{text}");
            until(|| plain.links.stats().refused.load(Relaxed) == 1).await;
        }
        until(|| encrypted.links.stats().refused.load(Relaxed) == 2).await;
        // Not a byte in plaintext is taken, whatever it is.
        let mut stranger = TcpStream::connect(encrypted.address).await.expect("connects");
        let opening = [challenge(0), frame(0x09, "", b""), frame(0x14, "t", b"hello")].concat();
        stranger.write_all(&opening).await.expect("writes");
        let heard = rest(&mut stranger).await;
        assert!(heard.is_empty() || heard[0] == 0x15, "an alert of TLS and nothing else: {heard:?}");
        until(|| encrypted.links.stats().refused.load(Relaxed) == 3).await;
    });
}

#[test]
fn tls_1_2_is_not_spoken() {
    let folder = Folder::of_guide();
    run(async {
        let strict = node(&folder.files("node", "ca"));
        let address = strict.address.to_string();
        let asked = tokio::task::spawn_blocking(move || {
            std::process::Command::new("openssl")
                .args(["s_client", "-tls1_2", "-connect", &address])
                .stdin(std::process::Stdio::null())
                .output()
        });
        assert!(!asked.await.expect("runs").expect("openssl").status.success());
        until(|| strict.links.stats().refused.load(Relaxed) == 1).await;
    });
}

// ------------------------------------------------------------------------------------------------ configuration

#[test]
fn wrong_files_are_told_with_their_option_and_what_is_wrong() {
    let folder = Folder::of_guide();
    folder.issue("other", "ca", P256, "");
    folder.write("empty.pem", "");
    folder.write("cut.pem", &folder.read("node.pem")[..300]);
    folder.write("noise.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder.sh("openssl x509 -in node.pem -outform DER -out der.pem
         openssl pkcs8 -topk8 -in node.key -passout pass:hush -out locked.key
         openssl ec -in node.key -aes128 -passout pass:hush -out locked2.key 2>/dev/null
         cat ca.pem other.pem > mixed.pem");
    let good = folder.files("node", "ca");
    let with = |option: &str, file: &str| {
        let mut files = good.clone();
        match option {
            "tls_ca" => files.ca = folder.path(file),
            "tls_cert" => files.cert = folder.path(file),
            _ => files.key = folder.path(file),
        }
        files
    };
    for (option, file, words) in [
        ("tls_ca", "missing.pem", "there is no such file"),
        ("tls_cert", "missing.pem", "there is no such file"),
        ("tls_key", "missing.key", "there is no such file"),
        ("tls_ca", "empty.pem", "has no certificate in PEM"),
        ("tls_cert", "der.pem", "has no certificate in PEM"),
        ("tls_cert", "node.key", "has no certificate in PEM"),
        ("tls_cert", "cut.pem", "is not PEM: a section has no end"),
        ("tls_cert", "noise.pem", "certificate 1 is not a certificate"),
        ("tls_ca", "noise.pem", "certificate 1 is not a certificate"),
        ("tls_key", "node.pem", "has no private key in PEM"),
        ("tls_key", "locked.key", "is encrypted with a passphrase"),
        ("tls_key", "locked2.key", "is encrypted with a passphrase"),
        ("tls_key", "other.key", "does not belong to the certificate in"),
        ("tls_ca", "", "can't be read"),
    ] {
        let error = load(&with(option, file)).expect_err(words).to_string();
        let begins = format!("{option}: {}: ", folder.path(file).display());
        assert!(error.starts_with(&begins) && error.contains(words), "{error}");
    }
    folder.authority("ca2");
    let error = load(&with("tls_ca", "ca2.pem")).expect_err("another authority").to_string();
    assert!(
        error.starts_with("tls_cert: ") && error.contains("(CN=wse-node-1) was not issued by"),
        "{error}"
    );
    for (days, words) in [(400, "has expired; it is valid from"), (-2, "is not valid yet")] {
        let error = Tls::load(&good, false, Arc::new(Off(days))).expect_err(words).to_string();
        assert!(error.starts_with("tls_ca: ") && error.contains(words), "{error}");
    }
    // What may not issue certificates is no authority, of version 3 at least; version 1 has no words for it.
    folder.issue("leaf", "ca", P256, V3);
    let error = load(&with("tls_ca", "leaf.pem")).expect_err("no authority").to_string();
    assert!(error.starts_with("tls_ca: ") && error.contains("is not an authority's"), "{error}");
    load(&with("tls_ca", "mixed.pem")).expect("the file says that it is one");
}

#[test]
fn reloading_counts_for_new_handshakes_and_wrong_files_change_nothing() {
    run(async {
        let (old, new) = (Folder::of_guide(), Folder::of_guide());
        new.sh("mv node.csr x.csr; openssl req -new -key node.key -out node.csr -subj /CN=renewed; openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out node.pem -days 365");
        let tls = Arc::new(load(&old.files("node", "ca")).expect("good files"));
        let reloading =
            Node::start(config(Guard { tls: Some(tls.clone()), secret: None, cluster_name: "wse".into() }));
        let (before, after) = (node(&old.files("node", "ca")), node(&new.files("node", "ca")));
        let (standing, accepted) = pair(&before, &reloading).await;
        denied(&after, &reloading).await;

        fs::remove_file(old.path("node.key")).expect("removed");
        tls.reload(&old.files("node", "ca")).expect_err("the key is gone");
        denied(&after, &reloading).await;
        pair(&before, &reloading).await;

        tls.reload(&new.files("node", "ca")).expect("good files");
        assert_eq!(tls.subject(), "CN=renewed");
        let today = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs() as i64;
        assert_eq!((tls.expires() - today + 3600) / DAY as i64, 365);
        denied(&before, &reloading).await;
        denied(&reloading, &before).await;
        let (dialled, _) = pair(&after, &reloading).await;
        assert_eq!(dialled.about().subject.as_deref(), Some("CN=renewed"));
        pair(&reloading, &after).await;

        assert_eq!(standing.frame(Class::Data, 0x14, "still", b"here"), Ok(()));
        assert_eq!(reloading.frames(1).await[0].1, "still");
        assert_eq!(accepted.frame(Class::Data, 0x14, "and", b"there"), Ok(()));
        assert_eq!(before.frames(1).await[0].1, "and");
    });
}
