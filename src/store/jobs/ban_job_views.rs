//! Ban jobs as users see them.

use std::collections::HashMap;

use super::ban_job_header::BanJobHeader;
use crate::domain::{BanAction, BanJobId, BanJobProgress, BanJobState, JailName, ServerName, Timestamp};
use crate::store::connection::clock::moment;
use crate::store::{Page, Result, Store};

/// A job as users see it.
#[derive(Debug, Clone)]
pub struct BanJobView {
    /// The job's id.
    pub id: BanJobId,
    /// The server.
    pub server: ServerName,
    /// The jail.
    pub jail: JailName,
    /// Whether it bans or unbans.
    pub order: BanAction,
    /// Its current state.
    pub state: BanJobState,
    /// How far it is.
    pub progress: BanJobProgress,
    /// Addresses for which the job failed, each with the reason; only the first ones if there are many.
    pub failures: Vec<(String, String)>,
    /// Who asked for it.
    pub username: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When a worker first claimed it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it waits, or why it failed.
    pub reason: Option<String>,
}

/// Why a job of a newer version waits, where all workers are older.
const NEWER: &str = "a newer version of bangui asked for this: it waits for a worker of that version";

impl Store {
    /// One job; `None` if there is no such job, or it has expired.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn ban_job(&self, id: &BanJobId) -> Result<Option<BanJobView>> {
        Ok(self.ban_job_views(std::slice::from_ref(id)).await?.pop())
    }

    /// The jobs asked for before `cursor`, newest first.
    pub async fn ban_jobs(&self, cursor: Option<u64>, limit: usize) -> Result<Page<BanJobView>> {
        let newest = cursor.map_or_else(|| "+inf".to_owned(), |cursor| format!("({cursor}"));
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys.ban_jobs()).arg(newest).arg("-inf").arg("BYSCORE").arg("REV");
        command.arg("LIMIT").arg(0).arg(limit + 1).arg("WITHSCORES");
        let mut found: Vec<(String, f64)> = self.shared.query("ban_jobs", &command).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor = found.last().filter(|_| more).map(|(_, score)| format!("{score:.0}"));
        let ids: Vec<BanJobId> = found.iter().filter_map(|(id, _)| BanJobId::parse(id)).collect();
        Ok(Page { items: self.ban_job_views(&ids).await?, next_cursor })
    }

    async fn ban_job_views(&self, ids: &[BanJobId]) -> Result<Vec<BanJobView>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.cmd("HGETALL").arg(self.keys.ban_job(id));
            pipeline.cmd("HGETALL").arg(self.keys.ban_job_failures(id));
        }
        let answers: Vec<HashMap<String, redis::Value>> =
            self.shared.pipeline_apart("ban_job_views", &pipeline).await?;
        let mut answers = answers.into_iter();
        let mut views = Vec::with_capacity(ids.len());
        for id in ids {
            let (Some(fields), Some(failures)) = (answers.next(), answers.next()) else { break };
            if !fields.is_empty() {
                views.extend(BanJobView::from_stored(id.clone(), &fields, failures));
            }
        }
        Ok(views)
    }
}

/// The place that is shown for a job whose own place cannot be read.
const NOWHERE: &str = "unknown/unknown";

impl BanJobView {
    /// Shows as much as can be read, with the reason for the rest: an error of one job is not an error of the others.
    fn from_stored(
        id: BanJobId,
        fields: &HashMap<String, redis::Value>,
        failures: HashMap<String, redis::Value>,
    ) -> Option<Self> {
        let text = |name: &str| -> Option<String> {
            fields.get(name).and_then(|value| redis::from_redis_value(value.clone()).ok())
        };
        let about: Option<Vec<u8>> =
            fields.get("about").and_then(|value| redis::from_redis_value(value.clone()).ok());
        let (about, unreadable) = match BanJobHeader::read(about.as_deref()) {
            Ok(about) if about.order == BanAction::Unknown => (about, Some(NEWER.to_owned())),
            Ok(about) => (about, None),
            Err(error) => {
                tracing::warn!(job.id = %id, error = %error, "failed to read a ban job");
                let place = text("place").and_then(|place| BanJobHeader::of_place(&place));
                (place.or_else(|| BanJobHeader::of_place(NOWHERE))?, Some(error.to_string()))
            }
        };
        let number = |name: &str| text(name).and_then(|number| number.parse().ok()).unwrap_or_default();
        let at =
            |name: &str| text(name).and_then(|ms| Some(moment(ms.parse::<i64>().ok()?.checked_mul(1000)?)));
        let failure = |(ip, reason)| Some((ip, redis::from_redis_value(reason).ok()?));
        let mut failures: Vec<(String, String)> = failures.into_iter().filter_map(failure).collect();
        failures.sort_unstable();
        Some(Self {
            state: text("state").and_then(|state| BanJobState::parse(&state)).unwrap_or(BanJobState::Unknown),
            progress: BanJobProgress {
                asked: number("asked"),
                done: number("done"),
                changed: number("changed"),
                failed: number("failed"),
            },
            failures,
            created_at: at("created_at").unwrap_or_default(),
            started_at: at("started_at"),
            finished_at: at("finished_at"),
            reason: text("reason").or_else(|| text("trouble")).or(unreadable),
            server: about.server,
            jail: about.jail,
            order: about.order,
            username: about.username,
            id,
        })
    }
}
