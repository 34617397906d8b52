//! `bangui openapi`: prints the OpenAPI document of the HTTP interface.

use std::io::Write as _;

use anyhow::Context as _;

use super::Outcome;
use crate::http;
use crate::http::api::docs::Document;

/// Prints the document.
///
/// # Errors
/// If it cannot be written.
pub fn run() -> Outcome {
    // `println!` would panic when the reader (`head`) closes the pipe.
    let written = writeln!(std::io::stdout(), "{}", Document::new(http::document()).as_str());
    Ok(written.context("failed to print the document")?)
}
