//! Tokens of any bytes, and the headers they come in.
//!
//! A fuzzer can't guess a signature, so the input is also signed and verified as a payload and as a header: what lies behind the
//! signature is reached from the first run on.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use wse_core::auth::{Algorithm, Claims, MAX_NUMERIC_DATE, SigningKey, Verifier, VerifierConfig, find_token};

const SECRET: &[u8] = b"a secret of exactly 32 bytes ...";
const NOW: Duration = Duration::from_secs(1_900_000_000);

static SIGNING: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::new("secret", Algorithm::Hs256, SECRET, Some("k")).unwrap());
static LENIENT: LazyLock<Verifier> = LazyLock::new(|| verifier(VerifierConfig::default()));
static STRICT: LazyLock<Verifier> = LazyLock::new(|| {
    verifier(VerifierConfig {
        previous_secret: Some([SECRET, SECRET].concat()),
        issuer: Some("me".into()),
        audience: Some("you".into()),
        key_id: Some("k".into()),
        ..VerifierConfig::default()
    })
});

fn verifier(config: VerifierConfig) -> Verifier {
    Verifier::new(VerifierConfig { secret: SECRET.to_vec(), ..config }).unwrap()
}

fuzz_target!(|data: &[u8]| {
    find_in_headers(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    verify_as_it_is(text);
    verify_signed(text);
});

/// Lines of the input as the values of three headers. What is found comes from the input and is no list.
fn find_in_headers(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let [cookie, authorization, subprotocols] = [lines.next(), lines.next(), lines.next()];
    let found = find_token(Some("access_token"), cookie, authorization, subprotocols);
    if let Some(Ok(token)) = found.map(|found| found.token) {
        assert!(!token.is_empty());
        assert!(data.windows(token.len()).any(|window| window == token.as_bytes()));
    }
}

/// Without the key nothing gets in.
fn verify_as_it_is(token: &str) {
    assert!(LENIENT.verify(token, NOW).is_err());
    assert!(STRICT.verify(token, NOW).is_err());
}

/// What is signed is read as it was written, and the strict server accepts nothing that the lenient one refuses.
fn verify_signed(claims: &str) {
    let Ok(token) = SIGNING.sign(claims) else { return };
    let lenient = LENIENT.verify(&token, NOW);
    if let Ok(accepted) = &lenient {
        check(accepted);
        assert_eq!(LENIENT.verified_json(&token, NOW).as_deref(), Ok(claims.as_bytes()));
    }
    if let Ok(accepted) = STRICT.verify(&token, NOW) {
        assert_eq!(Ok(accepted), lenient);
    }
}

fn check(claims: &Claims) {
    assert!(!claims.subject.is_empty());
    assert!((0.0..=MAX_NUMERIC_DATE).contains(&claims.expires_at));
    assert!(!claims.has_expired(NOW) && claims.has_expired(claims.closes_at()));
}
