//! The OpenAPI document, made from the handlers and the types that they take and give.
//!
//! A handler's annotation describes what is specific to it: its path, its answer, the refusals that only it gives. The refusals that
//! follow from a handler's arguments are added here for all handlers (`Refusals`), so that nobody has to write "401, if nobody is
//! logged in" in thirty places, or forgets it in one.

use axum::http::StatusCode;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayItems, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Openapi, Ref, RefOr, Required, Response};
use utoipa::{Modify, OpenApi};

use crate::domain::access::Role;
use crate::http::auth::permissions::{self, Route, Who};
use crate::http::error::Document as ProblemDocument;
use crate::http::middleware::idempotency;

/// The general part of the document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "bangui",
        description = "A control plane for fail2ban. Log in with `POST /api/v1/session`, or make a token on the page of \
                       your account, then send the token as `Authorization: Bearer <token>`, or the cookie. Every refusal is a problem document (RFC 9457)."
    ),
    components(schemas(ProblemDocument<'_>)),
    servers((url = "/", description = "The worker that this document came from")),
    security(("token" = []), ("cookie" = []), ("cookie_over_tls" = []))
)]
struct Description;

/// The document of these routes, with the general part and the refusals that follow from each handler's arguments.
#[must_use]
pub fn complete(routes: Openapi) -> Openapi {
    let mut document = Description::openapi();
    document.merge(routes);
    Proofs.modify(&mut document);
    Refusals.modify(&mut document);
    Lists.modify(&mut document);
    document
}

/// How a caller proves who it is.
struct Proofs;

impl Modify for Proofs {
    fn modify(&self, document: &mut Openapi) {
        let components = document.components.get_or_insert_default();
        let cookie = |name: &str| SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(name)));
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        components.add_security_scheme("cookie", cookie("bangui"));
        components.add_security_scheme("cookie_over_tls", cookie("__Host-bangui"));
    }
}

/// Answered by the HTTP library itself.
const HEAD_TOO_LARGE: &str = "431";

/// The refusals that follow from a handler's arguments, as `extract.rs`, `middleware/` and `error/` give them.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut Openapi) {
        for (path, item) in &mut document.paths.paths {
            let methods = [
                ("get", &mut item.get),
                ("post", &mut item.post),
                ("put", &mut item.put),
                ("patch", &mut item.patch),
                ("delete", &mut item.delete),
            ];
            for (method, operation) in methods {
                let Some(operation) = operation else { continue };
                operation.operation_id = Some(id(method, path).to_owned());
                let about_fail2ban = path.starts_with("/api/v1/servers") || path.starts_with("/api/v1/ban");
                if method != "get" && about_fail2ban {
                    take_key(operation);
                }
                judge(operation, permissions::find(&method.to_uppercase(), path));
                let probe = matches!(path.as_str(), "/healthz" | "/readyz");
                refuse(operation, method == "get", path.starts_with("/api/"), probe);
            }
        }
    }
}

/// The ids of the operations, after which generated clients name their functions. A new route needs one, which never changes again.
const IDS: [(&str, &str, &str); 68] = [
    ("get", "/healthz", "get_health"),
    ("get", "/readyz", "get_readiness"),
    ("get", "/metrics", "get_metrics"),
    ("get", "/openapi.json", "get_openapi"),
    ("get", "/docs", "get_docs"),
    ("get", "/api/v1/setup", "get_setup"),
    ("post", "/api/v1/setup", "complete_setup"),
    ("post", "/api/v1/session", "log_in"),
    ("get", "/api/v1/session", "get_session"),
    ("delete", "/api/v1/session", "log_out"),
    ("post", "/api/v1/session/confirm", "confirm_session"),
    ("post", "/api/v1/session/factor", "finish_login"),
    ("post", "/api/v1/session/factor/app", "propose_app_at_login"),
    ("post", "/api/v1/session/factor/app/confirm", "set_app_at_login"),
    ("post", "/api/v1/session/factor/passkey", "propose_passkey"),
    ("post", "/api/v1/session/factor/passkey/finish", "set_passkey"),
    ("get", "/api/v1/factors", "get_factors"),
    ("post", "/api/v1/factors/app", "propose_app"),
    ("post", "/api/v1/factors/app/confirm", "set_app"),
    ("delete", "/api/v1/factors/app", "remove_app"),
    ("post", "/api/v1/factors/recovery-codes", "renew_recovery_codes"),
    ("post", "/api/v1/session/passkey", "begin_passkey_login"),
    ("post", "/api/v1/session/passkey/finish", "finish_passkey_login"),
    ("post", "/api/v1/factors/passkeys", "begin_passkey"),
    ("post", "/api/v1/factors/passkeys/finish", "add_passkey"),
    ("delete", "/api/v1/factors/passkeys/{id}", "remove_passkey"),
    ("get", "/api/v1/sessions", "list_sessions"),
    ("delete", "/api/v1/sessions", "end_sessions"),
    ("delete", "/api/v1/sessions/{id}", "end_session"),
    ("put", "/api/v1/password", "change_password"),
    ("get", "/api/v1/tokens", "list_tokens"),
    ("post", "/api/v1/tokens", "create_token"),
    ("delete", "/api/v1/tokens/{id}", "revoke_token"),
    ("get", "/api/v1/users", "list_users"),
    ("patch", "/api/v1/users/{name}", "change_user"),
    ("delete", "/api/v1/users/{name}", "delete_user"),
    ("get", "/api/v1/invitations", "list_invitations"),
    ("post", "/api/v1/invitations", "invite_user"),
    ("delete", "/api/v1/invitations/{id}", "revoke_invitation"),
    ("post", "/api/v1/invitations/accept", "accept_invitation"),
    ("get", "/api/v1/servers", "list_servers"),
    ("get", "/api/v1/servers/{server}", "get_server"),
    ("post", "/api/v1/servers/{server}/probe", "probe_server"),
    ("delete", "/api/v1/servers/{server}/recovery", "dismiss_recovery"),
    ("post", "/api/v1/servers/{server}/recovery/rollback", "roll_back"),
    ("get", "/api/v1/servers/{server}/jails", "list_jails"),
    ("get", "/api/v1/servers/{server}/jails/{jail}", "get_jail"),
    ("patch", "/api/v1/servers/{server}/jails/{jail}", "change_jail"),
    ("post", "/api/v1/servers/{server}/jails/{jail}/ignore", "ignore_address"),
    ("post", "/api/v1/servers/{server}/jails/{jail}/activate", "activate_jail"),
    ("post", "/api/v1/servers/{server}/jails/{jail}/deactivate", "deactivate_jail"),
    ("get", "/api/v1/jail-changes/{id}", "get_jail_change"),
    ("get", "/api/v1/servers/{server}/jails/{jail}/bans", "list_bans"),
    ("post", "/api/v1/servers/{server}/jails/{jail}/bans", "ban"),
    ("post", "/api/v1/servers/{server}/jails/{jail}/unban", "unban"),
    ("delete", "/api/v1/servers/{server}/jails/{jail}/bans", "unban_all"),
    ("delete", "/api/v1/servers/{server}/jails/{jail}/bans/{ip}", "unban_address"),
    ("get", "/api/v1/bans/{ip}", "find_address"),
    ("get", "/api/v1/ban-jobs", "list_ban_jobs"),
    ("get", "/api/v1/ban-jobs/{id}", "get_ban_job"),
    ("post", "/api/v1/ban-jobs/{id}/cancel", "cancel_ban_job"),
    ("get", "/api/v1/settings", "get_settings"),
    ("patch", "/api/v1/settings", "change_settings"),
    ("get", "/api/v1/events", "follow_events"),
    ("get", "/api/v1/audit", "list_audit"),
    ("get", "/api/v1/cluster", "get_cluster"),
    ("get", "/api/v1/cluster/agents", "list_agents"),
    ("get", "/api/v1/diagnosis", "get_diagnosis"),
];

fn id(method: &str, path: &str) -> &'static str {
    let found = IDS.iter().find(|(known, at, _)| (*known, *at) == (method, path));
    found.map_or("unnamed", |(.., id)| id)
}

/// Makes lists refer to the schema of their items: from two copies of one schema a generated client would make two types.
struct Lists;

impl Modify for Lists {
    fn modify(&self, document: &mut Openapi) {
        let Some(components) = &mut document.components else { return };
        let names: Vec<String> = components.schemas.keys().cloned().collect();
        for name in &names {
            let Some(item) = name.strip_prefix("List_").filter(|item| names.iter().any(|name| name == item))
            else {
                continue;
            };
            if let Some(RefOr::T(Schema::Object(list))) = components.schemas.get_mut(name)
                && let Some(RefOr::T(Schema::Array(items))) = list.properties.get_mut("items")
            {
                items.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(item).into()));
            }
        }
    }
}

/// Says who may call it, by the table of permissions, and adds its refusal.
fn judge(operation: &mut Operation, row: Option<&Route>) {
    let Some(row) = row.filter(|row| !matches!(row.right.who(), Who::Everybody | Who::LoggedIn)) else {
        return;
    };
    let needed = row.right.who();
    let role = format!("For {needed}.");
    operation.description = Some(match operation.description.take() {
        Some(description) => format!("{description}\n\n{role}"),
        None => role,
    });
    if needed == Who::Role(Role::Viewer) {
        return;
    }
    let refused = operation.responses.responses.entry("403".to_owned());
    let refused = refused.or_insert_with(|| {
        RefOr::T(Response::new(if row.method == "GET" { "" } else { "The request comes from another site" }))
    });
    if let RefOr::T(refused) = refused {
        refused.description = match refused.description.as_str() {
            "" => "The account or the token may not do this".to_owned(),
            other => format!("{other}; or the account or the token may not do this"),
        };
    }
}

/// Adds the header and the refusals of `idempotency.rs`.
fn take_key(operation: &mut Operation) {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(idempotency::PATTERN)).build();
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A request that is sent again with the same key within a day, to any worker, is not made again: it gets \
             the first answer, with the header `Idempotency-Replayed: true`",
        ))
        .schema(Some(schema))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(key));
    let refusals = [
        ("400", "The body, the query or the `Idempotency-Key` cannot be parsed"),
        ("408", "The body was too slow"),
        ("409", "Something else changed at the same time, or the same request is under way"),
        ("413", "The body is too large"),
        (
            "422",
            "The body is well-formed but not acceptable, or the `Idempotency-Key` was used for another request",
        ),
        ("500", "A bug in bangui, or something failed on the host: the `type` says which"),
    ];
    for (status, description) in refusals {
        let response = operation.responses.responses.entry(status.to_owned());
        response.or_insert_with(|| RefOr::T(Response::new(description)));
    }
}

fn refuse(operation: &mut Operation, safe: bool, api: bool, probe: bool) {
    let takes = |place: ParameterIn| {
        operation
            .parameters
            .iter()
            .flatten()
            .any(|parameter| matches!(parameter, RefOr::T(taken) if taken.parameter_in == place))
    };
    let open = operation.security.is_some();
    let (body, query) = (operation.request_body.is_some(), takes(ParameterIn::Query));
    let refusals = [
        (400, body || query, "The body or the query cannot be parsed"),
        (401, !open, "There is no valid session or token, or it has ended"),
        (403, !safe, "The request comes from another site, or is refused: the `type` and the detail say why"),
        (404, takes(ParameterIn::Path), "Not found: the detail says what"),
        (408, body, "The body was too slow"),
        (413, body, "The body is too large"),
        (415, body, "The body is not `application/json`"),
        (422, body, "The body is well-formed but not acceptable"),
        (500, api, "A bug in bangui, or data in Redis that it cannot read"),
        (503, api, "Redis or fail2ban cannot answer now, or too many passwords are being checked: try again"),
    ];
    for (status, applies, description) in refusals {
        if applies {
            let status = status.to_string();
            let response = operation.responses.responses.entry(status);
            response.or_insert_with(|| RefOr::T(Response::new(description)));
        }
    }
    if operation.responses.responses.keys().all(|status| !status.starts_with('4')) {
        // For operations that read only the head of the request.
        let too_large = Response::new("The headers are too large; there is no body");
        operation.responses.responses.insert(HEAD_TOO_LARGE.to_owned(), RefOr::T(too_large));
    }
    if !probe {
        let misdirected =
            Response::new("The request is for a host that does not belong to this installation");
        operation.responses.responses.insert("421".to_owned(), RefOr::T(misdirected));
    }
    for (status, response) in &mut operation.responses.responses {
        if status == HEAD_TOO_LARGE {
            continue;
        }
        let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        let RefOr::T(response) = response else { continue };
        if status.is_some_and(|status| !status.is_success()) && response.content.is_empty() {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content = [("application/problem+json".to_owned(), RefOr::T(problem))].into();
        }
        if response.description.is_empty() {
            status
                .and_then(|status| status.canonical_reason())
                .unwrap_or("Done")
                .clone_into(&mut response.description);
        }
    }
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
