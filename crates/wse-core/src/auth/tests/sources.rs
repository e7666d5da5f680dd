//! Where a token is found.

use super::*;

type Headers<'a> = &'a [&'a str];

fn find<'a>(
    cookies: Headers<'a>,
    authorization: Headers<'a>,
    subprotocols: Headers<'a>,
) -> Option<Presented<'a>> {
    let bytes = |headers: Headers<'a>| headers.iter().map(|header| header.as_bytes());
    find_token(Some("access_token"), bytes(cookies), bytes(authorization), bytes(subprotocols))
}

fn at(source: TokenSource, token: &str) -> Option<Presented<'_>> {
    Some(Presented { source, token: Ok(token) })
}

fn bad(source: TokenSource, error: TokenError) -> Option<Presented<'static>> {
    Some(Presented { source, token: Err(error) })
}

#[test]
fn the_first_place_that_offers_a_token_decides() {
    let cookie: Headers = &["access_token=in.the.cookie"];
    let bearer: Headers = &["Bearer in.the.header"];
    let pair: Headers = &["wse, bearer.in.the.subprotocol"];
    assert_eq!(find(cookie, bearer, pair), at(TokenSource::Cookie, "in.the.cookie"));
    assert_eq!(find(&[], bearer, pair), at(TokenSource::Authorization, "in.the.header"));
    assert_eq!(find(&[], &[], pair), at(TokenSource::Subprotocol, "in.the.subprotocol"));
    assert_eq!(find(&[], &[], &[]), None);
}

#[test]
fn a_bad_token_is_not_saved_by_a_good_one() {
    let good = token(&good());
    let bearer = format!("Bearer {good}");
    let bearer = [bearer.as_str()];
    let found = find(&["access_token=rubbish"], &bearer, &[]).unwrap();
    assert_eq!(found.source, TokenSource::Cookie);
    assert!(verifier().verify(found.token.unwrap(), now()).is_err());
    assert_eq!(find(&["access_token="], &bearer, &[]), bad(TokenSource::Cookie, TokenError::Malformed));
    assert_eq!(
        find(&[], &["Bearer"], &[&format!("wse, bearer.{good}")]),
        bad(TokenSource::Authorization, TokenError::Malformed)
    );
}

#[test]
fn cookies_are_read_as_rfc_6265_writes_them() {
    for header in [
        "access_token=a.b.c",
        "theme=dark; access_token=a.b.c; lang=en",
        "access_token=a.b.c;",
        "a=b=c;access_token=a.b.c;d",
        " access_token = a.b.c ;x=1",
        "access_token=\"a.b.c\"",
        ";;access_token=a.b.c",
        "access_token=a.b.c; Access_Token=other",
        "xaccess_token=other; access_token=a.b.c; access_tokens=other",
    ] {
        assert_eq!(find(&[header], &[], &[]), at(TokenSource::Cookie, "a.b.c"), "{header}");
    }
    for header in ["", ";", "access_token", "ACCESS_TOKEN=a.b.c", "other=access_token=a.b.c", "=a.b.c"] {
        assert_eq!(find(&[header], &[], &[]), None, "{header}");
    }
    // A proxy that speaks HTTP/2 may split the header (RFC 9113 section 8.2.3).
    assert_eq!(find(&["theme=dark", "access_token=a.b.c"], &[], &[]), at(TokenSource::Cookie, "a.b.c"));
    // What is left inside is no token, and the gate says so.
    assert_eq!(find(&["access_token=a, b"], &[], &[]), at(TokenSource::Cookie, "a, b"));
}

#[test]
fn the_name_of_the_cookie_is_an_option() {
    let cookies = [b"access_token=a; session=b".as_slice()];
    assert_eq!(find_token(Some("session"), cookies, [], []), at(TokenSource::Cookie, "b"));
    assert_eq!(find_token(None, cookies, [], []), None);
    let beside = find_token(None, cookies, [b"Bearer c".as_slice()], []);
    assert_eq!(beside, at(TokenSource::Authorization, "c"));
}

#[test]
fn two_different_tokens_in_one_place_are_refused() {
    let ambiguous = |source| bad(source, TokenError::Ambiguous);
    assert_eq!(find(&["access_token=a; access_token=b"], &[], &[]), ambiguous(TokenSource::Cookie));
    assert_eq!(find(&["access_token=a", "access_token=b"], &[], &[]), ambiguous(TokenSource::Cookie));
    assert_eq!(find(&["access_token=a; access_token="], &[], &[]), ambiguous(TokenSource::Cookie));
    assert_eq!(find(&[], &["Bearer a", "Bearer b"], &[]), ambiguous(TokenSource::Authorization));
    assert_eq!(find(&[], &[], &["bearer.a, wse, bearer.b"]), ambiguous(TokenSource::Subprotocol));
    assert_eq!(find(&["access_token=a; access_token=a"], &[], &[]), at(TokenSource::Cookie, "a"));
}

#[test]
fn the_bearer_scheme_has_no_case_and_any_number_of_spaces() {
    for header in
        ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c", "BeArEr   a.b.c", " Bearer a.b.c ", "Bearer\ta.b.c"]
    {
        assert_eq!(find(&[], &[header], &[]), at(TokenSource::Authorization, "a.b.c"), "{header:?}");
    }
    for header in ["Bearer", "Bearer ", "bearer\t"] {
        assert_eq!(
            find(&[], &[header], &[]),
            bad(TokenSource::Authorization, TokenError::Malformed),
            "{header:?}"
        );
    }
}

#[test]
fn another_scheme_is_no_offer_of_a_token() {
    for header in
        ["Basic dXNlcjpwYXNz", "Bearera.b.c", "Digest username=\"x\"", "", "a.b.c", "Token Bearer a.b.c"]
    {
        assert_eq!(find(&[], &[header], &[]), None, "{header:?}");
    }
    let beside = find(&[], &["Basic dXNlcjpwYXNz", "Bearer a.b.c"], &[]);
    assert_eq!(beside, at(TokenSource::Authorization, "a.b.c"));
}

#[test]
fn a_browser_offers_the_pair_of_subprotocols() {
    for headers in [
        ["wse, bearer.a.b.c", ""],
        ["bearer.a.b.c,wse", ""],
        ["wse", "bearer.a.b.c"],
        [" other ,\twse , bearer.a.b.c,", ""],
    ] {
        assert_eq!(find(&[], &[], &headers), at(TokenSource::Subprotocol, "a.b.c"), "{headers:?}");
    }
    assert_eq!(find(&[], &[], &["wse, bearer."]), bad(TokenSource::Subprotocol, TokenError::Malformed));
    // Names of subprotocols have a case, and without `wse` there is nothing to answer with.
    for header in
        ["wse", "bearer.a.b.c", "WSE, bearer.a.b.c", "wse, Bearer.a.b.c", "wse, bearer", "wse.bearer.a"]
    {
        assert_eq!(find(&[], &[], &[header]), None, "{header}");
    }
}

#[test]
fn bytes_that_are_no_text_are_a_bad_token() {
    let found = find_token(Some("access_token"), [b"access_token=a\xff".as_slice()], [], []);
    assert_eq!(found, bad(TokenSource::Cookie, TokenError::Malformed));
    let found = find_token(Some("access_token"), [], [b"Bearer \xc3\x28".as_slice()], []);
    assert_eq!(found, bad(TokenSource::Authorization, TokenError::Malformed));
}
