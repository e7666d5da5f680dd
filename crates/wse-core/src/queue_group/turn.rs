//! Whose turn it is.

/// The place (a shard, say) that gets the message of this turn, where each place has so many members: over as many turns as there are
/// members each place has as many as it has members, spread evenly. `None` where there are none.
#[must_use]
pub fn place_of_turn(turn: u64, members: &[u32]) -> Option<usize> {
    let all: u64 = members.iter().copied().map(u64::from).sum();
    let mut left = turn.checked_rem(all)?;
    // Members stand in rows, one of each place as far as it has one: turns go along the rows, not place by place.
    let mut row = 0;
    loop {
        let in_row = || members.iter().enumerate().filter(|(_, count)| **count > row).map(|(place, _)| place);
        let width = in_row().count() as u64;
        // The rows up to the shortest place that is left are alike.
        let height =
            in_row().map(|place| members[place] - row).min().expect("a turn is less than all members");
        let block = width * u64::from(height);
        if left < block {
            return in_row().nth((left % width) as usize);
        }
        left -= block;
        row += height;
    }
}

/// Goes round the members of one place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    next: usize,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Its place among the members.
    pub member: usize,
    /// Whether it has nothing to catch up with; if not, nobody is free.
    pub is_free: bool,
}

impl Rotation {
    /// The next of so many members that is not behind, and if all are, the one that is least: `behind` tells by how much, 0 is not at
    /// all. `None` where there is nobody.
    pub fn next(&mut self, members: usize, mut behind: impl FnMut(usize) -> usize) -> Option<Next> {
        let from = self.next.checked_rem(members)?;
        let mut least = (usize::MAX, from);
        for member in (from..members).chain(0..from) {
            let by = behind(member);
            if by == 0 {
                self.next = member + 1;
                return Some(Next { member, is_free: true });
            }
            least = least.min((by, member));
        }
        Some(Next { member: least.1, is_free: false })
    }
}
