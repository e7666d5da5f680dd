//! The three files of a node: what is wrong with them is told, and they are read again.

mod common;

use std::fs;
use std::sync::Arc;

use common::certs::*;
use common::*;
use wse_link::tls::Tls;
use wse_link::{Class, Guard};

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
