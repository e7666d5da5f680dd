//! Making tokens: for the server's own clients, for tools and for tests.

use std::borrow::Cow;
use std::fmt;

use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::claims::Rules;
use super::json::Json;
use super::{
    Algorithm, KeyError, MAX_TOKEN_LEN, TokenError, Verifier, VerifierConfig, base64url, json, keys,
};

/// Why a token was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The claims are not one JSON object, nest deeper than 127 levels, hold a number beyond a double's range, or name
    /// a member twice.
    #[error("claims are not a JSON object that a server would read back")]
    Claims,
    /// A server would refuse the token for its length.
    #[error("the token would have {0} bytes; allowed: at most 8192")]
    TooLong(usize),
    /// The server would refuse its own token.
    #[error("this server would refuse the token: {0}")]
    WouldBeRefused(TokenError),
    /// The key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key was accepted, but could not make a signature.
    #[error("the key could not make a signature")]
    Signing,
}

/// A key that signs, with the header its tokens get.
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
    /// `base64url(header)` and the dot after it: the same for every token.
    header: Box<str>,
}

impl SigningKey {
    /// Reads the HS256 secret or the PEM private key. `key_id` becomes the `kid` of every token.
    ///
    /// # Errors
    /// [`KeyError`] about `option`, which is the name under which the caller got the key.
    pub fn new(
        option: &'static str,
        algorithm: Algorithm,
        secret_or_private_key: &[u8],
        key_id: Option<&str>,
    ) -> Result<Self, KeyError> {
        let key = keys::signing_key(option, algorithm, secret_or_private_key)?;
        let mut header = json!({"alg": algorithm.as_str(), "typ": "JWT"});
        if let Some(key_id) = key_id {
            header["kid"] = key_id.into();
        }
        let header = (base64url::encode(header.to_string().as_bytes()) + ".").into();
        Ok(Self { algorithm, key, header })
    }

    /// Signs claims given as the text of a JSON object, which goes into the token as it is. Text, because a claim may
    /// be an integer that no Rust number holds.
    ///
    /// # Errors
    /// [`EncodeError`]; whatever is returned is read back by [`Verifier`], if the claims are right.
    pub fn sign(&self, claims: &str) -> Result<String, EncodeError> {
        json::parse_object(claims.as_bytes()).ok_or(EncodeError::Claims)?;
        self.sign_checked(claims)
    }

    fn sign_checked(&self, claims: &str) -> Result<String, EncodeError> {
        let mut token = format!("{}{}", self.header, base64url::encode(claims.as_bytes()));
        let signature = jsonwebtoken::crypto::sign(token.as_bytes(), &self.key, self.algorithm.jose())
            .map_err(|_| EncodeError::Signing)?;
        token.push('.');
        token.push_str(&signature);
        if token.len() > MAX_TOKEN_LEN { Err(EncodeError::TooLong(token.len())) } else { Ok(token) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Signs claims once. A caller with many tokens to make keeps a [`SigningKey`].
///
/// # Errors
/// [`EncodeError`] about the key, which it calls `secret`, or about the claims.
pub fn encode(
    claims: &str,
    secret_or_private_key: &[u8],
    algorithm: Algorithm,
    key_id: Option<&str>,
) -> Result<String, EncodeError> {
    SigningKey::new("secret", algorithm, secret_or_private_key, key_id)?.sign(claims)
}

/// Makes the tokens that one server accepts.
#[derive(Debug)]
pub struct Minter {
    key: SigningKey,
    rules: Rules,
}

impl Minter {
    /// A minter for the server that verifies with `config`: with its secret for HS256, else with `private_key`, which
    /// has to belong to the public key in `config`. `None` if the algorithm needs a private key and there is none.
    ///
    /// # Errors
    /// [`KeyError`] about `jwt_private_key` or `jwt_secret`.
    pub fn new(config: &VerifierConfig, private_key: Option<&[u8]>) -> Result<Option<Self>, KeyError> {
        let algorithm = config.algorithm;
        let (option, signing_key) = match (algorithm.is_symmetric(), private_key) {
            (true, None) => ("jwt_secret", config.secret.as_slice()),
            (false, Some(key)) => ("jwt_private_key", key),
            (false, None) => return Ok(None),
            (true, Some(_)) => {
                let problem =
                    format!("is not used with {algorithm}, which signs with jwt_secret; allowed: None");
                return Err(KeyError { option: "jwt_private_key", problem });
            }
        };
        let key = SigningKey::new(option, algorithm, signing_key, config.key_id.as_deref())?;
        if !algorithm.is_symmetric() {
            check_pair(&key, config)?;
        }
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        let rules = Rules { issuer: issuer.map(Into::into), audience: audience.map(Into::into) };
        Ok(Some(Self { key, rules }))
    }

    /// Signs claims given as the text of a JSON object. `iss` and `aud` are added where the server asks for them and
    /// the claims don't have them; `kid` is the server's. The dates may be past, for a test of that.
    ///
    /// # Errors
    /// [`EncodeError::WouldBeRefused`] if the server would not accept the token at any time.
    pub fn mint(&self, claims: &str) -> Result<String, EncodeError> {
        let mut object = json::parse_object(claims.as_bytes()).ok_or(EncodeError::Claims)?;
        let mut added = String::new();
        for (name, value) in [("iss", &self.rules.issuer), ("aud", &self.rules.audience)] {
            if let Some(value) = value
                && object.get(name).is_none()
            {
                added.push_str(&format!("{name:?}:{},", Value::from(&**value)));
                object.push(name, Json::Text(Cow::Borrowed(value)));
            }
        }
        self.rules.read(&object).map_err(EncodeError::WouldBeRefused)?;
        // The object has a `sub` at least, so something follows the comma.
        let members = claims.trim_ascii_start().strip_prefix('{').ok_or(EncodeError::Claims)?;
        self.key.sign_checked(&format!("{{{added}{members}"))
    }
}

/// A private key of another pair would mint tokens that its own server refuses.
fn check_pair(key: &SigningKey, config: &VerifierConfig) -> Result<(), KeyError> {
    let verifier = Verifier::new(VerifierConfig {
        algorithm: config.algorithm,
        secret: config.secret.clone(),
        ..VerifierConfig::default()
    })?;
    let probe = key.sign(r#"{"sub":"probe","exp":1}"#).ok();
    let accepted = probe.is_some_and(|token| verifier.verify(&token, std::time::Duration::ZERO).is_ok());
    if accepted {
        return Ok(());
    }
    let problem = "does not belong to the public key in jwt_secret; allowed: the two keys of one pair".into();
    Err(KeyError { option: "jwt_private_key", problem })
}
