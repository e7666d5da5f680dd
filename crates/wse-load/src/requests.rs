//! Requests of the HTTP API on a connection that stays, one behind the other.

use crate::handshake;

/// Requests that may wait for their answer at the same time on one connection.
pub(crate) const UNDER_WAY: u32 = 64;

/// Appends one request.
pub(crate) fn write(out: &mut Vec<u8>, head: &[u8], body: &[u8]) {
    out.extend_from_slice(head);
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
}

/// The status of the answer at the start of `data`, and its length: `None` while it is not whole.
///
/// # Errors
/// It is no answer whose end can be known.
pub(crate) fn answer(data: &[u8]) -> Result<Option<(u16, usize)>, &'static str> {
    let Some(end) = memchr::memmem::find(data, b"\r\n\r\n") else {
        return if data.len() > handshake::LONGEST_ANSWER { Err("no HTTP") } else { Ok(None) };
    };
    let head = &data[..end + 2];
    let status = handshake::status(head).ok_or("no HTTP")?;
    let length: usize = handshake::header(head, "content-length")
        .and_then(|text| text.parse().ok())
        .ok_or("an answer without a length")?;
    let whole = end + 4 + length;
    Ok((data.len() >= whole).then_some((status, whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_follow_each_other() {
        let data =
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n";
        let (status, len) = answer(data).unwrap().unwrap();
        assert_eq!((status, len), (200, 40));
        assert_eq!(answer(&data[40..]).unwrap(), Some((401, data.len() - 40)));
        assert_eq!(answer(&data[..39]).unwrap(), None);
        assert_eq!(answer(&data[..20]).unwrap(), None);
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let mut out = Vec::new();
        write(&mut out, b"POST /x HTTP/1.1\r\nHost: y\r\n", b"{}");
        assert_eq!(out, b"POST /x HTTP/1.1\r\nHost: y\r\nContent-Length: 2\r\n\r\n{}");
    }
}
