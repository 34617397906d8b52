//! Diagnosis: what is wrong, at risk or worth knowing, with the remedy; and which checks could not be made.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use super::time::Time;
use crate::actions::diagnose::{self, Sources};
use crate::domain::findings::front::Front;
use crate::domain::findings::{CheckState, Finding, Kind, Severity};
use crate::domain::{JailName, ServerName};
use crate::http::auth::address::{self, CallerAddress};
use crate::http::auth::caller::Caller;
use crate::http::auth::cookie::CookieKind;
use crate::http::error::Result;
use crate::http::state::AppState;

/// Headers by which a peer shows that it forwards for others.
const FORWARDING: [&str; 4] = ["x-forwarded-for", "x-forwarded-proto", "forwarded", "x-real-ip"];

/// All findings, the worst first.
#[utoipa::path(get, path = "/api/v1/diagnosis", tag = "cluster", responses((status = 200, body = Diagnosis)))]
pub async fn show(
    State(state): State<AppState>,
    caller: Caller,
    Arrival(front): Arrival,
) -> Result<axum::Json<Diagnosis>> {
    let found = diagnose::diagnose(Sources {
        store: Some(&state.store),
        agents: &state.agents,
        inspections: state.inspections(),
        caller: own_address(&front),
        front: Some(front),
        access: caller.session.access,
    });
    Ok(axum::Json(found.await?.into()))
}

/// The caller's address; none behind a proxy that is not trusted, as it cannot be known there.
#[must_use]
pub fn own_address(front: &Front) -> Option<IpAddr> {
    front.unnamed_proxy.is_none().then_some(front.client)
}

/// How a request came in.
pub struct Arrival(pub Front);

impl FromRequestParts<AppState> for Arrival {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> std::result::Result<Self, Infallible> {
        let CallerAddress(client) = CallerAddress::from_request_parts(parts, state).await?;
        let peer = address::peer(&parts.extensions);
        let secure = CookieKind::of(state, peer, &parts.headers) == CookieKind::Secure;
        let forwards = FORWARDING.iter().any(|name| parts.headers.contains_key(*name));
        let named = state.proxies().trust(peer);
        let unnamed_proxy = peer.filter(|_| forwards && !named);
        Ok(Self(Front { secure, client, unnamed_proxy }))
    }
}

/// What was found, and what was checked.
#[derive(Serialize, ToSchema)]
pub struct Diagnosis {
    /// The findings, the worst first.
    items: Vec<FindingView>,
    /// How each check ended.
    checks: Vec<CheckView>,
    /// Servers that could not be asked for everything.
    not_asked: Vec<NotAsked>,
    checked_at: Time,
}

/// One finding.
#[derive(Serialize, ToSchema)]
struct FindingView {
    /// The id of the finding: the same on every worker, for as long as the finding lasts.
    id: String,
    kind: Kind,
    severity: Severity,
    /// When it began, or was first seen.
    since: Time,
    #[schema(value_type = Option<String>)]
    server: Option<ServerName>,
    #[schema(value_type = Option<String>)]
    jail: Option<JailName>,
    /// The finding in a few words.
    title: String,
    /// What the finding means for protection.
    detail: String,
    /// What to do.
    remedy: String,
    /// A command to run on the host.
    command: Option<String>,
    /// A call of this API that fixes it.
    action: Option<FindingAction>,
}

/// A call of this API.
#[derive(Serialize, ToSchema)]
struct FindingAction {
    method: &'static str,
    path: String,
}

/// One check.
#[derive(Serialize, ToSchema)]
struct CheckView {
    kind: Kind,
    state: CheckState,
}

/// A server that could not be asked for everything.
#[derive(Serialize, ToSchema)]
struct NotAsked {
    #[schema(value_type = String)]
    server: ServerName,
    reason: String,
}

impl From<diagnose::Diagnosis> for Diagnosis {
    fn from(diagnosis: diagnose::Diagnosis) -> Self {
        let checked_at = diagnosis.checked_at;
        let view = |finding: Finding| FindingView {
            id: finding.id(),
            kind: finding.kind,
            severity: finding.severity,
            since: finding.since.unwrap_or(checked_at).into(),
            server: finding.server,
            jail: finding.jail,
            title: finding.title,
            detail: finding.detail,
            remedy: finding.remedy.text,
            command: finding.remedy.command,
            action: finding.remedy.action.map(|(method, path)| FindingAction { method, path }),
        };
        let checks = diagnosis.checks.into_iter().map(|(kind, state)| CheckView { kind, state });
        let not_asked = diagnosis.not_asked.into_iter().map(|(server, reason)| NotAsked { server, reason });
        Self {
            items: diagnosis.findings.into_iter().map(view).collect(),
            checks: checks.collect(),
            not_asked: not_asked.collect(),
            checked_at: checked_at.into(),
        }
    }
}
