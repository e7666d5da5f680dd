//! What a node is told about its cluster.

use crate::wire::Address;
use crate::wire::header::MAX_FRAME;
use crate::wire::hello::{LEAST_MAX_FRAME, MAX_CLUSTER_NAME, Versions};

/// How a node takes part. All times in milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Nodes of another cluster are refused, so that a wrong address does no harm. At most 255 bytes.
    pub cluster: String,
    /// Where others reach this node. Without it, its end of the first link and `cluster_port`: right wherever nodes see each other's own
    /// addresses, wrong behind address translation.
    pub advertised: Option<Address>,
    /// Where this node listens.
    pub cluster_port: u16,
    /// Addresses of other nodes that are dialled for ever. This node's own may be among them.
    pub peers: Vec<Address>,
    /// Like `peers`; one that can be reached is enough, whatever its node knows is told.
    pub seeds: Vec<Address>,
    /// Each link is asked this often whether it is there.
    pub heartbeat_ms: u64,
    /// Who is silent for so long is dead; half of it makes suspect. At least twice the heartbeat, or a late answer is a death.
    pub dead_after_ms: u64,
    /// The longest frame that this node takes, told to the others; from 4 KiB to 64 MiB.
    pub max_frame: usize,
    /// The versions of the protocol that this node speaks: [`Versions::OURS`], unless a test is another program.
    pub versions: Versions,
    /// What this node can do: bits like [`ZSTD`](crate::wire::hello::ZSTD).
    pub capabilities: u64,
}

impl Config {
    /// Panics over what the options should have refused.
    pub(super) fn check(&self) {
        assert!(self.cluster.len() <= MAX_CLUSTER_NAME, "the name of a cluster has at most 255 bytes");
        assert!(self.heartbeat_ms > 0, "a heartbeat takes time");
        assert!(self.dead_after_ms >= 2 * self.heartbeat_ms, "a node is asked twice before it is dead");
        assert!(
            (LEAST_MAX_FRAME..=MAX_FRAME).contains(&self.max_frame),
            "frames are 4 KiB to 64 MiB long at most"
        );
    }

    /// Silence after which a member with a link is suspect.
    pub(super) fn suspect_after_ms(&self) -> u64 {
        self.dead_after_ms / 2
    }
}
