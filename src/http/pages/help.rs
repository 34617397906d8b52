//! The keyboard shortcuts, as a separate page for users without JavaScript.

use askama::Template;

use super::page::Page;
use super::shell::{Shell, Visitor};

#[derive(Template)]
#[template(path = "help.html")]
pub struct Help {
    shell: Shell,
}

/// The keys.
pub async fn show(visitor: Visitor) -> Page<Help> {
    Page::new(Help { shell: visitor.shell })
}
