//! Pages in a real browser: Debian's Chromium through its WebDriver. `make test-browser`, `make screenshots`.
//!
//! What needs no browser is in `tests/it/pages*.rs`. Here is what only a browser can show: that scripts keep the policy, that pages
//! work with JavaScript on and off, that axe-core finds nothing, and how it all looks. Give a new page a row in
//! [`site::PAGES`]: then axe, the screenshots and `typed` visit it; a state that only steps lead to gets one in `states.rs`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue should panic")]

mod addresses;
mod axe;
mod balanced;
mod chrome;
mod forms;
mod keys;
mod passkeys;
mod screenshots;
mod scripts;
mod sign_on;
mod site;
mod states;
mod steps;
#[expect(dead_code, reason = "the integration tests use more of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod times;
mod typed;
mod whole;
mod workers;
