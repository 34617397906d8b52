//! A change of a jail is answered within 30 s: with its outcome, or with a resource that will show it.
//!
//! A jail that stops runs the unban action of each of its bans, which can take minutes. The change itself runs to its end in
//! any case ([`InFlight`](crate::actions::InFlight)); this worker waits for that and saves the outcome in Redis, where every worker
//! finds it (`store/jobs/jail_changes.rs`).

use std::pin::pin;
use std::time::Duration;

use axum::http::StatusCode;
use rand::RngExt as _;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::cause::chain;
use crate::domain::JailChangeId;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;
use crate::store::jobs::running_changes::SILENT_AFTER;
use crate::store::{JailChangeEnd, JailChangeView, NewJailChange, Store, StoreError};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The variable with which a test makes it shorter, in milliseconds. Only in test builds: see `worker/tasks/test_switch.rs`.
#[cfg(debug_assertions)]
const TEST_VARIABLE: &str = "BANGUI_TEST_ANSWER_WITHIN_MS";
/// How long saving the end of a change is retried while Redis is away.
const NOTE_TIMEOUT: Duration = Duration::from_secs(600);
const NOTE_AGAIN: Duration = Duration::from_secs(2);

/// The answer to a request for a change.
pub enum Answered<T> {
    /// The outcome.
    InTime(T),
    /// The change takes longer.
    UnderWay(JailChangeView),
}

/// Waits for a change as long as its client should wait. The change has its `id` from its beginning: the agent reports its steps under it.
pub async fn answered_soon<T: Serialize + Send + 'static>(
    state: &AppState,
    id: JailChangeId,
    about: NewJailChange,
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<Answered<T>> {
    let (began, in_flight) = (Instant::now(), state.in_flight.clone());
    let mut change = Box::pin(async move { in_flight.complete(change).await });
    if let Ok(ended) = timeout(answer_within(), change.as_mut()).await {
        return ended.map(Answered::InTime);
    }
    state
        .store
        .begin_jail_change(&id, &about, began.elapsed())
        .await
        .map_err(|error| not_followed(&error))?;
    tracing::info!(
        server.name = %about.server, jail.name = %about.jail, jail_change.id = %id,
        "`{}`: {} {} on `{}` takes longer than a client waits: answered 202", about.username,
        about.kind.as_str(), about.jail, about.server
    );
    state.in_flight.spawn(follow(state.store.clone(), id.clone(), change));
    let view = state.store.jail_change(&id).await.map_err(|error| not_followed(&error))?;
    view.map(Answered::UnderWay).ok_or_else(|| Problem::internal(format!("Redis lost jail change {id}")))
}

/// The answer if Redis took the first audit entry but not the record of the change, which continues nevertheless.
fn not_followed(error: &StoreError) -> Problem {
    let detail = format!(
        "the change continues, but its outcome cannot be saved ({}): check the jail before trying again",
        chain(error)
    );
    let title = "The change has begun and is not finished yet";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "change-under-way", title, detail).retry_after(5)
}

fn answer_within() -> Duration {
    #[cfg(debug_assertions)]
    if let Some(millis) = std::env::var(TEST_VARIABLE).ok().and_then(|millis| millis.parse().ok()) {
        return Duration::from_millis(millis);
    }
    ANSWER_TIMEOUT
}

/// Waits for the end of a change and saves it; while it waits, renews the record that somebody does.
async fn follow<T: Serialize>(store: Store, id: JailChangeId, change: impl Future<Output = Result<T>>) {
    let mut change = pin!(change);
    let ended = loop {
        let wait = SILENT_AFTER.mul_f64(rand::rng().random_range(0.2..0.3));
        match timeout(wait, change.as_mut()).await {
            Ok(ended) => break ended,
            Err(_) => {
                if let Err(error) = store.hold_jail_change(&id).await {
                    tracing::debug!(error = %error, jail_change.id = %id, "failed to renew a jail change");
                }
            }
        }
    };
    let document = ended.and_then(|shown| serde_json::to_value(shown).map_err(Problem::internal));
    let end = match document {
        Ok(document) => JailChangeEnd { status: 200, document },
        Err(problem) => JailChangeEnd { status: problem.status().as_u16(), document: problem.into_value() },
    };
    note(&store, &id, &end).await;
}

async fn note(store: &Store, id: &JailChangeId, end: &JailChangeEnd) {
    let began = Instant::now();
    loop {
        match store.end_jail_change(id, end).await {
            Ok(true) => return,
            Ok(false) => {
                tracing::warn!(jail_change.id = %id, "Redis lost the record of a jail change before it ended: see the audit");
                return;
            }
            Err(error) if began.elapsed() > NOTE_TIMEOUT => {
                tracing::warn!(
                    error = %error, jail_change.id = %id,
                    "failed to save the outcome of a jail change: it is shown as not known, see the audit"
                );
                return;
            }
            Err(_) => {
                let pause = NOTE_AGAIN.mul_f64(rand::rng().random_range(0.5..=1.0));
                sleep(pause).await;
            }
        }
    }
}
