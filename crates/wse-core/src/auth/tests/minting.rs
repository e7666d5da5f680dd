//! Tokens made here.

use super::*;

#[test]
fn a_token_made_here_is_read_by_another_library() {
    let keys = [
        (Algorithm::Hs256, SECRET, jsonwebtoken::DecodingKey::from_secret(SECRET)),
        (
            Algorithm::Rs256,
            pem!("rsa-2048"),
            jsonwebtoken::DecodingKey::from_rsa_pem(pem!("rsa-2048.pub")).unwrap(),
        ),
        (Algorithm::Es256, pem!("p256"), jsonwebtoken::DecodingKey::from_ec_pem(pem!("p256.pub")).unwrap()),
        (
            Algorithm::EdDsa,
            pem!("ed25519"),
            jsonwebtoken::DecodingKey::from_ed_pem(pem!("ed25519.pub")).unwrap(),
        ),
    ];
    for (algorithm, private, public) in keys {
        let token = encode(&good().to_string(), private, algorithm, Some("k1")).unwrap();
        let read =
            jsonwebtoken::decode::<Value>(&token, &public, &jsonwebtoken::Validation::new(algorithm.jose()))
                .unwrap();
        assert_eq!(read.claims, good());
        assert_eq!(read.header.kid.as_deref(), Some("k1"));
        assert_eq!(read.header.typ.as_deref(), Some("JWT"));
    }
}

#[test]
fn claims_go_into_the_token_to_the_letter() {
    let text = r#"{"sub":"u","exp":1900003600,"big":123456789012345678901234567890,"half":0.50}"#;
    let token = encode(text, SECRET, Algorithm::Hs256, None).unwrap();
    assert_eq!(verifier().verified_json(&token, now()).unwrap(), text.as_bytes());
}

#[test]
fn the_json_of_a_token_is_given_only_if_the_server_accepts_it() {
    let claims = good_with("exp", json!(NOW - 30));
    assert_eq!(verifier().verified_json(&token(&claims), now()), Err(TokenError::Expired));
    assert_eq!(verifier().verified_json("x", now()), Err(TokenError::Malformed));
}

#[test]
fn claims_that_no_server_would_read_are_not_signed() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for text in ["", "[]", "7", r#"{"a":1,"a":2}"#, r#"{"a":NaN}"#, r#"{"a":1e400}"#, "{} {}", &deep] {
        assert_eq!(encode(text, SECRET, Algorithm::Hs256, None), Err(EncodeError::Claims), "{text}");
    }
    let long = good_with("pad", json!("x".repeat(7000))).to_string();
    let refused = encode(&long, SECRET, Algorithm::Hs256, None).unwrap_err();
    assert!(matches!(refused, EncodeError::TooLong(len) if len > MAX_TOKEN_LEN), "{refused}");
}

#[test]
fn a_key_that_does_not_fit_is_called_secret() {
    let refused = encode("{}", b"short", Algorithm::Hs256, None).unwrap_err().to_string();
    assert!(refused.starts_with("secret has 5 bytes"), "{refused}");
}

fn strict_config() -> VerifierConfig {
    VerifierConfig {
        issuer: Some("my \"app\"".into()),
        audience: Some("my-api".into()),
        key_id: Some("k1".into()),
        ..config()
    }
}

#[test]
fn a_server_accepts_what_it_mints() {
    let minter = Minter::new(&strict_config(), None).unwrap().unwrap();
    let verifier = Verifier::new(strict_config()).unwrap();
    for claims in [good(), good_with("iss", json!("my \"app\"")), good_with("aud", json!(["x", "my-api"]))] {
        let token = minter.mint(&claims.to_string()).unwrap();
        let json: Value = serde_json::from_slice(&verifier.verified_json(&token, now()).unwrap()).unwrap();
        assert_eq!(json["iss"], "my \"app\"");
        assert_eq!(json["aud"], claims.get("aud").cloned().unwrap_or(json!("my-api")));
        assert_eq!(json["sub"], "user-7");
    }
    let spaced = " \n { \"sub\" : \"u\" , \"exp\" : 1900003600 } ";
    assert!(verifier.verify(&minter.mint(spaced).unwrap(), now()).is_ok());
}

#[test]
fn a_server_mints_nothing_it_would_refuse() {
    let minter = Minter::new(&strict_config(), None).unwrap().unwrap();
    for (claims, why) in [
        (json!({}), TokenError::Subject),
        (good_with("sub", json!(7)), TokenError::Subject),
        (good_with("exp", None), TokenError::Expiry),
        (good_with("nbf", json!("soon")), TokenError::NotBefore),
        (good_with("iss", json!("another")), TokenError::Issuer),
        (good_with("aud", json!(["another"])), TokenError::Audience),
    ] {
        assert_eq!(minter.mint(&claims.to_string()), Err(EncodeError::WouldBeRefused(why)), "{claims}");
    }
    assert_eq!(minter.mint("[]"), Err(EncodeError::Claims));
    // A token that is over can be asked for: a test of one's own client wants it.
    let expired = minter.mint(&good_with("exp", json!(1)).to_string()).unwrap();
    assert_eq!(Verifier::new(strict_config()).unwrap().verify(&expired, now()), Err(TokenError::Expired));
}

#[test]
fn minting_with_a_key_pair_needs_the_private_key_of_that_pair() {
    let config = VerifierConfig {
        algorithm: Algorithm::Es256,
        secret: pem!("p256.pub").to_vec(),
        ..VerifierConfig::default()
    };
    assert!(Minter::new(&config, None).unwrap().is_none());
    let minter = Minter::new(&config, Some(pem!("p256"))).unwrap().unwrap();
    let token = minter.mint(&good().to_string()).unwrap();
    assert!(Verifier::new(config).unwrap().verify(&token, now()).is_ok());

    let config = VerifierConfig {
        algorithm: Algorithm::Rs256,
        secret: pem!("rsa-2048.pub").to_vec(),
        ..VerifierConfig::default()
    };
    let error = Minter::new(&config, Some(pem!("rsa-other"))).unwrap_err().to_string();
    assert!(error.starts_with("jwt_private_key does not belong to the public key in jwt_secret"), "{error}");
}

#[test]
fn a_private_key_beside_a_shared_secret_is_a_mistake() {
    let error = Minter::new(&config(), Some(pem!("rsa-2048"))).unwrap_err().to_string();
    assert!(error.starts_with("jwt_private_key is not used with HS256"), "{error}");
}
