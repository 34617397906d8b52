//! What a worker shows to agents, and whom it trusts.
//!
//! | known about the agent | [`Whom`] | trusted |
//! |---|---|---|
//! | its name | `Named` | a certificate by the CA that carries the name |
//! | its address, the CA | `SignedByCa` | a certificate by the CA; the name that the agent reports must be checked against it |
//! | its address | `Anybody` | any agent that answers, only to ask for its name: no token is sent, and its answer is stored with its certificate |
//! | its pinned certificate | `Holder` | an agent that has the key of exactly this certificate |

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{self, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::pem::{bounded, certificates, fingerprint};
use crate::config::WorkerCertConfig;

/// The fingerprint of the example CA in the manifests of version 0.2, which published its key.
const EXAMPLE_CA: &str = "a91d6681e3cf308db6bd0589da61f47a2a8e257a405cc262701b708bb986d2b9";

/// What a worker shows.
pub(in crate::agent) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Shown {
    /// Reads certificate and key.
    pub(in crate::agent) fn load(config: &WorkerCertConfig) -> anyhow::Result<Self> {
        let (cert, key) = (&config.cert, &config.key);
        let no_pem =
            |path: &PathBuf, variable: &str| format!("{} ({variable}) is not a PEM file", path.display());
        let chain = certificates(&bounded(cert, "BANGUI_WORKER_CERT")?)
            .ok()
            .filter(|chain| !chain.is_empty())
            .with_context(|| no_pem(cert, "BANGUI_WORKER_CERT"))?;
        let key = PrivateKeyDer::from_pem_slice(&bounded(key, "BANGUI_WORKER_KEY")?)
            .with_context(|| no_pem(key, "BANGUI_WORKER_KEY"))?;
        let shown = Self { chain, key };
        // Use them now, to find out whether they match.
        shown
            .config(Arc::new(Holder { fingerprint: String::new(), algorithms: algorithms() }), true)
            .context("BANGUI_WORKER_CERT with BANGUI_WORKER_KEY: the certificate and the key do not match")?;
        Ok(shown)
    }

    fn config(&self, verifier: Arc<dyn ServerCertVerifier>, resumes: bool) -> anyhow::Result<ClientConfig> {
        client_config(verifier, Some(self), resumes)
    }
}

/// Whom to trust.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) enum Whom<'a> {
    Named,
    SignedByCa,
    Anybody,
    Holder(&'a str),
}

/// The CA of `BANGUI_AGENT_CA`, or else those that the system trusts, read when they are first needed; and what is shown.
pub(in crate::agent) struct Trust {
    ca: Option<PathBuf>,
    roots: OnceLock<Arc<RootCertStore>>,
    shown: Option<Shown>,
}

impl Trust {
    pub(in crate::agent) fn new(ca: Option<PathBuf>, shown: Option<Shown>) -> Self {
        Self { ca, roots: OnceLock::new(), shown }
    }

    /// Whether a certificate is shown, so that agents are sent no token.
    pub(in crate::agent) fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// A configuration for connections to such agents.
    pub(in crate::agent) fn config(&self, whom: Whom<'_>) -> anyhow::Result<ClientConfig> {
        let algorithms = algorithms();
        let verifier: Arc<dyn ServerCertVerifier> = match whom {
            Whom::Named => {
                let provider = Arc::new(ring::default_provider());
                rustls::client::WebPkiServerVerifier::builder_with_provider(self.roots()?, provider)
                    .build()?
            }
            Whom::SignedByCa => Arc::new(SignedByCa { roots: Some(self.roots()?), algorithms }),
            Whom::Anybody => Arc::new(SignedByCa { roots: None, algorithms }),
            Whom::Holder(fingerprint) => Arc::new(Holder { fingerprint: fingerprint.to_owned(), algorithms }),
        };
        // A resumed session shows no certificate, and agents that have not reported a name yet share the host name of their group.
        let resumes = matches!(whom, Whom::Named | Whom::Holder(_));
        client_config(verifier, self.shown.as_ref(), resumes)
    }

    fn roots(&self) -> anyhow::Result<Arc<RootCertStore>> {
        if let Some(roots) = self.roots.get() {
            return Ok(Arc::clone(roots));
        }
        let roots = Arc::new(roots(self.ca.as_ref())?);
        Ok(Arc::clone(self.roots.get_or_init(|| roots)))
    }
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    ring::default_provider().signature_verification_algorithms
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    shown: Option<&Shown>,
    resumes: bool,
) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match shown {
        Some(Shown { chain, key }) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

fn roots(ca: Option<&PathBuf>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let what = || format!("{} (BANGUI_AGENT_CA) has no CA certificate in it", path.display());
            for certificate in certificates(&bounded(path, "BANGUI_AGENT_CA")?).with_context(what)? {
                if fingerprint(&certificate) == EXAMPLE_CA {
                    bail!(
                        "{} (BANGUI_AGENT_CA) is the example CA of version 0.2, whose key is public: create \
                         your own CA",
                        path.display()
                    );
                }
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

/// Accepts a certificate by the CA, whatever names it carries; without a CA any certificate.
#[derive(Debug)]
struct SignedByCa {
    roots: Option<Arc<RootCertStore>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Accepts exactly one certificate, whatever names it carries.
#[derive(Debug)]
struct Holder {
    fingerprint: String,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The usual proof that the other end has the key of its certificate.
macro_rules! signatures {
    () => {
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
    };
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
        if let Some(roots) = &self.roots {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

impl ServerCertVerifier for Holder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if fingerprint(end_entity) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    signatures!();
}
