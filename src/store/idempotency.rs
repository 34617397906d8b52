//! Requests that carry an `Idempotency-Key`: which of them are running, and the answers of those that have run.
//!
//! A run keeps itself marked as alive in Redis. One that falls silent is presumed to have died with its worker, and the next
//! request with its key is run; if the silent one ends after all, its answer is not kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::connection::clock::millis;
use super::{AccountId, Result, Store, StoreError, hex, random, scripts};

/// A run that has been silent for this long is presumed dead.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);
/// How long answers are kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Its status.
    pub status: u16,
    /// The content type of its body.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The `Location` of what was created.
    #[serde(default)]
    pub location: Option<String>,
    /// Its body.
    #[serde(default)]
    pub body: String,
}

/// A run that has begun.
#[derive(Debug, Clone)]
pub struct IdempotentRun {
    record: String,
    owner: String,
    /// The same each time that the request is run.
    pub name: u128,
    /// Whether it was run before, by a worker that fell silent.
    pub again: bool,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Idempotent {
    /// Run it.
    Run(IdempotentRun),
    /// Give this answer.
    Answered(KeptAnswer),
    /// It is running: it ends within this time, or is presumed dead.
    Running(Duration),
    /// Its key came with another request.
    Other,
}

impl Store {
    /// Begins the run of a request, identified by its digest, under the account's key.
    ///
    /// # Errors
    /// See [`StoreError`], here and below.
    pub async fn begin_idempotent(
        &self,
        account: AccountId,
        key: &str,
        request: &[u8; 32],
    ) -> Result<Idempotent> {
        let record = self.keys.idempotent(account, key);
        let (owner, fresh) = (hex(&random::<16>()?), hex(&random::<16>()?));
        let call = scripts::IDEMPOTENCY_BEGIN
            .call()
            .key(&record)
            .arg(&request[..])
            .arg(&owner)
            .arg(fresh)
            .arg(millis(SILENT_AFTER))
            .arg(millis(KEPT_FOR));
        let (kind, text, left): (String, Vec<u8>, u64) = self.shared.call(&call).await?;
        let run = |again| {
            let name = std::str::from_utf8(&text).ok().and_then(|name| u128::from_str_radix(name, 16).ok());
            let name =
                name.ok_or_else(|| StoreError::corrupt("a run of a request has no name".to_owned()))?;
            Ok(Idempotent::Run(IdempotentRun { record: record.clone(), owner: owner.clone(), name, again }))
        };
        match kind.as_str() {
            "run" => run(false),
            "again" => run(true),
            "answered" => Ok(Idempotent::Answered(rmp_serde::from_slice(&text)?)),
            "running" => Ok(Idempotent::Running(Duration::from_millis(left))),
            _ => Ok(Idempotent::Other),
        }
    }

    /// Keeps a run marked as alive; false if another has taken it over.
    pub async fn hold_idempotent(&self, run: &IdempotentRun) -> Result<bool> {
        let call =
            scripts::IDEMPOTENCY_HOLD.call().key(&run.record).arg(&run.owner).arg(millis(SILENT_AFTER));
        self.shared.call(&call).await
    }

    /// Keeps the answer of a run; without an answer, forgets that it was run. False if another has taken it over.
    pub async fn end_idempotent(&self, run: &IdempotentRun, answer: Option<&KeptAnswer>) -> Result<bool> {
        let answer = answer.map(rmp_serde::to_vec_named).transpose()?.unwrap_or_default();
        let call = scripts::IDEMPOTENCY_END
            .call()
            .key(&run.record)
            .arg(&run.owner)
            .arg(answer)
            .arg(millis(KEPT_FOR));
        self.shared.call(&call).await
    }
}

/// The digest that identifies a request.
#[must_use]
pub fn digest(method: &str, address: &str, body: &[u8]) -> [u8; 32] {
    let digest = Sha256::new().chain_update(method).chain_update([0]).chain_update(address);
    digest.chain_update([0]).chain_update(body).finalize().into()
}
