//! Where a set of keys comes from: a file, or a web server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use wse_core::auth::{Algorithm, KeySet, KeySetError};

/// How long one request may take, from the name's resolution to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How large a set may be. Large issuers have ten keys of a kilobyte.
const MAX_BYTES: u64 = 256 * 1024;
/// Redirects that are followed, from https only to https.
const MAX_REDIRECTS: u32 = 3;

/// Why there are no new keys. What was there before stays.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The file could not be read.
    #[error("can't be read: {0}")]
    File(io::Error),
    /// The web server was not reached, or did not answer with 200 and a body of moderate size.
    #[error("can't be fetched: {0}")]
    Web(String),
    /// What came is no set of keys that can be used.
    #[error("{0}")]
    Content(#[from] KeySetError),
}

/// A file or a URL, as the option `jwks` says.
#[derive(Debug)]
pub(super) struct Source {
    location: String,
    algorithm: Algorithm,
}

impl Source {
    pub(super) fn new(location: &str, algorithm: Algorithm) -> Self {
        Self { location: location.to_owned(), algorithm }
    }

    pub(super) fn is_web(&self) -> bool {
        self.location.starts_with("https://") || self.location.starts_with("http://")
    }

    /// The location as it may be logged: a URL without user, password and query.
    pub(super) fn shown(&self) -> String {
        let Some((scheme, rest)) = self.location.split_once("://").filter(|_| self.is_web()) else {
            return self.location.clone();
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}{path}")
    }

    /// Reads the text of the set, waiting for it.
    pub(super) fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        if self.is_web() { self.fetch_web() } else { self.read_file() }
    }

    pub(super) fn parse(&self, text: &[u8]) -> Result<KeySet, FetchError> {
        Ok(KeySet::parse(text, self.algorithm)?)
    }

    fn read_file(&self) -> Result<Vec<u8>, FetchError> {
        use std::io::Read;
        let mut text = Vec::new();
        let file = std::fs::File::open(&self.location).map_err(FetchError::File)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(FetchError::File)?;
        if text.len() as u64 > MAX_BYTES {
            let problem = format!("it has more than {MAX_BYTES} bytes");
            return Err(FetchError::File(io::Error::new(io::ErrorKind::FileTooLarge, problem)));
        }
        Ok(text)
    }

    fn fetch_web(&self) -> Result<Vec<u8>, FetchError> {
        let secure = self.location.starts_with("https://");
        let mut config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(MAX_REDIRECTS)
            .https_only(secure)
            // Whatever the environment says of proxies is meant for other programs.
            .proxy(None)
            .user_agent(concat!("wse-server/", env!("CARGO_PKG_VERSION")));
        if secure {
            config = config.tls_config(tls()?);
        }
        let agent = ureq::Agent::new_with_config(config.build());
        let request =
            agent.get(&self.location).header("Accept", "application/jwk-set+json, application/json");
        let failed = |error: ureq::Error| FetchError::Web(told(&error));
        let mut response = request.call().map_err(failed)?;
        if response.status() != 200 {
            return Err(FetchError::Web(format!("the answer is {}", response.status().as_u16())));
        }
        response.body_mut().with_config().limit(MAX_BYTES).read_to_vec().map_err(failed)
    }
}

/// The certificates that the system trusts, so that an authority of one's own works where its administrator has put it.
fn tls() -> Result<TlsConfig, FetchError> {
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<_> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    if certificates.is_empty() {
        let problem = "the system has no certificates to trust (Debian and Alpine: package ca-certificates)";
        return Err(FetchError::Web(problem.into()));
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(certificates))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build())
}

/// The error in words that hold no part of the URL.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(status) => format!("the answer is {status}"),
        ureq::Error::BodyExceedsLimit(_) => format!("the answer has more than {MAX_BYTES} bytes"),
        ureq::Error::Timeout(_) => format!("no whole answer within {} seconds", TIMEOUT.as_secs()),
        ureq::Error::HostNotFound => "the host name has no address".into(),
        ureq::Error::TooManyRedirects => format!("more than {MAX_REDIRECTS} redirects"),
        ureq::Error::RequireHttpsOnly(_) => "it leads from https to http".into(),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "it is not a URL".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_holds_no_password_and_no_query() {
        let shown = |location: &str| Source::new(location, Algorithm::Es256).shown();
        assert_eq!(
            shown("https://user:hush@idp.example:8443/keys?k=hush#hush"),
            "https://idp.example:8443/keys"
        );
        assert_eq!(shown("http://idp.example?k=a/b@c"), "http://idp.example");
        assert_eq!(shown("/etc/wse/keys.json?x"), "/etc/wse/keys.json?x");
    }

    #[test]
    fn a_file_that_never_ends_is_read_to_the_limit() {
        let error = Source::new("/dev/zero", Algorithm::Es256).fetch().unwrap_err();
        assert!(error.to_string().contains("262144"), "{error}");
    }
}
