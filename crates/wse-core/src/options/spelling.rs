//! The option that somebody meant who misspelt it.

use super::OPTIONS;

/// The option whose name is nearest to this one; None if none is near enough to be meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    // Longer than any option with as many slips as are forgiven; also a limit on the work below.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    let forgiven = (name.len() / 3).max(1);
    OPTIONS
        .iter()
        .map(|option| (distance(name.as_bytes(), option.name.as_bytes()), option.name))
        .filter(|(slips, _)| *slips <= forgiven)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, replaced, or swapped with their neighbour (optimal string alignment).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
