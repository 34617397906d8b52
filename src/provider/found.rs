//! What this worker knows of the provider: its metadata and keys, and how they are kept current.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use openidconnect::IssuerUrl;
use openidconnect::core::CoreProviderMetadata;
use rand::RngExt as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::error::{DiscoveryError, ProviderError, causes, quoted};
use super::http::ProviderHttp;

/// How often metadata and keys are read again.
const REFRESH: Duration = Duration::from_secs(3600);
/// How long after a failure they are read again.
const RETRY: Duration = Duration::from_secs(30);
/// How soon after a failure a login asks once more.
const MIN_WAIT: Duration = Duration::from_secs(3);
/// The least time between two reads that an unknown key causes: strangers can send tokens that name keys which nobody knows.
const KEYS_WAIT: Duration = Duration::from_secs(30);

/// The scopes that are asked for where the provider has them. `groups` is not a standard scope, but several providers need it.
const SCOPES: [&str; 3] = ["profile", "email", "groups"];

/// A provider that was found.
pub(super) struct Found {
    pub metadata: CoreProviderMetadata,
}

impl Found {
    /// The scopes to ask for, besides `openid`.
    pub fn scopes(&self) -> impl Iterator<Item = &'static str> {
        let known = self.metadata.scopes_supported();
        SCOPES.into_iter().filter(move |scope| match known {
            Some(known) => known.iter().any(|one| one.as_str() == *scope),
            None => *scope == "profile",
        })
    }
}

/// Keeps what was found.
pub(super) struct Keeper {
    issuer: String,
    found: ArcSwapOption<Found>,
    /// One request at a time, whoever waits for it.
    asking: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    /// The last failure, and when it was; none after a success.
    failed: Option<(Instant, String)>,
    /// When an unknown key was the reason.
    for_keys: Option<Instant>,
}

impl Keeper {
    pub fn new(issuer: String) -> Self {
        Self { issuer, found: ArcSwapOption::empty(), asking: Mutex::default() }
    }

    /// Whether there is something to work with, and the last request was answered, as far as that is known at once.
    pub fn is_there(&self) -> bool {
        match self.asking.try_lock() {
            Ok(asked) => asked.failed.is_none(),
            Err(_) => self.found.load().is_some(),
        }
    }

    /// What is known, or else what the provider says now.
    pub async fn found(&self, http: &ProviderHttp) -> Result<Arc<Found>, ProviderError> {
        if let Some(found) = self.found.load_full() {
            return Ok(found);
        }
        let mut asked = self.asking.lock().await;
        // Somebody else may have asked since the look above.
        if let Some(found) = self.found.load_full() {
            return Ok(found);
        }
        if let Some((at, reason)) = &asked.failed
            && at.elapsed() < MIN_WAIT
        {
            return Err(ProviderError::Away(reason.clone()));
        }
        self.ask(http, &mut asked).await.map_err(ProviderError::Away)
    }

    /// Keys that were read after a token with an unknown one had come; none if they were read a moment ago, or the provider is away.
    pub async fn newer_keys(&self, http: &ProviderHttp) -> Option<Arc<Found>> {
        let before = self.found.load_full();
        let mut asked = self.asking.lock().await;
        let now = self.found.load_full();
        if let (Some(before), Some(now)) = (&before, &now)
            && !Arc::ptr_eq(before, now)
        {
            // Somebody else asked for the same reason.
            return Some(Arc::clone(now));
        }
        if asked.for_keys.is_some_and(|at| at.elapsed() < KEYS_WAIT) {
            return None;
        }
        asked.for_keys = Some(Instant::now());
        self.ask(http, &mut asked).await.ok()
    }

    async fn ask(&self, http: &ProviderHttp, asked: &mut Asked) -> Result<Arc<Found>, String> {
        match self.discover(http).await {
            Ok(found) => {
                if asked.failed.take().is_some() {
                    tracing::info!(
                        provider.issuer = self.issuer,
                        "the provider {} answers again",
                        self.issuer
                    );
                }
                let found = Arc::new(found);
                self.found.store(Some(Arc::clone(&found)));
                Ok(found)
            }
            Err(error) => {
                let reason = quoted(&causes(&error));
                // One line for each time that it goes away.
                if asked.failed.is_none() {
                    tracing::warn!(
                        provider.issuer = self.issuer,
                        "failed to read the metadata or the keys of the provider {}: {reason}: retrying. Until it answers, this worker \
                         uses those it read before; if it has none, it can log nobody in with the provider",
                        self.issuer
                    );
                }
                asked.failed = Some((Instant::now(), reason.clone()));
                Err(reason)
            }
        }
    }

    async fn discover(&self, http: &ProviderHttp) -> Result<Found, DiscoveryError> {
        let issuer = IssuerUrl::new(self.issuer.clone()).map_err(DiscoveryError::UrlParse)?;
        let metadata = CoreProviderMetadata::discover_async(issuer, http).await?;
        Ok(Found { metadata })
    }

    /// Reads everything again, from time to time.
    pub async fn run(&self, http: &ProviderHttp, stop: CancellationToken) {
        loop {
            let answered = {
                let asking = async { self.ask(http, &mut *self.asking.lock().await).await.is_ok() };
                match stop.run_until_cancelled(asking).await {
                    Some(answered) => answered,
                    None => return,
                }
            };
            let wait = if answered { REFRESH } else { RETRY };
            let wait = wait.mul_f64(rand::rng().random_range(0.9..1.1));
            if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }
}
