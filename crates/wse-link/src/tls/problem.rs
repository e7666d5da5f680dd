//! What can be wrong with a certificate.

use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};
use thiserror::Error as ThisError;

/// Why a certificate is refused: a peer's in a handshake, or one's own at configuration.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum Problem {
    /// Its bytes are no certificate.
    #[error("is not a certificate: {0}")]
    Malformed(&'static str),
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// Its time has not come.
    #[error("is not valid yet; is a clock wrong?")]
    NotYetValid,
    /// Nobody in the file has issued it, whatever else it may be.
    #[error("was not issued by an authority of tls_ca")]
    UnknownIssuer,
    /// Its issuer's name is known, the signature is another's.
    #[error("is not signed by the authority that it names")]
    BadSignature,
    /// The key can be guessed, or is of a kind that is not known.
    #[error("has a key that is too weak or of an unknown kind: {0}")]
    Key(String),
    /// Signed with what is broken (SHA-1) or unknown.
    #[error("is signed with an algorithm that is not accepted (SHA-1?)")]
    Algorithm,
    /// A certificate without extensions is taken from an authority directly, and this one may not do that.
    #[error("has version 1, and the authority that issued it is constrained to certain names")]
    Constrained,
    /// Neither 1 nor 3.
    #[error("has a version other than 1 and 3")]
    Version,
    /// It may not be used in this role.
    #[error(
        "is not allowed for {0}; a node's certificate must allow both clientAuth and serverAuth, or say nothing about it"
    )]
    Purpose(&'static str),
    /// The names in it are others.
    #[error("does not name the host that was dialled (tls_verify_name)")]
    Name,
    /// It stands in the file of authorities and is none.
    #[error("is not an authority's: its basic constraints or key usage do not allow it to issue others")]
    NotAnAuthority,
    /// All authorities of the file have expired or are not valid yet.
    #[error("can't be checked: no authority of tls_ca is valid now")]
    NoAuthority,
    /// Something else that webpki found.
    #[error("is refused: {0}")]
    Other(String),
}

impl Problem {
    /// The problem in a certificate that rustls or webpki found.
    pub(crate) fn from_error(error: &Error, purpose: &'static str) -> Self {
        let Error::InvalidCertificate(error) = error else { return Self::Other(error.to_string()) };
        use CertificateError as E;
        match error {
            E::BadEncoding => Self::Malformed("encoding"),
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::BadSignature => Self::BadSignature,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::Name,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::Purpose(purpose),
            E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Algorithm,
            E::Other(OtherError(error)) => match error.downcast_ref::<Problem>() {
                Some(problem) => problem.clone(),
                None => Self::Other(error.to_string()),
            },
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<Problem> for Error {
    /// As rustls wants it, so that the peer is sent the alert that fits.
    fn from(problem: Problem) -> Self {
        Self::InvalidCertificate(match problem {
            Problem::Malformed(_) => CertificateError::BadEncoding,
            Problem::Expired => CertificateError::Expired,
            Problem::NotYetValid => CertificateError::NotValidYet,
            Problem::UnknownIssuer => CertificateError::UnknownIssuer,
            Problem::BadSignature => CertificateError::BadSignature,
            Problem::Name => CertificateError::NotValidForName,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })
    }
}
