//! "Surely new": a blocked Bloom filter in memory, so that records seen for the first time need no read from disk.

/// Words of a block: one cache line.
const BLOCK_WORDS: usize = 8;
const BITS_PER_KEY: usize = 12;
const BITS_SET: u32 = 6;

/// A filter over 64-bit hashes. It never says "surely new" of a hash it was given.
#[derive(Debug)]
pub struct Filter {
    blocks: Vec<[u64; BLOCK_WORDS]>,
    keys: usize,
    capacity: usize,
}

impl Filter {
    /// A filter that holds `capacity` hashes well; more make it answer "maybe" more often.
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1 << 12);
        let blocks = (capacity * BITS_PER_KEY).div_ceil(BLOCK_WORDS * 64);
        Self {
            blocks: vec![[0; BLOCK_WORDS]; blocks],
            keys: 0,
            capacity,
        }
    }

    /// Whether the hash may have been given.
    pub fn maybe_contains(&self, hash: u64) -> bool {
        let block = &self.blocks[self.block_of(hash)];
        bits(hash).all(|bit| block[bit / 64] >> (bit % 64) & 1 == 1)
    }

    /// Adds a hash.
    pub fn insert(&mut self, hash: u64) {
        let index = self.block_of(hash);
        let block = &mut self.blocks[index];
        for bit in bits(hash) {
            block[bit / 64] |= 1 << (bit % 64);
        }
        self.keys += 1;
    }

    /// Whether it holds more than it was made for: others belong into another one.
    pub fn is_full(&self) -> bool {
        self.keys > self.capacity
    }

    /// Hashes added.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    fn block_of(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.blocks.len() as u128) >> 64) as usize
    }
}

/// Bits of a hash within its block. The high bits choose the block, so these come from the low ones, mixed.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..BITS_SET).map(move |index| (mixed >> (index * 9)) as usize % (BLOCK_WORDS * 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
    }

    #[test]
    fn what_was_given_is_never_called_new() {
        let mut filter = Filter::with_capacity(50_000);
        (0..50_000).for_each(|number| filter.insert(hash(number)));
        assert!((0..50_000).all(|number| filter.maybe_contains(hash(number))));
        let wrong = (50_000..150_000)
            .filter(|&number| filter.maybe_contains(hash(number)))
            .count();
        assert!(wrong < 2_000, "{wrong} of 100,000 new keys were taken for old ones");
    }
}
