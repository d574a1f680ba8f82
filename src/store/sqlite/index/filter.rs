//! Filter of a run: says of a key that the run certainly lacks it, or that it may have it.
//!
//! A blocked Bloom filter: all bits of a key are in one block of 64 bytes, so a look costs one access to
//! memory. The format is stored in the file.

/// Words of a block: 64 bytes, a cache line.
const BLOCK_WORDS: usize = 8;
/// Bits of a block.
const BLOCK_BITS: u64 = 512;
/// Bits of the filter per key; with [`RUN_PROBES`], about one key in 200 passes that the run lacks.
const BITS_PER_KEY: u64 = 12;
/// Bits set for each key of a run.
pub(crate) const RUN_PROBES: u32 = 6;
/// Odd factor that spreads the lower half of a hash over the bits of a block.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bits of a key in each filter, made once for a look into many filters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyBits {
    hash: u64,
    /// Bits in the key's block.
    words: [u64; BLOCK_WORDS],
}

impl KeyBits {
    /// Bits of the key with this hash, at most `probes`, which is at most 6. A filter is asked with as many as were
    /// added.
    pub(crate) fn of(hash: u64, probes: u32) -> Self {
        let mut words = [0; BLOCK_WORDS];
        let spread = (hash & 0xffff_ffff).wrapping_mul(SPREAD);
        for probe in 0..probes {
            let bit = (spread >> (9 * probe + 10)) % BLOCK_BITS;
            if let Some(word) = usize::try_from(bit / 64).ok().and_then(|word| words.get_mut(word))
            {
                *word |= 1 << (bit % 64);
            }
        }
        Self { hash, words }
    }
}

/// Filter of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(Vec<[u64; BLOCK_WORDS]>);

impl Filter {
    /// Makes an empty filter for so many keys.
    pub(crate) fn for_keys(keys: usize) -> Self {
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        let blocks = keys.saturating_mul(BITS_PER_KEY).div_ceil(BLOCK_BITS).max(1);
        Self(vec![[0; BLOCK_WORDS]; usize::try_from(blocks).unwrap_or(1)])
    }

    /// Adds a key.
    pub(crate) fn add(&mut self, key: &KeyBits) {
        let number = self.block_number(key.hash);
        let Some(block) = self.0.get_mut(number) else { return };
        for (word, bits) in block.iter_mut().zip(key.words) {
            *word |= bits;
        }
    }

    /// Whether the run may have the key.
    pub(crate) fn may_contain(&self, key: &KeyBits) -> bool {
        let Some(block) = self.0.get(self.block_number(key.hash)) else { return true };
        // All words are compared, because half of the bits are set: no branch could be predicted, and the
        // processor could not read the block of the next filter ahead.
        block.iter().zip(key.words).fold(0, |missing, (word, bits)| missing | (bits & !word)) == 0
    }

    /// Number of the key's block, from the upper half of the hash.
    fn block_number(&self, hash: u64) -> usize {
        let blocks = u64::try_from(self.0.len()).unwrap_or(1);
        usize::try_from(((hash >> 32) * blocks) >> 32).unwrap_or(0)
    }

    /// Filter as stored in the file: its words, least significant byte first.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Filter from its stored form; none if the bytes are no whole blocks.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let words: Vec<_> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (blocks @ [_, ..], []) = words.as_chunks() else { return None };
        Some(Self(blocks.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn key(number: u64) -> KeyBits {
        let digest = Sha256::digest(number.to_be_bytes());
        KeyBits::of(u64::from_be_bytes(*digest.first_chunk().unwrap()), RUN_PROBES)
    }

    #[test]
    fn a_filter_has_all_of_its_keys_and_few_others() {
        for keys in [0, 1, 100, 24_576] {
            let mut filter = Filter::for_keys(keys);
            let own = || (0..).map(key).take(keys);
            own().for_each(|key| filter.add(&key));
            let filter = Filter::from_bytes(&filter.to_bytes()).unwrap();
            assert!(own().all(|key| filter.may_contain(&key)));
            let others = (1_000_000..1_100_000).map(key).filter(|key| filter.may_contain(key));
            let passed = others.count();
            assert!(passed <= 1_000, "{passed} of 100,000 others pass a filter of {keys}");
        }
    }

    #[test]
    fn only_whole_blocks_are_a_filter() {
        for bytes in [0, 8, 63, 65, 96] {
            assert_eq!(Filter::from_bytes(&vec![0; bytes]), None, "{bytes} bytes");
        }
        assert_eq!(Filter::from_bytes(&[0; 128]), Some(Filter(vec![[0; 8]; 2])));
    }
}
