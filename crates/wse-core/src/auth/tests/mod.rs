//! Every rule for tokens, with the time as an argument.

mod key_sets;
mod keys;
mod minting;
mod properties;
mod rules;
mod sources;
mod speed;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// The keys beside this file sign nothing but these tests.
macro_rules! pem {
    ($name:literal) => {
        include_bytes!(concat!("keys/", $name, ".pem")).as_slice()
    };
}
use pem;

const SECRET: &[u8] = b"a secret of exactly 32 bytes ...";
const OTHER_SECRET: &[u8] = b"another one of 32 bytes ........";

/// The time at which the tests take place.
const NOW: u64 = 1_900_000_000;

fn now() -> Duration {
    Duration::from_secs(NOW)
}

fn config() -> VerifierConfig {
    VerifierConfig { secret: SECRET.to_vec(), ..VerifierConfig::default() }
}

fn verifier() -> Verifier {
    Verifier::new(config()).unwrap()
}

/// Claims that every server without an issuer or an audience accepts.
fn good() -> Value {
    json!({"sub": "user-7", "exp": NOW + 3600})
}

/// `good` with one claim set to something else, or without it if that is `None`.
fn good_with(name: &str, value: impl Into<Option<Value>>) -> Value {
    let mut claims = good();
    match value.into() {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    claims
}

/// A token of exactly this header and payload, signed with `SECRET` whatever they say.
fn signed(header: &str, payload: &str) -> String {
    signed_bytes(header.as_bytes(), payload.as_bytes())
}

fn signed_bytes(header: &[u8], payload: &[u8]) -> String {
    sign_segments(&base64url::encode(header), &base64url::encode(payload))
}

fn sign_segments(header: &str, payload: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let message = format!("{header}.{payload}");
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn token(claims: &Value) -> String {
    signed(HEADER, &claims.to_string())
}

fn token_with_header(header: &Value) -> String {
    signed(&header.to_string(), &good().to_string())
}

/// What a server with `SECRET` and nothing else configured says about these claims.
fn decision(claims: &Value) -> Result<Claims, TokenError> {
    verifier().verify(&token(claims), now())
}

fn refusal(claims: &Value) -> TokenError {
    decision(claims).expect_err(&format!("accepted: {claims}"))
}
