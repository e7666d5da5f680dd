//! Who the client is where a proxy stands in front: which proxies are trusted, and what they say.

pub mod forwarded;
pub mod header;
pub mod networks;

mod crc32c;

pub use forwarded::client;
pub use header::{ProxyHeader, ProxyHeaderError, Source};
pub use networks::Networks;
