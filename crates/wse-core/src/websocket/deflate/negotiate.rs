//! Offers of `Sec-WebSocket-Extensions` and the answer to them (RFC 6455, section 9.1; RFC 7692, section 7.1).

use thiserror::Error;

/// How the server compresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Not at all: every offer is declined.
    #[default]
    Off,
    /// Each message by itself, so that one compression serves all who agreed on the same window.
    Shared,
    /// A context for each client and direction.
    Full,
}

/// The window of the server's compressor, as an exponent of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window(u8);

impl Window {
    /// How many different ones there are.
    pub const COUNT: usize = 7;
    /// What a client takes that asks for nothing smaller.
    pub const LARGEST: Self = Self(15);

    /// The window for what a client asks, 8 to 15.
    ///
    /// zlib makes no raw stream with a window of 256 bytes. Its smallest, 512 bytes, never refers further back than 250 (the window less
    /// the longest match and its lookahead), so what it makes can be read with one of 256 too.
    fn for_bits(bits: u8) -> Self {
        Self(bits.max(9))
    }

    /// The exponent, 9 to 15.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Counted from 0, below [`Window::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0 - 9)
    }

    /// The window with this index.
    ///
    /// # Panics
    /// For an index of none.
    #[must_use]
    pub fn at(index: usize) -> Self {
        assert!(index < Self::COUNT, "there are {} windows", Self::COUNT);
        Self(9 + index as u8)
    }
}

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The server may refer to its earlier messages.
    pub server_takeover: bool,
    /// The client may refer to its earlier messages.
    pub client_takeover: bool,
    /// How far back the server may refer.
    pub window: Window,
    /// `server_max_window_bits` as the client asked for it: it must be told that it gets it.
    answered_bits: Option<u8>,
}

/// The header is not what RFC 6455, section 9.1, allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Sec-WebSocket-Extensions is malformed")]
pub struct Malformed;

impl Agreement {
    /// The first offer that can be accepted; `None` when there is none.
    ///
    /// # Errors
    /// [`Malformed`], whatever the mode: such a handshake must fail.
    pub fn of<'b>(headers: impl Iterator<Item = &'b [u8]>, mode: Mode) -> Result<Option<Self>, Malformed> {
        let mut agreed = None;
        for header in headers {
            let mut rest = Cursor(header);
            loop {
                let extension = rest.extension()?;
                if agreed.is_none() && extension.name.eq_ignore_ascii_case(b"permessage-deflate") {
                    agreed = Self::accept(&extension.parameters, mode);
                }
                if !rest.comma()? {
                    break;
                }
            }
        }
        Ok(agreed)
    }

    /// Accepts one offer, unless it has a parameter that is unknown, doubled or out of range (RFC 7692, section 7).
    fn accept(parameters: &[Parameter<'_>], mode: Mode) -> Option<Self> {
        let takeover = match mode {
            Mode::Off => return None,
            Mode::Shared => false,
            Mode::Full => true,
        };
        let mut out = Self {
            server_takeover: takeover,
            client_takeover: takeover,
            window: Window::LARGEST,
            answered_bits: None,
        };
        for (at, parameter) in parameters.iter().enumerate() {
            if parameters[..at].iter().any(|earlier| earlier.name.eq_ignore_ascii_case(parameter.name)) {
                return None;
            }
            match (parameter.name.to_ascii_lowercase().as_slice(), &parameter.value) {
                (b"server_no_context_takeover", None) => out.server_takeover = false,
                (b"client_no_context_takeover", None) => out.client_takeover = false,
                (b"server_max_window_bits", Some(value)) => {
                    let bits = window_bits(value)?;
                    out.window = Window::for_bits(bits);
                    out.answered_bits = Some(bits);
                }
                // Only says that the client could do with less, which would save the server nothing.
                (b"client_max_window_bits", None) => {}
                (b"client_max_window_bits", Some(value)) => {
                    window_bits(value)?;
                }
                _ => return None,
            }
        }
        Some(out)
    }

    /// Appends the header line that answers the offer.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate");
        if !self.server_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if !self.client_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if let Some(bits) = self.answered_bits {
            out.extend_from_slice(format!("; server_max_window_bits={bits}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// "a decimal integer value without leading zeroes between 8 to 15, inclusive" (RFC 7692, section 7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ (b'8' | b'9')] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

struct Extension<'b> {
    name: &'b [u8],
    parameters: Vec<Parameter<'b>>,
}

struct Parameter<'b> {
    name: &'b [u8],
    value: Option<Vec<u8>>,
}

/// What of a header is still to be read.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    /// `extension-token *( ";" extension-param )`
    fn extension(&mut self) -> Result<Extension<'b>, Malformed> {
        let mut extension = Extension { name: self.token()?, parameters: Vec::new() };
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') { Some(self.value()?) } else { None };
            extension.parameters.push(Parameter { name, value });
        }
        Ok(extension)
    }

    /// Whether another extension follows; whatever else does is malformed. Empty elements of a list are allowed (RFC 9110, section 5.6.1).
    fn comma(&mut self) -> Result<bool, Malformed> {
        let mut found = false;
        while self.take(b',') {
            found = true;
        }
        self.skip_space();
        match (self.0.is_empty(), found) {
            (true, _) => Ok(false),
            (false, true) => Ok(true),
            (false, false) => Err(Malformed),
        }
    }

    /// A token, or a quoted string that is one once its backslashes are gone.
    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        if !self.take(b'"') {
            return self.token().map(<[u8]>::to_vec);
        }
        let mut out = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            let byte = match byte {
                b'"' if out.is_empty() => return Err(Malformed),
                b'"' => return Ok(out),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first().ok_or(Malformed)?;
                    self.0 = rest;
                    escaped
                }
                byte => byte,
            };
            if !is_token(byte) {
                return Err(Malformed);
            }
            out.push(byte);
        }
    }

    fn token(&mut self) -> Result<&'b [u8], Malformed> {
        self.skip_space();
        let len = self.0.iter().take_while(|byte| is_token(**byte)).count();
        if len == 0 {
            return Err(Malformed);
        }
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(token)
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(offers: &[&str], mode: Mode) -> Result<Option<String>, Malformed> {
        let agreed = Agreement::of(offers.iter().map(|offer| offer.as_bytes()), mode)?;
        Ok(agreed.map(|agreed| {
            let mut out = Vec::new();
            agreed.write_header(&mut out);
            let line = String::from_utf8(out).unwrap();
            line.strip_prefix("Sec-WebSocket-Extensions: permessage-deflate")
                .unwrap()
                .trim_end()
                .trim_start_matches("; ")
                .to_owned()
        }))
    }

    fn shared(offer: &str) -> Option<String> {
        answer(&[offer], Mode::Shared).unwrap()
    }

    #[test]
    fn shared_never_keeps_a_context() {
        let none = Some("server_no_context_takeover; client_no_context_takeover".to_owned());
        assert_eq!(shared("permessage-deflate"), none);
        assert_eq!(shared("permessage-deflate; client_max_window_bits"), none);
        assert_eq!(shared("Permessage-Deflate;client_max_window_bits=10 ; server_no_context_takeover"), none);
        assert_eq!(shared("x-webkit-deflate-frame, permessage-deflate"), none);
    }

    #[test]
    fn full_keeps_what_the_client_does_not_forbid() {
        let full = |offer| answer(&[offer], Mode::Full).unwrap().unwrap();
        assert_eq!(full("permessage-deflate"), "");
        assert_eq!(full("permessage-deflate; server_no_context_takeover"), "server_no_context_takeover");
        assert_eq!(full("permessage-deflate; client_no_context_takeover"), "client_no_context_takeover");
    }

    #[test]
    fn off_declines_and_still_refuses_what_is_malformed() {
        assert_eq!(answer(&["permessage-deflate"], Mode::Off), Ok(None));
        assert_eq!(answer(&["permessage-deflate;;"], Mode::Off), Err(Malformed));
    }

    #[test]
    fn the_first_acceptable_offer_counts() {
        let offers =
            "permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=10";
        assert!(shared(offers).unwrap().ends_with("server_max_window_bits=10"));
        let lines = ["permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=\"1\\2\""];
        assert!(answer(&lines, Mode::Shared).unwrap().unwrap().ends_with("server_max_window_bits=12"));
    }

    #[test]
    fn a_window_of_256_bytes_is_answered_as_asked() {
        assert!(shared("permessage-deflate; server_max_window_bits=8").unwrap().ends_with("bits=8"));
        let agreed =
            Agreement::of([&b"permessage-deflate; server_max_window_bits=8"[..]].into_iter(), Mode::Shared);
        assert_eq!(agreed.unwrap().unwrap().window.bits(), 9);
    }

    #[test]
    fn parameters_out_of_range_decline_the_offer() {
        for parameter in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "client_max_window_bits=99",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "anything",
        ] {
            assert_eq!(shared(&format!("permessage-deflate; {parameter}")), None, "{parameter}");
        }
    }

    #[test]
    fn what_is_malformed_is_told() {
        for header in
            ["", " ", ";", "a;", "a;b=", "a b", "a;b=\"", "a;b=\"\"", "a;b=\"c d\"", "a;=b", "a\u{e9}"]
        {
            assert_eq!(answer(&[header], Mode::Shared), Err(Malformed), "{header:?}");
        }
        assert_eq!(answer(&["a,,b ,"], Mode::Shared), Ok(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Agreement::of([bytes.as_slice()].into_iter(), Mode::Full);
        }
    }
}
