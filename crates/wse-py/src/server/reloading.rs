//! What is replaced without a restart.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use wse_core::options::{Secret, spec};
use wse_node::ReloadError;

use super::RustWSEServer;
use crate::ending::Release as _;
use crate::{options, tokens};

#[pymethods]
impl RustWSEServer {
    /// Replaces the option `allowed_origins`, also while the server runs: it holds for upgrades from then on, and for the next start.
    /// Connections that are open stay.
    ///
    /// Args:
    ///     origins: As the option; None reads the variable ALLOWED_ORIGINS again, now and at every start.
    ///
    /// Raises:
    ///     TypeError: It is neither a list or tuple of str nor None.
    ///     ValueError: One of them, or the variable, is malformed; then nothing has changed.
    fn set_allowed_origins(&self, py: Python<'_>, origins: &Bound<'_, PyAny>) -> PyResult<()> {
        let list = options::origins(&spec::ALLOWED_ORIGINS, origins)?;
        let environment = std::env::var("ALLOWED_ORIGINS").ok();
        let replaced = py.release(|| self.node.set_allowed_origins(list, environment.as_deref()));
        replaced.map_err(|error| exception("set_allowed_origins", error))
    }

    /// Replaces the keys that tokens are checked with, also while the server runs: for upgrades and `auth_refresh` from then on, and
    /// for the next start. The algorithm and what else is asked of tokens stay.
    ///
    /// Connections that are open stay until their tokens expire, whichever key signed those. `mint_token` signs with the new key.
    ///
    /// Args:
    ///     secret: As the option `jwt_secret`.
    ///     previous_secret: As the option `jwt_previous_secret`: most often the key until now, as long as its tokens may be about. None
    ///         refuses them.
    ///     private_key: As the option `jwt_private_key`; without one `mint_token` can't sign under RS256, ES256 and EdDSA.
    ///
    /// Raises:
    ///     RuntimeError: The server was made without `jwt_secret`, so that authentication is off, or its keys come from `jwks`.
    ///     TypeError: A key is neither bytes nor str.
    ///     ValueError: A key can't be used; then nothing has changed.
    #[pyo3(signature = (secret, previous_secret=None, private_key=None))]
    fn set_jwt_keys(
        &self,
        py: Python<'_>,
        secret: &Bound<'_, PyAny>,
        previous_secret: Option<&Bound<'_, PyAny>>,
        private_key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let given =
            |key: Option<&Bound<'_, PyAny>>, spec| key.map_or(Ok(None), |key| options::secret(spec, key));
        let secret = needed("set_jwt_keys", options::secret(&spec::JWT_SECRET, secret)?)?;
        let previous_secret = given(previous_secret, &spec::JWT_PREVIOUS_SECRET)?;
        let private_key = given(private_key, &spec::JWT_PRIVATE_KEY)?;
        let replaced = py.release(|| self.node.set_jwt_keys(secret, previous_secret, private_key));
        replaced.map_err(|error| exception("set_jwt_keys", error))
    }

    /// Replaces the option `api_key`, also while the server runs: for requests from then on, and for the next start.
    ///
    /// Args:
    ///     key: As the option.
    ///
    /// Raises:
    ///     RuntimeError: The server was made without `api_key`, so that the HTTP API is off.
    ///     TypeError: It is neither bytes nor str.
    ///     ValueError: The key is not allowed; then nothing has changed.
    fn set_api_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = needed("set_api_key", options::secret(&spec::API_KEY, key)?)?;
        py.release(|| self.node.set_api_key(key)).map_err(|error| exception("set_api_key", error))
    }
}

/// A key that is replaced is replaced by a key.
fn needed(method: &str, key: Option<Secret>) -> PyResult<Secret> {
    key.ok_or_else(|| PyTypeError::new_err(format!("{method}: the key must be bytes or str, got None")))
}

fn exception(method: &str, error: ReloadError) -> PyErr {
    match error {
        ReloadError::Option(error) => options::to_exception(error),
        ReloadError::Key(error) => tokens::key_exception(&error),
        ReloadError::NoTokens | ReloadError::KeySet | ReloadError::NoApi => {
            PyRuntimeError::new_err(format!("{method}: {error}"))
        }
    }
}
