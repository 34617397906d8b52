//! Pages in a real browser: Debian's Chromium through its WebDriver. `make test-browser`, `make screenshots`.
//!
//! What needs no browser is in `tests/it/pages*.rs`. Here is what only a browser can say: that scripts keep the policy, that pages
//! work with JavaScript on and off, that axe-core finds nothing, and how it all looks. A page that is added gets a row in
//! [`site::PAGES`]: then axe, the screenshots and what types markup into every field walk it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

mod axe;
mod balanced;
mod chrome;
mod forms;
mod keys;
mod screenshots;
mod scripts;
mod site;
mod steps;
#[expect(dead_code, reason = "the integration tests use more of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod times;
mod typed;
mod whole;
mod workers;
