//! Pages of a list: which items of how many are shown, and links to the previous and next page.

use askama::Template;
use askama::filters::HtmlSafe;

use super::marks::count;

/// `1–100 of 100,000, by address`, with links. `{{ paging }}` in a template shows it.
#[derive(Template, Debug, Clone, Default)]
#[template(path = "parts/paging.html")]
pub struct Paging {
    /// What is shown, such as `1–100 of 100,000, by address`.
    pub says: String,
    /// The path of the previous page; if there is none, users can only go back with the browser.
    pub previous: Option<String>,
    /// The path of the next page.
    pub next: Option<String>,
    /// The maximum number of items on the next page.
    pub size: usize,
}

impl HtmlSafe for Paging {}

impl Paging {
    /// Page `page`, from 1 on, of a list of `total` items.
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
