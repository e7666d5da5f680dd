//! The opening handshake (RFC 6455, section 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::deflate::{Agreement, Mode};
use crate::encoding::Format;
use crate::http::{Origins, Request, Response, SingleHeader};

/// What a server asks of an upgrade beside the protocol itself.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The only path that upgrades; `None` upgrades any.
    pub path: Option<String>,
    /// Pages that may connect.
    pub origins: Origins,
    /// Whether messages may be compressed.
    pub compression: Mode,
}

/// An upgrade that may be answered with 101.
#[derive(Debug)]
pub struct Upgrade<'b> {
    accept: String,
    /// The subprotocol to answer with.
    protocol: Option<&'b str>,
    /// What was agreed on about compression.
    pub deflate: Option<Agreement>,
    /// How the client wants its messages.
    pub format: Format,
}

/// Whether a request means to upgrade, rightly or wrongly.
#[must_use]
pub fn is_attempt(request: &Request<'_>) -> bool {
    request.header_has("upgrade", "websocket") || request.header_values("sec-websocket-key").next().is_some()
}

/// The answer to a plain request where only WebSockets live.
#[must_use]
pub fn upgrade_required() -> Response {
    Response::text(426, "This is a WebSocket endpoint: connect with a WebSocket client.\n")
        .with("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
}

impl<'b> Upgrade<'b> {
    /// Checks an upgrade request.
    ///
    /// # Errors
    /// The answer to send instead: 400 and 426 as section 4.2.2 says, 403 for an origin that is not welcome, 404 for another path.
    pub fn check(request: &Request<'b>, policy: &Policy) -> Result<Self, Response> {
        let bad = |text| Err(Response::text(400, text));
        if request.method != "GET" {
            return Err(Response::text(405, "A WebSocket begins with GET.\n").with("Allow: GET\r\n"));
        }
        if policy.path.as_deref().is_some_and(|path| path != request.path) {
            return Err(Response::text(404, "Not found.\n"));
        }
        if request.minor_version < 1 {
            return bad("A WebSocket needs HTTP/1.1.\n");
        }
        match request.single_header("host") {
            SingleHeader::One(host) if !host.is_empty() => {}
            _ => return bad("The request needs exactly one Host header.\n"),
        }
        if request.has_body() {
            return bad("An upgrade request has no body.\n");
        }
        if !request.header_has("connection", "upgrade") || !request.header_has("upgrade", "websocket") {
            return bad(
                "The request needs 'Connection: Upgrade' and 'Upgrade: websocket'; a proxy may have removed them.\n",
            );
        }
        match request.single_header("sec-websocket-version") {
            SingleHeader::One(b"13") => {}
            SingleHeader::One(_) | SingleHeader::Absent => return Err(upgrade_required()),
            SingleHeader::Several => return bad("The request has several Sec-WebSocket-Version headers.\n"),
        }
        let key = match request.single_header("sec-websocket-key") {
            SingleHeader::One(key) if is_key(key) => key,
            _ => return bad("Sec-WebSocket-Key must be 16 bytes in base64.\n"),
        };
        if !policy.origins.admit(request.header_values("origin")) {
            return Err(Response::text(403, "This origin may not connect.\n"));
        }
        let format = Format::of_query(request.query);
        // Messages in msgpack are packed once for all who want them, so none is compressed with a context of one client.
        let mode = match (policy.compression, format) {
            (Mode::Full, Format::Msgpack) => Mode::Shared,
            (mode, _) => mode,
        };
        let Ok(deflate) = Agreement::of(request.header_values("sec-websocket-extensions"), mode) else {
            return bad("Sec-WebSocket-Extensions is malformed.\n");
        };
        Ok(Self { accept: accept(key), protocol: subprotocol(request), deflate, format })
    }

    /// Appends the 101 answer.
    pub fn write_response(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        out.extend_from_slice(self.accept.as_bytes());
        if let Some(protocol) = self.protocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if let Some(deflate) = &self.deflate {
            deflate.write_header(out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// "base64-encoded value that, when decoded, is 16 bytes in length": 22 digits and the padding.
fn is_key(key: &[u8]) -> bool {
    let mut decoded = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut decoded) == Ok(16)
}

/// Proof that the server understood (section 4.2.2, point 5.4).
fn accept(key: &[u8]) -> String {
    let digest =
        Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(digest)
}

/// `wse` if offered, else the first that carries no token: browsers fail a connection whose offers are all left unanswered.
fn subprotocol<'b>(request: &Request<'b>) -> Option<&'b str> {
    let offers =
        || request.header_list("sec-websocket-protocol").filter_map(|offer| std::str::from_utf8(offer).ok());
    offers()
        .find(|offer| *offer == "wse")
        .or_else(|| offers().find(|offer| !offer.starts_with("bearer.") && offer.bytes().all(is_token_byte)))
}

/// The characters of an HTTP token (RFC 9110, section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;

    const GOOD: &str = "GET /wse HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn answer_with(text: &str, policy: &Policy) -> Result<String, u16> {
        let Head::Whole(request, _) = Head::parse(text.as_bytes()) else { panic!("not whole: {text}") };
        let upgrade = Upgrade::check(&request, policy).map_err(|response| response.status)?;
        let mut out = Vec::new();
        upgrade.write_response(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    fn answer(text: &str) -> Result<String, u16> {
        answer_with(text, &Policy::default())
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert!(answer(GOOD).unwrap().contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    }

    #[test]
    fn each_missing_or_doubled_part_is_refused() {
        let cases = [
            ("Host: x\r\n", "", 400),
            ("Host: x\r\n", "Host: x\r\nHost: y\r\n", 400),
            ("Host: x", "Host: ", 400),
            ("Upgrade: websocket\r\n", "", 400),
            ("Upgrade: websocket", "Upgrade: h2c", 400),
            ("keep-alive, Upgrade", "keep-alive", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSE=", 400),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR==", 400),
            ("Version: 13", "Version: 8", 426),
            ("Version: 13", "Version: 13, 8", 426),
            ("Version: 13\r\n", "Version: 13\r\nSec-WebSocket-Version: 13\r\n", 400),
            ("GET", "POST", 405),
            ("HTTP/1.1", "HTTP/1.0", 400),
            ("Host: x\r\n", "Host: x\r\nContent-Length: 5\r\n", 400),
            ("Host: x\r\n", "Host: x\r\nTransfer-Encoding: chunked\r\n", 400),
        ];
        for (from, to, status) in cases {
            assert_eq!(answer(&GOOD.replacen(from, to, 1)), Err(status), "{from:?} -> {to:?}");
        }
        assert!(answer(&GOOD.replace("Host: x\r\n", "Host: x\r\nContent-Length: 0\r\n")).is_ok());
    }

    #[test]
    fn path_and_origin_belong_to_the_policy() {
        let policy = Policy {
            path: Some("/wse".into()),
            origins: Origins::new(&["https://a.test"]),
            ..Policy::default()
        };
        assert!(answer_with(GOOD, &policy).is_ok());
        assert_eq!(answer_with(&GOOD.replace("/wse", "/other"), &policy), Err(404));
        assert_eq!(answer_with(&GOOD.replace("Host", "Origin: https://b.test\r\nHost"), &policy), Err(403));
        assert!(answer_with(&GOOD.replace("Host", "Origin: https://a.test:443\r\nHost"), &policy).is_ok());
    }

    #[test]
    fn a_token_is_never_echoed_as_subprotocol() {
        let with = |offer: &str| {
            answer(&GOOD.replace("Host", &format!("Sec-WebSocket-Protocol: {offer}\r\nHost"))).unwrap()
        };
        assert!(with("wse, bearer.abc").contains("Sec-WebSocket-Protocol: wse\r\n"));
        assert!(with("chat, wse").contains("Sec-WebSocket-Protocol: wse\r\n"));
        assert!(with("chat, superchat").contains("Sec-WebSocket-Protocol: chat\r\n"));
        assert!(!with("bearer.abc").contains("Sec-WebSocket-Protocol"));
    }
}
