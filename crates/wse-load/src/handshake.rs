//! The upgrade, from the client's side (RFC 6455, section 4.1).

/// The key of the RFC's own example. It "MUST be selected randomly" for the sake of caches and scripts that might be between; here is neither,
/// and so the answer is known too.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// An answer that is still no answer after so many bytes is none.
pub(crate) const LONGEST_ANSWER: usize = 16 * 1024;

/// The request of one client.
pub(crate) fn request(head: &[u8], token: Option<&str>) -> Vec<u8> {
    let mut out = head.to_vec();
    out.extend_from_slice(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
    );
    out.extend_from_slice(KEY.as_bytes());
    out.extend_from_slice(b"\r\n");
    if let Some(token) = token {
        out.extend_from_slice(b"Authorization: Bearer ");
        out.extend_from_slice(token.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The status of an answer's head.
pub(crate) fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// The value of a header; the first, if it comes several times.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (key, value) = line.split_at(colon);
        key.eq_ignore_ascii_case(name.as_bytes())
            .then(|| std::str::from_utf8(&value[1..]).ok().map(str::trim))?
    })
}

/// Whether the server accepts; else the reason as people read it.
pub(crate) fn check(head: &[u8]) -> Result<(), String> {
    match status(head) {
        Some(101) if header(head, "sec-websocket-accept") == Some(ACCEPT) => Ok(()),
        Some(101) => Err("the upgrade is answered wrongly".to_owned()),
        Some(status) => Err(format!("HTTP {status}")),
        None => Err("no HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_is_an_upgrade() {
        let good = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nSEC-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(check(good), Ok(()));
        assert_eq!(
            check(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap_err(),
            "the upgrade is answered wrongly"
        );
        assert_eq!(check(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err(), "HTTP 503");
        assert_eq!(check(b"SSH-2.0-x\r\n\r\n").unwrap_err(), "no HTTP");
        assert_eq!(check(b"HTTP/1.1\r\n\r\n").unwrap_err(), "no HTTP");
    }

    #[test]
    fn a_token_is_shown_as_a_header() {
        let request = String::from_utf8(request(b"GET / HTTP/1.1\r\nHost: x\r\n", Some("a.b.c"))).unwrap();
        assert!(request.ends_with("\r\nAuthorization: Bearer a.b.c\r\n\r\n"));
        assert!(request.starts_with("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"));
    }
}
