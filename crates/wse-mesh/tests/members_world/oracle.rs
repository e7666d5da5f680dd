//! What must hold once it is quiet.

use std::collections::BTreeMap;

use wse_mesh::ids::NodeId;
use wse_mesh::view::Standing;

use super::{Life, World};

impl World {
    /// Whoever runs has had the time to find an elder, or to see that there is none.
    pub fn check_joined(&self) {
        let seed = self.seed;
        for (life, process) in &self.processes {
            assert!(!process.members.view().joining, "seed {seed}: {life:?} still looks for others");
        }
    }

    /// Everybody who runs is linked with everybody else by one link that both mean, and all see the same.
    pub fn check_whole(&self) {
        let seed = self.seed;
        for (life, process) in &self.processes {
            let view = process.members.view();
            for other in self.processes.keys().filter(|other| *other != life) {
                self.check_pair(*life, *other);
            }
            for member in view.members.iter().filter(|member| member.standing != Standing::Dead) {
                assert!(
                    !self.ended.contains_key(&member.id),
                    "seed {seed}: {life:?} counts {} that ended",
                    member.id
                );
            }
        }
        let seen: BTreeMap<Life, _> =
            self.processes.keys().map(|life| (*life, self.seen_by(*life))).collect();
        let first = seen.values().next().expect("somebody runs");
        for (life, view) in &seen {
            assert_eq!(view, first, "seed {seed}: {life:?} sees another cluster");
        }
        let count = self.processes.len();
        // A node may be looking whether its seed is still itself.
        let links = self.network.open_links().filter(|(_, [one, other])| one.life != other.life).count();
        assert_eq!(links, count * (count - 1) / 2, "seed {seed}: links that nobody needs");
    }

    fn check_pair(&self, one: Life, other: Life) {
        let seed = self.seed;
        let (here, there) = (&self.processes[&one], &self.processes[&other]);
        let id = there.members.view().me;
        let member = here.members.view().member(id);
        let member = member.unwrap_or_else(|| panic!("seed {seed}: {one:?} does not know {other:?}"));
        assert_eq!(member.standing, Standing::Alive, "seed {seed}: {one:?} on {other:?}");
        let session = member.session.expect("who is alive has a link");
        assert_eq!(here.ups.get(&id), Some(&session), "seed {seed}: the view says what Up and Down said");
        let place = here.sessions[&session];
        let far = self.network.end((place.0, 1 - place.1));
        let back = there.members.view().member(self.id(one)).and_then(|member| member.session);
        assert_eq!(
            (far.life, far.session),
            (other, back),
            "seed {seed}: {one:?} and {other:?} mean different links"
        );
    }

    /// The living as one sees them, itself included: incarnation and whether they leave.
    fn seen_by(&self, life: Life) -> BTreeMap<NodeId, (u32, bool)> {
        let members = &self.processes[&life].members;
        let view = members.view();
        let living = view.members.iter().filter(|member| member.standing != Standing::Dead);
        let others = living.map(|member| (member.id, (member.incarnation.0, member.leaving)));
        others.chain([(view.me, (members.incarnation().0, view.leaving))]).collect()
    }

    /// Whether one sees another as that.
    pub fn sees(&self, life: Life, id: NodeId) -> Option<Standing> {
        self.processes[&life].members.view().member(id).map(|member| member.standing)
    }
}
