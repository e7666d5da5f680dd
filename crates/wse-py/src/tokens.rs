//! Tokens for Python: `rust_jwt_encode`, `rust_jwt_decode`, and what `mint_token` needs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiter::{PythonParse, StringCacheMode};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use wse_core::auth::{
    Algorithm, EncodeError, KeyError, Minter, SigningKey, TokenError, Verifier, VerifierConfig,
};

use crate::ending::Release as _;
use crate::json_text::dict_text;

/// Adds the functions to the native module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rust_jwt_encode, module)?)?;
    module.add_function(wrap_pyfunction!(rust_jwt_decode, module)?)
}

/// Signs claims and returns the token.
///
/// Args:
///     claims: The payload. A server asks for `sub` (non-empty text) and `exp` (seconds since 1970). Values are
///         what JSON knows: str, int of any size, finite float, bool, None, and lists, tuples and dicts of them.
///     secret: For HS256 the secret, at least 32 bytes; else a PEM private key. A str stands for its UTF-8.
///     algorithm: "HS256", "RS256", "ES256" or "EdDSA".
///     key_id: Becomes the `kid` of the header.
///
/// Raises:
///     TypeError: A claim has no JSON form; the message tells where it is.
///     ValueError: The key does not fit the algorithm, a number is not finite, or the token would have more
///         than the 8192 bytes that a server reads.
#[pyfunction]
#[pyo3(signature = (claims, secret, algorithm="HS256", key_id=None))]
fn rust_jwt_encode(
    claims: &Bound<'_, PyAny>,
    secret: &Bound<'_, PyAny>,
    algorithm: &str,
    key_id: Option<&str>,
) -> PyResult<String> {
    let algorithm = parse_algorithm(algorithm)?;
    let secret = key_bytes("secret", secret)?;
    let claims_json = dict_text("claims", claims)?;
    claims
        .py()
        .release(|| SigningKey::new("secret", algorithm, &secret, key_id)?.sign(&claims_json))
        .map_err(|error| encode_exception(&error))
}

/// Returns the claims of a token that a server with these options would accept now, else None.
///
/// The rules are the server's, not fewer: one signature algorithm, `exp` and a non-empty text `sub` required,
/// 30 seconds of leeway. The reason of a refusal goes to the log, level DEBUG.
///
/// Args:
///     token: The token, three segments with dots between them.
///     secret: For HS256 the secret, at least 32 bytes; else a PEM public key. A str stands for its UTF-8.
///     algorithm: The only one accepted: "HS256", "RS256", "ES256" or "EdDSA".
///     issuer: When given, `iss` must be this.
///     audience: When given, `aud` must be this or a list with it.
///     previous_secret: A second key that is accepted too.
///     key_id: When given, `kid` must be this.
///
/// Raises:
///     TypeError: An argument has the wrong type.
///     ValueError: A key does not fit the algorithm, or there is no such algorithm.
#[pyfunction]
#[pyo3(signature = (token, secret, algorithm="HS256", issuer=None, audience=None, previous_secret=None, key_id=None))]
fn rust_jwt_decode<'py>(
    token: &Bound<'py, PyString>,
    secret: &Bound<'py, PyAny>,
    algorithm: &str,
    issuer: Option<String>,
    audience: Option<String>,
    previous_secret: Option<&Bound<'py, PyAny>>,
    key_id: Option<String>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = token.py();
    let config = VerifierConfig {
        algorithm: parse_algorithm(algorithm)?,
        secret: key_bytes("secret", secret)?,
        previous_secret: previous_secret.map(|key| key_bytes("previous_secret", key)).transpose()?,
        issuer,
        audience,
        key_id,
    };
    // A str with lone surrogates has no UTF-8, and nobody has signed it.
    let token = token.to_str().map_err(|_| TokenError::Malformed);
    let verified = py.release(|| {
        let verifier = Verifier::new(config)?;
        Ok::<_, KeyError>(token.and_then(|token| verifier.verified_json(token, since_1970())))
    });
    match verified.map_err(|error| argument_exception(&error))? {
        Ok(json) => claims_dict(py, &json).map(Some),
        Err(refusal) => {
            tracing::debug!(reason = refusal.reason(), "rust_jwt_decode: {refusal}");
            Ok(None)
        }
    }
}

/// What `mint_token` does with the server's own key.
///
/// The node keeps a [`Minter`] if its options give it a key to sign with; without one this is a `RuntimeError`.
pub(crate) fn mint(minter: Option<&Minter>, claims: &Bound<'_, PyAny>) -> PyResult<String> {
    let minter = minter.ok_or_else(|| {
        PyRuntimeError::new_err(
            "mint_token has no key to sign with; it needs jwt_secret with HS256, or jwt_private_key with \
             RS256, ES256 or EdDSA",
        )
    })?;
    let claims_json = dict_text("claims", claims)?;
    claims.py().release(|| minter.mint(&claims_json)).map_err(|error| encode_exception(&error))
}

pub(crate) fn claims_dict<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    // Names repeat from token to token, values don't.
    let parse = PythonParse { cache_mode: StringCacheMode::Keys, ..PythonParse::default() };
    parse.python_parse(py, json).map_err(|error| jiter::map_json_error(json, &error))
}

fn parse_algorithm(name: &str) -> PyResult<Algorithm> {
    name.parse().map_err(|error| PyValueError::new_err(format!("algorithm: {error}")))
}

/// The bytes of a key given as `bytes` or `str`. The message shows its type only.
fn key_bytes(argument: &str, key: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = key.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    match key.cast::<PyString>().map(|text| text.to_str()) {
        Ok(Ok(text)) => Ok(text.as_bytes().to_vec()),
        Ok(Err(_)) => Err(PyValueError::new_err(format!(
            "{argument} is a str that has no UTF-8; allowed: bytes or str"
        ))),
        Err(_) => {
            let type_name = key.get_type().name()?;
            Err(PyTypeError::new_err(format!("{argument} is of type {type_name}; allowed: bytes or str")))
        }
    }
}

fn encode_exception(error: &EncodeError) -> PyErr {
    match error {
        EncodeError::Key(error) => argument_exception(error),
        EncodeError::Signing => PyRuntimeError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// For a key among the options of a server, `jwt_secret` and its siblings.
pub(crate) fn key_exception(error: &KeyError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// For a key among the arguments of the functions here, which are called `secret` and `previous_secret`.
fn argument_exception(error: &KeyError) -> PyErr {
    let argument = error.option.strip_prefix("jwt_").unwrap_or(error.option);
    PyValueError::new_err(format!("{argument} {}", error.problem))
}

/// A clock before 1970 makes every token not yet valid or not yet expired, whatever its dates; so be it.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
