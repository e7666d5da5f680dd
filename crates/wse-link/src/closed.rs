//! Why a link is no more.

use thiserror::Error;

/// The end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Closed {
    /// `close` was asked for here; everything that was pushed before was written and the peer has ended too.
    #[error("closed here")]
    Here,
    /// `close` was asked for here, and the deadline came before the peer's end: it may lack the last frames.
    #[error("closed here, and the peer had not ended by the deadline")]
    HereUnfinished,
    /// The peer has ended the stream.
    #[error("closed by the peer")]
    ByPeer,
    /// The connection broke: reset, timed out, or ended without the end that TLS has.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The peer said what no node says.
    #[error("{0}")]
    Malformed(#[from] wse_mesh::wire::Malformed),
    /// Its owner did not admit it in time: no HELLO, or not the right one.
    #[error("not admitted in time")]
    Late,
    /// Others that were not admitted either came after it, and there was no room for all.
    #[error("not admitted when too many others came")]
    Crowded,
    /// The peer reads so little that not even control frames had room.
    #[error("the peer does not read")]
    Behind,
    /// Its owner cut it, for this reason.
    #[error("cut here: {0}")]
    Cut(String),
}
