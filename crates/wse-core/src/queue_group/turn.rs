//! Whose turn it is.

/// The place (a shard, say) that gets the message of this turn, where each place has so many members: over as many turns as there are
/// members each place has as many as it has members, spread evenly. `None` where there are none.
#[must_use]
pub fn place_of_turn(turn: u64, members: impl Iterator<Item = u32> + Clone) -> Option<usize> {
    let all: u64 = members.clone().map(u64::from).sum();
    let mut left = turn.checked_rem(all)?;
    // Members stand in rows, one of each place as far as it has one: turns go along the rows, not place by place.
    let mut row = 0;
    loop {
        let in_row = members.clone().enumerate().filter(|(_, count)| *count > row);
        let width = in_row.clone().count() as u64;
        if left < width {
            return in_row.map(|(place, _)| place).nth(left as usize);
        }
        // The rows up to the shortest place that is left are alike.
        let height = in_row.map(|(_, count)| count).min().map_or(1, |least| least - row);
        let block = width * u64::from(height);
        if left < block {
            left %= width;
            return members
                .enumerate()
                .filter(|(_, count)| *count > row)
                .map(|(place, _)| place)
                .nth(left as usize);
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

impl Rotation {
    /// The next of so many members that is free. `None` where none is; then the turn stays.
    pub fn next_free(&mut self, members: usize, mut is_free: impl FnMut(usize) -> bool) -> Option<usize> {
        let from = self.next.checked_rem(members)?;
        let found = (from..members).chain(0..from).find(|at| is_free(*at))?;
        self.next = found + 1;
        Some(found)
    }

    /// The next of so many members, free or not.
    pub fn next(&mut self, members: usize) -> Option<usize> {
        self.next_free(members, |_| true)
    }
}
