//! Answers in HTTP; after each of them the connection ends, but for some of the API.

use std::borrow::Cow;

/// One answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The media type of the body.
    pub content_type: Cow<'static, str>,
    /// The body.
    pub body: Cow<'static, [u8]>,
    /// Header lines beside the usual ones, each with its line end.
    pub extra: &'static str,
}

impl Response {
    /// A short text for people.
    #[must_use]
    pub fn text(status: u16, body: &'static str) -> Self {
        Self {
            status,
            content_type: Cow::Borrowed("text/plain; charset=utf-8"),
            body: Cow::Borrowed(body.as_bytes()),
            extra: "",
        }
    }

    /// A JSON document.
    #[must_use]
    pub fn json(status: u16, body: String) -> Self {
        Self {
            status,
            content_type: Cow::Borrowed("application/json"),
            body: Cow::Owned(body.into_bytes()),
            extra: "Cache-Control: no-store\r\n",
        }
    }

    /// Figures for Prometheus, in its text format.
    #[must_use]
    pub fn metrics(body: String) -> Self {
        Self {
            content_type: Cow::Borrowed("text/plain; version=0.0.4; charset=utf-8"),
            ..Self::json(200, body)
        }
    }

    /// A page of the application.
    #[must_use]
    pub fn page(content_type: &str, body: &[u8]) -> Self {
        Self {
            status: 200,
            content_type: Cow::Owned(content_type.to_owned()),
            body: Cow::Owned(body.to_vec()),
            extra: "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n",
        }
    }

    /// The same with more header lines.
    #[must_use]
    pub fn with(mut self, extra: &'static str) -> Self {
        self.extra = extra;
        self
    }

    /// The bytes to send; a HEAD request gets no body, but its length.
    #[must_use]
    pub fn to_bytes(&self, without_body: bool) -> Vec<u8> {
        self.write(without_body, "Connection: close\r\n")
    }

    /// The same on a connection that stays for another request for so many seconds.
    #[must_use]
    pub fn to_bytes_and_stay(&self, without_body: bool, seconds: u64) -> Vec<u8> {
        self.write(without_body, &format!("Connection: keep-alive\r\nKeep-Alive: timeout={seconds}\r\n"))
    }

    fn write(&self, without_body: bool, connection: &str) -> Vec<u8> {
        let mut out = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}{connection}\r\n",
            self.status,
            reason(self.status),
            self.content_type,
            self.body.len(),
            self.extra
        )
        .into_bytes();
        if !without_body {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_request_gets_the_length_alone() {
        let response = Response::text(404, "nothing\n");
        let full = String::from_utf8(response.to_bytes(false)).unwrap();
        assert!(full.starts_with("HTTP/1.1 404 Not Found\r\n") && full.ends_with("\r\n\r\nnothing\n"));
        let head = String::from_utf8(response.to_bytes(true)).unwrap();
        assert!(head.contains("Content-Length: 8\r\n") && head.ends_with("\r\n\r\n"));
    }
}
