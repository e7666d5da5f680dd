//! Durations, counted in classes that are less than one percent wide.

/// Classes between a power of two and the next.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// What takes 2^40 ns (eighteen minutes) or more counts as that.
const LONGEST: u64 = (1 << 40) - 1;
const CLASSES: usize = (40 - STEP_BITS as usize) * STEPS as usize + STEPS as usize;

/// How many durations fell into which class.
#[derive(Clone, Debug)]
pub struct Histogram {
    classes: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { classes: vec![0; CLASSES], count: 0, sum: 0, max: 0 }
    }
}

/// Below `STEPS` each nanosecond is a class; above, the leading eight bits decide.
fn class_of(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let octave = ns.ilog2() - STEP_BITS;
    (u64::from(octave) * STEPS + (ns >> octave)) as usize
}

/// The longest duration of a class.
fn top_of(class: usize) -> u64 {
    let class = class as u64;
    if class < STEPS {
        return class;
    }
    let octave = (class - STEPS) / STEPS;
    ((class - octave * STEPS + 1) << octave) - 1
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, ns: u64) {
        let ns = ns.min(LONGEST);
        self.classes[class_of(ns)] += 1;
        self.count += 1;
        self.sum += u128::from(ns);
        self.max = self.max.max(ns);
    }

    /// Counts what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        for (mine, others) in self.classes.iter_mut().zip(&other.classes) {
            *mine += others;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if self.count > 0 {
            *self = Self::default();
        }
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all, in nanoseconds.
    #[must_use]
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Classes in which something was counted: the longest duration of each in nanoseconds, and how many.
    pub fn classes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.classes
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(class, count)| (top_of(class).min(self.max), *count))
    }

    /// What a share of all, `0.99` say, did not exceed; `None` while nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        self.classes().find_map(|(top, count)| {
            seen += count;
            (seen >= wanted).then_some(top)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_follow_each_other_without_a_gap() {
        let mut next = 0;
        for class in 0..CLASSES {
            assert_eq!(class_of(next), class);
            assert_eq!(class_of(top_of(class)), class);
            next = top_of(class) + 1;
        }
        assert_eq!(next, LONGEST + 1);
    }

    #[test]
    fn an_empty_one_knows_nothing_and_a_long_one_is_cut() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.record(u64::MAX);
        assert_eq!(histogram.quantile(0.5), Some(LONGEST));
        assert_eq!(histogram.max(), LONGEST);
    }

    proptest! {
        #[test]
        fn a_quantile_is_less_than_a_percent_above_the_true_one(mut all in prop::collection::vec(0..LONGEST, 1..200), share in 0.0..1.0_f64) {
            let mut histogram = Histogram::default();
            all.iter().for_each(|ns| histogram.record(*ns));
            all.sort_unstable();
            let rank = ((all.len() as f64 * share).ceil() as usize).max(1);
            let (truth, told) = (all[rank - 1], histogram.quantile(share).unwrap());
            prop_assert!(told >= truth);
            prop_assert!(told as f64 <= truth as f64 * 1.01 + 1.0, "{} told as {}", truth, told);
        }

        #[test]
        fn merged_ones_count_what_both_counted(left in prop::collection::vec(0..LONGEST, 0..50), right in prop::collection::vec(0..LONGEST, 0..50)) {
            let (mut one, mut other, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
            left.iter().for_each(|ns| { one.record(*ns); both.record(*ns); });
            right.iter().for_each(|ns| { other.record(*ns); both.record(*ns); });
            one.merge(&other);
            prop_assert!(one.classes().eq(both.classes()));
            prop_assert_eq!((one.count(), one.sum(), one.max()), (both.count(), both.sum(), both.max()));
        }
    }
}
