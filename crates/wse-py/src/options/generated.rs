//! Generated from spec/options.toml by `python3 tools/generate.py`; edit that file and run it again.

use pyo3::prelude::*;
use wse_core::options::{Options, spec};

use super::convert;

/// Converts one keyword argument and puts it where it belongs. False means that there is no such option.
pub(super) fn set(options: &mut Options, name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    match name {
        "max_connections" => options.max_connections = convert::integer(&spec::MAX_CONNECTIONS, value)?,
        "handshake_timeout" => options.handshake_timeout = convert::seconds(&spec::HANDSHAKE_TIMEOUT, value)?,
        "allowed_origins" => options.allowed_origins = convert::origins(&spec::ALLOWED_ORIGINS, value)?,
        "path" => options.path = convert::text(&spec::PATH, value)?,
        "jwt_secret" => options.jwt_secret = convert::secret(&spec::JWT_SECRET, value)?,
        "jwt_algorithm" => options.jwt_algorithm = convert::choice(&spec::JWT_ALGORITHM, value)?,
        "jwt_issuer" => options.jwt_issuer = convert::text(&spec::JWT_ISSUER, value)?,
        "jwt_audience" => options.jwt_audience = convert::text(&spec::JWT_AUDIENCE, value)?,
        "jwt_cookie_name" => options.jwt_cookie_name = convert::text(&spec::JWT_COOKIE_NAME, value)?,
        "jwt_previous_secret" => {
            options.jwt_previous_secret = convert::secret(&spec::JWT_PREVIOUS_SECRET, value)?
        }
        "jwt_key_id" => options.jwt_key_id = convert::text(&spec::JWT_KEY_ID, value)?,
        "jwt_private_key" => options.jwt_private_key = convert::secret(&spec::JWT_PRIVATE_KEY, value)?,
        "jwks" => options.jwks = convert::text(&spec::JWKS, value)?,
        "max_message_size" => options.max_message_size = convert::integer(&spec::MAX_MESSAGE_SIZE, value)?,
        "rate_limit_capacity" => {
            options.rate_limit_capacity = convert::number(&spec::RATE_LIMIT_CAPACITY, value)?
        }
        "rate_limit_refill" => options.rate_limit_refill = convert::number(&spec::RATE_LIMIT_REFILL, value)?,
        "max_subscriptions_per_connection" => {
            options.max_subscriptions_per_connection =
                convert::integer(&spec::MAX_SUBSCRIPTIONS_PER_CONNECTION, value)?
        }
        "max_outbound_queue_bytes" => {
            options.max_outbound_queue_bytes = convert::integer(&spec::MAX_OUTBOUND_QUEUE_BYTES, value)?
        }
        "slow_client" => options.slow_client = convert::choice(&spec::SLOW_CLIENT, value)?,
        "compression" => options.compression = convert::choice(&spec::COMPRESSION, value)?,
        "ping_interval" => options.ping_interval = convert::seconds(&spec::PING_INTERVAL, value)?,
        "idle_timeout" => options.idle_timeout = convert::seconds(&spec::IDLE_TIMEOUT, value)?,
        "max_inbound_queue_size" => {
            options.max_inbound_queue_size = convert::integer(&spec::MAX_INBOUND_QUEUE_SIZE, value)?
        }
        "max_inbound_queue_bytes" => {
            options.max_inbound_queue_bytes = convert::integer(&spec::MAX_INBOUND_QUEUE_BYTES, value)?
        }
        "max_outbound_total_bytes" => {
            options.max_outbound_total_bytes = convert::integer(&spec::MAX_OUTBOUND_TOTAL_BYTES, value)?
        }
        "recovery_enabled" => options.recovery_enabled = convert::boolean(&spec::RECOVERY_ENABLED, value)?,
        "recovery_buffer_size" => {
            options.recovery_buffer_size = convert::integer(&spec::RECOVERY_BUFFER_SIZE, value)?
        }
        "recovery_ttl" => options.recovery_ttl = convert::seconds(&spec::RECOVERY_TTL, value)?,
        "recovery_max_messages" => {
            options.recovery_max_messages = convert::integer(&spec::RECOVERY_MAX_MESSAGES, value)?
        }
        "recovery_memory_budget" => {
            options.recovery_memory_budget = convert::integer(&spec::RECOVERY_MEMORY_BUDGET, value)?
        }
        "presence_enabled" => options.presence_enabled = convert::boolean(&spec::PRESENCE_ENABLED, value)?,
        "presence_max_data_size" => {
            options.presence_max_data_size = convert::integer(&spec::PRESENCE_MAX_DATA_SIZE, value)?
        }
        "presence_max_members" => {
            options.presence_max_members = convert::integer(&spec::PRESENCE_MAX_MEMBERS, value)?
        }
        "client_subscriptions" => {
            options.client_subscriptions = convert::boolean(&spec::CLIENT_SUBSCRIPTIONS, value)?
        }
        "client_publish" => options.client_publish = convert::boolean(&spec::CLIENT_PUBLISH, value)?,
        "trusted_proxies" => options.trusted_proxies = convert::networks(&spec::TRUSTED_PROXIES, value)?,
        "proxy_protocol" => options.proxy_protocol = convert::boolean(&spec::PROXY_PROTOCOL, value)?,
        "shards" => options.shards = convert::integer(&spec::SHARDS, value)?,
        "api_key" => options.api_key = convert::secret(&spec::API_KEY, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}
