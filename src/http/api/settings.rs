//! The settings: what is in force, where it comes from, and changing it for all workers.
//!
//! A change names the revision that it is based on (`If-Match`, the `ETag` of what was shown), so that two people who change
//! something at once do not overwrite each other unknowingly.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::actions::Actor;
use crate::actions::change_settings::change_settings;
use crate::domain::UndoId;
use crate::http::auth::caller::Caller;
use crate::http::error::{Problem, Result};
use crate::http::extract::Json;
use crate::http::state::AppState;
use crate::settings::{self, Effective, Origin, Shape};

/// One setting as users see it.
#[derive(Serialize, ToSchema)]
pub struct Setting {
    value: Value,
    origin: Origin,
}

/// All of them, by name, with their revision in `ETag`.
type Shown = ([(header::HeaderName, HeaderValue); 1], axum::Json<SettingsView>);

/// Every setting, by name.
#[derive(Serialize)]
#[serde(transparent)]
pub struct SettingsView(BTreeMap<&'static str, Setting>);

impl PartialSchema for SettingsView {
    fn schema() -> RefOr<Schema> {
        let schema = settings::shapes().fold(ObjectBuilder::new(), |schema, (name, shape)| {
            let setting = ObjectBuilder::new()
                .property("value", value_schema(shape, SchemaType::Type(kind(shape))))
                .required("value")
                .property("origin", Origin::schema())
                .required("origin");
            schema.property(name, setting).required(name)
        });
        schema.into()
    }
}

impl ToSchema for SettingsView {}

/// The body of a change.
pub struct SettingsPatch;

impl PartialSchema for SettingsPatch {
    fn schema() -> RefOr<Schema> {
        let schema = settings::shapes().fold(ObjectBuilder::new(), |schema, (name, shape)| {
            let nullable = SchemaType::Array(vec![kind(shape), Type::Null]);
            schema.property(name, value_schema(shape, nullable))
        });
        schema.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
    }
}

impl ToSchema for SettingsPatch {}

fn kind(shape: &Shape) -> Type {
    match shape {
        Shape::Seconds(_) => Type::Integer,
        Shape::Switch => Type::Boolean,
        Shape::Rate | Shape::Roles => Type::String,
    }
}

/// The schema of a setting's values.
fn value_schema(shape: &Shape, kind: SchemaType) -> ObjectBuilder {
    let schema = ObjectBuilder::new().schema_type(kind);
    match shape {
        #[expect(clippy::cast_precision_loss, reason = "ten years in seconds fit a float")]
        Shape::Seconds(allowed) => {
            schema.minimum(Some(*allowed.start() as f64)).maximum(Some(*allowed.end() as f64))
        }
        Shape::Switch => schema,
        Shape::Rate => schema.pattern(Some("^[1-9][0-9]{0,8}/[1-9][0-9]{0,6}$")).examples(["10/60"]),
        Shape::Roles => schema
            .pattern(Some("^((viewer|operator|admin)(,(viewer|operator|admin))*)?$"))
            .examples(["operator,admin"]),
    }
}

/// The settings that apply, each with its origin.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", responses((status = 200, body = SettingsView, headers(("ETag" = String)))))]
pub async fn show(State(state): State<AppState>, _: Caller) -> Result<Shown> {
    let stored = state.store.settings().await?;
    Ok(shown(&state.settings.bootstrap().with(&stored.overrides, stored.revision)))
}

/// Changes settings for all workers; `null` removes the runtime value. Session lifetimes, login limits and roles that need a second factor need a confirmed
/// password.
#[utoipa::path(patch, path = "/api/v1/settings", tag = "settings", request_body = SettingsPatch,
    params(("If-Match" = String, Header, description = "The `ETag` that the change is based on, or `*`")),
    responses((status = 200, body = SettingsView, headers(("ETag" = String))),
        (status = 403, description = "The password was not confirmed within the last five minutes"),
        (status = 412, description = "The settings were changed since they were read"), (status = 428, description = "`If-Match` is missing")))]
pub async fn change(
    State(state): State<AppState>,
    actor: Actor,
    expected: IfMatch,
    Json(patch): Json<Map<String, Value>>,
) -> Result<Shown> {
    let expected = move |revision| expected.matches(revision);
    Ok(shown(&change_settings(&state, actor, expected, patch, UndoId::of(rand::random())).await?))
}

fn shown(effective: &Effective) -> Shown {
    let settings = effective.shown().map(|(name, value, origin)| (name, Setting { value, origin })).collect();
    let tag = HeaderValue::from_str(&format!("\"{}\"", effective.revision))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    ([(header::ETAG, tag)], axum::Json(SettingsView(settings)))
}

/// The revisions that a change may be based on.
pub enum IfMatch {
    /// `*`: any revision.
    Any,
    /// One of these.
    Tags(String),
}

impl IfMatch {
    fn matches(&self, revision: u64) -> bool {
        match self {
            Self::Any => true,
            // A weak tag (`W/"1"`) never matches for a change (RFC 9110, 13.1.1).
            Self::Tags(tags) => tags.split(',').any(|tag| tag.trim() == format!("\"{revision}\"")),
        }
    }
}

impl FromRequestParts<AppState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> std::result::Result<Self, Problem> {
        let lines = parts.headers.get_all(header::IF_MATCH);
        let lines: Vec<&str> = lines.iter().map(|line| line.to_str().unwrap_or_default()).collect();
        match lines[..] {
            [] => Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "if-match-required",
                "The header If-Match is missing",
                "send the ETag of the settings that this change is based on, or `*`, in the header `If-Match`",
            )),
            [line] if line.trim() == "*" => Ok(Self::Any),
            _ => Ok(Self::Tags(lines.join(","))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strong_tag_matches_its_revision_and_nothing_else() {
        let tags = |text: &str| IfMatch::Tags(text.to_owned());
        assert!(IfMatch::Any.matches(7));
        assert!(tags("\"7\"").matches(7));
        assert!(tags("\"6\", \"7\"").matches(7));
        for other in ["7", "\"6\"", "W/\"7\"", "\"07\"", "", "\"*\"", "\"7"] {
            assert!(!tags(other).matches(7), "{other}");
        }
    }
}
