//! Binary messages: those that are JSON in another form are read as text, the others are the application's.

use wse_core::encoding::msgpack::{UnpackError, begins_map, unpack};
use wse_core::encoding::{Binary, Format, zlib};
use wse_core::protocol::codes::ErrorCode;
use wse_core::websocket::Flow;

use super::read::Inlet;
use crate::events::EventKind;

/// Why a message could not be read.
enum Undecodable {
    /// What the client is told.
    Wrong(String),
    /// More than `max_message_size` is in it.
    TooLarge,
}

impl Inlet<'_> {
    /// A binary message.
    pub(super) fn binary(&mut self, bytes: &[u8]) -> Flow {
        match Binary::of(bytes) {
            Binary::Sealed(sealed) => match self.unseal(sealed) {
                Ok(inside) => self.unsealed(&inside),
                Err(message) => self.undecodable(Undecodable::Wrong(message)),
            },
            _ if self.seals_all() => self.refuse_in_clear(),
            binary => self.in_clear(binary),
        }
    }

    fn in_clear(&mut self, binary: Binary<'_>) -> Flow {
        let decoded = match binary {
            Binary::Zlib(stream) => self.unzip(stream),
            Binary::Msgpack(packed) => self.unpack(packed),
            Binary::Other(bytes)
                if self.conn.flags.agreed.format() == Format::Msgpack && begins_map(bytes) =>
            {
                self.unpack(bytes)
            }
            Binary::Other(bytes) => return self.message(EventKind::Binary, bytes),
            Binary::Sealed(_) => Err(Undecodable::Wrong("a sealed message is in a sealed message".into())),
        };
        match decoded {
            Ok(text) => self.text(&text),
            Err(why) => self.undecodable(why),
        }
    }

    /// What was sealed is text where it may be text: nobody else says which of the two it was.
    fn unsealed(&mut self, inside: &[u8]) -> Flow {
        match (Binary::of(inside), std::str::from_utf8(inside)) {
            (Binary::Other(bytes), Ok(text))
                if !(self.conn.flags.agreed.format() == Format::Msgpack && begins_map(bytes)) =>
            {
                self.text(text)
            }
            (binary, _) => self.in_clear(binary),
        }
    }

    /// Whether nothing in clear is taken any more.
    #[inline]
    pub(super) fn seals_all(&self) -> bool {
        self.conn.own.as_ref().is_some_and(|own| own.heard_sealed)
    }

    /// A client that has sealed a message does not say the next in clear; somebody on the way might.
    pub(super) fn refuse_in_clear(&mut self) -> Flow {
        self.count_message();
        if self.pass() {
            self.refuse(
                ErrorCode::EncryptionRequired,
                "keys were exchanged and sealed messages have come: this one is in clear",
            );
        }
        Flow::Continue
    }

    fn unseal(&mut self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let Some(own) = self.conn.own.as_mut().filter(|own| own.seal.is_some()) else {
            return Err(
                "a sealed message needs an exchange of keys: encryption_public_key in client_hello".into()
            );
        };
        let seal = own.seal.as_ref().expect("just looked for");
        let opened = seal.open(sealed).map_err(|error| error.to_string());
        own.heard_sealed |= opened.is_ok();
        opened
    }

    fn unzip(&mut self, stream: &[u8]) -> Result<String, Undecodable> {
        let opener = self.opener.get_or_insert_default();
        let opened =
            opener.open(stream, self.shared.options.max_message_size).map_err(|error| match error {
                zlib::OpenError::TooLarge => Undecodable::TooLarge,
                error => Undecodable::Wrong(error.to_string()),
            })?;
        String::from_utf8(opened)
            .map_err(|_| Undecodable::Wrong("the zlib stream has text that is not UTF-8".into()))
    }

    fn unpack(&self, packed: &[u8]) -> Result<String, Undecodable> {
        unpack(packed, self.shared.options.max_message_size).map_err(|error| match error {
            UnpackError::TooLarge => Undecodable::TooLarge,
            error => Undecodable::Wrong(error.to_string()),
        })
    }

    fn undecodable(&mut self, why: Undecodable) -> Flow {
        self.count_message();
        match why {
            Undecodable::TooLarge => {
                self.too_large = true;
                return Flow::Stop;
            }
            Undecodable::Wrong(message) => {
                if self.pass() {
                    self.refuse(ErrorCode::InvalidAction, &message);
                }
            }
        }
        Flow::Continue
    }
}
