//! A fresh token on a live connection.

use wse_core::auth::{Claims, TokenError};
use wse_core::protocol::codes::ErrorCode;
use wse_core::protocol::words;

use super::read::Inlet;
use crate::events::EventKind;
use crate::keyring::Keyring;
use crate::log::limited;

impl Inlet<'_> {
    /// Answers `auth_refresh`. A token that is refused changes nothing: the connection goes on with the one it has.
    pub(super) fn refresh(&mut self, keyring: &Keyring, token: Option<&str>) {
        let Some(token) = token else {
            return self.refuse(ErrorCode::InvalidAction, "auth_refresh needs a token, a text, in p.token");
        };
        let Some(life) = &mut self.conn.life else { return };
        if let Err(retry_after) = life.take_renewal(self.now_ms) {
            self.stats().rate_limited.add(1);
            self.refused = Some((retry_after, "more than four auth_refresh at once or two a second"));
            return;
        }
        match keyring.verifier().verify(token, self.shared.clock.unix()) {
            Ok(claims) if self.is_of_user(&claims) => self.renew(&claims),
            Ok(_) => {
                self.stats().auth_failures.add(1);
                self.refuse(ErrorCode::AuthFailed, "the token is of another user than the connection");
            }
            Err(TokenError::UnknownKey) => {
                // Nothing waits here: the old token is still good, and the keys are there in a moment if they are anywhere.
                keyring.ask();
                self.refuse(
                    ErrorCode::AuthFailed,
                    "the token's key is not known yet; send it again in some seconds",
                );
            }
            Err(error) => {
                self.stats().auth_failures.add(1);
                self.tell_refusal(error);
            }
        }
    }

    fn renew(&mut self, claims: &Claims) {
        let unix = self.shared.clock.unix();
        let Some(life) = &mut self.conn.life else { return };
        life.renew(claims.expires_at, unix);
        let expires_in = life.expires_in(unix);
        self.renewed = true;
        if self.shared.events.keeps_claims() {
            // Two a second at the most.
            self.shared.events.reserve_anyway(claims.json.len());
            self.batch.push(EventKind::AuthRefresh, self.id, &claims.json);
        }
        self.reply(&words::auth_refresh(expires_in));
    }

    fn is_of_user(&self, claims: &Claims) -> bool {
        let people = &self.shared.shards[usize::from(self.id.shard)].people;
        people.with(self.id, |person| person.user_id.as_ref() == Some(&claims.subject)).unwrap_or(false)
    }

    fn tell_refusal(&mut self, error: TokenError) {
        limited!(info, self.shared.clock, reason = error.reason(), "a fresh token was refused");
        self.refuse(ErrorCode::AuthFailed, error.client_message());
    }
}
