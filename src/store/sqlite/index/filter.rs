//! Filter of a run: says of a key that the run certainly lacks it, or that it may have it.
//!
//! A blocked Bloom filter: all bits of a key are in one block of 64 bytes, so a look costs one access to
//! memory. The format is stored in the file.

/// Words of a block: 64 bytes, a cache line.
const BLOCK_WORDS: usize = 8;
/// Bits of a block.
const BLOCK_BITS: u64 = 512;
/// Bits of the filter per key; with [`PROBES`], about one key in 200 passes that the run lacks.
const BITS_PER_KEY: u64 = 12;
/// Bits set for each key.
const PROBES: u32 = 6;
/// Odd factor that spreads the lower half of a hash over the bits of a block.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Filter of a run, to be asked with the hashes of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(Vec<[u64; BLOCK_WORDS]>);

impl Filter {
    /// Makes an empty filter for so many keys.
    pub(crate) fn for_keys(keys: usize) -> Self {
        let keys = u64::try_from(keys).unwrap_or(u64::MAX);
        let blocks = keys.saturating_mul(BITS_PER_KEY).div_ceil(BLOCK_BITS).max(1);
        Self(vec![[0; BLOCK_WORDS]; usize::try_from(blocks).unwrap_or(1)])
    }

    /// Adds a key by its hash.
    pub(crate) fn add(&mut self, hash: u64) {
        let number = self.block_number(hash);
        let Some(block) = self.0.get_mut(number) else { return };
        for (word, bit) in places(hash) {
            if let Some(word) = block.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// Whether the run may have the key with this hash.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        self.0.get(self.block_number(hash)).is_none_or(|block| {
            places(hash).all(|(word, bit)| block.get(word).is_none_or(|word| word & bit != 0))
        })
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

/// The key's bits in its block: word, and bit in the word.
fn places(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    let spread = (hash & 0xffff_ffff).wrapping_mul(SPREAD);
    (0..PROBES).map(move |probe| {
        let bit = (spread >> (9 * probe + 10)) % BLOCK_BITS;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn hash(number: u64) -> u64 {
        let digest = Sha256::digest(number.to_be_bytes());
        u64::from_be_bytes(*digest.first_chunk().unwrap())
    }

    #[test]
    fn a_filter_has_all_of_its_keys_and_few_others() {
        for keys in [0, 1, 100, 24_576] {
            let mut filter = Filter::for_keys(keys);
            let own = || (0..).map(hash).take(keys);
            own().for_each(|key| filter.add(key));
            let filter = Filter::from_bytes(&filter.to_bytes()).unwrap();
            assert!(own().all(|key| filter.may_contain(key)));
            let others = (1_000_000..1_100_000).map(hash).filter(|key| filter.may_contain(*key));
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
