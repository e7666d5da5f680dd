//! A JWK Set (RFC 7517): the public keys of an issuer that changes them by itself, each under its `kid`.

use jsonwebtoken::DecodingKey;

use super::json::{Json, Object};
use super::{Algorithm, TokenError, base64url, json, keys};

/// A text that is no set of keys, or has none that can be used. It carries nothing of the text, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not what RFC 7517 section 5 describes.
    #[error("is not a JWK Set, a JSON object with a list of keys in \"keys\" and no name twice")]
    Form,
    /// The set is well-formed and of no use.
    #[error(
        "has no usable key for {algorithm} among its {skipped} keys; the first was skipped because {why}"
    )]
    Useless {
        /// The algorithm of the server.
        algorithm: Algorithm,
        /// How many keys there are.
        skipped: usize,
        /// What is wrong with the first.
        why: &'static str,
    },
    /// There is not one key in it.
    #[error("is a JWK Set without keys")]
    Empty,
}

/// The keys of one issuer that fit one algorithm.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<(Option<Box<str>>, DecodingKey)>,
    /// Why the others were left out, with their number in the list. Nothing of them is repeated.
    skipped: Vec<(usize, &'static str)>,
}

impl KeySet {
    /// Reads the text of a set. Keys of other kinds and for other uses are skipped: RFC 7517 section 5 asks readers to ignore what they
    /// don't understand.
    ///
    /// # Errors
    /// [`KeySetError`] if nothing is left.
    pub fn parse(text: &[u8], algorithm: Algorithm) -> Result<Self, KeySetError> {
        let set = json::parse_object(text).ok_or(KeySetError::Form)?;
        let Some(Json::List(list)) = set.get("keys") else { return Err(KeySetError::Form) };
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, key) in list.iter().enumerate() {
            match read_key(key, algorithm) {
                Ok(key) => keys.push(key),
                Err(why) => skipped.push((index, why)),
            }
        }
        if !keys.is_empty() {
            return Ok(Self { keys, skipped });
        }
        let Some((_, why)) = skipped.first() else { return Err(KeySetError::Empty) };
        Err(KeySetError::Useless { algorithm, skipped: skipped.len(), why })
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without a usable key is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why keys were skipped, each with its place in the list.
    #[must_use]
    pub fn skipped(&self) -> &[(usize, &'static str)] {
        &self.skipped
    }

    /// The keys that may have signed a token with this `kid`. RFC 7517 section 4.5 lets several keys have one. A token without `kid`
    /// is only accepted where there is nothing to choose from.
    pub(super) fn find(&self, kid: Option<&str>) -> Result<impl Iterator<Item = &DecodingKey>, TokenError> {
        match kid {
            None if self.keys.len() != 1 => return Err(TokenError::KeyId),
            Some(kid) if !self.keys.iter().any(|(name, _)| name.as_deref() == Some(kid)) => {
                return Err(TokenError::UnknownKey);
            }
            _ => {}
        }
        let fits = move |name: &Option<Box<str>>| kid.is_none() || name.as_deref() == kid;
        Ok(self.keys.iter().filter(move |(name, _)| fits(name)).map(|(_, key)| key))
    }
}

fn read_key(key: &Json<'_>, algorithm: Algorithm) -> Result<(Option<Box<str>>, DecodingKey), &'static str> {
    let Json::Object(key) = key else { return Err("it is not an object") };
    let text = |name: &str| match key.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(&**text)),
        Some(_) => Err("a member that should be text is not"),
    };
    if text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err("its use is not \"sig\"");
    }
    if text("alg")?.is_some_and(|name| name != algorithm.as_str()) {
        return Err("its alg is not jwt_algorithm");
    }
    if !may_verify(key) {
        return Err("its key_ops are without \"verify\"");
    }
    let kid = text("kid")?.map(Into::into);
    let bytes = |name: &str| {
        let value = text(name)?.ok_or("a member is missing")?;
        base64url::decode(value).ok_or("a member is not base64url without padding")
    };
    let key = match (algorithm, text("kty")?, text("crv")?) {
        (Algorithm::Rs256, Some("RSA"), _) => keys::rsa_key(&bytes("n")?, &bytes("e")?)?,
        (Algorithm::Es256, Some("EC"), Some("P-256")) => keys::p256_key(&bytes("x")?, &bytes("y")?)?,
        (Algorithm::EdDsa, Some("OKP"), Some("Ed25519")) => keys::ed25519_key(&bytes("x")?)?,
        _ => return Err("its kty or crv is not for jwt_algorithm"),
    };
    Ok((kid, key))
}

/// RFC 7517 section 4.3: without `key_ops` a key may be used for anything.
fn may_verify(key: &Object<'_>) -> bool {
    match key.get("key_ops") {
        None => true,
        Some(Json::List(list)) => list.iter().any(|purpose| purpose.as_text() == Some("verify")),
        Some(_) => false,
    }
}
