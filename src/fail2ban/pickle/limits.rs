//! How much a reply of fail2ban may make of itself.

/// How many bytes of memory a reply may need for each byte of its length.
pub const MEMORY_FACTOR: usize = 8;

/// How large a pickle may become.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the pickle.
    pub bytes: usize,
    /// Instructions. 100,000 addresses take about 700,000.
    pub ops: usize,
    /// Entries of the memo. 100,000 addresses make 300,026.
    pub memo: usize,
    /// Values in the tree that comes out.
    pub values: usize,
    /// How deep values lie in each other.
    pub depth: usize,
    /// Bytes that any reply may need, however short it is: the counts of a jail need more than [`MEMORY_FACTOR`] for each of theirs.
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
