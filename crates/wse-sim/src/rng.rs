//! Random numbers that a seed decides (SplitMix64).

/// A source of them.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The source of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// From `least` up to but not `end`.
    pub fn within(&mut self, least: u64, end: u64) -> u64 {
        least + self.bits() % (end - least).max(1)
    }

    /// An index of so many.
    pub fn index(&mut self, count: usize) -> usize {
        self.within(0, count as u64) as usize
    }

    /// True so often in a hundred.
    pub fn percent(&mut self, often: u64) -> bool {
        self.within(0, 100) < often
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}
