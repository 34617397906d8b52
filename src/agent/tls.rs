//! TLS between workers and agents, both ends: what the agent shows and which workers it accepts (`tls/workers.rs`), and what a
//! worker shows and which agents it trusts (`tls/trust.rs`).
//!
//! The agent reloads its certificate when the files have changed, which it checks when a connection arrives, at most every ten
//! seconds; new files that cannot be used are logged and ignored. Its name, if it has one, must be in the certificate: that is
//! how a worker that found it by an address knows which agent it is.
//!
//! With certificates at both ends no secret is sent: what an agent learns from a worker is useless at another agent, however
//! hostile its host is. A shared token is valid everywhere.
//!
//! The cryptography is ring's, passed explicitly, so that nothing depends on which default another part has installed.

mod pem;
mod trust;
mod workers;

pub(super) use pem::fingerprint;
pub(super) use trust::{Shown, Trust, Whom};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use tokio::time::Instant;
use tracing::{info, warn};

use super::certificate;
use pem::{bounded, certificates};

use crate::config::AgentTlsConfig;

const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// The certificate that the agent presents.
pub(super) struct Identity {
    config: AgentTlsConfig,
    /// The certificates, or CAs, of the workers; if there is none, no certificate is required.
    worker_ca: Option<PathBuf>,
    name: Option<String>,
    current: ArcSwap<ServerConfig>,
    /// When the first certificate of its chain expires, in seconds since 1970; `i64::MIN` if that cannot be read.
    not_after: AtomicI64,
    reread: Mutex<Reread>,
}

struct Reread {
    due: Instant,
    /// What the files held at the last check.
    seen: Option<Files>,
}

/// The contents of the files.
#[derive(PartialEq)]
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
    worker_ca: Option<Vec<u8>>,
}

impl Identity {
    /// Reads the certificate, the key, and the file with the workers' certificates or CAs.
    pub(super) fn load(
        config: &AgentTlsConfig,
        worker_ca: Option<&Path>,
        name: Option<&str>,
    ) -> anyhow::Result<Self> {
        let files = Files::read(config, worker_ca)?;
        Ok(Self {
            current: ArcSwap::from_pointee(server_config(&files, name).with_context(|| {
                let AgentTlsConfig { cert, key } = config;
                format!(
                    "{} (BANGUI_AGENT_TLS_CERT) with {} (BANGUI_AGENT_TLS_KEY)",
                    cert.display(),
                    key.display()
                )
            })?),
            not_after: AtomicI64::new(first_end(&files)),
            reread: Mutex::new(Reread { due: Instant::now() + REREAD_INTERVAL, seen: Some(files) }),
            config: config.clone(),
            worker_ca: worker_ca.map(Path::to_owned),
            name: name.map(str::to_owned),
        })
    }

    /// The configuration in use, reloaded if the files have changed.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let mut reread = self.reread.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= reread.due {
            reread.due = Instant::now() + REREAD_INTERVAL;
            let files = Files::read(&self.config, self.worker_ca.as_deref()).ok();
            if files != reread.seen {
                let cert = self.config.cert.display();
                let new = files
                    .as_ref()
                    .context("they cannot be read")
                    .and_then(|files| server_config(files, self.name.as_deref()));
                match new {
                    Ok(config) => {
                        info!(file = %cert, "reloaded the agent's certificate: its file changed");
                        self.current.store(Arc::new(config));
                        self.not_after.store(files.as_ref().map_or(i64::MIN, first_end), Ordering::Relaxed);
                    }
                    Err(error) => {
                        warn!(file = %cert, "failed to reload the agent's certificate: {error:#}; keeping the one in use")
                    }
                }
                reread.seen = files;
            }
        }
        self.current.load_full()
    }

    /// When the first certificate of its chain expires, in seconds since 1970.
    pub(super) fn not_after(&self) -> Option<i64> {
        Some(self.not_after.load(Ordering::Relaxed)).filter(|end| *end != i64::MIN)
    }
}

impl Files {
    fn read(config: &AgentTlsConfig, worker_ca: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self {
            cert: bounded(&config.cert, "BANGUI_AGENT_TLS_CERT")?,
            key: bounded(&config.key, "BANGUI_AGENT_TLS_KEY")?,
            worker_ca: worker_ca.map(|path| bounded(path, "BANGUI_WORKER_CA")).transpose()?,
        })
    }
}

/// When the first certificate of the chain expires.
fn first_end(files: &Files) -> i64 {
    let chain = certificates(&files.cert).unwrap_or_default();
    chain.iter().filter_map(|certificate| certificate::not_after(certificate)).min().unwrap_or(i64::MIN)
}

fn server_config(files: &Files, name: Option<&str>) -> anyhow::Result<ServerConfig> {
    let Files { cert, key, worker_ca } = files;
    let chain = certificates(cert).context("the certificate is not a PEM file")?;
    let first = chain.first().context("the certificate's file holds no certificate")?;
    if let Some(name) = name {
        carries(first, name)
            .with_context(|| format!("the certificate does not carry the name {name} (BANGUI_AGENT_NAME)"))?;
    }
    let key = PrivateKeyDer::from_pem_slice(key).context("the key is not a PEM file")?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match worker_ca {
        Some(pem) => {
            let verifier = workers::verifier(pem).context("BANGUI_WORKER_CA")?;
            let others = chain.get(1..).unwrap_or_default();
            if verifier.verify_client_cert(first, others, UnixTime::now()).is_ok() {
                bail!(
                    "BANGUI_WORKER_CA accepts this agent's own certificate, so every agent would be obeyed as a worker: \
                    it must hold the workers' certificate, or a CA that signs no agents"
                );
            }
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(chain, key).context("the certificate and the key do not match")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Checks that a certificate is valid for this name.
pub(super) fn carries(certificate: &CertificateDer<'_>, name: &str) -> anyhow::Result<()> {
    let wanted = ServerName::try_from(name).context("it is not a valid name for a certificate")?;
    Ok(verify_server_name(&ParsedCertificate::try_from(certificate)?, &wanted)?)
}

/// The TLS error among the causes of an error, if there is one.
pub(super) fn cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An I/O error hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) =
            wrapped.and_then(|wrapped| wrapped.downcast_ref()).or_else(|| error.downcast_ref())
        {
            return Some(found);
        }
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// What to do about it.
pub(super) fn remedy(error: &rustls::Error) -> String {
    use rustls::AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateUnknown,
        DecryptError, UnknownCA,
    };
    use rustls::CertificateError::{
        ApplicationVerificationFailure, BadSignature, Expired, ExpiredContext, NotValidForName,
        NotValidForNameContext, UnknownIssuer,
    };
    match error {
        // Another CA with the same name leads to a bad signature.
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "its certificate is signed by no CA that is trusted here: set BANGUI_AGENT_CA to the CA's certificate".into()
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "its certificate does not carry the host in the server's URL".into()
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "its certificate has expired (or a clock is wrong)".into()
        }
        rustls::Error::InvalidCertificate(ApplicationVerificationFailure) => {
            "its certificate is not the pinned one, which it showed first: a new one is accepted once the pinned one has been gone for ten minutes".into()
        }
        // What an agent answers if it does not accept the worker's certificate, or gets none.
        rustls::Error::AlertReceived(CertificateRequired | UnknownCA | DecryptError | BadCertificate | CertificateUnknown | CertificateExpired | AccessDenied,
        ) => "it refuses this worker's certificate: the agent's BANGUI_WORKER_CA must contain \
          the certificate of BANGUI_WORKER_CERT, or the CA that signed it"
            .into(),
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS".into(),
        other => format!("no TLS connection: {other}"),
    }
}
