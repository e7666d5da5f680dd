//! As much of HTTP/1.1 as a WebSocket port needs: one request in, one answer out, then the upgrade or the end; and requests of the API, one
//! after the other.

pub mod api;
pub mod body;
pub mod origin;
pub mod request;
pub mod response;

pub use body::{BadBody, Body, Framing};
pub use origin::Origins;
pub use request::{Head, Request, SingleHeader};
pub use response::Response;
