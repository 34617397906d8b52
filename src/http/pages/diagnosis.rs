//! The page of the diagnosis: the findings, first what is not protected, each with since when, what it means, and the remedy.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::diagnosis_groups::{Line, Part, list, severities};
use super::diagnosis_rows::Fix;
use super::page::Page;
use super::paging::Paging;
use super::shell::{Shell, Visitor};
use crate::actions::diagnose::{Sources, diagnose};
use crate::domain::Timestamp;
use crate::domain::findings::{CheckState, Kind};
use crate::http::api::diagnosis::{Arrival, own_address};
use crate::http::error::Result;
use crate::http::extract::Query;
use crate::http::query::{PageNumber, require_choice};
use crate::http::state::AppState;

/// Servers that could not be asked that are named.
const MAX_NOT_ASKED: usize = 20;

/// The findings to show.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Wanted {
    severity: String,
    kind: String,
    page: PageNumber,
}

#[derive(Template)]
#[template(path = "diagnosis.html")]
struct Diagnosis {
    shell: Shell,
    wanted: String,
    /// How many findings there are.
    found: usize,
    parts: Vec<Part>,
    paging: Paging,
    /// Whether there is nothing of what is wanted.
    empty: bool,
    checks: Vec<(Kind, CheckState)>,
    not_asked: Vec<(String, String)>,
    more_not_asked: usize,
    checked_at: Timestamp,
}

impl Diagnosis {
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
    require_choice("severity", &wanted.severity, severities())?;
    require_choice("kind", &wanted.kind, Kind::ALL.iter().map(|kind| kind.word()))?;
    let sources = Sources {
        store: Some(&state.store),
        agents: &state.agents,
        inspections: state.inspections(),
        caller: own_address(&front),
        front: Some(front),
        access: visitor.actor.access.clone(),
    };
    let found = diagnose(sources).await?;
    let checked_at = found.checked_at;
    let shell = visitor.shell.with_findings(&found.findings);
    let total = found.findings.len();
    let listed =
        list(found.findings, (wanted.severity.as_str(), wanted.kind.as_str()), wanted.page.0, checked_at);
    let not_asked = found.not_asked.iter().take(MAX_NOT_ASKED);
    Ok(Page::new(Diagnosis {
        shell,
        wanted: if wanted.kind.is_empty() { wanted.severity } else { "kind".to_owned() },
        found: total,
        parts: listed.parts,
        paging: listed.paging,
        empty: listed.empty,
        checks: found.checks,
        not_asked: not_asked.map(|(server, reason)| (server.to_string(), reason.clone())).collect(),
        more_not_asked: found.not_asked.len().saturating_sub(MAX_NOT_ASKED),
        checked_at,
    }))
}
