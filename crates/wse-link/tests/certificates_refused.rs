//! Certificates that are refused, by the dialler and by the acceptor, and TLS that does not meet.

mod common;

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
use wse_link::Failure;
use wse_link::tls::Tls;

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
