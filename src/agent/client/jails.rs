//! What a worker asks about jails and bans.
//!
//! An error other than `Refused` leaves open whether a change was made: asking again finds out. None of these calls is repeated
//! automatically.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::AgentClient;
use super::error::AgentError;
use crate::agent::wire;
use crate::domain::{JailName, Network};

/// For a command about 25 addresses: an action may take a good part of a second for each.
const BAN_DEADLINE: Duration = Duration::from_secs(30);

impl AgentClient {
    /// Switches a jail on, or finds it on: a transaction that is undone if the jail does not run in the end.
    ///
    /// # Errors
    /// See [`AgentError`]; `Configuration` has fail2ban's own words.
    pub async fn activate(&self, jail: &JailName) -> Result<wire::JailChanged, AgentError> {
        self.send(
            Method::POST,
            &format!("/v1/jails/{}/activate", jail.to_segment()),
            &(),
            wire::CHANGE_DEADLINE,
        )
        .await
    }

    /// Switches a jail off, or finds it off.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn deactivate(&self, jail: &JailName) -> Result<wire::JailChanged, AgentError> {
        self.send(
            Method::POST,
            &format!("/v1/jails/{}/deactivate", jail.to_segment()),
            &(),
            wire::CHANGE_DEADLINE,
        )
        .await
    }

    /// Every jail with its settings, also those that are off; and what could not be read.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn jail_views(&self) -> Result<wire::JailViews, AgentError> {
        self.get("/v1/jails/settings", wire::LIST_DEADLINE).await
    }

    /// One jail with its settings.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn jail_view(&self, jail: &JailName) -> Result<Option<wire::JailView>, AgentError> {
        let views: wire::JailViews =
            self.get(&format!("/v1/jails/{}/settings", jail.to_segment()), wire::LIST_DEADLINE).await?;
        Ok(views.jails.into_iter().next())
    }

    /// Changes settings of a jail, until its next reload or persistently; returns the resulting jail.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn change_settings(
        &self,
        jail: &JailName,
        change: &wire::ChangeSettings,
    ) -> Result<Option<wire::JailView>, AgentError> {
        let path = format!("/v1/jails/{}/settings", jail.to_segment());
        let views: wire::JailViews = self.send(Method::PATCH, &path, change, wire::CHANGE_DEADLINE).await?;
        Ok(views.jails.into_iter().next())
    }

    /// Unbans a network and never bans it again, in one step; returns the resulting jail.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn ignore(
        &self,
        jail: &JailName,
        network: Network,
        persistent: bool,
    ) -> Result<Option<wire::JailView>, AgentError> {
        let path = format!("/v1/jails/{}/ignore", jail.to_segment());
        let ignore = wire::Ignore { network, persistent };
        let views: wire::JailViews = self.send(Method::POST, &path, &ignore, wire::CHANGE_DEADLINE).await?;
        Ok(views.jails.into_iter().next())
    }

    /// Bans at most 25 addresses.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn ban(
        &self,
        jail: &JailName,
        request: &wire::BanRequest,
    ) -> Result<Vec<wire::BanResult>, AgentError> {
        let path = format!("/v1/jails/{}/bans", jail.to_segment());
        let results: wire::BanResults = self.send(Method::POST, &path, request, BAN_DEADLINE).await?;
        Ok(results.results)
    }

    /// Unbans at most 25 addresses or networks.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn unban(
        &self,
        jail: &JailName,
        request: &wire::BanRequest,
    ) -> Result<Vec<wire::BanResult>, AgentError> {
        let path = format!("/v1/jails/{}/unban", jail.to_segment());
        let results: wire::BanResults = self.send(Method::POST, &path, request, BAN_DEADLINE).await?;
        Ok(results.results)
    }

    /// Unbans all that a jail bans, as far as there is time. Call this again until nothing remains.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn unban_all(
        &self,
        jail: &JailName,
        job: Option<wire::JobEpoch>,
    ) -> Result<wire::UnbannedAll, AgentError> {
        let path = format!("/v1/jails/{}/bans", jail.to_segment());
        self.send(Method::DELETE, &path, &wire::UnbanAll { job }, BAN_DEADLINE).await
    }

    /// The jails that ban each of these, at most 500.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn banned(&self, ips: &[Network]) -> Result<Vec<wire::Lookup>, AgentError> {
        let tags = BTreeMap::new();
        let request = wire::LookupRequest { ips: ips.to_vec(), never_banned: false, tags };
        self.lookups(request).await.map(|lookups| lookups.results)
    }

    /// As [`Self::banned`], with the entries that keep them from being banned, if the agent knows. Jails whose lists still have these
    /// tags are not searched.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn look_up(
        &self,
        ips: &[Network],
        tags: BTreeMap<JailName, String>,
    ) -> Result<wire::Lookups, AgentError> {
        self.lookups(wire::LookupRequest { ips: ips.to_vec(), never_banned: true, tags }).await
    }

    async fn lookups(&self, request: wire::LookupRequest) -> Result<wire::Lookups, AgentError> {
        self.send(Method::POST, "/v1/banned", &request, wire::DEFAULT_DEADLINE).await
    }

    /// Switches off a jail that brought fail2ban down, and starts fail2ban if it does not answer.
    ///
    /// # Errors
    /// See [`AgentError`]; the jail may be off, and fail2ban not up again.
    pub async fn roll_back(&self, jail: &JailName) -> Result<wire::RolledBack, AgentError> {
        self.send(Method::POST, "/v1/rollback", &wire::Rollback { jail: jail.clone() }, wire::CHANGE_DEADLINE)
            .await
    }

    /// Once this has been answered, no command of an older epoch of this job runs or will run, as long as each carries the incarnation
    /// in the answer.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn fence(&self, job: &wire::JobEpoch) -> Result<wire::Fenced, AgentError> {
        self.send(Method::POST, "/v1/fence", job, BAN_DEADLINE).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        deadline: Duration,
    ) -> Result<T, AgentError> {
        self.call(self.request(method, path).json(body), deadline).await
    }
}
