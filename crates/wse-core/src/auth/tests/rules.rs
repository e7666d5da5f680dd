//! What a token has to be, header first, then its claims.

use super::*;

#[test]
fn a_good_token_tells_its_owner_and_its_end() {
    let claims = decision(&good()).unwrap();
    assert_eq!(&*claims.subject, "user-7");
    assert_eq!(claims.expires_at, (NOW + 3600) as f64);
    assert_eq!(claims.topics, None);
}

// The form of a token.

#[test]
fn a_token_has_three_segments_of_canonical_base64url() {
    let token = token(&good());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let last = signature.as_bytes()[42];
    // 43 characters carry 258 bits for 256: the next letter of the alphabet decodes to the same bytes elsewhere.
    let sloppy = format!("{message}.{}{}", &signature[..42], char::from(last + 1));
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        message.into(),
        format!("{message}."),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{token}="),
        format!("{token} "),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header} .{payload}.{signature}"),
        format!("Bearer {token}"),
        format!("\"{token}\""),
        sloppy,
        token.replacen('e', "é", 1),
    ] {
        let refused = verifier().verify(&bad, now()).unwrap_err();
        assert!(
            matches!(refused, TokenError::Malformed | TokenError::Signature | TokenError::Header),
            "{bad:?}"
        );
    }
}

#[test]
fn padding_is_refused_even_where_it_is_signed() {
    let header = base64url::encode(br#"{"alg":"HS256"}"#);
    let payload = base64url::encode(br#"{"sub":"u","exp":1900003600}"#);
    assert!(verifier().verify(&sign_segments(&header, &payload), now()).is_ok());
    for (header, payload) in [
        (header.clone(), format!("{payload}==")),
        (format!("{header}="), payload.clone()),
        (header.clone(), format!("{payload}\n")),
        (header.clone(), format!(" {payload}")),
        (header, payload.replacen('e', "+", 1)),
    ] {
        let refused = verifier().verify(&sign_segments(&header, &payload), now());
        assert_eq!(refused, Err(TokenError::Malformed), "{header} {payload}");
    }
}

#[test]
fn a_token_may_have_8192_bytes_and_not_one_more() {
    let of_len = |len: usize| {
        let mut pad = String::new();
        // Not every length exists in base64, so the header grows too.
        for kid in ["", "k", "kk"] {
            pad.clear();
            loop {
                let header = json!({"alg": "HS256", "kid": kid}).to_string();
                let token = signed(&header, &good_with("pad", json!(pad)).to_string());
                match token.len() {
                    longer if longer > len => break,
                    same if same == len => return token,
                    shorter => pad.push_str(&"x".repeat(((len - shorter) * 3 / 4).max(1))),
                }
            }
        }
        panic!("no token of {len} bytes")
    };
    assert!(verifier().verify(&of_len(MAX_TOKEN_LEN), now()).is_ok());
    assert_eq!(verifier().verify(&of_len(MAX_TOKEN_LEN + 1), now()), Err(TokenError::TooLong));
}

// The header.

#[test]
fn the_server_chooses_the_algorithm() {
    let refusal = |header: Value| verifier().verify(&token_with_header(&header), now()).unwrap_err();
    for name in ["none", "None", "NONE", "hs256", "HS384", "HS512", "RS256", "ES256", "EdDSA", "", "HS256 "] {
        assert_eq!(refusal(json!({"alg": name})), TokenError::Algorithm, "{name:?}");
    }
    for value in [json!(null), json!(256), json!(["HS256"]), json!({"HS256": true}), json!(true)] {
        assert_eq!(refusal(json!({"alg": value})), TokenError::Header);
    }
    assert_eq!(refusal(json!({"typ": "JWT"})), TokenError::Header);
}

#[test]
fn an_unsigned_token_is_refused() {
    for header in [r#"{"alg":"none"}"#, HEADER] {
        let message = format!("{}.{}.", base64url::encode(header.as_bytes()), base64url::encode(b"{}"));
        assert!(verifier().verify(&message, now()).is_err());
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    // The attack: sign with HMAC and the RSA public key, which everybody has.
    let public = pem!("rsa-2048.pub");
    let config = VerifierConfig { algorithm: Algorithm::Rs256, secret: public.to_vec(), ..config() };
    let verifier = Verifier::new(config).unwrap();
    let hmac = jsonwebtoken::EncodingKey::from_secret(public);
    for alg in ["HS256", "RS256"] {
        let message = format!("{}.{}", base64url::encode(json!({ "alg": alg }).to_string().as_bytes()), {
            base64url::encode(good().to_string().as_bytes())
        });
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &hmac, jsonwebtoken::Algorithm::HS256).unwrap();
        assert!(verifier.verify(&format!("{message}.{signature}"), now()).is_err(), "{alg}");
    }
}

#[test]
fn each_algorithm_accepts_its_own_tokens_only() {
    let keys = [
        (Algorithm::Hs256, SECRET, SECRET),
        (Algorithm::Rs256, pem!("rsa-2048"), pem!("rsa-2048.pub")),
        (Algorithm::Es256, pem!("p256"), pem!("p256.pub")),
        (Algorithm::EdDsa, pem!("ed25519"), pem!("ed25519.pub")),
    ];
    for (algorithm, _, public) in keys {
        let config = VerifierConfig { algorithm, secret: public.to_vec(), ..VerifierConfig::default() };
        let verifier = Verifier::new(config).unwrap();
        for (other, private, _) in keys {
            let token = encode(&good().to_string(), private, other, None).unwrap();
            assert_eq!(verifier.verify(&token, now()).is_ok(), algorithm == other, "{other} at {algorithm}");
        }
    }
}

#[test]
fn an_extension_the_server_must_understand_refuses() {
    for crit in
        [json!(["b64"]), json!(["exp"]), json!(["http://example.com/x"]), json!([]), json!(null), json!("x")]
    {
        let token = token_with_header(&json!({"alg": "HS256", "crit": crit, "exp": 1}));
        assert_eq!(verifier().verify(&token, now()), Err(TokenError::Critical), "{crit}");
    }
}

#[test]
fn an_unencoded_payload_refuses() {
    for b64 in [json!(false), json!(null), json!("true"), json!(0)] {
        let token = token_with_header(&json!({"alg": "HS256", "b64": b64}));
        assert_eq!(verifier().verify(&token, now()), Err(TokenError::Critical), "{b64}");
    }
    assert!(verifier().verify(&token_with_header(&json!({"alg": "HS256", "b64": true})), now()).is_ok());
}

#[test]
fn unknown_header_names_and_any_typ_are_ignored() {
    for header in [
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "typ": "at+jwt"}),
        json!({"alg": "HS256", "cty": "x", "x5u": "https://example.com", "jwk": {"kty": "oct", "k": "AAAA"}}),
    ] {
        assert!(verifier().verify(&token_with_header(&header), now()).is_ok(), "{header}");
    }
}

#[test]
fn a_configured_key_id_has_to_be_there() {
    let verifier = Verifier::new(VerifierConfig { key_id: Some("2026".into()), ..config() }).unwrap();
    let decide = |header: Value| verifier.verify(&token_with_header(&header), now());
    assert!(decide(json!({"alg": "HS256", "kid": "2026"})).is_ok());
    for kid in ["2025", "", "2026 ", "２０２６"] {
        assert_eq!(decide(json!({"alg": "HS256", "kid": kid})), Err(TokenError::KeyId), "{kid:?}");
    }
    assert_eq!(decide(json!({"alg": "HS256"})), Err(TokenError::KeyId));
    assert_eq!(decide(json!({"alg": "HS256", "kid": 2026})), Err(TokenError::Header));
}

#[test]
fn without_a_configured_key_id_any_text_will_do() {
    let decide =
        |kid: Value| verifier().verify(&token_with_header(&json!({"alg": "HS256", "kid": kid})), now());
    assert!(decide(json!("whatever")).is_ok());
    assert_eq!(decide(json!(1)), Err(TokenError::Header));
    assert_eq!(decide(json!(null)), Err(TokenError::Header));
}

#[test]
fn header_and_payload_are_one_json_object_each_with_unique_names() {
    let payload = good().to_string();
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","\u0061lg":"HS256"}"#,
        r#"{"alg":"HS256","x":{"y":1,"y":2}}"#,
        r#"["HS256"]"#,
        r#""HS256""#,
        r#"{"alg":"HS256"}{}"#,
        r#"{"alg":"HS256",}"#,
        "",
    ] {
        assert_eq!(verifier().verify(&signed(header, &payload), now()), Err(TokenError::Header), "{header}");
    }
    for payload in [
        r#"{"sub":"a","sub":"b","exp":1900003600}"#,
        r#"{"sub":"a","exp":1,"exp":1900003600}"#,
        r#"{"sub":"a","exp":1900003600,"role":1,"role":2}"#,
        r#"{"sub":"a","exp":1900003600,"wse_topics":{"allow":[],"allow":["*"]}}"#,
        r#"{"sub":"a","exp":1900003600} x"#,
        r#"{"sub":"a","exp":NaN}"#,
        r#"{"sub":"a","exp":Infinity}"#,
        r#"{"sub":"a","exp":1e999}"#,
        r#"{"sub":"\ud800","exp":1900003600}"#,
        r#"[{"sub":"a","exp":1900003600}]"#,
        "null",
        "",
    ] {
        assert_eq!(verifier().verify(&signed(HEADER, payload), now()), Err(TokenError::Payload), "{payload}");
    }
    let not_utf8 = signed_bytes(HEADER.as_bytes(), b"{\"sub\":\"\xff\",\"exp\":1900003600}");
    assert_eq!(verifier().verify(&not_utf8, now()), Err(TokenError::Payload));
}

// The keys.

#[test]
fn the_previous_secret_is_a_second_key() {
    let old = encode(&good().to_string(), OTHER_SECRET, Algorithm::Hs256, None).unwrap();
    assert_eq!(verifier().verify(&old, now()), Err(TokenError::Signature));
    let rotating = VerifierConfig { previous_secret: Some(OTHER_SECRET.to_vec()), ..config() };
    let verifier = Verifier::new(rotating).unwrap();
    assert!(verifier.verify(&old, now()).is_ok());
    assert!(verifier.verify(&token(&good()), now()).is_ok());
    let foreign = encode(&good().to_string(), &[7; 32], Algorithm::Hs256, None).unwrap();
    assert_eq!(verifier.verify(&foreign, now()), Err(TokenError::Signature));
}

#[test]
fn the_previous_key_is_bound_by_the_same_rules() {
    let config = VerifierConfig {
        previous_secret: Some(OTHER_SECRET.to_vec()),
        key_id: Some("new".into()),
        issuer: Some("me".into()),
        ..config()
    };
    let verifier = Verifier::new(config).unwrap();
    let decide = |claims: Value, kid| {
        verifier.verify(&encode(&claims.to_string(), OTHER_SECRET, Algorithm::Hs256, kid).unwrap(), now())
    };
    assert!(decide(good_with("iss", json!("me")), Some("new")).is_ok());
    assert_eq!(decide(good_with("iss", json!("me")), Some("old")), Err(TokenError::KeyId));
    assert_eq!(decide(good(), Some("new")), Err(TokenError::Issuer));
    assert_eq!(decide(good_with("exp", json!(1)), Some("new")), Err(TokenError::Issuer));
}

#[test]
fn an_asymmetric_key_rotates_too() {
    let config = VerifierConfig {
        algorithm: Algorithm::Rs256,
        secret: pem!("rsa-2048.pub").to_vec(),
        previous_secret: Some(pem!("rsa-other.pub").to_vec()),
        ..VerifierConfig::default()
    };
    let verifier = Verifier::new(config).unwrap();
    for private in [pem!("rsa-2048"), pem!("rsa-other")] {
        let token = encode(&good().to_string(), private, Algorithm::Rs256, None).unwrap();
        assert!(verifier.verify(&token, now()).is_ok());
    }
}

// The claims.

#[test]
fn sub_is_a_text_that_is_not_empty() {
    for value in [json!(""), json!(7), json!(null), json!(true), json!(["user-7"]), json!({"id": "user-7"})] {
        assert_eq!(refusal(&good_with("sub", value.clone())), TokenError::Subject, "{value}");
    }
    assert_eq!(refusal(&good_with("sub", None)), TokenError::Subject);
    for text in [" ", "é", "a\u{0}b", "0", "user \"7\""] {
        assert_eq!(&*decision(&good_with("sub", json!(text))).unwrap().subject, text);
    }
}

#[test]
fn exp_is_a_date_in_seconds() {
    let wrong_types = [json!("1900003600"), json!(true), json!(null), json!([1900003600]), json!({"a": 1})];
    let no_dates =
        [json!(-1), json!(-1.5), json!(i64::MIN), json!(u64::MAX), json!(1e300), json!(253_402_300_800u64)];
    for value in wrong_types.into_iter().chain(no_dates) {
        assert_eq!(refusal(&good_with("exp", value.clone())), TokenError::Expiry, "{value}");
    }
    assert_eq!(refusal(&good_with("exp", None)), TokenError::Expiry);
    // The mistake that this limit is for: a date in milliseconds.
    assert_eq!(refusal(&good_with("exp", json!((NOW + 3600) * 1000))), TokenError::Expiry);
    for value in [json!(253_402_300_799u64), json!(1.9e9), json!(1_900_000_000.25), json!(19e8)] {
        assert!(decision(&good_with("exp", value.clone())).is_ok(), "{value}");
    }
    assert_eq!(decision(&good_with("exp", json!(1_900_000_000.25))).unwrap().expires_at, 1_900_000_000.25);
}

#[test]
fn exp_has_a_leeway_of_30_seconds_and_is_over_on_the_second() {
    for (exp, expected) in [
        (json!(NOW + 1), Ok(())),
        (json!(NOW), Ok(())),
        (json!(NOW - 29), Ok(())),
        (json!((NOW - 30) as f64 + 0.5), Ok(())),
        (json!(NOW - 30), Err(TokenError::Expired)),
        (json!((NOW - 30) as f64 - 0.5), Err(TokenError::Expired)),
        (json!(1), Err(TokenError::Expired)),
        (json!(0), Err(TokenError::Expired)),
    ] {
        assert_eq!(decision(&good_with("exp", exp.clone())).map(drop), expected, "{exp}");
    }
}

#[test]
fn a_live_connection_ends_when_its_token_would_be_refused() {
    let claims = decision(&good_with("exp", json!(NOW as f64 + 10.5))).unwrap();
    assert_eq!(claims.closes_at(), now() + Duration::from_millis(40_500));
    let before = claims.closes_at() - Duration::from_millis(1);
    assert!(!claims.has_expired(before));
    assert!(claims.has_expired(claims.closes_at()));
    let token = token(&good_with("exp", json!(NOW as f64 + 10.5)));
    assert!(verifier().verify(&token, before).is_ok());
    assert_eq!(verifier().verify(&token, claims.closes_at()), Err(TokenError::Expired));
}

#[test]
fn nbf_has_the_same_leeway_and_may_be_missing() {
    for (nbf, expected) in [
        (json!(0), Ok(())),
        (json!(NOW), Ok(())),
        (json!(NOW + 30), Ok(())),
        (json!((NOW + 30) as f64 + 0.5), Err(TokenError::NotYetValid)),
        (json!(NOW + 31), Err(TokenError::NotYetValid)),
        (json!(253_402_300_799u64), Err(TokenError::NotYetValid)),
    ] {
        assert_eq!(decision(&good_with("nbf", nbf.clone())).map(drop), expected, "{nbf}");
    }
    for value in [json!("0"), json!(false), json!(null), json!([0]), json!(-1), json!(1e300)] {
        assert_eq!(refusal(&good_with("nbf", value.clone())), TokenError::NotBefore, "{value}");
    }
}

#[test]
fn iat_is_for_information() {
    for value in [json!(NOW + 100_000), json!("yesterday"), json!(null), json!(-1)] {
        assert!(decision(&good_with("iat", value.clone())).is_ok(), "{value}");
    }
}

#[test]
fn a_configured_issuer_binds_tokens_that_lack_it() {
    let verifier = Verifier::new(VerifierConfig { issuer: Some("my-app".into()), ..config() }).unwrap();
    let decide = |value: Option<Value>| verifier.verify(&token(&good_with("iss", value)), now()).map(drop);
    assert_eq!(decide(Some(json!("my-app"))), Ok(()));
    assert_eq!(decide(None), Err(TokenError::Issuer));
    for value in
        [json!("My-App"), json!("my-app "), json!(""), json!(["my-app"]), json!(null), json!({"my-app": 1})]
    {
        assert_eq!(decide(Some(value.clone())), Err(TokenError::Issuer), "{value}");
    }
}

#[test]
fn a_configured_audience_binds_tokens_that_lack_it() {
    let verifier = Verifier::new(VerifierConfig { audience: Some("my-api".into()), ..config() }).unwrap();
    let decide = |value: Option<Value>| verifier.verify(&token(&good_with("aud", value)), now()).map(drop);
    for value in [json!("my-api"), json!(["my-api"]), json!(["other", "my-api"])] {
        assert_eq!(decide(Some(value.clone())), Ok(()), "{value}");
    }
    assert_eq!(decide(None), Err(TokenError::Audience));
    for value in [
        json!("other"),
        json!("my-api,other"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!(["my-api", 7]),
        json!([["my-api"]]),
        json!({"my-api": true}),
        json!(null),
    ] {
        assert_eq!(decide(Some(value.clone())), Err(TokenError::Audience), "{value}");
    }
}

#[test]
fn an_issuer_or_audience_that_is_not_configured_is_not_looked_at() {
    for (name, value) in
        [("iss", json!("anyone")), ("iss", json!(7)), ("aud", json!("anything")), ("aud", json!([7]))]
    {
        assert!(decision(&good_with(name, value)).is_ok(), "{name}");
    }
}

#[test]
fn the_topics_claim_is_kept_as_text_for_the_access_control() {
    let topics = json!({"allow": ["room.*", "é"], "deny": ["room.7"], "n": 1.5});
    let kept = decision(&good_with("wse_topics", topics.clone())).unwrap().topics.unwrap();
    assert_eq!(kept.parse::<Value>().unwrap(), topics);
    // Null is malformed, and what is malformed denies: it must not look like a claim that is not there.
    assert_eq!(decision(&good_with("wse_topics", json!(null))).unwrap().topics.as_deref(), Some("null"));
}

// What is told to whom.

#[test]
fn the_dates_are_looked_at_last() {
    let verifier = Verifier::new(VerifierConfig { audience: Some("my-api".into()), ..config() }).unwrap();
    let mut claims = good_with("exp", json!(1));
    assert_eq!(verifier.verify(&token(&claims), now()), Err(TokenError::Audience));
    claims["aud"] = json!("my-api");
    assert_eq!(verifier.verify(&token(&claims), now()), Err(TokenError::Expired));
    // Without the key nothing is learned about dates.
    let forged = encode(&claims.to_string(), OTHER_SECRET, Algorithm::Hs256, None).unwrap();
    assert_eq!(verifier.verify(&forged, now()), Err(TokenError::Signature));
}

#[test]
fn a_client_is_told_only_what_its_owner_can_act_upon() {
    let told = |claims: &Value| refusal(claims).client_message();
    assert_eq!(told(&good_with("exp", json!(1))), "token expired");
    assert_eq!(told(&good_with("nbf", json!(NOW + 100))), "token not yet valid");
    assert_eq!(told(&good_with("sub", None)), "invalid token");
    assert_eq!(TokenError::Signature.client_message(), TokenError::Audience.client_message());
}

#[test]
fn nothing_prints_a_key() {
    let config = VerifierConfig { previous_secret: Some(OTHER_SECRET.to_vec()), ..config() };
    let key = SigningKey::new("secret", Algorithm::Hs256, SECRET, None).unwrap();
    let minter = Minter::new(&config, None).unwrap();
    let printed = format!("{config:?} {:?} {key:?} {minter:?}", Verifier::new(config.clone()).unwrap());
    for secret in [SECRET, OTHER_SECRET] {
        assert!(!printed.contains(std::str::from_utf8(secret).unwrap()), "{printed}");
        assert!(!printed.contains(&format!("{secret:?}")), "{printed}");
    }
}
