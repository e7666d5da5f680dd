//! Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.
//!
//! Each option's entry by its name.

use super::OptionSpec;

/// All options, in the order of the reference.
pub const OPTIONS: &[OptionSpec] = &[
    MAX_CONNECTIONS,
    HANDSHAKE_TIMEOUT,
    ALLOWED_ORIGINS,
    PATH,
    JWT_SECRET,
    JWT_ALGORITHM,
    JWT_ISSUER,
    JWT_AUDIENCE,
    JWT_COOKIE_NAME,
    JWT_PREVIOUS_SECRET,
    JWT_KEY_ID,
    JWT_PRIVATE_KEY,
    JWKS,
    MAX_MESSAGE_SIZE,
    RATE_LIMIT_CAPACITY,
    RATE_LIMIT_REFILL,
    MAX_SUBSCRIPTIONS_PER_CONNECTION,
    MAX_OUTBOUND_QUEUE_BYTES,
    SLOW_CLIENT,
    COMPRESSION,
    PING_INTERVAL,
    IDLE_TIMEOUT,
    MAX_INBOUND_QUEUE_SIZE,
    MAX_INBOUND_QUEUE_BYTES,
    MAX_OUTBOUND_TOTAL_BYTES,
    RECOVERY_ENABLED,
    RECOVERY_BUFFER_SIZE,
    RECOVERY_TTL,
    RECOVERY_MAX_MESSAGES,
    RECOVERY_MEMORY_BUDGET,
    PRESENCE_ENABLED,
    PRESENCE_MAX_DATA_SIZE,
    PRESENCE_MAX_MEMBERS,
    CLIENT_SUBSCRIPTIONS,
    CLIENT_PUBLISH,
    TRUSTED_PROXIES,
    PROXY_PROTOCOL,
    SHARDS,
    API_KEY,
];

/// `max_connections`
pub const MAX_CONNECTIONS: OptionSpec = OptionSpec {
    name: "max_connections",
    default: "1000",
    unit: "connections",
    allowed: "an integer from 1 to 16000000",
    built: "",
    secret: false,
};
/// `handshake_timeout`
pub const HANDSHAKE_TIMEOUT: OptionSpec = OptionSpec {
    name: "handshake_timeout",
    default: "10.0",
    unit: "seconds",
    allowed: "a number of seconds from 0.01 to 3600",
    built: "",
    secret: false,
};
/// `allowed_origins`
pub const ALLOWED_ORIGINS: OptionSpec = OptionSpec {
    name: "allowed_origins",
    default: "None",
    unit: "origins",
    allowed: "a list of origins such as 'https://app.example.com' (scheme, host and optional port; 'null'; or '*' alone), or None",
    built: "",
    secret: false,
};
/// `path`
pub const PATH: OptionSpec = OptionSpec {
    name: "path",
    default: "None",
    unit: "path",
    allowed: "a path such as '/wse' (it begins with '/' and has no '?', '#', spaces or control characters), or None",
    built: "",
    secret: false,
};
/// `jwt_secret`
pub const JWT_SECRET: OptionSpec = OptionSpec {
    name: "jwt_secret",
    default: "None",
    unit: "key",
    allowed: "bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256, ES256 and EdDSA), or None",
    built: "",
    secret: true,
};
/// `jwt_algorithm`
pub const JWT_ALGORITHM: OptionSpec = OptionSpec {
    name: "jwt_algorithm",
    default: "'HS256'",
    unit: "algorithm",
    allowed: "'HS256', 'RS256', 'ES256' or 'EdDSA'",
    built: "",
    secret: false,
};
/// `jwt_issuer`
pub const JWT_ISSUER: OptionSpec = OptionSpec {
    name: "jwt_issuer",
    default: "None",
    unit: "issuer",
    allowed: "non-empty text or None",
    built: "",
    secret: false,
};
/// `jwt_audience`
pub const JWT_AUDIENCE: OptionSpec = OptionSpec {
    name: "jwt_audience",
    default: "None",
    unit: "audience",
    allowed: "non-empty text or None",
    built: "",
    secret: false,
};
/// `jwt_cookie_name`
pub const JWT_COOKIE_NAME: OptionSpec = OptionSpec {
    name: "jwt_cookie_name",
    default: "'access_token'",
    unit: "cookie",
    allowed: "a cookie name (letters, digits and !#$%&'*+-.^_`|~), or None",
    built: "",
    secret: false,
};
/// `jwt_previous_secret`
pub const JWT_PREVIOUS_SECRET: OptionSpec = OptionSpec {
    name: "jwt_previous_secret",
    default: "None",
    unit: "key",
    allowed: "bytes or text (at least 32 bytes of secret for HS256, a PEM public key for RS256, ES256 and EdDSA), or None",
    built: "",
    secret: true,
};
/// `jwt_key_id`
pub const JWT_KEY_ID: OptionSpec = OptionSpec {
    name: "jwt_key_id",
    default: "None",
    unit: "key id",
    allowed: "non-empty text or None",
    built: "",
    secret: false,
};
/// `jwt_private_key`
pub const JWT_PRIVATE_KEY: OptionSpec = OptionSpec {
    name: "jwt_private_key",
    default: "None",
    unit: "key",
    allowed: "bytes or text (a PEM private key that belongs to jwt_algorithm RS256, ES256 or EdDSA), or None",
    built: "",
    secret: true,
};
/// `jwks`
pub const JWKS: OptionSpec = OptionSpec {
    name: "jwks",
    default: "None",
    unit: "file or URL",
    allowed: "the path of a file, a URL that begins with https:// or http://, or None",
    built: "",
    secret: false,
};
/// `max_message_size`
pub const MAX_MESSAGE_SIZE: OptionSpec = OptionSpec {
    name: "max_message_size",
    default: "1048576",
    unit: "bytes",
    allowed: "an integer of bytes from 1 to 1073741824",
    built: "",
    secret: false,
};
/// `rate_limit_capacity`
pub const RATE_LIMIT_CAPACITY: OptionSpec = OptionSpec {
    name: "rate_limit_capacity",
    default: "100000.0",
    unit: "messages",
    allowed: "a number from 1 to 1e+15",
    built: "",
    secret: false,
};
/// `rate_limit_refill`
pub const RATE_LIMIT_REFILL: OptionSpec = OptionSpec {
    name: "rate_limit_refill",
    default: "10000.0",
    unit: "messages per second",
    allowed: "a number from 0.001 to 1e+15",
    built: "",
    secret: false,
};
/// `max_subscriptions_per_connection`
pub const MAX_SUBSCRIPTIONS_PER_CONNECTION: OptionSpec = OptionSpec {
    name: "max_subscriptions_per_connection",
    default: "0",
    unit: "subscriptions",
    allowed: "an integer from 0 to 16000000",
    built: "",
    secret: false,
};
/// `max_outbound_queue_bytes`
pub const MAX_OUTBOUND_QUEUE_BYTES: OptionSpec = OptionSpec {
    name: "max_outbound_queue_bytes",
    default: "16777216",
    unit: "bytes",
    allowed: "an integer of bytes from 4096 to 1099511627776",
    built: "",
    secret: false,
};
/// `slow_client`
pub const SLOW_CLIENT: OptionSpec = OptionSpec {
    name: "slow_client",
    default: "'heal'",
    unit: "policy",
    allowed: "'heal', 'gap' or 'close'",
    built: "",
    secret: false,
};
/// `compression`
pub const COMPRESSION: OptionSpec = OptionSpec {
    name: "compression",
    default: "'shared'",
    unit: "mode",
    allowed: "'off', 'shared' or 'full'",
    built: "",
    secret: false,
};
/// `ping_interval`
pub const PING_INTERVAL: OptionSpec = OptionSpec {
    name: "ping_interval",
    default: "25.0",
    unit: "seconds",
    allowed: "a number of seconds from 0.01 to 86400",
    built: "",
    secret: false,
};
/// `idle_timeout`
pub const IDLE_TIMEOUT: OptionSpec = OptionSpec {
    name: "idle_timeout",
    default: "60.0",
    unit: "seconds",
    allowed: "a number of seconds from 0.02 to 604800",
    built: "",
    secret: false,
};
/// `max_inbound_queue_size`
pub const MAX_INBOUND_QUEUE_SIZE: OptionSpec = OptionSpec {
    name: "max_inbound_queue_size",
    default: "131072",
    unit: "events",
    allowed: "an integer from 1 to 1000000000",
    built: "",
    secret: false,
};
/// `max_inbound_queue_bytes`
pub const MAX_INBOUND_QUEUE_BYTES: OptionSpec = OptionSpec {
    name: "max_inbound_queue_bytes",
    default: "268435456",
    unit: "bytes",
    allowed: "an integer of bytes from 1 to 1099511627776",
    built: "",
    secret: false,
};
/// `max_outbound_total_bytes`
pub const MAX_OUTBOUND_TOTAL_BYTES: OptionSpec = OptionSpec {
    name: "max_outbound_total_bytes",
    default: "1073741824",
    unit: "bytes",
    allowed: "an integer of bytes from 4096 to 1099511627776",
    built: "",
    secret: false,
};
/// `recovery_enabled`
pub const RECOVERY_ENABLED: OptionSpec = OptionSpec {
    name: "recovery_enabled",
    default: "False",
    unit: "switch",
    allowed: "True or False",
    built: "",
    secret: false,
};
/// `recovery_buffer_size`
pub const RECOVERY_BUFFER_SIZE: OptionSpec = OptionSpec {
    name: "recovery_buffer_size",
    default: "128",
    unit: "messages",
    allowed: "an integer from 1 to 16777216",
    built: "",
    secret: false,
};
/// `recovery_ttl`
pub const RECOVERY_TTL: OptionSpec = OptionSpec {
    name: "recovery_ttl",
    default: "300.0",
    unit: "seconds",
    allowed: "a number of seconds from 0.01 to 31536000",
    built: "",
    secret: false,
};
/// `recovery_max_messages`
pub const RECOVERY_MAX_MESSAGES: OptionSpec = OptionSpec {
    name: "recovery_max_messages",
    default: "500",
    unit: "messages",
    allowed: "an integer from 1 to 16777216",
    built: "",
    secret: false,
};
/// `recovery_memory_budget`
pub const RECOVERY_MEMORY_BUDGET: OptionSpec = OptionSpec {
    name: "recovery_memory_budget",
    default: "268435456",
    unit: "bytes",
    allowed: "an integer of bytes from 65536 to 1099511627776",
    built: "",
    secret: false,
};
/// `presence_enabled`
pub const PRESENCE_ENABLED: OptionSpec = OptionSpec {
    name: "presence_enabled",
    default: "False",
    unit: "switch",
    allowed: "True or False",
    built: "",
    secret: false,
};
/// `presence_max_data_size`
pub const PRESENCE_MAX_DATA_SIZE: OptionSpec = OptionSpec {
    name: "presence_max_data_size",
    default: "4096",
    unit: "bytes",
    allowed: "an integer of bytes from 2 to 1048576",
    built: "",
    secret: false,
};
/// `presence_max_members`
pub const PRESENCE_MAX_MEMBERS: OptionSpec = OptionSpec {
    name: "presence_max_members",
    default: "0",
    unit: "users",
    allowed: "an integer from 0 to 16000000",
    built: "",
    secret: false,
};
/// `client_subscriptions`
pub const CLIENT_SUBSCRIPTIONS: OptionSpec = OptionSpec {
    name: "client_subscriptions",
    default: "False",
    unit: "switch",
    allowed: "True or False",
    built: "",
    secret: false,
};
/// `client_publish`
pub const CLIENT_PUBLISH: OptionSpec = OptionSpec {
    name: "client_publish",
    default: "False",
    unit: "switch",
    allowed: "True or False",
    built: "",
    secret: false,
};
/// `trusted_proxies`
pub const TRUSTED_PROXIES: OptionSpec = OptionSpec {
    name: "trusted_proxies",
    default: "()",
    unit: "networks",
    allowed: "a list of networks such as '10.0.0.0/8' or addresses such as '192.0.2.7'",
    built: "",
    secret: false,
};
/// `proxy_protocol`
pub const PROXY_PROTOCOL: OptionSpec = OptionSpec {
    name: "proxy_protocol",
    default: "False",
    unit: "switch",
    allowed: "True or False",
    built: "",
    secret: false,
};
/// `shards`
pub const SHARDS: OptionSpec = OptionSpec {
    name: "shards",
    default: "0",
    unit: "threads",
    allowed: "an integer from 0 to 64",
    built: "",
    secret: false,
};
/// `api_key`
pub const API_KEY: OptionSpec = OptionSpec {
    name: "api_key",
    default: "None",
    unit: "key",
    allowed: "32 to 1024 visible ASCII characters without spaces, as bytes or text, or None",
    built: "",
    secret: true,
};
