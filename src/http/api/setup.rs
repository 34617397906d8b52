//! Claiming a fresh cluster: the first password, once, for whoever can prove that the installation is theirs.
//!
//! The proof is `BANGUI_SETUP_TOKEN`, or else a code that the first worker made, all workers share through
//! Redis, and each prints in its log. Who wins when many claim at once is decided in Redis alone.

use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use crate::http::auth::address::CallerAddress;
use crate::http::auth::author::note;
use crate::http::error::{Problem, Result};
use crate::http::extract::Json;
use crate::http::state::AppState;
use crate::store::AuditRecord;

/// How long a password must and may be, in bytes. The upper end bounds what is hashed.
pub const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 10..=1024;

/// The body of the claim.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// 10 to 1,024 bytes.
    #[schema(min_length = 10, max_length = 1024)]
    password: String,
    /// `BANGUI_SETUP_TOKEN`, or the code in a worker's log.
    token: String,
}

/// How far setup is.
#[derive(Serialize, ToSchema)]
pub struct SetupView {
    complete: bool,
}

/// Whether the first password was set.
#[utoipa::path(get, path = "/api/v1/setup", tag = "session", security(()), responses((status = 200, body = SetupView)))]
pub async fn show(State(state): State<AppState>) -> Result<axum::Json<SetupView>> {
    let complete = is_complete(&state).await?;
    if !complete {
        log_code(&state).await;
    }
    Ok(axum::Json(SetupView { complete }))
}

/// Sets the first password, once in the life of a cluster.
#[utoipa::path(post, path = "/api/v1/setup", tag = "session", security(()), request_body = Claim,
    responses((status = 201, body = SetupView), (status = 409, description = "It was set before")))]
pub async fn complete(
    State(state): State<AppState>,
    CallerAddress(ip): CallerAddress,
    Json(claim): Json<Claim>,
) -> Result<(StatusCode, axum::Json<SetupView>)> {
    if is_complete(&state).await? {
        return Err(complete_already());
    }
    if !same_secret(&claim.token, &expected_token(&state).await?) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-setup-token",
            "Wrong setup token",
            "the token is not the one of BANGUI_SETUP_TOKEN, or, where that is not set, the code in a worker's log",
        ));
    }
    check_length(&claim.password)?;
    let turn = state.gate.enter().await;
    // Another may have been first while this one waited: then there is nothing left to hash for.
    if is_complete(&state).await? {
        return Err(complete_already());
    }
    let hash = turn?.hash(&claim.password).await?;
    if !state.store.create_admin(&hash).await? {
        return Err(complete_already());
    }
    tracing::info!("setup is complete: the account `admin` has its password");
    let record = AuditRecord {
        address: Some(ip),
        worker: Some(state.worker.clone()),
        ..AuditRecord::of_admin("setup.complete")
    };
    note(&state, &record).await;
    Ok((StatusCode::CREATED, axum::Json(SetupView { complete: true })))
}

/// 128 random bits as a setup code, in groups that can be typed: what a worker offers to
/// [`Store::setup_code`](crate::store::Store::setup_code) at its start.
#[must_use]
pub fn fresh_code() -> String {
    let digits = format!("{:032x}", rand::random::<u128>());
    let groups: Vec<&str> = (0..8).filter_map(|i| digits.get(i * 4..i * 4 + 4)).collect();
    groups.join("-")
}

/// 422 unless a new password has an acceptable length.
pub(in crate::http) fn check_length(password: &str) -> Result<()> {
    let (least, most) = (PASSWORD_BYTES.start(), PASSWORD_BYTES.end());
    if PASSWORD_BYTES.contains(&password.len()) {
        return Ok(());
    }
    let has = password.len();
    Err(Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "password-length",
        "The password is too short or too long",
        format!("a password must have {least} to {most} bytes, this one has {has}"),
    ))
}

async fn is_complete(state: &AppState) -> Result<bool> {
    Ok(state.admin_is_provisioned || state.store.setup_complete().await?)
}

/// Redis may have lost the account, and with it the setup code: the one that is valid now is in this worker's log from here on.
pub(super) async fn log_code(state: &AppState) {
    if let Err(problem) = expected_token(state).await {
        tracing::debug!(?problem, "the setup code is not known");
    }
}

async fn expected_token(state: &AppState) -> Result<String> {
    match &state.setup_token {
        Some(token) => Ok(token.expose_secret().to_owned()),
        None => state.store.setup_code(&fresh_code()).await?.ok_or_else(complete_already),
    }
}

/// Compares digests, so that neither content nor length shows in the time it takes.
fn same_secret(shown: &str, expected: &str) -> bool {
    Sha256::digest(shown).ct_eq(&Sha256::digest(expected)).into()
}

fn complete_already() -> Problem {
    Problem::conflict(
        "setup-complete",
        "Setup is complete",
        "the admin has a password already: log in with POST /api/v1/session, or run `bangui reset-password`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_10_to_1024_bytes_is_taken() {
        for (length, ok) in [(0, false), (9, false), (10, true), (1024, true), (1025, false)] {
            assert_eq!(check_length(&"x".repeat(length)).is_ok(), ok, "{length}");
        }
        assert!(check_length("äöüäö").is_ok(), "bytes count, not characters");
    }

    #[test]
    fn a_fresh_code_has_128_bits_in_groups() {
        let code = fresh_code();
        assert_eq!(code.len(), 39);
        assert_ne!(code, fresh_code());
        assert!(same_secret(&code, &code.clone()));
        assert!(!same_secret(&code, ""));
        assert!(!same_secret(&code, &code[..38]));
    }
}
