//! The caller's second factors: an authenticator app, recovery codes.

use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::passkeys::PasskeyView;
use super::time::Time;
use crate::actions::second_factor;
use crate::domain::second_factor::{AppSecret, RecoveryCode};
use crate::http::auth::actor::Person;
use crate::http::error::Result;
use crate::http::extract::Json;
use crate::http::state::AppState;
use crate::store::PROPOSED_FOR;

/// The second factors of an account.
#[derive(Serialize, ToSchema)]
pub struct FactorsView {
    /// The authenticator app; `null` if there is none.
    app: Option<AppView>,
    /// How many recovery codes are left.
    recovery_codes: usize,
    passkeys: Vec<PasskeyView>,
    /// Whether your role needs one; users of single sign-on are not asked for it.
    required: bool,
}

/// An authenticator app.
#[derive(Serialize, ToSchema)]
pub struct AppView {
    /// When it was set up.
    created_at: Time,
}

/// Your second factors.
#[utoipa::path(get, path = "/api/v1/factors", tag = "session", responses((status = 200, body = FactorsView),
    (status = 403, description = "Tokens may not do this")))]
pub async fn show(State(state): State<AppState>, Person(actor): Person) -> Result<axum::Json<FactorsView>> {
    let factors = second_factor::list(&state, &actor).await?;
    Ok(axum::Json(FactorsView {
        required: state.needs_second_factor(actor.access.role),
        app: factors.app.map(|app| AppView { created_at: app.since.into() }),
        recovery_codes: factors.recovery_codes,
        passkeys: factors.passkeys.into_iter().map(PasskeyView::from).collect(),
    }))
}

/// An app that is to be set up.
#[derive(Serialize, ToSchema)]
pub struct ProposedApp {
    /// For an app into which one types it: 160 bits in base32. Six digits, 30 seconds, SHA-1.
    secret: String,
    /// The content of a QR code.
    uri: String,
    /// How long the first code can be sent.
    expires_in_seconds: u64,
}

impl ProposedApp {
    /// With this secret, for this account.
    pub(super) fn new(state: &AppState, secret: &AppSecret, account: &str) -> Self {
        Self {
            secret: secret.base32().expose_secret().to_owned(),
            uri: secret.uri(&state.issuer(), account).expose_secret().to_owned(),
            expires_in_seconds: PROPOSED_FOR.as_secs(),
        }
    }
}

/// Begins to set up an authenticator app. It counts once its first code is sent to `/api/v1/factors/app/confirm`, from the same session,
/// and then takes the place of one that was set up before. Needs a confirmed password.
#[utoipa::path(post, path = "/api/v1/factors/app", tag = "session", responses((status = 201, body = ProposedApp),
    (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes")))]
pub async fn propose_app(
    State(state): State<AppState>,
    Person(actor): Person,
) -> Result<(StatusCode, axum::Json<ProposedApp>)> {
    let secret = second_factor::propose_app(&state, &actor).await?;
    Ok((StatusCode::CREATED, axum::Json(ProposedApp::new(&state, &secret, actor.username()))))
}

/// The first code of an app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstCode {
    /// Six digits.
    code: String,
}

/// Recovery codes, which are not shown again. Each works once, in place of another second factor.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    recovery_codes: Vec<String>,
}

impl From<Vec<RecoveryCode>> for RecoveryCodes {
    fn from(codes: Vec<RecoveryCode>) -> Self {
        Self { recovery_codes: codes.iter().map(RecoveryCode::shown).collect() }
    }
}

/// Sets up the app with its first code. The answer has new recovery codes.
#[utoipa::path(post, path = "/api/v1/factors/app/confirm", tag = "session", request_body = FirstCode,
    responses((status = 200, body = RecoveryCodes), (status = 403, description = "Tokens may not do this; or the code is wrong"),
        (status = 409, description = "No app is being set up in this session, or it took too long")))]
pub async fn set_app(
    State(state): State<AppState>,
    Person(actor): Person,
    Json(FirstCode { code }): Json<FirstCode>,
) -> Result<axum::Json<RecoveryCodes>> {
    Ok(axum::Json(second_factor::set_app(&state, actor, code).await?.into()))
}

/// Removes the app; without another second factor, the recovery codes too. Needs a confirmed password.
#[utoipa::path(delete, path = "/api/v1/factors/app", tag = "session", responses((status = 204),
    (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes"),
    (status = 404, description = "There is none")))]
pub async fn remove_app(State(state): State<AppState>, Person(actor): Person) -> Result<StatusCode> {
    second_factor::remove_app(&state, actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new recovery codes; the others stop working. Needs a confirmed password.
#[utoipa::path(post, path = "/api/v1/factors/recovery-codes", tag = "session", responses((status = 201, body = RecoveryCodes),
    (status = 403, description = "Tokens may not do this; or the password was not confirmed within the last five minutes"),
    (status = 404, description = "There is no second factor that they would stand in for")))]
pub async fn renew_recovery_codes(
    State(state): State<AppState>,
    Person(actor): Person,
) -> Result<(StatusCode, axum::Json<RecoveryCodes>)> {
    let codes = second_factor::renew_recovery_codes(&state, actor).await?;
    Ok((StatusCode::CREATED, axum::Json(codes.into())))
}
