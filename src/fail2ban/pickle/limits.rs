//! How much memory and work a reply of fail2ban may cost.

/// How many bytes of memory a reply may need for each byte of its length.
pub const MEMORY_FACTOR: usize = 8;

/// The limits of one pickle.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of the pickle.
    pub bytes: usize,
    /// The most instructions. 100,000 addresses take about 700,000.
    pub ops: usize,
    /// The most entries of the memo. 100,000 addresses make 300,026.
    pub memo: usize,
    /// The most values in the resulting tree.
    pub values: usize,
    /// How deep values may be nested.
    pub depth: usize,
    /// Bytes of memory that even a short reply may need: the counts of a jail need more than [`MEMORY_FACTOR`] times their length.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: crate::fail2ban::codec::MAX_REPLY,
            ops: 4_000_000,
            memo: 1_000_000,
            values: 2_000_000,
            depth: 64,
            memory: 8 * 1024 * 1024,
        }
    }
}
