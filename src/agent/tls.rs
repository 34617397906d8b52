//! TLS between workers and agents, both ends: what the agent shows, and whom a worker believes.
//!
//! The agent reads its certificate again when the files have changed, looked at with a connection at most every ten
//! seconds; new ones that cannot be used change nothing but the log. Its name, if it has one, must be in the
//! certificate: that is how a worker that found it by an address knows which one it is.
//!
//! The cryptography is ring's, given explicitly, so that nothing depends on what another part has installed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::time::Instant;
use tracing::{info, warn};

use super::certificate;
use crate::config::AgentTlsConfig;

const REREAD_EVERY: Duration = Duration::from_secs(10);
const MAX_FILE: u64 = 1024 * 1024;

/// What the agent shows to whoever connects.
pub(super) struct Identity {
    config: AgentTlsConfig,
    name: Option<String>,
    current: ArcSwap<ServerConfig>,
    /// When the first of its certificates ends, in seconds since 1970; `i64::MIN` if that cannot be read.
    not_after: AtomicI64,
    reread: Mutex<Reread>,
}

struct Reread {
    due: Instant,
    /// What the files held when they were last looked at.
    seen: Option<[Vec<u8>; 2]>,
}

impl Identity {
    /// Reads certificate and key.
    pub(super) fn load(config: &AgentTlsConfig, name: Option<&str>) -> anyhow::Result<Self> {
        let files = read(config)?;
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
            reread: Mutex::new(Reread { due: Instant::now() + REREAD_EVERY, seen: Some(files) }),
            config: config.clone(),
            name: name.map(str::to_owned),
        })
    }

    /// What holds now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let mut reread = self.reread.lock().unwrap_or_else(PoisonError::into_inner);
        if Instant::now() >= reread.due {
            reread.due = Instant::now() + REREAD_EVERY;
            let files = read(&self.config).ok();
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

    /// When the first of its certificates ends, in seconds since 1970.
    pub(super) fn not_after(&self) -> Option<i64> {
        Some(self.not_after.load(Ordering::Relaxed)).filter(|end| *end != i64::MIN)
    }
}

fn read(config: &AgentTlsConfig) -> anyhow::Result<[Vec<u8>; 2]> {
    Ok([bounded(&config.cert, "BANGUI_AGENT_TLS_CERT")?, bounded(&config.key, "BANGUI_AGENT_TLS_KEY")?])
}

fn bounded(path: &Path, variable: &str) -> anyhow::Result<Vec<u8>> {
    let what = || format!("{} ({variable}) cannot be read", path.display());
    if std::fs::metadata(path).with_context(what)?.len() > MAX_FILE {
        bail!("{} ({variable}) is larger than any certificate", path.display());
    }
    std::fs::read(path).with_context(what)
}

/// The end of the certificate, or of one between it and the CA.
fn first_end([cert, _]: &[Vec<u8>; 2]) -> i64 {
    let chain = certificates(cert).unwrap_or_default();
    chain.iter().filter_map(|certificate| certificate::not_after(certificate)).min().unwrap_or(i64::MIN)
}

fn server_config([cert, key]: &[Vec<u8>; 2], name: Option<&str>) -> anyhow::Result<ServerConfig> {
    let chain = certificates(cert).context("the certificate is no PEM file")?;
    let first = chain.first().context("the certificate's file holds none")?;
    if let Some(name) = name {
        carries(first, name)
            .with_context(|| format!("the certificate does not carry the name {name} (BANGUI_AGENT_NAME)"))?;
    }
    let key = PrivateKeyDer::from_pem_slice(key).context("the key is no PEM file")?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and key do not fit")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

/// Whether a certificate is one for this name.
pub(super) fn carries(certificate: &CertificateDer<'_>, name: &str) -> anyhow::Result<()> {
    let wanted = ServerName::try_from(name).context("it is no name for a certificate")?;
    Ok(verify_server_name(&ParsedCertificate::try_from(certificate)?, &wanted)?)
}

/// Whom a worker believes, in two ways.
#[derive(Clone)]
pub(super) struct Trust {
    /// An agent whose name is known: its certificate is by the CA and carries the name.
    pub named: ClientConfig,
    /// An agent that has yet to tell its name: its certificate is by the CA. What it tells is to be held against
    /// the certificate ([`carries`]) before it is believed.
    pub introduced: ClientConfig,
}

impl Trust {
    /// In the CA of `BANGUI_AGENT_CA`, else in those that the system trusts.
    pub(super) fn load(ca: Option<&PathBuf>) -> anyhow::Result<Self> {
        let roots = Arc::new(roots(ca)?);
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()
        };
        let verifier = SignedByCa { roots: Arc::clone(&roots), algorithms };
        let mut introduced =
            builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        // A resumed connection shows no certificate anew, and here all agents go by the name of their group.
        introduced.resumption = Resumption::disabled();
        Ok(Self { named: builder()?.with_root_certificates(roots).with_no_client_auth(), introduced })
    }
}

/// Takes a certificate by the CA whatever names it carries.
#[derive(Debug)]
struct SignedByCa {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for SignedByCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn roots(ca: Option<&PathBuf>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let what = || format!("{} (BANGUI_AGENT_CA) holds no certificate of a CA", path.display());
            for certificate in certificates(&bounded(path, "BANGUI_AGENT_CA")?).with_context(what)? {
                roots.add(certificate).with_context(what)?;
            }
            if roots.is_empty() {
                bail!(what());
            }
        }
        None => {
            let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if added == 0 {
                bail!("the system trusts no CA: install ca-certificates, or set BANGUI_AGENT_CA");
            }
        }
    }
    Ok(roots)
}

/// The mistake of TLS among the causes of an error, if there is one.
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
    use rustls::CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, UnknownIssuer,
    };
    match error {
        // A bad signature is what another CA of the same name has made.
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "its certificate is signed by nobody that is trusted here: set BANGUI_AGENT_CA to the CA's certificate".into()
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "its certificate does not carry the host in the server's URL".into()
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "its certificate has expired (or a clock is wrong)".into()
        }
        rustls::Error::InvalidMessage(_) => "what answers there does not speak TLS".into(),
        other => format!("no TLS connection: {other}"),
    }
}
