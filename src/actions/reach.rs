//! What an account is for: every list over all servers goes through here, so that an account that is bound to some sees no other.
//!
//! | over all servers | of an account |
//! |---|---|
//! | the fleet's names | [`Context::reached`] |
//! | ban jobs | [`Context::jobs_reached`], [`Context::open_jobs_reached`] |
//! | events, findings, discovered agents | [`Access::reaches_named`], [`Access::reaches`], where they are read |
//!
//! A server that a path names is judged with the route (`http/auth/allowed.rs`), one that a form names by [`Context::server_of`].

use super::{Context, ServerTarget, UnknownTarget};
use crate::domain::ServerName;
use crate::domain::access::Access;
use crate::store::{BanJobView, ClusterView, Page, StoreError};

/// Pages of jobs that are read for one page of those that an account is for.
const MAX_PAGES: usize = 10;

/// The cluster without the names of servers that the account is not for: the outcome of a scheduled job may have some.
#[must_use]
pub fn without_others(access: &Access, mut view: ClusterView) -> ClusterView {
    if !access.is_for_all_servers() {
        let outcomes = view.jobs.iter_mut().filter_map(|job| job.last_outcome.as_mut());
        for outcome in outcomes.filter(|outcome| *outcome != "ok") {
            "not ok".clone_into(outcome);
        }
    }
    view
}

impl Context {
    /// The servers of the fleet that the account is for.
    #[must_use]
    pub fn reached(&self, access: &Access) -> Vec<ServerName> {
        let mut names = self.agents.names();
        if !access.is_for_all_servers() {
            names.retain(|name| access.reaches(name));
        }
        names
    }

    /// The server of that name, if the account is for it.
    ///
    /// # Errors
    /// [`UnknownTarget::Server`], whether there is such a server or not.
    pub fn server_of(&self, access: &Access, name: &str) -> Result<ServerTarget, UnknownTarget> {
        if access.reaches_named(name) { self.server(name) } else { Err(UnknownTarget::Server) }
    }

    /// The ban jobs that were asked for before `cursor`, newest first. Where many are of other servers, a page may have fewer than
    /// `limit`, or none, and still a next one.
    ///
    /// # Errors
    /// [`StoreError`], here and below.
    pub async fn jobs_reached(
        &self,
        access: &Access,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page<BanJobView>, StoreError> {
        let mut page = self.store.ban_jobs(cursor, limit).await?;
        if access.is_for_all_servers() {
            return Ok(page);
        }
        page.items.retain(|job| access.reaches(&job.server));
        for _ in 1..MAX_PAGES {
            let next = page.next_cursor.as_deref().and_then(|cursor| cursor.parse().ok());
            let Some(next) = next.filter(|_| page.items.len() < limit) else { break };
            let more = self.store.ban_jobs(Some(next), limit - page.items.len()).await?;
            page.items.extend(more.items.into_iter().filter(|job| access.reaches(&job.server)));
            page.next_cursor = more.next_cursor;
        }
        Ok(page)
    }

    /// The number of ban jobs that are not over.
    pub async fn open_jobs_reached(&self, access: &Access) -> Result<u64, StoreError> {
        if access.is_for_all_servers() {
            return self.store.count_open_ban_jobs().await;
        }
        let (open, _) = self.store.open_ban_jobs().await?;
        Ok(open.iter().filter(|job| access.reaches(&job.server)).count() as u64)
    }
}
