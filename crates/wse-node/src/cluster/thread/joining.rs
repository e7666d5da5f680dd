//! When a node that has just begun to look for others may take clients.

use wse_mesh::view::{Member, Standing};

use super::Core;

/// How long after its start a node with others to look for may take clients at the latest: as long as the machine of the members looks for
/// them. One of those that it has heard of may never answer.
pub(super) const JOINING_MS: u64 = 6000;

impl Core {
    /// Whether this node acts on what the others have told it, and each that it has heard of and itself know what the other has receivers of; or
    /// it has waited for that long enough.
    pub(super) fn has_joined(&self) -> bool {
        let members = self.members.borrow();
        let view = members.view();
        if view.joining {
            return false;
        }
        let exchange = self.cluster.interests.lock();
        let has_met = |member: &Member| member.standing == Standing::Dead || exchange.has_met(member.id);
        self.now_ms() >= self.joins_until_ms || view.members.iter().all(has_met)
    }
}
