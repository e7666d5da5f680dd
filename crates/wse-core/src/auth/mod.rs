//! Who is this? A signed token and the time go in, [`Claims`] come out.
//!
//! The signature is checked by `jsonwebtoken`; everything a token says about itself is checked here, because the
//! rules are stricter than the library's and because it would ask the system for the time. The way of a token:
//!
//! 1. [`find_token`] looks where a client may put one: cookie, `Authorization` header, subprotocol pair.
//! 2. [`Verifier::verify`] checks form, header, signature and claims, in this order, so that nothing but the header
//!    is read of a token that nobody signed.
//! 3. [`Claims`] say who it is, and [`Life`] how long the connection may last without a fresh token.
//!
//! [`Minter`] and [`encode`] make tokens for tests, tools and the server's own clients.

mod algorithm;
mod base64url;
mod claims;
mod encode;
mod error;
mod json;
mod key_set;
mod keys;
mod life;
mod token_source;
mod verifier;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{Claims, LEEWAY, MAX_NUMERIC_DATE};
pub use encode::{EncodeError, Minter, SigningKey, encode};
pub use error::TokenError;
pub use key_set::{KeySet, KeySetError};
pub use keys::KeyError;
pub use life::{Due, Life, WARNING};
pub use token_source::{Presented, TokenSource, find_token};
pub use verifier::{MAX_TOKEN_LEN, Verifier, VerifierConfig};
