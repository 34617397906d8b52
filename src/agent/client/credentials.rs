//! What all clients of a worker share, what the worker shows and whom it trusts; and how clients are made from that.
//!
//! ```text
//! listed       client(url)               the URL's host is whom the certificate must be for
//! discovered   introduce(group, address) the CA first, if there is one, then the reported name against the certificate
//!              client_at(server)         from then on like a listed one, whatever the address; or by its certificate
//! ```
//!
//! Over TLS a worker shows its certificate, if it has one. The configuration decides which agents are sent the token; it is never
//! tried out: those without TLS, which are on this machine, and those behind `https://` if the workers have no certificate or the
//! entry says `token=shared`. Over TLS it is sent only to agents with a certificate by the CA, and an agent that reports a name which
//! its certificate does not carry is rejected.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{ClientBuilder, Method};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use super::call::AgentClient;
use super::error::AgentError;
use crate::agent::tls::{self, Shown, Trust, Whom};
use crate::agent::token::Tokens;
use crate::agent::wire;
use crate::config::{AgentCredentials, AgentGroup, AgentTokenConfig, AgentUrl};
use crate::domain::discovery::Discovered;
use crate::domain::{ServerName, UnreachableKind};
use crate::net::http_client;

/// The timeout of a connection, within the deadline of the call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Tokens and certificates. Cheap to clone; each file is read once for all clients.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    tokens: Option<Arc<Tokens>>,
    trust: Trust,
}

/// Who an agent is, proved by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Its name, in lower case.
    pub name: ServerName,
    /// Identifies its process: two addresses with the same one are one agent.
    pub instance: Option<String>,
    /// The fingerprint of its certificate, if that is to be pinned.
    pub fingerprint: Option<String>,
}

impl AgentClient {
    /// A client for the agent at `url` that shows only a token. Over TLS it trusts the CA in the file `ca`, or those that the system
    /// trusts.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, or the file holds no CA.
    pub fn new(url: &AgentUrl, token: &AgentTokenConfig, ca: Option<&PathBuf>) -> anyhow::Result<Self> {
        let credentials = AgentCredentials { token: Some(token.clone()), ca: ca.cloned(), worker_cert: None };
        Credentials::new(&credentials)?.client(url, false)
    }
}

impl Credentials {
    /// The configured credentials. Over TLS the CA in the file `ca` is trusted, or those that the system trusts.
    ///
    /// # Errors
    /// If the workers' certificate cannot be used.
    pub fn new(config: &AgentCredentials) -> anyhow::Result<Self> {
        let tokens = config.token.as_ref().map(|token| Arc::new(Tokens::new(token)));
        let shown = config.worker_cert.as_ref().map(Shown::load).transpose()?;
        Ok(Self(Arc::new(Inner { tokens, trust: Trust::new(config.ca.clone(), shown) })))
    }

    /// A client of the agent at `url`; `shared_token` as its entry in the configuration says.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, or the file of the CA holds none; here and below.
    pub fn client(&self, url: &AgentUrl, shared_token: bool) -> anyhow::Result<AgentClient> {
        let bare = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
        match url {
            AgentUrl::Https(url) => {
                let tokens = self.tokens_over_tls(shared_token);
                self.build(self.over_tls(Whom::Named)?, bare(url), url.to_string(), tokens)
            }
            AgentUrl::LoopbackHttp(url) => {
                self.build(plain(), bare(url), url.to_string(), self.0.tokens.clone())
            }
            AgentUrl::Unix(path) => self.build(
                plain().unix_socket(path.as_path()),
                "http://agent".to_owned(),
                path.display().to_string(),
                self.0.tokens.clone(),
            ),
        }
    }

    /// A client of the agent of that name, wherever it was found; `shared_token` as the entry of its group says.
    pub fn client_at(
        &self,
        name: &ServerName,
        server: &Discovered,
        shared_token: bool,
    ) -> anyhow::Result<AgentClient> {
        let Discovered { address, tls, fingerprint, .. } = server;
        let place = format!("{name} ({address})");
        if !tls {
            if !address.ip().is_loopback() {
                bail!("{address} is beyond this machine, where the token would travel in the clear");
            }
            return self.build(plain(), format!("http://{address}"), place, self.0.tokens.clone());
        }
        let whom = fingerprint.as_deref().map_or(Whom::Named, Whom::Holder);
        let builder = self.over_tls(whom)?.resolve(name.as_str(), *address);
        // An agent known only by its pinned certificate is sent no token, even if its group now says so.
        let tokens = self.tokens_over_tls(shared_token).filter(|_| fingerprint.is_none());
        self.build(builder, format!("https://{name}:{}", address.port()), place, tokens)
    }

    /// Reads the CA that the agents of a group must be signed by, so that a mistake shows at the start.
    ///
    /// # Errors
    /// If the file of the CA holds none.
    pub fn try_group(&self, group: &AgentGroup) -> anyhow::Result<()> {
        if group.tls && !group.first_use {
            self.0.trust.config(Whom::SignedByCa)?;
        }
        Ok(())
    }

    /// Asks the agent at this address of a group who it is.
    ///
    /// # Errors
    /// See [`AgentError`]; also if its certificate does not carry the name that it reports.
    pub async fn introduce(
        &self,
        group: &AgentGroup,
        address: SocketAddr,
    ) -> Result<Introduction, AgentError> {
        let place = format!("{address} of {}", group.host);
        let asking = self.introducing(group, address, place.clone());
        let asking = asking.map_err(|error| AgentError::Unreachable {
            kind: UnreachableKind::Network,
            reason: format!("the agent at {place}: {error:#}"),
            cause: None,
        })?;
        asking.introduction(group).await
    }

    fn introducing(
        &self,
        group: &AgentGroup,
        address: SocketAddr,
        place: String,
    ) -> anyhow::Result<AgentClient> {
        if !group.tls {
            if !address.ip().is_loopback() {
                bail!("it is beyond this machine, where the token would travel in the clear: use https://");
            }
            return self.build(plain(), format!("http://{address}"), place, self.0.tokens.clone());
        }
        let whom = if group.first_use { Whom::Anybody } else { Whom::SignedByCa };
        let builder =
            self.over_tls(whom)?.tls_info(true).pool_max_idle_per_host(0).resolve(&group.host, address);
        let tokens = self.tokens_over_tls(group.shared_token).filter(|_| !group.first_use);
        self.build(builder, format!("https://{}:{}", group.host, address.port()), place, tokens)
    }

    fn over_tls(&self, whom: Whom<'_>) -> anyhow::Result<ClientBuilder> {
        Ok(patient(http_client::with_tls())
            .tls_backend_preconfigured(self.0.trust.config(whom)?)
            .https_only(true))
    }

    /// The tokens for an agent behind `https://`: none if the workers show a certificate, unless its entry has `token=shared`.
    fn tokens_over_tls(&self, shared_token: bool) -> Option<Arc<Tokens>> {
        self.0.tokens.clone().filter(|_| shared_token || !self.0.trust.is_shown())
    }

    fn build(
        &self,
        builder: ClientBuilder,
        base: String,
        place: String,
        tokens: Option<Arc<Tokens>>,
    ) -> anyhow::Result<AgentClient> {
        Ok(AgentClient {
            http: builder.build().context("cannot build the HTTP client for agents")?,
            base: base.into(),
            place: place.into(),
            tokens,
            change: None,
        })
    }
}

/// Over a Unix socket, or on this machine.
fn plain() -> ClientBuilder {
    patient(http_client::plain())
}

fn patient(builder: ClientBuilder) -> ClientBuilder {
    builder.connect_timeout(CONNECT_TIMEOUT).pool_idle_timeout(Duration::from_secs(30))
}

impl AgentClient {
    async fn introduction(&self, group: &AgentGroup) -> Result<Introduction, AgentError> {
        let late = |_| {
            let reason = format!("no answer within {:?}", wire::DEFAULT_DEADLINE);
            self.unreachable(UnreachableKind::Network, &reason)
        };
        let answer = timeout(wire::DEFAULT_DEADLINE, self.info_with_certificate()).await.map_err(late)?;
        let (info, certificate) = answer?;
        let Some(reported) = info.name else {
            let remedy = "it has no name: set BANGUI_AGENT_NAME there";
            return Err(self.unreachable(UnreachableKind::Protocol, remedy));
        };
        let name = server_name(&reported).map_err(|why| {
            self.unreachable(UnreachableKind::Protocol, &format!("it reports the name {reported:?}, {why}"))
        })?;
        let carried = match &certificate {
            Some(certificate) => tls::carries(certificate, name.as_str()).is_ok(),
            None => !group.tls,
        };
        if !carried {
            let reason = format!("it reports the name {name}, which its certificate does not carry");
            return Err(self.unreachable(UnreachableKind::Tls, &reason));
        }
        let fingerprint = certificate.as_ref().filter(|_| group.first_use).map(tls::fingerprint);
        Ok(Introduction { name, instance: info.instance, fingerprint })
    }

    /// The answer, with the certificate of the connection that it came over.
    async fn info_with_certificate(
        &self,
    ) -> Result<(wire::Info, Option<CertificateDer<'static>>), AgentError> {
        let response = self.respond(&self.request(Method::GET, "/v1/info")).await?;
        let shown = response.extensions().get::<reqwest::tls::TlsInfo>();
        let certificate = shown.and_then(reqwest::tls::TlsInfo::peer_certificate);
        let certificate = certificate.map(|der| CertificateDer::from(der.to_vec()));
        Ok((self.read(response, wire::MAX_ANSWER).await?, certificate))
    }
}

/// Turns the name that an agent reports into a server's name. It becomes part of a URL, where anything that looks like an IP
/// address is taken for one.
fn server_name(reported: &str) -> Result<ServerName, String> {
    let small = reported.to_ascii_lowercase();
    let name = ServerName::parse(&small).map_err(|error| error.to_string())?;
    let url = url::Url::parse(&format!("https://{small}/")).ok();
    match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(host)) if host == small => Ok(name),
        _ => Err("which is not a host name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_an_agent_reports_is_a_lower_case_host_name_and_never_an_address() {
        assert_eq!(server_name("Node-1.Example").unwrap().as_str(), "node-1.example");
        for bad in ["10.0.0.1", "0x7f.1", "1", "a/b", "a:1", "a@b", "", "-a", "a b", &"x".repeat(64)] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }
}
