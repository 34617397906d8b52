//! What the commands for people print: documents as they are with `--json`, lines and tables otherwise. Nothing that a server sends
//! reaches the terminal raw.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use serde_json::Value;

use super::document::Document;
use super::error::ClientError;
use super::table::{Column, Table, render};
use crate::domain::printable::printable;

/// Where a command prints, and how.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether documents are wanted.
    pub json: bool,
    /// Whether a person sees it.
    is_terminal: bool,
}

impl Output {
    /// As wanted.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self { json, is_terminal: std::io::stdout().is_terminal() }
    }

    /// Prints a document on a line.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn document(&self, document: &Document) -> Result<(), ClientError> {
        write(&document.line())
    }

    /// Prints what was put together of documents' lines.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn raw_json(&self, text: &str) -> Result<(), ClientError> {
        write(text)
    }

    /// Prints a line.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn line(&self, text: &str) -> Result<(), ClientError> {
        write(&printable(text))
    }

    /// Prints a table of these items; no line at all if there are none.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn table(&self, columns: &[Column], items: &[Value]) -> Result<(), ClientError> {
        self.rows(&Table::of(columns, items))
    }

    /// Prints a table of these rows.
    ///
    /// # Errors
    /// If nobody reads it.
    pub fn rows(&self, table: &Table) -> Result<(), ClientError> {
        if table.rows.is_empty() { Ok(()) } else { write(&render(table, self.is_terminal)) }
    }

    /// Says something that is no part of the result.
    pub fn note(&self, text: &str) {
        // As with warnings: if nobody reads stderr, nobody is to be informed.
        let _ = writeln!(std::io::stderr(), "bangui: {}", printable(text));
    }
}

fn write(text: &str) -> Result<(), ClientError> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => ClientError::OutputClosed,
        _ => ClientError::local("failed to write the output")(error),
    })
}
