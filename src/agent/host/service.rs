//! What the agent's routes ask for, without HTTP: probes, jails, the detection, and how often it was asked.
//!
//! Probes that are asked for while another one runs share the *next* one. They must not join the running
//! one: a worker that records an activation and then probes needs the state after the record, and a probe that
//! began before may show an older one. So at most one probe runs and one waits, however many workers ask.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout, timeout_at};

use super::bans::BanService;
use super::changer::Changer;
use super::error::ChangeError;
use super::jails::JailService;
use crate::agent::tls::Identity;
use crate::agent::wire;
use crate::config::AgentConfig;
use crate::domain::{Answer, JailName};
use crate::fail2ban::probe::{Details, Prober};
use crate::fail2ban::tools::Tools;
use crate::fail2ban::{Client, Fail2banError};

/// After this time without an answer a probe reports fail2ban as busy, even if the caller would wait longer.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// How long a probe waits for the end of a command about bans.
const QUIET_TIMEOUT: Duration = Duration::from_secs(2);

type Probe = Shared<BoxFuture<'static, Result<Answer, Fail2banError>>>;

/// Answers every question of a worker.
pub(in crate::agent) struct AgentService {
    prober: Prober,
    /// Held by the running probe.
    turn: tokio::sync::Mutex<()>,
    /// The probe that waits for its turn.
    next: Mutex<Option<Probe>>,
    version: Mutex<Option<String>>,
    name: Option<String>,
    instance: String,
    identity: Option<Arc<Identity>>,
    probes: AtomicU64,
    detections: AtomicU64,
    pub(in crate::agent) changer: Arc<Changer>,
    pub(in crate::agent) settings: JailService,
    pub(in crate::agent) bans: BanService,
}

impl AgentService {
    pub(in crate::agent) fn new(
        config: &AgentConfig,
        client: Client,
        identity: Option<Arc<Identity>>,
    ) -> Self {
        let tools = Tools::new(&config.fail2ban_socket, &config.fail2ban_config);
        let changer = Changer::new(config, client.clone(), tools.clone());
        let folder = config.fail2ban_config.clone();
        Self {
            settings: JailService::new(client.clone(), tools, Arc::clone(&changer), folder),
            bans: BanService::new(client.clone()),
            changer,
            prober: Prober::new(client),
            turn: tokio::sync::Mutex::default(),
            next: Mutex::default(),
            version: Mutex::default(),
            name: config.name.clone(),
            instance: format!("{:032x}", rand::random::<u128>()),
            identity,
            probes: AtomicU64::new(0),
            detections: AtomicU64::new(0),
        }
    }

    pub(in crate::agent) fn info(&self) -> wire::Info {
        wire::Info {
            name: self.name.clone(),
            instance: Some(self.instance.clone()),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            fail2ban_version: self.version.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            probes: self.probes.load(Relaxed),
            backend_detections: self.detections.load(Relaxed),
            interrupted_change: self.changer.interrupted(),
            clock: Some(own_clock()),
            certificate_not_after: self.identity.as_ref().and_then(|identity| identity.not_after()),
        }
    }

    pub(in crate::agent) async fn status(self: &Arc<Self>, deadline: Instant) -> wire::Status {
        let status = match (self.probe(deadline).await.into(), self.changer.working()) {
            (wire::Status::Busy { .. }, Some(reason)) => wire::Status::Busy { reason, working: true },
            (status, _) => status,
        };
        self.probes.fetch_add(1, Relaxed);
        status
    }

    pub(in crate::agent) async fn jails(
        self: &Arc<Self>,
        backend: bool,
        deadline: Instant,
    ) -> Result<wire::Jails, Fail2banError> {
        let answer = self.probe(deadline).await?;
        let mut jails = Vec::with_capacity(answer.jails.len());
        let mut known = backend;
        for (name, counts) in answer.jails {
            let details = if known { self.prober.details(&name, deadline).await? } else { None };
            known = details.is_some();
            let Details { backend, idle } = details.unwrap_or_default();
            jails.push(wire::Jail { name, counts, backend, idle });
        }
        Ok(wire::Jails { jails })
    }

    /// Jails with their settings, also those that are off; just the jail `only` if that is given.
    pub(in crate::agent) async fn jail_views(
        self: &Arc<Self>,
        only: Option<&JailName>,
        deadline: Instant,
    ) -> Result<wire::JailViews, ChangeError> {
        let running = self.probe(deadline).await?;
        self.settings.all(&running, only, deadline).await
    }

    /// Where addresses are banned, and, if requested and known, which entries keep them from being banned.
    pub(in crate::agent) async fn look_up(
        self: &Arc<Self>,
        request: &wire::LookupRequest,
        deadline: Instant,
    ) -> Result<wire::Lookups, ChangeError> {
        let (mut lookups, running) = self.banned(request, deadline).await?;
        if !request.never_banned {
            return Ok(lookups);
        }
        let entries = async {
            let running = match running {
                Some(running) => running,
                None => self.probe(deadline).await.ok()?,
            };
            self.settings.never_banned(&request.ips, running.jails.keys(), deadline).await.ok()
        };
        if let Ok(Some(entries)) = timeout_at(deadline, entries).await {
            for (lookup, entries) in lookups.results.iter_mut().zip(entries) {
                lookup.never_banned = Some(entries);
            }
        }
        Ok(lookups)
    }

    /// Where addresses are banned; and the probe, if there was one on the way.
    async fn banned(
        self: &Arc<Self>,
        request: &wire::LookupRequest,
        deadline: Instant,
    ) -> Result<(wire::Lookups, Option<Answer>), ChangeError> {
        let life = if request.tags.is_empty() { None } else { self.bans.life() };
        if let Some(life) = life {
            // If fail2ban is slow, the time that is left is for the search.
            let enough = deadline - deadline.saturating_duration_since(Instant::now()) / 2;
            if let Ok(now) = self.probe(enough).await {
                let lookups = if self.bans.life() == Some(life) {
                    self.bans.lookup_changed(request, (life, &now), deadline).await?
                } else {
                    self.bans.lookup(&request.ips, deadline).await?
                };
                return Ok((lookups, Some(now)));
            }
        }
        Ok((self.bans.lookup(&request.ips, deadline).await?, None))
    }

    /// Not shared: the cluster makes sure that only one worker asks, and the counter shows whether that works.
    pub(in crate::agent) async fn backend_commands(
        &self,
        deadline: Instant,
    ) -> Result<wire::BackendSupport, Fail2banError> {
        let supported = self.prober.backend_commands(deadline).await?;
        self.detections.fetch_add(1, Relaxed);
        Ok(wire::BackendSupport { supported })
    }

    async fn probe(self: &Arc<Self>, deadline: Instant) -> Result<Answer, Fail2banError> {
        let probe = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            next.get_or_insert_with(|| {
                let probe = Arc::clone(self).run_probe().boxed().shared();
                // Runs to its end even if everybody who waits for it has gone.
                tokio::spawn(probe.clone());
                probe
            })
            .clone()
        };
        timeout_at(deadline, probe).await.unwrap_or_else(|_| {
            Err(Fail2banError::Busy("fail2ban has not answered all questions in time".into()))
        })
    }

    async fn run_probe(self: Arc<Self>) -> Result<Answer, Fail2banError> {
        let _turn = self.turn.lock().await;
        // From here on this is the running probe: callers that come now wait for the next one.
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        // If a command takes longer, this does not wait for its end: fail2ban is reported as busy.
        let _quiet = timeout(QUIET_TIMEOUT, self.bans.quiet()).await;
        let answer = self.prober.probe(Instant::now() + PROBE_LIMIT).await;
        if let Ok(answer) = &answer {
            *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.version.clone());
        }
        answer
    }
}

/// This machine's clock, so that workers can report a wrong one. Nothing is ordered by it.
#[expect(clippy::disallowed_methods, reason = "this machine's clock is what is asked for")]
fn own_clock() -> i64 {
    Utc::now().timestamp_micros()
}
