//! The messages that the server itself says, as text.

mod answer;
mod gap;

use serde_json::json;

use super::codes::ErrorCode;
use super::time::iso8601;

pub use self::answer::{Failed, Recovery, presence_updated, published, refused, subscription_update};
pub use self::gap::Gap;

/// The version of the client protocol that this server speaks.
pub const PROTOCOL_VERSION: u64 = 1;

/// Whether a type of message is one that the server says: no client may publish such.
#[must_use]
pub fn is_servers(kind: &str) -> bool {
    matches!(
        kind,
        "server_ready"
            | "server_hello"
            | "ping"
            | "pong"
            | "PONG"
            | "error"
            | "rate_limit_warning"
            | "reconnect"
            | "token_expiring"
            | "auth_refresh"
            | "subscription_update"
            | "subscription"
            | "publish"
            | "presence_join"
            | "presence_leave"
            | "presence_update"
            | "gap"
    )
}

/// The system ping, for clients that said `client_hello`.
#[must_use]
pub fn ping(unix_ms: u64) -> String {
    format!(r#"{{"c":"WSE","t":"ping","p":{{"server_time":"{}"}}}}"#, iso8601(unix_ms))
}

/// The answer to a client's ping; `timestamp` is what the client gave, as written.
#[must_use]
pub fn pong(timestamp: &serde_json::Value, unix_ms: u64) -> String {
    let latency = timestamp.as_f64().map_or(0, |sent| (unix_ms as f64 - sent).max(0.0) as u64);
    format!(
        r#"{{"c":"WSE","t":"PONG","p":{{"client_timestamp":{timestamp},"server_timestamp":{unix_ms},"latency":{latency}}},"v":1}}"#
    )
}

/// Something that the client did wrong, or may not do.
#[must_use]
pub fn error(code: ErrorCode, message: &str, unix_ms: u64) -> String {
    error_with(code, message, unix_ms, &serde_json::Map::new())
}

/// The same with more fields in `p`.
#[must_use]
pub fn error_with(
    code: ErrorCode,
    message: &str,
    unix_ms: u64,
    more: &serde_json::Map<String, serde_json::Value>,
) -> String {
    let mut p = serde_json::Map::new();
    p.insert("code".into(), code.as_str().into());
    p.insert("message".into(), message.into());
    p.insert("timestamp".into(), iso8601(unix_ms).into());
    p.extend(more.clone());
    json!({"c": "WSE", "t": "error", "p": p, "v": 1}).to_string()
}

/// A warning that the rate limit is near: `remaining` messages may be sent at once.
#[must_use]
pub fn rate_limit_warning(remaining: f64, capacity: f64, refill: f64) -> String {
    json!({
        "c": "WSE",
        "t": "rate_limit_warning",
        "p": {"remaining": remaining.floor(), "capacity": capacity, "refill_per_second": refill},
        "v": 1,
    })
    .to_string()
}

/// The last words before the close of a drain: come back elsewhere after so long.
#[must_use]
pub fn reconnect(retry_in_ms: u64, reason: &str) -> String {
    let reason = if reason.is_empty() { "draining" } else { reason };
    json!({"c": "WSE", "t": "reconnect", "p": {"retry_in_ms": retry_in_ms, "reason": reason}, "v": 1})
        .to_string()
}

/// A warning that the token of the connection expires in so many seconds.
#[must_use]
pub fn token_expiring(expires_in: u64) -> String {
    format!(r#"{{"c":"WSE","t":"token_expiring","p":{{"expires_in":{expires_in}}},"v":1}}"#)
}

/// The answer to a token that took the place of the one before; it expires in so many seconds.
#[must_use]
pub fn auth_refresh(expires_in: u64) -> String {
    format!(r#"{{"c":"WSE","t":"auth_refresh","p":{{"expires_in":{expires_in}}},"v":1}}"#)
}

/// The first words to a client whose token was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// A fresh message id.
    pub id: &'a str,
    /// The connection's own name.
    pub connection_id: &'a str,
    /// Whom the token speaks for.
    pub user_id: &'a str,
    /// Whether topics have history.
    pub recovery: bool,
    /// Whether messages may be compressed.
    pub compression: bool,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

impl Ready<'_> {
    /// The message.
    #[must_use]
    pub fn to_text(&self) -> String {
        let now = iso8601(self.unix_ms);
        json!({
            "c": "WSE",
            "t": "server_ready",
            "id": self.id,
            "ts": now,
            "seq": 1,
            "p": {
                "message": "Connected",
                "details": {
                    "version": PROTOCOL_VERSION,
                    "features": {
                        "compression": self.compression,
                        "encryption": true,
                        "batching": true,
                        "priority_queue": false,
                        "circuit_breaker": false,
                        "rust_transport": true,
                        "rust_jwt": true,
                        "recovery": self.recovery,
                    },
                    "connection_id": self.connection_id,
                    "server_time": now,
                    "user_id": self.user_id,
                },
            },
            "v": 1,
        })
        .to_string()
    }
}

/// The answer to `client_hello`.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// What the client said it speaks.
    pub client_protocol_version: u64,
    /// The connection's own name.
    pub connection_id: &'a str,
    /// Milliseconds between pings.
    pub ping_interval_ms: u64,
    /// Bytes of the largest message accepted.
    pub max_message_size: usize,
    /// Messages that may come at once.
    pub rate_limit_capacity: f64,
    /// Messages a second that may come for ever.
    pub rate_limit_refill: f64,
    /// Whether topics have history.
    pub recovery: bool,
    /// Whether messages may be compressed.
    pub compression: bool,
    /// The server's half of a key exchange, where the client began one.
    pub encryption_public_key: Option<&'a str>,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

impl Hello<'_> {
    /// The message.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut message = json!({
            "c": "WSE",
            "t": "server_hello",
            "p": {
                "server_version": env!("CARGO_PKG_VERSION"),
                "protocol_version": self.client_protocol_version.min(PROTOCOL_VERSION),
                "features": {
                    "compression": self.compression,
                    "recovery": self.recovery,
                    "cluster": false,
                    "batching": true,
                    "priority_queue": false,
                    "msgpack": true,
                    "encryption": true,
                },
                "limits": {
                    "max_message_size": self.max_message_size,
                    "rate_limit_capacity": self.rate_limit_capacity,
                    "rate_limit_refill": self.rate_limit_refill,
                },
                "ping_interval": self.ping_interval_ms,
                "connection_id": self.connection_id,
                "server_time": iso8601(self.unix_ms),
            },
            "v": 1,
        });
        if let Some(key) = self.encryption_public_key {
            message["p"]["encryption_public_key"] = key.into();
        }
        message.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn parse(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_pong_gives_the_clients_timestamp_back_as_written() {
        let value = parse(&pong(&json!(123), 1000));
        assert_eq!(value["p"], json!({"client_timestamp": 123, "server_timestamp": 1000, "latency": 877}));
        assert_eq!(parse(&pong(&json!("x\"y"), 5))["p"]["client_timestamp"], "x\"y");
        assert_eq!(
            parse(&pong(&json!(99_999), 5))["p"]["latency"],
            0,
            "a clock ahead of ours is no negative latency"
        );
    }

    #[test]
    fn every_message_of_the_system_says_so_first() {
        let ready = Ready {
            id: "i",
            connection_id: "c",
            user_id: "u\"1",
            recovery: false,
            compression: true,
            unix_ms: 0,
        };
        let hello = Hello {
            client_protocol_version: 7,
            connection_id: "c",
            ping_interval_ms: 25_000,
            max_message_size: 1 << 20,
            rate_limit_capacity: 1e5,
            rate_limit_refill: 1e4,
            recovery: false,
            compression: true,
            encryption_public_key: Some("BPg="),
            unix_ms: 0,
        };
        for text in [
            ready.to_text(),
            hello.to_text(),
            ping(0),
            pong(&Value::Null, 0),
            error(ErrorCode::AuthFailed, "no", 0),
            rate_limit_warning(3.7, 10.0, 1.0),
            reconnect(250, "update \"7\""),
            token_expiring(60),
            auth_refresh(3600),
        ] {
            assert!(text.starts_with(r#"{"c":"WSE","t":"#), "{text}");
            assert!(parse(&text).is_object());
        }
        assert_eq!(parse(&token_expiring(60))["p"], json!({"expires_in": 60}));
        assert_eq!(parse(&auth_refresh(3600))["p"], json!({"expires_in": 3600}));
        assert_eq!(parse(&hello.to_text())["p"]["protocol_version"], 1);
        assert_eq!(parse(&hello.to_text())["p"]["encryption_public_key"], "BPg=");
        let without = Hello { encryption_public_key: None, ..hello };
        assert!(parse(&without.to_text())["p"].get("encryption_public_key").is_none());
        assert_eq!(parse(&ready.to_text())["p"]["details"]["user_id"], "u\"1");
    }
}
