//! A private CA, and agents over TLS with certificates that it signed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bangui::agent::client::AgentClient;
use bangui::config::{AgentTokenConfig, AgentUrl};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use super::agent::AGENT_TOKEN;
use super::process::{Child, bangui};
use super::{SOON, folder};

/// A certificate authority.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A self-signed certificate and its key, as `openssl req -x509` makes them for workers.
    pub fn self_signed() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// A signed certificate for these names, and its key.
    pub fn sign(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// The TLS configuration of a server in the test, with a certificate for these names.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let (cert, key) = self.sign(names);
        let chain = rustls::pki_types::CertificateDer::pem_slice_iter(cert.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

/// A running agent.
pub struct TlsAgent {
    pub folder: tempfile::TempDir,
    _process: Child,
    pub address: SocketAddr,
}

impl TlsAgent {
    /// Starts an agent with a certificate for `names`, the first of which is its own, and without a fail2ban.
    pub async fn start(ca: &Ca, names: &[&str]) -> Self {
        Self::start_at(ca, names, ([127, 0, 0, 1], 0).into(), None).await
    }

    /// The same at this address, for the fail2ban with this socket and this configuration.
    pub async fn start_at(
        ca: &Ca,
        names: &[&str],
        listen: SocketAddr,
        fail2ban: Option<(&Path, &Path)>,
    ) -> Self {
        Self::start_with(ca.sign(names), ca, names, listen, fail2ban, None).await
    }

    /// Starts an agent without a token, which accepts workers by the certificates in this text.
    pub async fn start_for(workers: &str, ca: &Ca, names: &[&str], listen: SocketAddr) -> Self {
        Self::start_with(ca.sign(names), ca, names, listen, None, Some(workers)).await
    }

    /// The same with an existing certificate, from no CA that workers know.
    pub async fn start_own(own: (String, String), workers: &str, names: &[&str], listen: SocketAddr) -> Self {
        Self::start_with(own, &Ca::new(), names, listen, None, Some(workers)).await
    }

    async fn start_with(
        (cert, key): (String, String),
        ca: &Ca,
        names: &[&str],
        listen: SocketAddr,
        fail2ban: Option<(&Path, &Path)>,
        workers: Option<&str>,
    ) -> Self {
        let folder = folder();
        std::fs::write(folder.path().join("cert.pem"), cert).unwrap();
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let none = folder.path().join("f2b.sock");
        let (socket, config) = fail2ban.unwrap_or((&none, folder.path()));
        let mut command = bangui("agent");
        command.env("BANGUI_AGENT_LISTEN", listen.to_string());
        match workers {
            Some(pem) => {
                std::fs::write(folder.path().join("workers.pem"), pem).unwrap();
                command.env("BANGUI_WORKER_CA", folder.path().join("workers.pem"));
            }
            None => {
                command.env("BANGUI_AGENT_TOKEN", AGENT_TOKEN);
            }
        }
        command.env("BANGUI_AGENT_TLS_CERT", folder.path().join("cert.pem")).env("BANGUI_LOG_FORMAT", "json");
        command.env("BANGUI_AGENT_TLS_KEY", folder.path().join("key.pem")).env("BANGUI_AGENT_NAME", names[0]);
        command.env("BANGUI_FAIL2BAN_SOCKET", socket).env("BANGUI_FAIL2BAN_CONFIG", config);
        let process = Child::start("bangui agent", command);
        let address = process
            .line("its address", SOON, |line| {
                let line: Value = serde_json::from_str(line).ok()?;
                line.get("agent.listen")?.as_str()?.parse().ok()
            })
            .await;
        Self { folder, _process: process, address }
    }

    /// A client that reaches the agent as `host`.
    pub fn client(&self, host: &str, ca: Option<&str>, token: &str) -> AgentClient {
        let url = AgentUrl::Https(format!("https://{host}:{}", self.address.port()).parse().unwrap());
        let token = AgentTokenConfig { tokens: vec![token.into()], file: None };
        AgentClient::new(&url, &token, ca.map(|name| self.folder.path().join(name)).as_ref()).unwrap()
    }
}
