//! Why a token was refused.

/// Why a token was refused. It carries nothing of the token, so it may be logged.
///
/// The log gets [`reason`](Self::reason) or the sentence of `Display`. The client gets
/// [`client_message`](Self::client_message), which tells apart only what a rightful owner can act upon: everything
/// else is "invalid", so that nobody learns by trying which check stopped him.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_LEN`](super::MAX_TOKEN_LEN).
    #[error("the token is longer than 8192 bytes")]
    TooLong,
    /// Two different tokens were offered at the same place.
    #[error("two different tokens were offered at the same place")]
    Ambiguous,
    /// Not three segments of canonical base64url, or not ASCII.
    #[error("the token is not three segments of canonical base64url")]
    Malformed,
    /// The header is not a JSON object with unique names and values of the right type.
    #[error("the token's header is malformed")]
    Header,
    /// `alg` is not what the server is set to.
    #[error("the token's alg is not the server's jwt_algorithm")]
    Algorithm,
    /// The header demands an extension (RFC 7515 section 4.1.11), and this server has none.
    #[error("the token's header names a critical extension")]
    Critical,
    /// `kid` is missing or not the one configured.
    #[error("the token's kid is missing or not the server's jwt_key_id")]
    KeyId,
    /// `kid` is none of the key set, which may be older than the key.
    #[error("the token's kid is none of the key set")]
    UnknownKey,
    /// No configured key made this signature.
    #[error("the token's signature does not match")]
    Signature,
    /// The payload is not a JSON object with unique names.
    #[error("the token's payload is malformed")]
    Payload,
    /// `sub` is missing, empty or not text.
    #[error("the token's sub is missing or not a non-empty text")]
    Subject,
    /// `exp` is missing or not a date in seconds up to the year 9999.
    #[error("the token's exp is missing or not a number of seconds up to the year 9999")]
    Expiry,
    /// `nbf` is not a date in seconds up to the year 9999.
    #[error("the token's nbf is not a number of seconds up to the year 9999")]
    NotBefore,
    /// `iss` is missing or not the one configured.
    #[error("the token's iss is not the server's jwt_issuer")]
    Issuer,
    /// `aud` is missing or does not name the audience configured.
    #[error("the token's aud does not name the server's jwt_audience")]
    Audience,
    /// `nbf` is more than the leeway ahead.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// `exp` is more than the leeway past.
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    /// A short word that never changes, for the log and for counting.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Ambiguous => "ambiguous",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::KeyId => "key_id",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Payload => "payload",
            Self::Subject => "subject",
            Self::Expiry => "expiry",
            Self::NotBefore => "not_before",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
        }
    }

    /// What the client may be told. The two dates are checked last, so "expired" also says that a token with a later
    /// date would have been accepted.
    pub const fn client_message(self) -> &'static str {
        match self {
            Self::Expired => "token expired",
            Self::NotYetValid => "token not yet valid",
            _ => "invalid token",
        }
    }
}
