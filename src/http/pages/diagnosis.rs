//! The page of the diagnosis: the findings, first what is not protected, each with since when, what it means, and the remedy.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::diagnosis_rows::{Fix, Row, severity};
use super::marks::Mark;
use super::page::Page;
use super::shell::{Shell, Visitor};
use crate::actions::diagnose::{Sources, diagnose};
use crate::domain::Timestamp;
use crate::domain::findings::{CheckState, Kind, Severity};
use crate::http::api::diagnosis::{Arrival, own_address};
use crate::http::error::Result;
use crate::http::extract::Query;
use crate::http::state::AppState;

const SEVERITIES: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Info];

/// The findings to show.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Wanted {
    severity: String,
}

#[derive(Template)]
#[template(path = "diagnosis.html")]
struct Diagnosis {
    shell: Shell,
    wanted: String,
    rows: Vec<Row>,
    checks: Vec<(Kind, CheckState)>,
    not_asked: Vec<(String, String)>,
    checked_at: Timestamp,
}

struct Part<'a> {
    heading: &'static str,
    means: &'static str,
    mark: Mark,
    colour: &'static str,
    word: &'static str,
    rows: Vec<&'a Row>,
}

impl Diagnosis {
    /// The findings by severity.
    fn parts(&self) -> Vec<Part<'_>> {
        let part = |of: Severity| {
            let (heading, means, mark, colour, word) = severity(of);
            let rows = self.rows.iter().filter(|row| row.finding.severity == of).collect();
            Part { heading, means, mark, colour, word, rows }
        };
        SEVERITIES.into_iter().map(part).filter(|part| !part.rows.is_empty()).collect()
    }

    /// Whether this part is shown.
    fn shows(&self, word: &str) -> bool {
        let known = SEVERITIES.into_iter().any(|known| severity(known).4 == self.wanted);
        !known || self.wanted == word
    }

    fn of(&self, state: CheckState) -> Vec<String> {
        let kinds = self.checks.iter().filter(|(_, ended)| *ended == state);
        kinds.map(|(kind, _)| kind.word().replace('-', " ")).collect()
    }

    fn fine(&self) -> Vec<String> {
        self.of(CheckState::Fine)
    }

    fn unknown(&self) -> Vec<String> {
        self.of(CheckState::Unknown)
    }
}

/// The findings.
pub async fn show(
    State(state): State<AppState>,
    visitor: Visitor,
    Arrival(front): Arrival,
    Query(wanted): Query<Wanted>,
) -> Result<Page<impl Template>> {
    let sources = Sources {
        store: Some(&state.store),
        agents: &state.agents,
        inspections: state.inspections(),
        caller: own_address(&front),
        front: Some(front),
    };
    let found = diagnose(sources).await?;
    let checked_at = found.checked_at;
    let shell = visitor.shell.with_findings(&found.findings);
    let rows =
        found.findings.into_iter().map(|finding| Row { since: finding.since.unwrap_or(checked_at), finding });
    let not_asked = found.not_asked.into_iter().map(|(server, reason)| (server.to_string(), reason));
    Ok(Page::new(Diagnosis {
        shell,
        wanted: wanted.severity,
        rows: rows.collect(),
        checks: found.checks,
        not_asked: not_asked.collect(),
        checked_at,
    }))
}
