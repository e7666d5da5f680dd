//! What text must look like to mean something: a path, a cookie name, an origin.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{OptionError, OptionSpec, Secret, range, spec};
use crate::http::origin::normalise;

/// Any text but none: an empty one is an environment variable that somebody forgot.
pub(super) fn text(spec: &OptionSpec, value: Option<&str>) -> Result<(), OptionError> {
    ensure(spec, value, |text| !text.is_empty())
}

/// The path of a request target (RFC 3986, section 3.3), escapes left as they are.
pub(super) fn path(spec: &OptionSpec, value: Option<&str>) -> Result<(), OptionError> {
    ensure(spec, value, |path| {
        path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
    })
}

/// A token of RFC 9110, which RFC 6265 asks a cookie name to be.
pub(super) fn cookie_name(spec: &OptionSpec, value: Option<&str>) -> Result<(), OptionError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    ensure(spec, value, |name| !name.is_empty() && name.bytes().all(allowed))
}

/// A file, or a URL that is fetched. Anything else with a scheme is a slip, and would be looked for among the files.
pub(super) fn file_or_url(spec: &OptionSpec, value: Option<&str>) -> Result<(), OptionError> {
    ensure(spec, value, |text| {
        let visible = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_graphic());
        match text.split_once("://") {
            Some(("https" | "http", rest)) => {
                visible(rest) && !rest.starts_with(['/', '?', '#']) && !rest.is_empty()
            }
            Some((scheme, _)) => !is_scheme(scheme),
            None => !text.is_empty() && !text.contains('\0'),
        }
    })
}

fn ensure(
    spec: &OptionSpec,
    value: Option<&str>,
    good: impl FnOnce(&str) -> bool,
) -> Result<(), OptionError> {
    match value {
        Some(value) if !good(value) => Err(spec.wrong_value(range::text(value))),
        _ => Ok(()),
    }
}

/// Any bytes but none; what a key must be is known once its algorithm is.
pub(super) fn secret(spec: &OptionSpec, value: Option<&Secret>) -> Result<(), OptionError> {
    match value {
        Some(value) if value.expose().is_empty() => Err(spec.wrong_value("0 bytes")),
        _ => Ok(()),
    }
}

/// Characters of a key that goes in a header, where spaces could get lost; short ones can be guessed.
const API_KEY_LEN: std::ops::RangeInclusive<usize> = 32..=1024;

/// A key that requests carry in a header. Its length may be told, what is in it may not.
pub(super) fn api_key(spec: &OptionSpec, value: Option<&Secret>) -> Result<(), OptionError> {
    let Some(key) = value.map(Secret::expose) else { return Ok(()) };
    if !API_KEY_LEN.contains(&key.len()) {
        return Err(spec.wrong_value(format!("{} bytes", key.len())));
    }
    if !key.iter().all(u8::is_ascii_graphic) {
        return Err(spec.wrong_value("a key with other characters"));
    }
    Ok(())
}

/// Whether each is an origin already; `*` is none, it became an empty list in [`origins`].
pub(super) fn origins_are_right(spec: &OptionSpec, value: Option<&[String]>) -> Result<(), OptionError> {
    match value.into_iter().flatten().find(|origin| !is_origin(&normalise(origin))) {
        Some(wrong) => Err(spec.wrong_value(format!("{} in it", range::text(wrong)))),
        None => Ok(()),
    }
}

/// Reads the variable ALLOWED_ORIGINS: origins separated by commas. Empty ones are passed over, so that an empty text, like `*`,
/// gives an empty list, which lets every page in.
///
/// # Errors
/// One of them is no origin, or `*` does not stand alone. The error names the variable instead of the option.
pub fn parse_origins(text: &str) -> Result<Vec<String>, OptionError> {
    let listed = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    origins(&listed.map(str::to_owned).collect::<Vec<_>>())
        .map_err(|error| OptionError { option: "ALLOWED_ORIGINS", ..error })
}

/// Origins in their one form (lower case, no trailing slash, no default port); `*` alone gives an empty list.
///
/// # Errors
/// One of them is no origin, or `*` does not stand alone.
pub fn origins(list: &[String]) -> Result<Vec<String>, OptionError> {
    if list.len() == 1 && list[0].trim() == "*" {
        return Ok(Vec::new());
    }
    origins_are_right(&spec::ALLOWED_ORIGINS, Some(list))?;
    Ok(list.iter().map(|origin| normalise(origin)).collect())
}

/// One of `trusted_proxies`: a network in CIDR, or a single address.
///
/// # Errors
/// It is neither, or names an address within a network: `10.1.2.3/8` may mean one or the other.
pub fn network(text: &str) -> Result<IpNet, OptionError> {
    let spec = &spec::TRUSTED_PROXIES;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let net: IpNet = text.parse().map_err(|_| spec.wrong_value(format!("{} in it", range::text(text))))?;
    if net.trunc() == net {
        return Ok(net);
    }
    let allowed =
        format!("a list that names either the network '{}' or the address '{}'", net.trunc(), net.addr());
    Err(spec.wrong_value_for(format!("{} in it", range::text(text)), allowed))
}

/// Whether this, in its one form, is what a browser could send (RFC 6454, section 6.2).
fn is_origin(origin: &str) -> bool {
    if origin == "null" {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let (host, port) = split_port(authority);
    // A page comes by http, not by the WebSocket that it opens: an entry `wss://...` would never match anything.
    is_scheme(scheme) && !matches!(scheme, "ws" | "wss") && is_host(host) && port.is_none_or(is_port)
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// The colons of an IPv6 address stand between brackets, the one before the port behind them.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// A browser sends names in ASCII (`xn--...`), so nothing else could ever match.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}
