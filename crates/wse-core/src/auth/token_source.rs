//! Where a client may put its token.

use super::TokenError;

/// The subprotocol that has to be offered beside the token, and is the one the server answers.
const SUBPROTOCOL: &[u8] = b"wse";

/// What the other one begins with. Only `-`, `.`, `_`, letters and digits follow, which RFC 9110 allows in a token.
const SUBPROTOCOL_TOKEN: &[u8] = b"bearer.";

/// Where a token was found, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenSource {
    /// The cookie named by `jwt_cookie_name`.
    Cookie,
    /// `Authorization: Bearer`.
    Authorization,
    /// `Sec-WebSocket-Protocol: wse, bearer.<jwt>`, for browsers, which can set no other header.
    Subprotocol,
}

/// A token as the client offered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented<'a> {
    /// The first place that had one.
    pub source: TokenSource,
    /// The token, or why it is none.
    pub token: Result<&'a str, TokenError>,
}

/// Finds the token of an upgrade request in the values of its `Cookie`, `Authorization` and `Sec-WebSocket-Protocol`
/// headers, each as often as the request has it. Without a `cookie_name` no cookie is looked at.
///
/// The first place that offers anything decides: a bad token there is not saved by a good one elsewhere. `None` says
/// that no place offered any (`AUTH_REQUIRED`); everything else that is wrong is `AUTH_FAILED`.
///
/// Two different tokens in one place are refused. Nothing in the request says which of two cookies of one name was
/// set by whom, so choosing one would let the neighbour under another subdomain or path choose the user.
pub fn find_token<'a>(
    cookie_name: Option<&str>,
    cookies: impl IntoIterator<Item = &'a [u8]>,
    authorization: impl IntoIterator<Item = &'a [u8]>,
    subprotocols: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Presented<'a>> {
    if let Some(name) = cookie_name
        && let Some(token) = from_cookies(cookies, name)
    {
        return Some(Presented { source: TokenSource::Cookie, token });
    }
    if let Some(token) = only_one(authorization.into_iter().filter_map(bearer_credentials)) {
        return Some(Presented { source: TokenSource::Authorization, token });
    }
    from_subprotocols(subprotocols).map(|token| Presented { source: TokenSource::Subprotocol, token })
}

fn from_cookies<'a>(
    headers: impl IntoIterator<Item = &'a [u8]>,
    name: &str,
) -> Option<Result<&'a str, TokenError>> {
    let pairs = headers.into_iter().flat_map(|header| header.split(|byte| *byte == b';'));
    only_one(pairs.filter_map(|pair| cookie_value(pair, name.as_bytes())))
}

/// The value in one `name=value` of a `Cookie` header (RFC 6265 section 4.2.1). Names are compared with their case; the
/// value may be in double quotes, which the grammar allows and which are no part of a token.
fn cookie_value<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    if pair[..equals].trim_ascii() != name {
        return None;
    }
    let value = pair[equals + 1..].trim_ascii();
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// What follows the scheme (RFC 9110 section 11.4, RFC 6750 section 2.1). The scheme is compared without case; another
/// scheme, say the `Basic` of a proxy, is no offer of a token.
fn bearer_credentials(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    let scheme_len = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, credentials) = value.split_at(scheme_len);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| credentials.trim_ascii_start())
}

/// The token of the pair `wse`, `bearer.<jwt>`, in any order. Without `wse` there is no subprotocol the server could
/// answer with: repeating the token would put it into the logs of whatever stands between.
fn from_subprotocols<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Option<Result<&'a str, TokenError>> {
    let mut offers_wse = false;
    let offers = headers.into_iter().flat_map(|header| header.split(|byte| *byte == b','));
    let token = only_one(offers.map(<[u8]>::trim_ascii).filter_map(|offer| {
        offers_wse |= offer == SUBPROTOCOL;
        offer.strip_prefix(SUBPROTOCOL_TOKEN)
    }));
    token.filter(|_| offers_wse)
}

/// Nothing if there is none, the token if all are the same.
fn only_one<'a>(mut offers: impl Iterator<Item = &'a [u8]>) -> Option<Result<&'a str, TokenError>> {
    let first = offers.next()?;
    // To the end in any case: the caller learns something from each offer.
    if offers.fold(false, |differ, other| differ | (other != first)) {
        return Some(Err(TokenError::Ambiguous));
    }
    Some(match std::str::from_utf8(first) {
        Ok(token) if !token.is_empty() => Ok(token),
        _ => Err(TokenError::Malformed),
    })
}
