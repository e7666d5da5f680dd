//! What can be replaced without a restart: the origins that may connect, the keys of tokens, the key of the HTTP API.
//!
//! Each is looked at when somebody comes, and never for a message, so a server that runs has it behind a pointer that is exchanged. The
//! options are replaced too, so that the next start goes by them.

use std::sync::Arc;

use parking_lot::MutexGuard;
use thiserror::Error;
use wse_core::auth::KeyError;
use wse_core::http::Origins;
use wse_core::http::api::ApiKey;
use wse_core::options::{OptionError, Options, Secret};
use wse_core::websocket::upgrade::Policy;

use super::{JoinHandle, Node, minter, origins, verifier};

/// Why nothing was replaced. All is as it was before.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The value is not allowed.
    #[error("{0}")]
    Option(#[from] OptionError),
    /// A key can't be used.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// There is no key to replace.
    #[error("authentication is off: the server was made without jwt_secret")]
    NoTokens,
    /// The issuer replaces the keys.
    #[error("the keys come from jwks, which the server reads again by itself")]
    KeySet,
    /// There is no HTTP API.
    #[error("the HTTP API is off: the server was made without api_key")]
    NoApi,
}

impl Node {
    /// Which pages may connect from now on; connections that are open stay. Without a list `ALLOWED_ORIGINS` of the environment counts,
    /// which the caller gives.
    ///
    /// # Errors
    /// An origin is malformed.
    pub fn set_allowed_origins(
        &self,
        list: Option<Vec<String>>,
        environment_origins: Option<&str>,
    ) -> Result<(), ReloadError> {
        let (_lock, mut options) = self.to_be_replaced();
        options.allowed_origins = list;
        options.check()?;
        let origins = origins(&options, environment_origins)?;
        self.options.store(Arc::new(options));
        let count = match &origins {
            Origins::All => 0,
            Origins::Only(list) => list.len(),
        };
        if let Some(shared) = &*self.current.load() {
            let policy = Policy { origins, ..Policy::clone(&shared.policy.load()) };
            shared.policy.store(Arc::new(policy));
        }
        tracing::info!(count, every_page_may_connect = count == 0, "the allowed origins were replaced");
        Ok(())
    }

    /// The keys of tokens from now on, of the algorithm that was there before. The tokens of open connections stay accepted.
    ///
    /// # Errors
    /// A key can't be used, or the server has none that could be replaced.
    pub fn set_jwt_keys(
        &self,
        secret: Secret,
        previous_secret: Option<Secret>,
        private_key: Option<Secret>,
    ) -> Result<(), ReloadError> {
        let (_lock, mut options) = self.to_be_replaced();
        match (&options.jwks, &options.jwt_secret) {
            (Some(_), _) => return Err(ReloadError::KeySet),
            (None, None) => return Err(ReloadError::NoTokens),
            (None, Some(_)) => {}
        }
        options.jwt_secret = Some(secret);
        options.jwt_previous_secret = previous_secret;
        options.jwt_private_key = private_key;
        options.check()?;
        let (verifier, minter) = (verifier(&options)?, minter(&options)?);
        let keeps_previous = options.jwt_previous_secret.is_some();
        self.options.store(Arc::new(options));
        if let (Some(verifier), Some(shared)) = (verifier, &*self.current.load())
            && let Some(keyring) = &shared.keyring
        {
            keyring.replace(verifier);
        }
        // Not before: nobody is given a token that is refused.
        self.minter.store(minter);
        tracing::info!(keeps_previous, "the keys of tokens were replaced");
        Ok(())
    }

    /// The key of the HTTP API from now on; requests that have begun go on.
    ///
    /// # Errors
    /// The key is not allowed, or there is no HTTP API.
    pub fn set_api_key(&self, key: Secret) -> Result<(), ReloadError> {
        let (_lock, mut options) = self.to_be_replaced();
        if options.api_key.is_none() {
            return Err(ReloadError::NoApi);
        }
        options.api_key = Some(key.clone());
        options.check()?;
        self.options.store(Arc::new(options));
        if let Some(shared) = &*self.current.load()
            && let Some(api) = &shared.api
        {
            api.key.store(Arc::new(ApiKey::new(key)));
        }
        tracing::info!("the key of the HTTP API was replaced");
        Ok(())
    }

    /// The options, while nobody else replaces them, and the server neither starts nor stops.
    fn to_be_replaced(&self) -> (MutexGuard<'_, Vec<JoinHandle<()>>>, Options) {
        let lock = self.threads.lock();
        (lock, Options::clone(&self.options.load()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"a first secret that has more than thirty-two bytes";
    const SECOND: &[u8] = b"a second secret that has more than thirty-two bytes";

    fn node(options: Options) -> Node {
        Node::new("127.0.0.1".into(), 0, options).expect("the options are right")
    }

    fn secret(bytes: &[u8]) -> Secret {
        Secret::new(bytes)
    }

    fn signed_by(node: &Node) -> Option<Vec<u8>> {
        node.options().jwt_secret.as_ref().map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn what_is_refused_leaves_everything_as_it_was() {
        let node = node(Options { jwt_secret: Some(secret(FIRST)), ..Options::default() });
        assert!(matches!(node.set_jwt_keys(secret(b"short"), None, None), Err(ReloadError::Option(_))));
        assert!(matches!(
            node.set_jwt_keys(secret(SECOND), Some(secret(b"short")), None),
            Err(ReloadError::Option(_))
        ));
        assert_eq!(signed_by(&node).as_deref(), Some(FIRST));
        assert!(node.set_allowed_origins(Some(vec!["no origin".into()]), None).is_err());
        assert!(node.set_allowed_origins(None, Some("no origin")).is_err());
        assert!(node.options().allowed_origins.is_none());
        assert!(matches!(node.set_api_key(secret(FIRST)), Err(ReloadError::NoApi)));
    }

    #[test]
    fn the_next_start_goes_by_what_was_replaced() {
        let node = node(Options { jwt_secret: Some(secret(FIRST)), ..Options::default() });
        node.set_jwt_keys(secret(SECOND), Some(secret(FIRST)), None).expect("both are long enough");
        node.set_allowed_origins(Some(vec!["https://a.test".into()]), None).expect("it is an origin");
        node.start(None, false).expect("a port is free");
        let server = node.server().expect("it runs");
        let options = &server.shared().options;
        assert_eq!(options.jwt_secret.as_ref().map(Secret::expose), Some(SECOND));
        assert_eq!(options.jwt_previous_secret.as_ref().map(Secret::expose), Some(FIRST));
        assert_eq!(server.shared().policy.load().origins, Origins::new(&["https://a.test"]));
    }

    #[test]
    fn where_there_is_nothing_to_replace_the_reason_is_told() {
        let open = node(Options::default());
        assert!(matches!(open.set_jwt_keys(secret(FIRST), None, None), Err(ReloadError::NoTokens)));
        let jwks = Options {
            jwks: Some("/keys.json".into()),
            jwt_algorithm: wse_core::options::JwtAlgorithm::Es256,
            ..Options::default()
        };
        assert!(matches!(node(jwks).set_jwt_keys(secret(FIRST), None, None), Err(ReloadError::KeySet)));
    }
}
