//! Changes of jails that take longer than a client should wait for an answer.
//!
//! The worker that was asked waits for the end of the change and records it; any worker shows it. A worker that waits renews a sign
//! of life every few seconds: one that falls silent is presumed dead, and the outcome is then unknown, until the worker is heard
//! from again.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::running_changes::{NotedChange, SILENT_AFTER};
use crate::domain::{
    JailChangeId, JailChangeKind, JailChangeState, JailName, ServerName, StepTime, Timestamp,
};
use crate::store::connection::clock::{millis, moment, time_micros};
use crate::store::{Result, Store, StoreError, scripts};

/// How long a change is kept, after its beginning and once more after its end: longer than any change takes.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// The part of a jail change that stays the same until it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewJailChange {
    /// The server.
    pub server: ServerName,
    /// The jail.
    pub jail: JailName,
    /// What is changed.
    pub kind: JailChangeKind,
    /// Who asked for it.
    pub username: String,
}

/// The answer that the request would have got, had it waited.
#[derive(Debug, Clone)]
pub struct JailChangeEnd {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub document: Value,
}

/// A change as it is shown.
#[derive(Debug, Clone)]
pub struct JailChangeView {
    /// Its id.
    pub id: JailChangeId,
    /// What it is.
    pub about: NewJailChange,
    /// How far it is.
    pub state: JailChangeState,
    /// When it was asked for.
    pub began_at: Timestamp,
    /// When it ended; none while that is not known.
    pub finished_at: Option<Timestamp>,
    /// The steps that its agent has taken, and the one it is at.
    pub steps: Vec<StepTime>,
    /// Its outcome.
    pub end: Option<JailChangeEnd>,
}

impl Store {
    /// Records a change that has been running for this long.
    ///
    /// # Errors
    /// [`StoreError`], here and below.
    pub async fn begin_jail_change(
        &self,
        id: &JailChangeId,
        about: &NewJailChange,
        running_for: Duration,
    ) -> Result<()> {
        let call = scripts::JAIL_CHANGE_BEGIN
            .call()
            .key(self.keys.jail_change(id))
            .arg(rmp_serde::to_vec_named(about)?)
            .arg(millis(running_for))
            .arg(millis(SILENT_AFTER))
            .arg(KEPT_FOR.as_secs());
        self.shared.call(&call).await
    }

    /// Records that this worker still waits for the end; false if Redis has lost the change.
    pub async fn hold_jail_change(&self, id: &JailChangeId) -> Result<bool> {
        let call = scripts::JAIL_CHANGE_HOLD.call().key(self.keys.jail_change(id));
        self.shared.call(&call.arg(millis(SILENT_AFTER))).await
    }

    /// Records the end; false if Redis has lost the change.
    pub async fn end_jail_change(&self, id: &JailChangeId, end: &JailChangeEnd) -> Result<bool> {
        let call = scripts::JAIL_CHANGE_END
            .call()
            .key(self.keys.jail_change(id))
            .arg(JailChangeState::of_status(end.status).as_str())
            .arg(end.status)
            .arg(end.document.to_string())
            .arg(KEPT_FOR.as_secs());
        self.shared.call(&call).await
    }

    /// A change; `None` if there is no such change, or it ended more than a day ago.
    pub async fn jail_change(&self, id: &JailChangeId) -> Result<Option<JailChangeView>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.keys.jail_change(id));
        pipeline.cmd("TIME");
        type Answer = (HashMap<String, redis::Value>, (i64, i64));
        let (fields, time): Answer = self.shared.pipeline("jail_change", &pipeline).await?;
        if fields.is_empty() {
            return Ok(None);
        }
        read(id, &fields, time_micros(time) / 1000).map(Some)
    }
}

fn read(id: &JailChangeId, fields: &HashMap<String, redis::Value>, now: i64) -> Result<JailChangeView> {
    let lacks = |name: &str| StoreError::corrupt(format!("the jail change {id} has no {name}"));
    let bytes = |name: &str| -> Option<Vec<u8>> {
        fields.get(name).and_then(|value| redis::from_redis_value(value.clone()).ok())
    };
    let text = |name: &str| bytes(name).and_then(|bytes| String::from_utf8(bytes).ok());
    let number = |name: &str| text(name).and_then(|number| number.parse::<i64>().ok());
    let at = |name: &str| number(name).and_then(|ms| ms.checked_mul(1000)).map(moment);
    let state = text("state").and_then(|state| JailChangeState::parse(&state));
    let state = match state.ok_or_else(|| lacks("state"))? {
        JailChangeState::Running if number("until").is_none_or(|until| until < now) => {
            JailChangeState::NotKnown
        }
        state => state,
    };
    let end = number("status").zip(text("document")).and_then(|(status, document)| {
        Some(JailChangeEnd {
            status: status.try_into().ok()?,
            document: serde_json::from_str(&document).ok()?,
        })
    });
    // Steps that cannot be read are not shown; the rest of the change is.
    let noted = bytes("steps").and_then(|bytes| rmp_serde::from_slice::<NotedChange>(&bytes).ok());
    Ok(JailChangeView {
        id: id.clone(),
        about: rmp_serde::from_slice(&bytes("about").ok_or_else(|| lacks("about"))?)?,
        state,
        began_at: at("began_at").ok_or_else(|| lacks("began_at"))?,
        finished_at: at("finished_at"),
        steps: noted.map(|noted| noted.steps).unwrap_or_default(),
        end,
    })
}
