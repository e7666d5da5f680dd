//! As much of HTTP/1.1 as a WebSocket port needs: one request in, one answer out, then the upgrade or the end.

pub mod origin;
pub mod request;
pub mod response;

pub use origin::Origins;
pub use request::{Head, Request, SingleHeader};
pub use response::Response;
