//! Lists that are read a page at a time.

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Where the next page begins; none on the last page. Opaque to users.
    pub next_cursor: Option<String>,
}
