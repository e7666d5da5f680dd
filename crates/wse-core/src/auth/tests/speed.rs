//! What a handshake pays for its token. Measured, not asserted: `cargo test --release -p wse-core verify_speed --
//! --ignored --nocapture`.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::Instant;

use super::*;

/// The mean of the quietest of 40 batches: other work on the machine only ever adds time.
fn best(rounds: u32, work: &mut dyn FnMut()) -> Duration {
    let mut batch = || {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        start.elapsed() / rounds
    };
    (0..40).map(|_| batch()).min().unwrap()
}

#[test]
#[ignore = "a measurement"]
fn verify_speed() {
    let usual = json!({
        "sub": "0b9a3f52-6a7e-4a55-9f0e-2d8c1a7b6e33", "iss": "my-app", "aud": "my-api",
        "iat": NOW - 5, "exp": NOW + 3600, "role": "member",
    });
    let pairs = [
        (Algorithm::Hs256, SECRET, SECRET),
        (Algorithm::Rs256, pem!("rsa-2048"), pem!("rsa-2048.pub")),
        (Algorithm::Es256, pem!("p256"), pem!("p256.pub")),
        (Algorithm::EdDsa, pem!("ed25519"), pem!("ed25519.pub")),
    ];
    for (algorithm, private, public) in pairs {
        let token = encode(&usual.to_string(), private, algorithm, None).unwrap();
        let verifier = Verifier::new(VerifierConfig {
            algorithm,
            secret: public.to_vec(),
            issuer: Some("my-app".into()),
            audience: Some("my-api".into()),
            ..VerifierConfig::default()
        })
        .unwrap();
        let rounds = if algorithm.is_symmetric() { 5_000 } else { 250 };
        let each = best(rounds, &mut || {
            black_box(verifier.verify(black_box(&token), now())).unwrap();
        });
        println!("{algorithm}: {each:?} for a token of {} bytes", token.len());
    }
    println!("Claims: {} bytes", size_of::<Claims>());
}
