//! The signature algorithms a server can be set to.

use std::fmt;
use std::str::FromStr;

/// How tokens are signed. The server is set to one of these; a token that names another one is refused, so a client
/// can neither choose `none` nor have a public key used as a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    #[default]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and a key of 2048 to 8192 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519, which JOSE calls EdDSA (RFC 8037).
    EdDsa,
}

impl Algorithm {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name used in the `alg` header (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether one secret both signs and verifies.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256)
    }

    pub(super) const fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no algorithm this server knows. Names are compared exactly, as RFC 7515 asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a signature algorithm; allowed: HS256, RS256, ES256, EdDSA")]
pub struct UnknownAlgorithm(pub String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| UnknownAlgorithm(name.chars().take(40).collect()))
    }
}
