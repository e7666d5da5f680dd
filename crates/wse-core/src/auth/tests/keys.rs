//! Keys that work, and for each that does not a message that says what to do.

use super::*;

fn public(algorithm: Algorithm, key: &[u8]) -> Result<(), String> {
    let config = VerifierConfig { algorithm, secret: key.to_vec(), ..VerifierConfig::default() };
    Verifier::new(config).map(drop).map_err(|error| error.to_string())
}

fn private(algorithm: Algorithm, key: &[u8]) -> Result<(), String> {
    SigningKey::new("jwt_private_key", algorithm, key, None).map(drop).map_err(|error| error.to_string())
}

/// The message begins with the option, has the words, says what is allowed, and shows nothing of the key.
#[track_caller]
fn assert_says(result: Result<(), String>, option: &str, words: &[&str]) {
    let message = result.unwrap_err();
    assert!(message.starts_with(&format!("{option} ")), "{message}");
    for word in words.iter().chain(&["allowed"]) {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert!(!message.contains("MIIE") && !message.contains("MFkw") && !message.contains("MC4C"), "{message}");
}

#[test]
fn the_usual_forms_are_read() {
    for key in [pem!("rsa-2048.pub"), pem!("rsa-2048.pkcs1.pub")] {
        assert_eq!(public(Algorithm::Rs256, key), Ok(()));
    }
    for key in [pem!("rsa-2048"), pem!("rsa-2048.pkcs1")] {
        assert_eq!(private(Algorithm::Rs256, key), Ok(()));
    }
    assert_eq!(public(Algorithm::Es256, pem!("p256.pub")), Ok(()));
    assert_eq!(private(Algorithm::Es256, pem!("p256")), Ok(()));
    assert_eq!(public(Algorithm::EdDsa, pem!("ed25519.pub")), Ok(()));
    assert_eq!(private(Algorithm::EdDsa, pem!("ed25519")), Ok(()));
}

#[test]
fn line_ends_and_text_around_a_pem_block_do_not_matter() {
    let unix = String::from_utf8(pem!("p256.pub").to_vec()).unwrap();
    assert_eq!(public(Algorithm::Es256, unix.replace('\n', "\r\n").as_bytes()), Ok(()));
    assert_eq!(public(Algorithm::Es256, format!("issued for tests\n{unix}\n\n").as_bytes()), Ok(()));
    assert_eq!(public(Algorithm::Es256, unix.trim().as_bytes()), Ok(()));
}

#[test]
fn a_shared_secret_has_at_least_32_bytes() {
    assert_says(public(Algorithm::Hs256, b"short"), "jwt_secret", &["5 bytes", "at least 32", "HS256"]);
    assert_says(public(Algorithm::Hs256, b""), "jwt_secret", &["0 bytes"]);
    assert_says(public(Algorithm::Hs256, &[1; 31]), "jwt_secret", &["31 bytes"]);
    assert_eq!(public(Algorithm::Hs256, &[1; 32]), Ok(()));
    assert_says(private(Algorithm::Hs256, &[1; 31]), "jwt_private_key", &["31 bytes"]);
}

#[test]
fn the_previous_secret_is_checked_alike() {
    let config = VerifierConfig { previous_secret: Some(b"short".to_vec()), ..config() };
    let error = Verifier::new(config).unwrap_err();
    assert_eq!(error.option, "jwt_previous_secret");
    assert_says(Err(error.to_string()), "jwt_previous_secret", &["5 bytes"]);
}

#[test]
fn a_key_pair_is_no_shared_secret() {
    let ssh = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOm8xX1Bq9mJ2B3u2S8nBqk2hU user@host";
    for key in [pem!("rsa-2048.pub"), pem!("p256"), pem!("p256.cert"), ssh.as_slice()] {
        assert_says(public(Algorithm::Hs256, key), "jwt_secret", &["PEM or SSH", "RS256, ES256 or EdDSA"]);
    }
}

#[test]
fn a_private_key_where_a_public_one_belongs_is_called_that() {
    let keys = [
        (Algorithm::Rs256, pem!("rsa-2048")),
        (Algorithm::Rs256, pem!("rsa-2048.pkcs1")),
        (Algorithm::Es256, pem!("p256")),
        (Algorithm::Es256, pem!("p256.sec1")),
        (Algorithm::Es256, pem!("p256.encrypted")),
        (Algorithm::EdDsa, pem!("ed25519")),
    ];
    for (algorithm, key) in keys {
        assert_says(
            public(algorithm, key),
            "jwt_secret",
            &["private key", "jwt_private_key", "BEGIN PUBLIC KEY"],
        );
    }
}

#[test]
fn a_public_key_where_a_private_one_belongs_is_called_that() {
    for (algorithm, key) in [(Algorithm::Rs256, pem!("rsa-2048.pub")), (Algorithm::Es256, pem!("p256.pub"))] {
        assert_says(private(algorithm, key), "jwt_private_key", &["public key", "BEGIN PRIVATE KEY"]);
    }
}

#[test]
fn rsa_keys_have_2048_to_8192_bits() {
    assert_says(public(Algorithm::Rs256, pem!("rsa-1024.pub")), "jwt_secret", &["2048 to 8192 bits"]);
    assert_says(private(Algorithm::Rs256, pem!("rsa-1024")), "jwt_private_key", &["2048 to 8192 bits"]);
}

#[test]
fn keys_of_another_kind_are_refused() {
    for key in [pem!("p384.pub"), pem!("secp256k1.pub"), pem!("p256.compressed.pub"), pem!("ed25519.pub")] {
        assert_says(public(Algorithm::Es256, key), "jwt_secret", &["ES256", "P-256"]);
    }
    for key in [pem!("p384"), pem!("secp256k1"), pem!("ed25519"), pem!("rsa-2048")] {
        assert_says(private(Algorithm::Es256, key), "jwt_private_key", &["ES256", "P-256"]);
    }
    for key in [pem!("ed448.pub"), pem!("p256.pub"), pem!("rsa-2048.pub")] {
        assert_says(public(Algorithm::EdDsa, key), "jwt_secret", &["EdDSA", "Ed25519"]);
    }
    for key in [pem!("ed448"), pem!("p256")] {
        assert_says(private(Algorithm::EdDsa, key), "jwt_private_key", &["EdDSA", "Ed25519"]);
    }
    for key in [pem!("p256.pub"), pem!("ed25519.pub")] {
        assert_says(public(Algorithm::Rs256, key), "jwt_secret", &["RS256", "RSA"]);
    }
}

#[test]
fn other_forms_come_with_the_command_that_converts_them() {
    assert_says(public(Algorithm::Es256, pem!("p256.cert")), "jwt_secret", &["certificate", "openssl x509"]);
    for key in [pem!("p256.sec1"), pem!("p256.params")] {
        assert_says(private(Algorithm::Es256, key), "jwt_private_key", &["EC PRIVATE KEY", "openssl pkcs8"]);
    }
    assert_says(private(Algorithm::Es256, pem!("p256.encrypted")), "jwt_private_key", &["encrypted"]);
}

#[test]
fn what_is_no_pem_is_called_that() {
    let two = [pem!("p256.pub"), pem!("p256.pub")].concat();
    let truncated = &pem!("p256.pub")[..100];
    for key in [b"hello".as_slice(), b"", b"\xff\xfe", &two, truncated] {
        assert_says(public(Algorithm::Es256, key), "jwt_secret", &["not one PEM block"]);
        assert_says(private(Algorithm::Es256, key), "jwt_private_key", &["not one PEM block"]);
    }
    let broken = String::from_utf8(pem!("ed25519.pub").to_vec()).unwrap().replace("MCow", "MCoW");
    assert_says(public(Algorithm::EdDsa, broken.as_bytes()), "jwt_secret", &["EdDSA"]);
}

#[test]
fn algorithms_are_named_exactly() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
    }
    for name in ["", "hs256", "none", "HS512", "Ed25519"] {
        let message = name.parse::<Algorithm>().unwrap_err().to_string();
        assert!(
            message.contains("HS256, RS256, ES256, EdDSA") && message.contains(&format!("{name:?}")),
            "{message}"
        );
    }
}
