//! Pseudo-random numbers, the same for the same seed (the generator `SplitMix64`).

/// Pseudo-random number generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Random element.
    pub(crate) fn one_of<T: Copy + Default, const N: usize>(&mut self, all: &[T; N]) -> T {
        let index = self.index(N);
        all.get(index).copied().unwrap_or_default()
    }

    /// Shuffles the elements.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (1..all.len()).rev() {
            let other = self.index(end + 1);
            all.swap(end, other);
        }
    }

    fn index(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.below(end)).unwrap_or(0)
    }
}
