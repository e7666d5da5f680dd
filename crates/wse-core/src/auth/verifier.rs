//! The one gate for tokens.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::DecodingKey;

use super::claims::Rules;
use super::json::Json;
use super::{Algorithm, Claims, KeyError, KeySet, TokenError, base64url, json, keys};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_LEN: usize = 8192;

/// What tokens the server accepts. The fields are the `jwt_*` options of the same names.
#[derive(Clone, Default)]
pub struct VerifierConfig {
    /// The only `alg` accepted.
    pub algorithm: Algorithm,
    /// The HS256 secret, or a PEM public key.
    pub secret: Vec<u8>,
    /// A second key, tried when the first does not fit, while keys are being changed.
    pub previous_secret: Option<Vec<u8>>,
    /// When set, `iss` has to be exactly this.
    pub issuer: Option<String>,
    /// When set, `aud` has to be this or a list that contains it.
    pub audience: Option<String>,
    /// When set, the header has to have exactly this `kid`.
    pub key_id: Option<String>,
}

impl fmt::Debug for VerifierConfig {
    /// Without the keys: a configuration ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierConfig")
            .field("algorithm", &self.algorithm)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Accepts or refuses tokens. Cheap to share between threads: nothing in it changes.
#[derive(Debug, Clone)]
pub struct Verifier {
    algorithm: Algorithm,
    keys: Keys,
    key_id: Option<Box<str>>,
    rules: Rules,
}

#[derive(Debug, Clone)]
enum Keys {
    /// Those of the options.
    Given { key: DecodingKey, previous: Option<DecodingKey> },
    /// Those of an issuer, found by `kid`.
    Set(KeySet),
}

impl Verifier {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeyError`] names the option, what is wrong with it and what is allowed.
    pub fn new(config: VerifierConfig) -> Result<Self, KeyError> {
        let VerifierConfig { algorithm, secret, previous_secret, issuer, audience, key_id } = config;
        let key = keys::verifying_key("jwt_secret", algorithm, &secret)?;
        let previous = match previous_secret {
            Some(secret) => Some(keys::verifying_key("jwt_previous_secret", algorithm, &secret)?),
            None => None,
        };
        let rules = Rules { issuer: issuer.map(Into::into), audience: audience.map(Into::into) };
        Ok(Self { algorithm, keys: Keys::Given { key, previous }, key_id: key_id.map(Into::into), rules })
    }

    /// A verifier that takes its keys from a set, read for the same algorithm, and the rest from `config`, whose secrets count for nothing.
    #[must_use]
    pub fn with_key_set(config: &VerifierConfig, keys: KeySet) -> Self {
        let VerifierConfig { algorithm, issuer, audience, key_id, .. } = config.clone();
        let rules = Rules { issuer: issuer.map(Into::into), audience: audience.map(Into::into) };
        Self { algorithm, keys: Keys::Set(keys), key_id: key_id.map(Into::into), rules }
    }

    /// The same rules with other keys.
    #[must_use]
    pub fn with_other_keys(&self, keys: KeySet) -> Self {
        Self { keys: Keys::Set(keys), ..self.clone() }
    }

    /// Decides about a token at `now`, the time since 1970.
    ///
    /// # Errors
    /// [`TokenError`] says which rule refused it, for the log; it knows what the client may be told.
    pub fn verify(&self, token: &str, now: Duration) -> Result<Claims, TokenError> {
        let payload = self.signed_payload(token)?;
        let claims = json::parse_object(&payload).ok_or(TokenError::Payload)?;
        let claims = self.rules.check(&claims, now)?;
        Ok(Claims { json: payload.into(), ..claims })
    }

    /// The same decision, and all claims of an accepted token as the JSON text that was signed.
    ///
    /// # Errors
    /// Exactly those of [`verify`](Self::verify).
    pub fn verified_json(&self, token: &str, now: Duration) -> Result<Vec<u8>, TokenError> {
        Ok(self.verify(token, now)?.json.into_vec())
    }

    /// The payload of a token whose form, header and signature are right.
    fn signed_payload(&self, token: &str) -> Result<Vec<u8>, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::TooLong);
        }
        let mut segments = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(TokenError::Malformed);
        };
        let header = base64url::decode(header).ok_or(TokenError::Malformed)?;
        let payload_json = base64url::decode(payload).ok_or(TokenError::Malformed)?;
        let kid = self.check_header(&header)?;
        let message = &token.as_bytes()[..token.len() - signature.len() - 1];
        let signed_by =
            |key: &DecodingKey| jsonwebtoken::crypto::verify(signature, message, key, self.algorithm.jose());
        let signed = match &self.keys {
            Keys::Given { key, previous } => any_signed([key].into_iter().chain(previous), signed_by)?,
            Keys::Set(keys) => any_signed(keys.find(kid.as_deref())?, signed_by)?,
        };
        if signed { Ok(payload_json) } else { Err(TokenError::Signature) }
    }

    /// Checks what the header demands, and returns its `kid`.
    fn check_header(&self, header: &[u8]) -> Result<Option<Box<str>>, TokenError> {
        let header = json::parse_object(header).ok_or(TokenError::Header)?;
        match header.get("alg") {
            Some(Json::Text(name)) if name == self.algorithm.as_str() => {}
            Some(Json::Text(_)) => return Err(TokenError::Algorithm),
            _ => return Err(TokenError::Header),
        }
        // RFC 7515 section 4.1.11: a reader that does not understand an extension listed here "MUST" refuse the token.
        // This one understands none, and an empty or misshapen list is refused by the same section. RFC 7797 section 7
        // forbids an unencoded payload (`b64` false) in a JWT, listed or not.
        if header.get("crit").is_some() || header.get("b64").is_some_and(|value| *value != Json::Bool(true)) {
            return Err(TokenError::Critical);
        }
        match (header.get("kid"), &self.key_id) {
            (Some(Json::Text(kid)), Some(expected)) if **kid == **expected => Ok(Some(expected.clone())),
            (Some(Json::Text(kid)), None) => Ok(Some((&**kid).into())),
            (None, None) => Ok(None),
            (Some(Json::Text(_)) | None, Some(_)) => Err(TokenError::KeyId),
            // RFC 7515 section 4.1.4: the value "MUST be a case-sensitive string".
            (Some(_), _) => Err(TokenError::Header),
        }
    }
}

/// Whether one of these keys made the signature; they are few.
fn any_signed<'a>(
    mut keys: impl Iterator<Item = &'a DecodingKey>,
    signed_by: impl Fn(&DecodingKey) -> jsonwebtoken::errors::Result<bool>,
) -> Result<bool, TokenError> {
    keys.try_fold(false, |signed, key| Ok(signed || signed_by(key)?))
        .map_err(|_: jsonwebtoken::errors::Error| TokenError::Malformed)
}
