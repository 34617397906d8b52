//! The runtime state of each fail2ban server: one document with a revision.
//!
//! Who writes: the leader, fenced by its lease (`write_probed`), and users, by revision only (`change_server`).
//! Both compare the revision they read, and both add the events of the change to the stream in the same step, so that nobody
//! hears of a change that was not made.
//!
//! A version before 0.3 cannot read a state with a jail whose name has characters that were not allowed then. So `state` is written
//! without such jails, and all of it beside it as `full_state`, with its revision: once such a worker has written, that is stale.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep};

use super::document;
use super::hours::HoursChange;
use crate::domain::transition::{DetectedOn, on_detection};
use crate::domain::{Event, ServerName, ServerState, Timestamp};
use crate::store::connection::clock::{moment, time_micros};
use crate::store::history::stream::EVENTS_KEPT;
use crate::store::scripts;
use crate::store::scripts::Call;
use crate::store::{AuditRecord, Fence, Result, Store, StoreError, Trail, hex, random};

/// States that are read in one exchange. With 50 jails each they are a few hundred kilobytes: what Redis answers in a few
/// milliseconds, and a worker decodes well within the time that it waits for Redis, however many servers there are.
const STATES_AT_ONCE: usize = 200;
/// How many times a change is tried, at most: it is tried again when another write came in between.
const TRIES: u32 = 20;
/// How long the lock of a detection is held: longer than a detection may take.
const DETECTION_LOCK_MS: u64 = 5_000;
/// How long a request waits for a detection that another one runs.
const DETECTION_WAIT: Duration = Duration::from_secs(5);

/// A server's state as it was read.
#[derive(Debug, Clone)]
pub struct StoredServer {
    /// The state; the default before the first probe.
    pub state: Arc<ServerState>,
    /// Counts writes; 0 before the first.
    pub revision: u64,
    /// Redis's clock at the read.
    pub read_at: Timestamp,
}

/// A new state, with its events and its audit entry.
pub type AuditedChange = (ServerState, Vec<Event>, Option<AuditRecord>);

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The domain refused it.
    #[error("the change was refused")]
    Refused(E),
    /// Redis did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The state of one server, and Redis's time.
    ///
    /// # Errors
    /// See [`StoreError`], here and below.
    pub async fn server(&self, name: &ServerName) -> Result<StoredServer> {
        let mut servers = self.states_at_once(std::slice::from_ref(name), false).await?;
        servers.pop().ok_or_else(|| StoreError::corrupt(format!("no answer for server {name}")))?
    }

    /// The states of several, in order, some hundreds in each round trip. One that cannot be read is an error in its place, and does
    /// not affect the others.
    pub async fn servers(&self, names: &[ServerName]) -> Result<Vec<Result<StoredServer>>> {
        let mut all = Vec::with_capacity(names.len());
        for some in names.chunks(STATES_AT_ONCE) {
            all.extend(self.states_at_once(some, true).await?);
        }
        Ok(all)
    }

    /// The states of these, in one round trip; `apart` if they may be many, so that no session check waits behind them.
    async fn states_at_once(&self, names: &[ServerName], apart: bool) -> Result<Vec<Result<StoredServer>>> {
        let mut pipeline = redis::pipe();
        for name in names {
            let fields = ["revision", "state", "full_state", "full_revision"];
            pipeline.cmd("HMGET").arg(self.keys.server(name)).arg(&fields);
        }
        // TIME comes last: what was read is not younger than `read_at`.
        pipeline.cmd("TIME");
        let mut answers: Vec<redis::Value> = if apart {
            self.shared.pipeline_apart("servers", &pipeline).await?
        } else {
            self.shared.pipeline("servers", &pipeline).await?
        };
        let time = answers.pop().ok_or_else(|| StoreError::corrupt("no answer to TIME".to_owned()))?;
        let read_at = moment(time_micros(redis::from_redis_value(time).map_err(redis::RedisError::from)?));
        Ok(answers
            .into_iter()
            .zip(names)
            .map(|(answer, name)| self.read_server(answer, name, read_at))
            .collect())
    }

    /// One answer of [`Store::states_at_once`].
    fn read_server(
        &self,
        answer: redis::Value,
        name: &ServerName,
        read_at: Timestamp,
    ) -> Result<StoredServer> {
        type Fields = (Option<u64>, Option<Vec<u8>>, Option<Vec<u8>>, Option<u64>);
        let (revision, state, full, full_revision): Fields =
            redis::from_redis_value(answer).map_err(redis::RedisError::from)?;
        let bytes = full.filter(|_| full_revision == revision).or(state);
        let state = bytes
            .map(|bytes| self.states.read(name, bytes, |bytes| document::decode(bytes).map(Arc::new)))
            .transpose()?
            .unwrap_or_default();
        Ok(StoredServer { state, revision: revision.unwrap_or_default(), read_at })
    }

    /// Writes the outcome of a probe, with the hourly counts that it changed, if `fence` still holds the lease and nobody wrote since
    /// `read`; returns the new revision. Fails with [`StoreError::Fenced`] or [`StoreError::Conflict`] otherwise.
    pub async fn write_probed(
        &self,
        fence: &Fence,
        name: &ServerName,
        read: &StoredServer,
        state: &ServerState,
        hours: &HoursChange,
        events: &[Event],
    ) -> Result<u64> {
        let call = scripts::SERVER_WRITE_FENCED.call().key(self.keys.lease()).key(self.keys.server(name));
        let call = call.key(self.keys.events()).key(self.keys.hours(name)).arg(fence.as_str());
        let call = hours.append_to(with_state(call, name, read.revision, state)?);
        self.shared.call(&with_events(call, events)).await
    }

    /// Reads, changes and writes back, and retries when another write came between. `change` is given the state
    /// and Redis's time and may be called several times; `None` from it writes nothing.
    pub async fn change_server<E>(
        &self,
        name: &ServerName,
        change: impl Fn(ServerState, Timestamp) -> std::result::Result<Option<(ServerState, Vec<Event>)>, E>,
    ) -> std::result::Result<StoredServer, ChangeError<E>> {
        let unaudited = |state, now| Ok(change(state, now)?.map(|(state, events)| (state, events, None)));
        self.change_server_audited(name, unaudited).await
    }

    /// As [`Self::change_server`], with an audit entry in the same step.
    pub async fn change_server_audited<E>(
        &self,
        name: &ServerName,
        change: impl Fn(ServerState, Timestamp) -> std::result::Result<Option<AuditedChange>, E>,
    ) -> std::result::Result<StoredServer, ChangeError<E>> {
        for _ in 0..TRIES {
            let mut read = self.server(name).await?;
            let change =
                change(ServerState::clone(&read.state), read.read_at).map_err(ChangeError::Refused)?;
            let Some((state, events, audit)) = change else { return Ok(read) };
            let call = scripts::SERVER_WRITE.call().key(self.keys.server(name)).key(self.keys.events());
            let trail = audit.as_ref().map_or(Trail::Changes, |audit| audit.trail);
            let call = with_state(self.with_audit_keys(call, trail), name, read.revision, &state)?;
            let call = call.arg(audit.as_ref().map_or(0, |_| AuditRecord::ARGUMENTS));
            let call = match &audit {
                Some(audit) => self.with_audit(call, audit),
                None => call,
            };
            match self.shared.call(&with_events(call, &events)).await {
                Ok(revision) => {
                    if let Some(audit) = &audit {
                        audit.log();
                    }
                    read.state = Arc::new(state);
                    read.revision = revision;
                    return Ok(read);
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Asks the leader to probe this server at once.
    pub async fn request_probe(&self, name: &ServerName) -> Result<()> {
        let call = scripts::PROBE_REQUEST
            .call()
            .key(self.keys.probe_requests())
            .arg(name.as_str())
            .arg(self.keys.wake());
        self.shared.call(&call).await
    }

    /// Takes the requests that wait, if `fence` still holds the lease.
    pub async fn take_probe_requests(&self, fence: &Fence) -> Result<Vec<ServerName>> {
        let call = scripts::PROBE_REQUESTS_TAKE
            .call()
            .key(self.keys.lease())
            .key(self.keys.probe_requests())
            .arg(fence.as_str())
            .arg(1000);
        let names: Vec<String> = self.shared.call(&call).await?;
        Ok(names.iter().filter_map(|name| ServerName::parse(name).ok()).collect())
    }

    /// Whether this fail2ban answers `get JAIL backend`: from the stored state, else by asking once for the whole
    /// cluster. However many requests on however many workers want to know at once, `ask` runs in one of them
    /// and the others wait for its answer. `None` if there is no jail to ask about.
    pub async fn backend_commands<E>(
        &self,
        name: &ServerName,
        ask: impl AsyncFnOnce() -> std::result::Result<Option<bool>, E>,
    ) -> std::result::Result<Option<bool>, ChangeError<E>> {
        let begun = Instant::now();
        let lock = hex(&random::<8>()?);
        loop {
            if let Some(known) = known(&self.server(name).await?.state) {
                return Ok(known);
            }
            if self.lock_detection(name, &lock).await? {
                break;
            }
            if begun.elapsed() > DETECTION_WAIT {
                let reason =
                    format!("another request has taken too long to detect which commands {name} has");
                return Err(StoreError::unavailable(reason).into());
            }
            let wait = rand::rng().random_range(20..60);
            sleep(Duration::from_millis(wait)).await;
        }
        let answer = self.detect(name, ask).await;
        self.unlock_detection(name, &lock).await;
        answer
    }

    /// Under the lock: another request may have stored its answer before this one got the lock.
    async fn detect<E>(
        &self,
        name: &ServerName,
        ask: impl AsyncFnOnce() -> std::result::Result<Option<bool>, E>,
    ) -> std::result::Result<Option<bool>, ChangeError<E>> {
        let read = self.server(name).await?;
        if let Some(known) = known(&read.state) {
            return Ok(known);
        }
        let on = DetectedOn::of(&read.state);
        let supported = ask().await.map_err(ChangeError::Refused)?;
        if let Some(supported) = supported {
            let stored = self
                .change_server(name, |state, _| {
                    Ok::<_, std::convert::Infallible>(
                        on_detection(state, &on, supported).map(|state| (state, vec![])),
                    )
                })
                .await;
            if let Err(ChangeError::Store(error)) = stored {
                return Err(error.into());
            }
        }
        Ok(supported)
    }

    async fn lock_detection(&self, name: &ServerName, lock: &str) -> Result<bool> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.detecting(name)).arg(lock).arg("NX").arg("PX").arg(DETECTION_LOCK_MS);
        let taken: Option<String> = self.shared.query("detection_lock", &command).await?;
        Ok(taken.is_some())
    }

    async fn unlock_detection(&self, name: &ServerName, lock: &str) {
        let call = scripts::LOCK_RELEASE.call().key(self.keys.detecting(name)).arg(lock);
        if let Err(error) = self.shared.call::<()>(&call).await {
            tracing::debug!(error = %error, server.name = %name, "failed to release the lock for detecting fail2ban's commands: it expires");
        }
    }
}

/// The answer, if it is known without asking: it was detected before, or there is no jail to detect it on.
fn known(state: &ServerState) -> Option<Option<bool>> {
    match state.backend_commands.as_option() {
        Some(supported) => Some(Some(supported)),
        None => state.status.jails.is_empty().then_some(None),
    }
}

/// The first arguments of both write scripts.
fn with_state(call: Call, name: &ServerName, revision: u64, state: &ServerState) -> Result<Call> {
    let (state, full) = match state.with_plain_names() {
        None => (document::encode(state)?, Vec::new()),
        Some(plain) => (document::encode(&plain)?, document::encode(state)?),
    };
    Ok(call.arg(revision).arg(state).arg(full).arg(EVENTS_KEPT).arg(name.as_str()))
}

/// The last arguments of both write scripts.
fn with_events(call: Call, events: &[Event]) -> Call {
    events.iter().fold(call, |call, event| call.arg(event.kind()).arg(event.facts().to_string()))
}
