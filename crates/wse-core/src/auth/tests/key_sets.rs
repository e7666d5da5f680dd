//! Sets of keys: what is read, what is skipped, and which key a token gets. The keys are the public ones beside this file, as PyJWT
//! writes them.

use super::*;
use proptest::prelude::*;

const N: &str = "qc7sxEuOXFVti7E3bwkcp_NfbOkDL_UrGppEG9iwAgJmbvxWlMXIEOgFmvD4B3dcNHOIHdjUI3xL_gHT2MPQDwsbKI58NL2k9ey\
                 mOZdvE10VV2qjBm3dfqULAi_dNSi5zthAkmS_B2lZvakkxRWx8wupwEyGhE9kYK7s4aIwvpi3qxJ9SHpavVPXXP9PC9Ii4tbUPM\
                 yH_ri1ktkRB70l9gDfBcUa1BnGlEr2SzxWqcex4MwIQKjEXDqNtjePl-VuI70SNfy2rX0lt3ruq6FZIwMxnPUf0-lXBOARMMPSz\
                 skX3R-EwSqgwaUfZhA86KTJR0dMERliWuvC8pO8QMJoeQ";

fn rsa() -> Value {
    json!({"kty": "RSA", "n": N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
}

fn p256() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": "1",
        "x": "VJtju3O4N2VlnFCYDJvAwsFH0yRe4VLGHFVHLb0T_gM",
        "y": "PgCPB4vxnaPCc4IXGoQmEcNHKbxL5uxstonc16ewdk8",
    })
}

fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "x2akUYkhGTmUyCpm_93ifE_H2xp6NYML6kh_TYgKNeM"})
}

fn read(keys: &Value, algorithm: Algorithm) -> Result<KeySet, KeySetError> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes(), algorithm)
}

/// Why this key is skipped beside one that is not.
fn skipped(key: impl Into<Value>, algorithm: Algorithm) -> &'static str {
    let good = match algorithm {
        Algorithm::Rs256 => rsa(),
        Algorithm::Es256 => p256(),
        _ => ed25519(),
    };
    let set = read(&Value::from(vec![good, key.into()]), algorithm).unwrap();
    assert_eq!((set.len(), set.skipped().len()), (1, 1));
    let (index, why) = set.skipped()[0];
    assert_eq!(index, 1);
    why
}

fn with(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
    key[name] = value.into();
    key
}

#[test]
fn each_algorithm_finds_its_own_among_all() {
    let all = json!([{"kty": "oct", "k": "AAAA"}, rsa(), p256(), ed25519(), {"kty": "OKP", "crv": "X25519", "x": "AA"}, 7]);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let set = read(&all, algorithm).unwrap();
        assert_eq!((set.len(), set.skipped().len()), (1, 5), "{algorithm}");
    }
    assert!(matches!(read(&all, Algorithm::Hs256), Err(KeySetError::Useless { skipped: 6, .. })));
}

#[test]
fn keys_for_something_else_are_skipped_with_a_reason() {
    assert!(skipped(with(rsa(), "use", "enc"), Algorithm::Rs256).contains("use"));
    assert!(skipped(with(rsa(), "alg", "RS512"), Algorithm::Rs256).contains("alg"));
    assert!(skipped(with(rsa(), "alg", 7), Algorithm::Rs256).contains("text"));
    assert!(skipped(with(rsa(), "kid", 7), Algorithm::Rs256).contains("text"));
    assert!(skipped(with(p256(), "key_ops", json!(["sign"])), Algorithm::Es256).contains("key_ops"));
    assert!(skipped(with(p256(), "key_ops", "verify"), Algorithm::Es256).contains("key_ops"));
    assert!(skipped(with(p256(), "crv", "P-384"), Algorithm::Es256).contains("crv"));
    assert!(skipped(with(rsa(), "n", &N[..300]), Algorithm::Rs256).contains("2048"));
    assert!(skipped(with(rsa(), "n", format!("{N}==")), Algorithm::Rs256).contains("base64url"));
    for exponent in ["", "AQ", "Ag", "AQAAAAAB"] {
        assert!(skipped(with(rsa(), "e", exponent), Algorithm::Rs256).contains("exponent"), "{exponent}");
    }
    assert!(skipped(with(p256(), "x", "AA"), Algorithm::Es256).contains("32"));
    assert!(skipped(with(ed25519(), "x", "AA"), Algorithm::EdDsa).contains("32"));
    let mut nameless = rsa();
    nameless.as_object_mut().unwrap().remove("n");
    assert!(skipped(nameless, Algorithm::Rs256).contains("missing"));
    let may = with(p256(), "key_ops", json!(["verify", "sign"]));
    assert_eq!(read(&json!([may]), Algorithm::Es256).unwrap().len(), 1);
}

#[test]
fn what_is_no_set_is_refused() {
    for text in ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(
            KeySet::parse(text.as_bytes(), Algorithm::Rs256).unwrap_err(),
            KeySetError::Form,
            "{text}"
        );
    }
    assert_eq!(read(&json!([]), Algorithm::Rs256).unwrap_err(), KeySetError::Empty);
    let message = read(&json!([p256(), ed25519()]), Algorithm::Rs256).unwrap_err().to_string();
    assert!(message.contains("RS256") && message.contains('2'), "{message}");
}

#[test]
fn a_key_is_found_by_its_kid_and_without_one_only_where_there_is_no_choice() {
    let count = |set: &KeySet, kid: Option<&str>| set.find(kid).map(Iterator::count);
    let (a, b) = (with(p256(), "kid", "a"), with(p256(), "kid", "b"));
    let two = read(&json!([&a, &b, &a]), Algorithm::Es256).unwrap();
    assert_eq!(count(&two, Some("a")), Ok(2));
    assert_eq!(count(&two, Some("b")), Ok(1));
    assert_eq!(count(&two, Some("c")), Err(TokenError::UnknownKey));
    assert_eq!(count(&two, Some("")), Err(TokenError::UnknownKey));
    assert_eq!(count(&two, None), Err(TokenError::KeyId));
    let one = read(&json!([&a]), Algorithm::Es256).unwrap();
    assert_eq!(count(&one, None), Ok(1));
    let unnamed = read(&json!([ed25519()]), Algorithm::EdDsa).unwrap();
    assert_eq!(count(&unnamed, None), Ok(1));
    assert_eq!(count(&unnamed, Some("a")), Err(TokenError::UnknownKey));
}

#[test]
fn a_token_of_an_unknown_key_is_told_apart_from_a_forged_one() {
    for (algorithm, private, key, other) in [
        (Algorithm::Rs256, pem!("rsa-2048"), rsa(), None),
        (Algorithm::Es256, pem!("p256"), p256(), None),
        (Algorithm::EdDsa, pem!("ed25519"), ed25519(), Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
    ] {
        let config = VerifierConfig { algorithm, ..VerifierConfig::default() };
        let set = |kid: &str, key: &Value| read(&json!([with(key.clone(), "kid", kid)]), algorithm).unwrap();
        let token = SigningKey::new("secret", algorithm, private, Some("new")).unwrap();
        let token = token.sign(&good().to_string()).unwrap();
        let verifier = Verifier::with_key_set(&config, set("old", &key));
        assert_eq!(verifier.verify(&token, now()), Err(TokenError::UnknownKey));
        let verifier = verifier.with_other_keys(set("new", &key));
        assert_eq!(&*verifier.verify(&token, now()).unwrap().subject, "user-7", "{algorithm}");
        let late = now() + Duration::from_secs(4000);
        assert_eq!(verifier.verify(&token, late), Err(TokenError::Expired));
        if let Some(x) = other {
            let verifier = verifier.with_other_keys(set("new", &with(key, "x", x)));
            assert_eq!(verifier.verify(&token, now()), Err(TokenError::Signature));
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = KeySet::parse(text.as_bytes(), Algorithm::Es256);
    }

    /// Whatever stands in the members of a key, it is taken or skipped, and the good one beside it stays.
    #[test]
    fn no_key_spoils_the_set(members in prop::collection::btree_map(
        prop::sample::select(vec!["kty", "crv", "use", "alg", "kid", "key_ops", "n", "e", "x", "y"]),
        prop_oneof![
            prop::sample::select(vec!["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "ES256", "AQAB", ""]).prop_map(Value::from),
            "[A-Za-z0-9_-]{43}".prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            Just(json!(["verify"])),
            Just(Value::Null),
        ], 0..10))
    {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            let set = read(&json!([members, rsa(), p256(), ed25519()]), algorithm).unwrap();
            prop_assert_eq!(set.len() + set.skipped().len(), 4);
            prop_assert!(!set.is_empty());
        }
    }
}
