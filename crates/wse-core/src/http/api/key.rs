//! The key of the API.

use subtle::ConstantTimeEq;

use crate::http::{Request, SingleHeader};
use crate::options::Secret;

/// What a request must carry.
#[derive(Clone, Debug)]
pub struct ApiKey(Secret);

impl ApiKey {
    /// Takes the key.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self(key)
    }

    /// Whether a request carries the key, as a bearer token or as `X-API-Key`. One that carries both must be right in both: two readers
    /// could take different ones.
    #[must_use]
    pub fn is_in(&self, request: &Request<'_>) -> bool {
        let bearer = match request.single_header("authorization") {
            SingleHeader::Absent => None,
            SingleHeader::One(value) => Some(bearer(value).is_some_and(|given| self.is(given))),
            SingleHeader::Several => Some(false),
        };
        let own = match request.single_header("x-api-key") {
            SingleHeader::Absent => None,
            SingleHeader::One(given) => Some(self.is(given)),
            SingleHeader::Several => Some(false),
        };
        [bearer, own].into_iter().flatten().reduce(|one, other| one & other).unwrap_or(false)
    }

    /// Takes as long for a key that is wrong in its first byte as for one that is wrong in its last. The length is no secret.
    fn is(&self, given: &[u8]) -> bool {
        self.0.expose().ct_eq(given).into()
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}
