//! The rules, each with what it lets pass and what it must refuse.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECRET: &str = "a secret of 32 bytes, or a little more";

fn refusal(change: impl FnOnce(&mut Options)) -> String {
    let mut options = Options::default();
    change(&mut options);
    options.check().expect_err("refused").to_string()
}

fn passes(change: impl FnOnce(&mut Options)) {
    let mut options = Options::default();
    change(&mut options);
    options.check().unwrap();
}

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text.as_bytes()))
}

#[test]
fn the_defaults_are_allowed() {
    passes(|_| ());
}

#[test]
fn a_message_names_the_option_the_value_and_what_is_allowed() {
    assert_eq!(
        refusal(|options| options.max_connections = 0),
        "max_connections must be an integer from 1 to 16000000, got 0"
    );
    assert_eq!(
        refusal(|options| options.handshake_timeout = Duration::from_secs(7200)),
        "handshake_timeout must be a number of seconds from 0.01 to 3600, got 7200"
    );
    assert_eq!(
        refusal(|options| options.api_key = Some(Secret::new(b"of the API".to_vec()))),
        "api_key must be 32 to 1024 visible ASCII characters without spaces, as bytes or text, or None, got 10 bytes"
    );
}

#[test]
fn numbers_that_are_none_are_out_of_range() {
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
        assert!(
            refusal(|options| options.rate_limit_refill = wrong).starts_with("rate_limit_refill must be")
        );
    }
    passes(|options| options.rate_limit_refill = 1e12);
}

#[test]
fn both_ends_of_a_range_belong_to_it() {
    passes(|options| options.shards = 0);
    passes(|options| options.shards = 64);
    assert!(refusal(|options| options.shards = 65).ends_with("from 0 to 64, got 65"));
}

#[test]
fn a_client_that_answers_pings_must_not_look_idle() {
    passes(|options| {
        options.ping_interval = Duration::from_millis(50);
        options.idle_timeout = Duration::from_millis(51);
    });
    assert_eq!(
        refusal(|options| options.idle_timeout = options.ping_interval),
        "idle_timeout must be longer than ping_interval (25 seconds), got 25"
    );
}

#[test]
fn what_one_may_have_fits_into_what_there_is_for_all() {
    passes(|options| options.max_inbound_queue_bytes = options.max_message_size);
    passes(|options| options.max_outbound_total_bytes = options.max_outbound_queue_bytes);
    let small = |options: &mut Options| options.max_inbound_queue_bytes = options.max_message_size - 1;
    assert!(
        refusal(small).starts_with("max_inbound_queue_bytes must be at least max_message_size (1048576)")
    );
    let small =
        |options: &mut Options| options.max_outbound_total_bytes = options.max_outbound_queue_bytes - 1;
    assert!(refusal(small).starts_with("max_outbound_total_bytes must be at least max_outbound_queue_bytes"));
}

#[test]
fn rules_for_tokens_without_a_key_are_a_forgotten_key() {
    let wanting: [fn(&mut Options); 6] = [
        |options| options.jwt_issuer = Some("me".into()),
        |options| options.jwt_audience = Some("you".into()),
        |options| options.jwt_key_id = Some("2026".into()),
        |options| options.jwt_previous_secret = secret(SECRET),
        |options| options.jwt_private_key = secret(SECRET),
        |options| options.jwt_algorithm = JwtAlgorithm::Es256,
    ];
    for change in wanting {
        let message = refusal(change);
        assert!(message.starts_with("jwt_secret must be a key when jwt_"), "{message}");
        assert!(message.ends_with(", got None") && !message.contains(SECRET), "{message}");
    }
}

#[test]
fn keys_are_tried_before_anything_starts() {
    passes(|options| options.jwt_secret = secret(SECRET));
    assert_eq!(
        refusal(|options| options.jwt_secret = secret("short")),
        "jwt_secret has 5 bytes; allowed: at least 32 for HS256"
    );
    let mut options = Options { jwt_secret: secret(SECRET), ..Options::default() };
    options.jwt_previous_secret = secret("shorter");
    assert!(options.check().unwrap_err().to_string().starts_with("jwt_previous_secret has 7 bytes"));
    options.jwt_previous_secret = None;
    options.jwt_private_key = secret(SECRET);
    let message = options.check().unwrap_err().to_string();
    assert!(message.starts_with("jwt_private_key must be None with jwt_algorithm HS256"), "{message}");
}

#[test]
fn an_empty_text_is_a_forgotten_variable() {
    assert_eq!(
        refusal(|options| options.jwt_issuer = Some(String::new())),
        "jwt_issuer must be non-empty text or None, got ''"
    );
    assert!(refusal(|options| options.jwt_secret = secret("")).ends_with("got 0 bytes"));
}

#[test]
fn paths_and_cookie_names() {
    for good in ["/", "/wse", "/a/b.c/%20~"] {
        passes(|options| options.path = Some(good.into()));
    }
    for bad in ["", "wse", "/wse?x", "/wse#x", "/a b", "/a\n", "/é", "http://host/wse"] {
        assert!(
            refusal(|options| options.path = Some(bad.into())).starts_with("path must be a path"),
            "{bad}"
        );
    }
    for bad in ["", "a b", "a=b", "a;b", "\"a\"", "é"] {
        assert!(
            refusal(|options| options.jwt_cookie_name = Some(bad.into())).starts_with("jwt_cookie_name must"),
            "{bad}"
        );
    }
    passes(|options| options.jwt_cookie_name = Some("__Host-token.v1".into()));
}

#[test]
fn origins_take_one_form() {
    let good = [
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:443/", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("NULL", "null"),
    ];
    for (given, wanted) in good {
        assert_eq!(origins(&[given.to_owned()]).unwrap(), [wanted]);
    }
    let bad = [
        "",
        "app.example.com",
        "https://",
        "https://a/b",
        "https://a:",
        "https://a:0",
        "https://a:65536",
        "https://a:+80",
        "https://*.a",
        "https://u@a",
        "https://a b",
        "https://[::1",
        "https://bücher.example",
        "wss://a",
        "://a",
    ];
    for given in bad {
        assert!(origins(&[given.to_owned()]).is_err(), "{given}");
        assert!(refusal(|options| options.allowed_origins = Some(vec![given.into()])).contains(" in it"));
    }
}

#[test]
fn the_variable_is_a_list_with_commas() {
    assert_eq!(
        parse_origins(" https://a.test , ,http://b.test:80,").unwrap(),
        ["https://a.test", "http://b.test"]
    );
    for everything in ["", " ", ",", "*", " * "] {
        assert!(parse_origins(everything).unwrap().is_empty(), "{everything:?}");
    }
    let error = parse_origins("https://a.test,*").unwrap_err();
    assert_eq!((error.option, error.value.as_str()), ("ALLOWED_ORIGINS", "'*' in it"));
}

#[test]
fn proxies_are_networks_or_addresses() {
    assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    assert_eq!(network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
    assert_eq!(network("::1").unwrap().to_string(), "::1/128");
    assert!(network("10.1.2.3/8").unwrap_err().allowed.contains("'10.0.0.0/8' or the address '10.1.2.3'"));
    for bad in ["", "proxy", "10.0.0.0/33", "10.0.0", "10.0.0.0/8 "] {
        assert!(network(bad).is_err(), "{bad}");
    }
    passes(|options| options.trusted_proxies.clear());
    passes(|options| options.trusted_proxies.push(network("::1").unwrap()));
    passes(|options| {
        options.trusted_proxies.push(network("10.0.0.0/8").unwrap());
        options.proxy_protocol = true;
    });
    assert_eq!(
        refusal(|options| options.proxy_protocol = true),
        "trusted_proxies must be a list that names the proxies when proxy_protocol is True, got []"
    );
}

#[test]
fn a_slip_of_the_pen_is_understood() {
    for (slip, meant) in [
        ("max_conections", "max_connections"),
        ("maxConnections", "max_connections"),
        ("jwt-secret", "jwt_secret"),
        ("pign_interval", "ping_interval"),
        ("Path", "path"),
        ("shard", "shards"),
    ] {
        assert_eq!(nearest(slip), Some(meant));
    }
    for nothing in ["", "x", "frobnicate", "ssl_context", &"max_connections".repeat(9)] {
        assert_eq!(nearest(nothing), None, "{nothing}");
    }
}

#[test]
fn choices_go_by_the_names_of_the_reference() {
    assert_eq!(Compression::from_name("shared"), Some(Compression::Shared));
    assert_eq!(SlowClient::from_name("close"), Some(SlowClient::Close));
    assert_eq!(JwtAlgorithm::from_name("EdDSA"), Some(JwtAlgorithm::EdDsa));
    assert_eq!(JwtAlgorithm::from_name("eddsa"), None);
    // The one enum that is written by hand must have the variants that are declared.
    assert_eq!(<JwtAlgorithm as Choice>::ALL, JwtAlgorithm::ALL);
}

#[test]
fn values_are_shown_as_python_writes_them() {
    for (value, wanted) in
        [("a", "'a'"), ("it's", "\"it's\""), ("\"", "'\"'"), ("\"'", "'\"\\''"), ("\n", "'\\n'")]
    {
        assert_eq!(range::text(value), wanted);
    }
    assert_eq!(range::text(&"x".repeat(200)), format!("'{}...'", "x".repeat(100)));
}

proptest! {
    #[test]
    fn no_message_and_no_debug_text_holds_a_secret(
        key in "[A-Z0-9]{12,80}",
        other in "[A-Z0-9]{12,80}",
        algorithm in proptest::sample::select(JwtAlgorithm::ALL.as_slice()),
        private: bool,
    ) {
        let options = Options {
            jwt_secret: secret(&key),
            jwt_previous_secret: (!private).then(|| Secret::new(other.as_bytes())),
            jwt_private_key: private.then(|| Secret::new(other.as_bytes())),
            jwt_algorithm: algorithm,
            ..Options::default()
        };
        let mut said = format!("{options:?}");
        if let Err(error) = options.check() {
            said += &format!("{error} {error:?}");
        }
        prop_assert!(!said.contains(&key) && !said.contains(&other), "{}", said);
    }

    #[test]
    fn the_form_of_an_origin_is_final(text in "\\PC{0,40}|[a-z]{1,5}://[a-zA-Z0-9.:\\[\\]/-]{0,20}") {
        if let Ok(list) = origins(&[text]) {
            prop_assert_eq!(origins(&list).unwrap(), list);
        }
    }

    #[test]
    fn any_name_is_looked_up_without_a_panic(name in "\\PC{0,80}") {
        let _ = nearest(&name);
    }
}
