//! `client_hello`: what a client can do, and the exchange of keys.

use wse_core::encoding::seal::{IV_LEN, KeyError, KeyPair, PRIVATE_KEY_LEN, Seal};
use wse_core::protocol::codes::ErrorCode;
use wse_core::protocol::command::ClientHello;
use wse_core::protocol::words;
use wse_core::websocket::deflate::Mode;

use super::read::Inlet;
use crate::people::Asked;
use crate::shared::random_bytes;
use crate::squeeze::Wire;

impl Inlet<'_> {
    /// Answers with `server_hello`. It is the last that a client which offers a key is told in clear, since it brings the other key.
    pub(super) fn hello(&mut self, said: &ClientHello) {
        self.conn.flags.hello = true;
        let compression = self.shared.policy.load().compression != Mode::Off;
        let people = &self.shared.shards[usize::from(self.id.shard)].people;
        let zlib = if said.compression && compression { Asked::Zlib } else { Asked::Nothing };
        people.with(self.id, |person| {
            if person.asked != Asked::Sealing {
                person.asked = zlib;
            }
        });
        let (pair, seal) = self.exchange_keys(said).unzip();
        let text = self.id.to_text(self.shared.run);
        let options = &self.shared.options;
        let hello = words::Hello {
            client_protocol_version: said.protocol_version,
            connection_id: std::str::from_utf8(&text).unwrap_or_default(),
            ping_interval_ms: options.ping_interval.as_millis() as u64,
            max_message_size: options.max_message_size,
            rate_limit_capacity: options.rate_limit_capacity,
            rate_limit_refill: options.rate_limit_refill,
            recovery: options.recovery_enabled,
            compression,
            encryption_public_key: pair.as_ref().map(KeyPair::public),
            unix_ms: self.shared.clock.unix_ms(),
        };
        self.reply(&hello.to_text());
        if let Some(seal) = seal {
            people.with(self.id, |person| person.asked = Asked::Sealing);
            self.conn.own.get_or_insert_default().seal = Some(seal);
            self.conn.wire = Wire::Own;
        }
    }

    /// The server's half of the exchange, if the client began one that is right; one that is not is answered by an error.
    fn exchange_keys(&mut self, said: &ClientHello) -> Option<(KeyPair, Seal)> {
        let public = said.encryption_public_key.as_deref()?;
        if self.conn.own.as_ref().is_some_and(|own| own.seal.is_some()) {
            self.refuse(ErrorCode::KeyExchangeFailed, "keys were exchanged on this connection already");
            return None;
        }
        match agree(public) {
            Ok(agreed) => Some(agreed),
            Err(error) => {
                self.refuse(ErrorCode::KeyExchangeFailed, &error.to_string());
                None
            }
        }
    }
}

/// A pair of keys for this connection alone, and what comes of it and the client's key.
fn agree(public: &str) -> Result<(KeyPair, Seal), KeyError> {
    let pair = std::iter::repeat_with(random_bytes::<PRIVATE_KEY_LEN>)
        .find_map(|random| KeyPair::new(&random))
        .expect("nearly every number is a key");
    let seal = pair.agree(public, random_bytes::<IV_LEN>())?;
    Ok((pair, seal))
}
