//! The head of a request, parsed where it was read.

use super::response::Response;

/// The longest head of a request, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most header lines in it.
pub const MAX_HEADERS: usize = 100;

/// A request without its body.
#[derive(Debug)]
pub struct Request<'b> {
    /// `GET`, `HEAD`, …; case matters.
    pub method: &'b str,
    /// The target up to `?`.
    pub path: &'b str,
    /// The target after `?`, empty if there is none.
    pub query: &'b str,
    /// The y of HTTP/1.y.
    pub minor_version: u8,
    headers: Vec<httparse::Header<'b>>,
}

/// A header that may occur once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleHeader<'b> {
    /// It does not occur.
    Absent,
    /// Its value, trimmed.
    One(&'b [u8]),
    /// It occurs more than once.
    Several,
}

/// What the bytes so far are.
#[derive(Debug)]
pub enum Head<'b> {
    /// The beginning of a request.
    Partial,
    /// A request; the number is where its head ends.
    Whole(Request<'b>, usize),
    /// Nothing that can be answered but with this.
    Refused(Response),
}

impl<'b> Head<'b> {
    /// Reads the head of a request at the start of `bytes`.
    #[must_use]
    pub fn parse(bytes: &'b [u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(end)) if end <= MAX_HEAD_BYTES => {
                let target = parsed.path.unwrap_or("/");
                let target = origin_form(target);
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let request = Request {
                    method: parsed.method.unwrap_or(""),
                    path,
                    query,
                    minor_version: parsed.version.unwrap_or(0),
                    headers: parsed.headers.to_vec(),
                };
                Self::Whole(request, end)
            }
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Self::Partial,
            Ok(_) => Self::Refused(Response::text(431, "The request head is longer than 16 KiB.\n")),
            Err(httparse::Error::TooManyHeaders) => {
                Self::Refused(Response::text(431, "The request has more than 100 headers.\n"))
            }
            Err(_) => Self::Refused(Response::text(400, "This is not an HTTP/1.1 request.\n")),
        }
    }
}

impl<'b> Request<'b> {
    /// The values of all header lines of this name, in order.
    pub fn header_values(&self, name: &str) -> impl DoubleEndedIterator<Item = &'b [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The value of the header line of this name, if there is exactly one: of several, two readers could take different ones.
    #[must_use]
    pub fn single_header(&self, name: &str) -> SingleHeader<'b> {
        let mut values = self.header_values(name);
        match (values.next(), values.next()) {
            (None, _) => SingleHeader::Absent,
            (Some(value), None) => SingleHeader::One(value.trim_ascii()),
            (Some(_), Some(_)) => SingleHeader::Several,
        }
    }

    /// The comma-separated elements of all header lines of this name, trimmed, without the empty ones.
    pub fn header_list(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.header_values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// Whether a comma-separated header has this element, without regard to case.
    #[must_use]
    pub fn header_has(&self, name: &str, element: &str) -> bool {
        self.header_list(name).any(|value| value.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// Whether a body follows, which no request to this server has any use for.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.header_values("transfer-encoding").next().is_some()
            || self.header_values("content-length").any(|value| value.trim_ascii() != b"0")
    }

    /// Whether `key=value` stands in the query.
    #[must_use]
    pub fn query_has(&self, key: &str, value: &str) -> bool {
        self.query.split('&').any(|pair| pair.split_once('=') == Some((key, value)))
    }
}

/// A server must also accept the absolute form, `http://host/path` (RFC 9112, section 3.2.2).
fn origin_form(target: &str) -> &str {
    let after_scheme = target.strip_prefix("http://").or_else(|| target.strip_prefix("ws://"));
    match after_scheme.map(|rest| rest.find('/').map(|slash| &rest[slash..])) {
        Some(Some(path)) => path,
        Some(None) => "/",
        None => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Request<'_> {
        match Head::parse(text.as_bytes()) {
            Head::Whole(request, end) => {
                assert_eq!(end, text.len());
                request
            }
            other => panic!("{other:?}"),
        }
    }

    fn status(bytes: &[u8]) -> u16 {
        match Head::parse(bytes) {
            Head::Refused(response) => response.status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_and_queries() {
        let request = whole(
            "GET /wse?format=msgpack&x=1 HTTP/1.1\r\nConnection: keep-alive, , Upgrade\r\nconnection: x\r\n\r\n",
        );
        assert_eq!((request.path, request.query), ("/wse", "format=msgpack&x=1"));
        assert!(request.header_has("Connection", "upgrade") && request.header_has("CONNECTION", "X"));
        assert!(request.query_has("format", "msgpack") && !request.query_has("format", "json"));
        assert_eq!(request.single_header("connection"), SingleHeader::Several);
        assert_eq!(request.single_header("host"), SingleHeader::Absent);
    }

    #[test]
    fn the_absolute_form_means_the_same() {
        assert_eq!(whole("GET http://a.test/health?x HTTP/1.1\r\n\r\n").path, "/health");
        assert_eq!(whole("GET http://a.test HTTP/1.1\r\n\r\n").path, "/");
    }

    #[test]
    fn too_much_and_not_http() {
        assert_eq!(status(&vec![b'a'; MAX_HEAD_BYTES]), 431);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert_eq!(status(many.as_bytes()), 431);
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(MAX_HEAD_BYTES));
        assert_eq!(status(long.as_bytes()), 431);
        assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Head::parse(&bytes);
        }

        #[test]
        fn every_prefix_of_a_request_is_partial(cut in 0_usize..66) {
            let text = "GET /wse HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nOrigin: null\r\n\r\n";
            prop_assert!(matches!(Head::parse(&text.as_bytes()[..cut.min(text.len() - 1)]), Head::Partial));
        }
    }
}
