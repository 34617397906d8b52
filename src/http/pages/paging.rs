//! Pages of a list: what is shown of how many, and links to the one before and after.

use askama::Template;
use askama::filters::HtmlSafe;

use super::marks::count;

/// `1–100 of 100,000, by address`, with links. `{{ paging }}` in a template shows it.
#[derive(Template, Debug, Clone, Default)]
#[template(path = "parts/paging.html")]
pub struct Paging {
    /// What is shown, such as `1–100 of 100,000, by address`.
    pub says: String,
    /// Where the page before is; without, the browser's own way back is the only one.
    pub previous: Option<String>,
    /// Where the next one is.
    pub next: Option<String>,
    /// How many the next one has at most.
    pub size: usize,
}

impl HtmlSafe for Paging {}

impl Paging {
    /// The pages of a list that is cut by place: page `page`, from 1 on, of `total` items.
    #[must_use]
    pub fn by_place(page: usize, size: usize, total: usize, path: impl Fn(usize) -> String) -> Self {
        let first = (page.max(1) - 1) * size;
        let last = (first + size).min(total);
        Self {
            says: format!("{}–{} of {}", count(first as u64 + 1), count(last as u64), count(total as u64)),
            previous: (page > 1).then(|| path(page - 1)),
            next: (last < total).then(|| path(page + 1)),
            size,
        }
    }

    fn is_needed(&self) -> bool {
        self.previous.is_some() || self.next.is_some()
    }
}
