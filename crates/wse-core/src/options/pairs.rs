//! Options that must agree with each other. Each rule tells which one to change, and to what.

use super::range::shown_seconds;
use super::{JwtAlgorithm, OptionError, OptionErrorKind, Options, Secret, spec};
use crate::auth::{KeyError, SigningKey, Verifier, VerifierConfig};

pub(super) fn check(options: &Options) -> Result<(), OptionError> {
    keepalive(options)?;
    queues(options)?;
    proxies(options)?;
    match (&options.jwks, &options.jwt_secret) {
        (Some(_), _) => key_set(options),
        (None, None) => no_key(options),
        (None, Some(_)) => keys(options),
    }
}

/// A client that only answers pings is heard once per interval, and must not look idle in between.
fn keepalive(options: &Options) -> Result<(), OptionError> {
    let Options { ping_interval, idle_timeout, .. } = options;
    if idle_timeout > ping_interval {
        return Ok(());
    }
    let allowed = format!("longer than ping_interval ({} seconds)", shown_seconds(*ping_interval));
    Err(spec::IDLE_TIMEOUT.wrong_value_for(shown_seconds(*idle_timeout), allowed))
}

/// What is allowed for one must fit into what is there for all.
fn queues(options: &Options) -> Result<(), OptionError> {
    let Options { max_message_size: message, max_inbound_queue_bytes: inbound, .. } = options;
    if message > inbound {
        let allowed = format!("at least max_message_size ({message}), so that the largest message fits");
        return Err(spec::MAX_INBOUND_QUEUE_BYTES.wrong_value_for(inbound.to_string(), allowed));
    }
    let Options { max_outbound_queue_bytes: one, max_outbound_total_bytes: all, .. } = options;
    if one > all {
        let allowed = format!("at least max_outbound_queue_bytes ({one}), which one client alone may hold");
        return Err(spec::MAX_OUTBOUND_TOTAL_BYTES.wrong_value_for(all.to_string(), allowed));
    }
    Ok(())
}

/// A PROXY header is believed from nobody, so somebody must be trusted to send it.
fn proxies(options: &Options) -> Result<(), OptionError> {
    if options.proxy_protocol && options.trusted_proxies.is_empty() {
        let allowed = "a list that names the proxies when proxy_protocol is True";
        return Err(spec::TRUSTED_PROXIES.wrong_value_for("[]", allowed));
    }
    Ok(())
}

/// Whoever says what tokens must look like wants them checked. Without a key nothing would be, and nobody would notice: most often a
/// variable of the environment is missing.
fn no_key(options: &Options) -> Result<(), OptionError> {
    let algorithm = options.jwt_algorithm;
    let wanting = [
        (options.jwt_previous_secret.is_some(), "jwt_previous_secret is given"),
        (options.jwt_issuer.is_some(), "jwt_issuer is given"),
        (options.jwt_audience.is_some(), "jwt_audience is given"),
        (options.jwt_key_id.is_some(), "jwt_key_id is given"),
        (options.jwt_private_key.is_some(), "jwt_private_key is given"),
        (algorithm != JwtAlgorithm::default(), &format!("jwt_algorithm is '{algorithm}'")),
    ];
    match wanting.into_iter().find(|(wants, _)| *wants) {
        Some((_, why)) => {
            let allowed = format!("a key when {why} (without one no token would be checked)");
            Err(spec::JWT_SECRET.wrong_value_for("None", allowed))
        }
        None => Ok(()),
    }
}

/// A set of public keys takes the place of every key that could be given, and makes no signatures.
fn key_set(options: &Options) -> Result<(), OptionError> {
    if options.jwt_algorithm.is_symmetric() {
        let allowed = "RS256, ES256 or EdDSA when jwks is given, which holds public keys";
        return Err(spec::JWT_ALGORITHM.wrong_value_for(format!("'{}'", options.jwt_algorithm), allowed));
    }
    let given = [
        (&options.jwt_secret, &spec::JWT_SECRET),
        (&options.jwt_previous_secret, &spec::JWT_PREVIOUS_SECRET),
        (&options.jwt_private_key, &spec::JWT_PRIVATE_KEY),
    ];
    match given.into_iter().find(|(key, _)| key.is_some()) {
        Some((_, option)) => Err(option.wrong_value_for("a key", "None when jwks is given")),
        None => Ok(()),
    }
}

/// Reads the keys as the server will, so that a bad one is refused before anything starts.
fn keys(options: &Options) -> Result<(), OptionError> {
    let bytes = |key: &Option<Secret>| key.as_ref().map(|key| key.expose().to_vec());
    let algorithm = options.jwt_algorithm;
    Verifier::new(VerifierConfig {
        algorithm,
        secret: bytes(&options.jwt_secret).unwrap_or_default(),
        previous_secret: bytes(&options.jwt_previous_secret),
        ..VerifierConfig::default()
    })
    .map_err(unusable)?;

    let Some(private_key) = &options.jwt_private_key else { return Ok(()) };
    if algorithm.is_symmetric() {
        let allowed = "None with jwt_algorithm HS256, where jwt_secret signs as well";
        return Err(spec::JWT_PRIVATE_KEY.wrong_value_for("a key", allowed));
    }
    let option = spec::JWT_PRIVATE_KEY.name;
    SigningKey::new(option, algorithm, private_key.expose(), None).map(drop).map_err(unusable)
}

/// The problem is a clause about the key and, behind a semicolon, what is allowed.
fn unusable(KeyError { option, problem }: KeyError) -> OptionError {
    let (value, allowed) = problem.split_once("; ").unwrap_or((&problem, "allowed: another key"));
    let (value, allowed) = (value.to_owned(), allowed.to_owned());
    OptionError { option, value, allowed, kind: OptionErrorKind::Key }
}
