//! What a diagnosis and pages ask an agent: the same calls as elsewhere, within the time that a user is prepared to wait.

use std::time::Duration;

use super::call::AgentClient;
use super::error::AgentError;
use crate::agent::wire;
use crate::domain::JailName;

impl AgentClient {
    /// Who the agent is; ends within `deadline`.
    ///
    /// # Errors
    /// See [`AgentError`], here and below.
    pub async fn info_within(&self, deadline: Duration) -> Result<wire::Info, AgentError> {
        self.get("/v1/info", deadline).await
    }

    /// Every jail with its settings and log files; ends within `deadline`.
    pub async fn jail_views_within(&self, deadline: Duration) -> Result<wire::JailViews, AgentError> {
        self.get("/v1/jails/settings", deadline).await
    }

    /// One jail with its settings; ends within `deadline`.
    pub async fn jail_view_within(
        &self,
        jail: &JailName,
        deadline: Duration,
    ) -> Result<Option<wire::JailView>, AgentError> {
        let path = format!("/v1/jails/{}/settings", jail.to_segment());
        let views: wire::JailViews = self.get(&path, deadline).await?;
        Ok(views.jails.into_iter().next())
    }
}
