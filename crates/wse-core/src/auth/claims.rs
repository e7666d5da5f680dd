//! What a token says about its owner, and the rules for it.

use std::time::Duration;

use super::TokenError;
use super::json::{Json, Object};

/// How far the clocks of the issuer and of this server may be apart, for `exp` and for `nbf`.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// The last second of the year 9999. A later date is a mistake (milliseconds for seconds, as a rule) whose token would
/// never expire.
pub const MAX_NUMERIC_DATE: f64 = 253_402_300_799.0;

/// What is kept of an accepted token, for as long as its connection lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// `sub`: the user id, never empty.
    pub subject: Box<str>,
    /// `exp` in seconds since 1970, between 0 and [`MAX_NUMERIC_DATE`]. It may have a fraction (RFC 7519 section 2).
    pub expires_at: f64,
    /// `wse_topics` as JSON text, if the token has it, be it only `null`. Its meaning is the access control's business,
    /// where a malformed value denies everything.
    pub topics: Option<Box<str>>,
    /// All claims, the JSON text that was signed.
    pub json: Box<[u8]>,
}

impl Claims {
    /// The time since 1970 at which a live connection with this token is over: `exp` and the leeway.
    pub fn closes_at(&self) -> Duration {
        Duration::from_secs_f64(self.expires_at) + LEEWAY
    }

    /// Whether that time has come. RFC 7519: a token is not accepted "on or after" its `exp`.
    pub fn has_expired(&self, now: Duration) -> bool {
        now >= self.closes_at()
    }
}

/// What the server asks of claims beside their dates.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) issuer: Option<Box<str>>,
    pub(super) audience: Option<Box<str>>,
}

impl Rules {
    /// Everything that does not depend on the time. Also tells `nbf`, which is of no use later.
    pub(super) fn read(&self, claims: &Object<'_>) -> Result<(Claims, Option<f64>), TokenError> {
        let subject = claims.get("sub").and_then(Json::as_text).filter(|text| !text.is_empty());
        let subject = subject.ok_or(TokenError::Subject)?;
        let expires_at = claims.get("exp").and_then(numeric_date).ok_or(TokenError::Expiry)?;
        let not_before = match claims.get("nbf") {
            None => None,
            Some(value) => Some(numeric_date(value).ok_or(TokenError::NotBefore)?),
        };
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Json::as_text) != Some(issuer)
        {
            return Err(TokenError::Issuer);
        }
        if let Some(audience) = &self.audience
            && !claims.get("aud").is_some_and(|value| names_audience(value, audience))
        {
            return Err(TokenError::Audience);
        }
        let topics = claims.get("wse_topics").map(json_text);
        Ok((Claims { subject: subject.into(), expires_at, topics, json: Box::default() }, not_before))
    }

    /// All of it. The dates come last, so that "expired" means that nothing else is wrong.
    pub(super) fn check(&self, claims: &Object<'_>, now: Duration) -> Result<Claims, TokenError> {
        let (claims, not_before) = self.read(claims)?;
        if not_before.is_some_and(|date| Duration::from_secs_f64(date) > now.saturating_add(LEEWAY)) {
            return Err(TokenError::NotYetValid);
        }
        if claims.has_expired(now) {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }
}

/// RFC 7519 section 2: "a JSON numeric value representing the number of seconds" since 1970; "non-integer values can be
/// represented". A text, a boolean, a negative date and one past the year 9999 are none.
fn numeric_date(value: &Json<'_>) -> Option<f64> {
    let Json::Number(number) = value else { return None };
    number.as_f64().filter(|date| (0.0..=MAX_NUMERIC_DATE).contains(date))
}

/// RFC 7519 section 4.1.3: `aud` is one text or a list of them. A list with anything else in it names nobody.
fn names_audience(value: &Json<'_>, audience: &str) -> bool {
    match value {
        Json::Text(text) => text == audience,
        Json::List(list) => {
            list.iter().all(|item| item.as_text().is_some())
                && list.iter().any(|item| item.as_text() == Some(audience))
        }
        _ => false,
    }
}

fn json_text(value: &Json<'_>) -> Box<str> {
    serde_json::to_string(value).expect("a JSON value has a JSON text").into()
}
