//! What holds for every token.

use proptest::prelude::*;

use super::*;

/// Everything JSON can say, a few levels deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has finite numbers only", |x| x.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!(NOW + 60)),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c]{1,2}|.{0,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn claim_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["sub", "exp", "nbf", "iss", "aud", "iat", "jti", "wse_topics"])
            .prop_map(String::from),
        "[a-z]{1,6}",
    ]
}

fn any_claims() -> impl Strategy<Value = Value> {
    prop::collection::hash_map(claim_name(), any_json(), 0..8)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// Claims that are right but for a few that may be anything.
fn nearly_good_claims() -> impl Strategy<Value = Value> {
    let lasts = prop_oneof![4 => -100.0..100.0f64, 1 => -1e10..1e12f64];
    let subject = prop_oneof![4 => Just(json!("u")), 1 => any_json()];
    (any_claims(), lasts, subject).prop_map(|(mut claims, lasts, subject)| {
        claims["exp"] = json!(NOW as f64 + lasts);
        claims["sub"] = subject;
        claims
    })
}

fn strict() -> Verifier {
    let config = VerifierConfig {
        issuer: Some("me".into()),
        audience: Some("you".into()),
        key_id: Some("k".into()),
        previous_secret: Some(OTHER_SECRET.to_vec()),
        ..config()
    };
    Verifier::new(config).unwrap()
}

/// The rules once more, written in another way.
fn should_accept(claims: &Value) -> bool {
    let date = |name: &str| claims[name].as_f64().filter(|date| *date >= 0.0 && *date <= 253_402_300_799.0);
    claims["sub"].as_str().is_some_and(|sub| !sub.is_empty())
        && date("exp").is_some_and(|exp| exp + 30.0 > NOW as f64)
        && (claims.get("nbf").is_none() || date("nbf").is_some_and(|nbf| nbf <= NOW as f64 + 30.0))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}|[A-Za-z0-9_.=-]{0,80}", now in any::<u64>()) {
        let _ = strict().verify(&text, Duration::from_secs(now));
    }

    #[test]
    fn no_signed_bytes_make_it_panic(
        header in prop::collection::vec(any::<u8>(), 0..60),
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = strict().verify(&signed_bytes(&header, &payload), now());
        let _ = strict().verify(&signed_bytes(HEADER.as_bytes(), &payload), now());
    }

    #[test]
    fn no_signed_json_makes_it_panic(header in any_json(), claims in any_claims(), now in any::<u64>()) {
        let _ = strict().verify(&signed(&header.to_string(), &claims.to_string()), Duration::from_secs(now));
        let _ = strict().verify(&token(&claims), Duration::from_secs(now));
    }

    #[test]
    fn no_headers_make_the_search_panic(
        cookie in prop::collection::vec(any::<u8>(), 0..40),
        authorization in prop::collection::vec(any::<u8>(), 0..40),
        subprotocols in "[a-z., ]{0,40}",
        name in prop::option::of("[a-z=; ]{0,3}"),
    ) {
        let _ = find_token(name.as_deref(), [&cookie[..]], [&authorization[..]], [subprotocols.as_bytes()]);
    }

    #[test]
    fn claims_decide_as_the_rules_say(claims in prop_oneof![any_claims(), nearly_good_claims()]) {
        prop_assert_eq!(decision(&claims).is_ok(), should_accept(&claims), "{}", claims);
    }

    #[test]
    fn what_encode_makes_is_accepted(
        subject in ".{1,40}",
        lasts in -29.0..1e9f64,
        begins in prop::option::of(0..NOW + 30),
        more in any_claims(),
        key_id in ".{0,12}",
    ) {
        let mut claims = more;
        claims["sub"] = json!(subject);
        claims["exp"] = json!(NOW as f64 + lasts);
        claims["nbf"] = json!(begins.unwrap_or(0));
        claims["iss"] = json!("me");
        claims["aud"] = json!(["them", "you"]);
        let config = VerifierConfig {
            issuer: Some("me".into()),
            audience: Some("you".into()),
            key_id: Some(key_id.clone()),
            ..config()
        };
        let verifier = Verifier::new(config.clone()).unwrap();
        let token = encode(&claims.to_string(), SECRET, Algorithm::Hs256, Some(&key_id)).unwrap();
        let accepted = verifier.verify(&token, now()).unwrap();
        prop_assert_eq!(&*accepted.subject, subject);
        let minted = Minter::new(&config, None).unwrap().unwrap().mint(&claims.to_string()).unwrap();
        prop_assert_eq!(minted, token);
    }

    #[test]
    fn another_key_is_refused(secret in prop::collection::vec(any::<u8>(), 32..80)) {
        prop_assume!(secret != SECRET);
        let config = VerifierConfig { secret, ..VerifierConfig::default() };
        if let Ok(verifier) = Verifier::new(config) {
            prop_assert_eq!(verifier.verify(&token(&good()), now()), Err(TokenError::Signature));
        }
    }
}

#[test]
fn any_flipped_bit_refuses_the_token() {
    let keys = [
        (Algorithm::Hs256, SECRET, SECRET),
        (Algorithm::Rs256, pem!("rsa-2048"), pem!("rsa-2048.pub")),
        (Algorithm::Es256, pem!("p256"), pem!("p256.pub")),
        (Algorithm::EdDsa, pem!("ed25519"), pem!("ed25519.pub")),
    ];
    for (algorithm, private, public) in keys {
        let config = VerifierConfig { algorithm, secret: public.to_vec(), ..VerifierConfig::default() };
        let verifier = Verifier::new(config).unwrap();
        // As it comes in: a flipped bit may make a byte that is no text, or one that means something in the header.
        let admits = |token: &[u8]| {
            let header = [b"Bearer ", token].concat();
            let found = find_token(None, [], [header.as_slice()], []).unwrap();
            found.token.and_then(|token| verifier.verify(token, now())).is_ok()
        };
        let mut token = encode(&good().to_string(), private, algorithm, None).unwrap().into_bytes();
        assert!(admits(&token));
        for i in 0..token.len() * 8 {
            token[i / 8] ^= 1 << (i % 8);
            assert!(!admits(&token), "{algorithm}, bit {i}");
            token[i / 8] ^= 1 << (i % 8);
        }
    }
}

#[test]
fn any_cut_or_added_byte_refuses_the_token() {
    let token = token(&good());
    for i in 0..token.len() {
        assert!(verifier().verify(&token[..i], now()).is_err(), "cut at {i}");
        for added in ["A", ".", "=", " ", "\0"] {
            let longer = format!("{}{added}{}", &token[..i], &token[i..]);
            assert!(verifier().verify(&longer, now()).is_err(), "{added:?} at {i}");
        }
    }
}
