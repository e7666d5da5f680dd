//! The WebSocket engine without its world: bytes and the time in, values out.
//!
//! No socket, thread, lock, clock, random number or environment variable is read here; `clippy.toml` refuses them. In reading
//! order: what comes in ([`http`], [`proxy`], [`websocket`], [`auth`]), what it means ([`protocol`], [`encoding`], [`topic`]), who may ([`acl`]),
//! who is there ([`presence`]), what goes out ([`outbox`]), what of a topic is kept ([`history`]), and the small state machines beside ([`wheel`], [`rate`]).

pub mod options;

pub mod auth;
pub mod http;
pub mod proxy;
pub mod websocket;

pub mod encoding;
pub mod protocol;
pub mod topic;

pub mod acl;
pub mod conn_id;
pub mod history;
pub mod keyed;
pub mod outbox;
pub mod pattern_index;
pub mod presence;
pub mod queue_group;
pub mod rate;
pub mod wheel;

pub use conn_id::ConnId;
