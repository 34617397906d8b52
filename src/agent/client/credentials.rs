//! What all clients of a worker share: the tokens it shows and the CA it believes; and how they are made of it.
//!
//! ```text
//! listed       client(url)               the URL's host is whom the certificate must be for
//! discovered   introduce(group, address) the CA first, then the name that is told against the certificate
//!              client_at(name, address)  from then on like a listed one, whatever the address
//! ```
//!
//! The token goes to nobody who has no certificate by the CA, and a name that the certificate does not carry is not
//! believed. Without TLS, which is for trying things out, only loopback is spoken to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{ClientBuilder, Method, StatusCode};
use rustls::pki_types::CertificateDer;
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use super::call::AgentClient;
use super::error::AgentError;
use crate::agent::tls::{self, Trust};
use crate::agent::token::Tokens;
use crate::agent::wire;
use crate::config::{AgentGroup, AgentTokenConfig, AgentUrl};
use crate::crypto;
use crate::domain::{ServerName, UnreachableKind};

/// No connection takes longer, within the deadline of the call.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The tokens and the CA. Cheap to clone; each file is read once for all clients.
#[derive(Clone)]
pub struct Credentials(Arc<Shared>);

struct Shared {
    tokens: Arc<Tokens>,
    ca: Option<PathBuf>,
    /// Read when the first agent with TLS wants it: a system without any CA does for the others.
    trust: OnceLock<Trust>,
}

/// Who an agent is, proved by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Its name, in small letters.
    pub name: ServerName,
    /// Its run: the same behind two addresses, it is one agent.
    pub instance: Option<String>,
}

impl AgentClient {
    /// A client for the agent at `url`. Over TLS it trusts the CA in the file `ca`, or those the system trusts.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, or the file holds no CA.
    pub fn new(url: &AgentUrl, token: &AgentTokenConfig, ca: Option<&PathBuf>) -> anyhow::Result<Self> {
        Credentials::new(token, ca).client(url)
    }
}

impl Credentials {
    /// Tokens as configured; over TLS the CA in the file `ca`, or those the system trusts.
    #[must_use]
    pub fn new(token: &AgentTokenConfig, ca: Option<&PathBuf>) -> Self {
        crypto::provide();
        let tokens = Arc::new(Tokens::new(token));
        Self(Arc::new(Shared { tokens, ca: ca.cloned(), trust: OnceLock::new() }))
    }

    fn trust(&self) -> anyhow::Result<&Trust> {
        if let Some(trust) = self.0.trust.get() {
            return Ok(trust);
        }
        let trust = Trust::load(self.0.ca.as_ref())?;
        Ok(self.0.trust.get_or_init(|| trust))
    }

    /// A client of the agent at `url`.
    ///
    /// # Errors
    /// If the HTTP client cannot be built, or the file of the CA holds none; here and below.
    pub fn client(&self, url: &AgentUrl) -> anyhow::Result<AgentClient> {
        let bare = |url: &url::Url| url.as_str().trim_end_matches('/').to_owned();
        match url {
            AgentUrl::Https(url) => self.build(self.over_tls()?, bare(url), url.to_string()),
            AgentUrl::LoopbackHttp(url) => self.build(builder(), bare(url), url.to_string()),
            AgentUrl::Unix(path) => self.build(
                builder().unix_socket(path.as_path()),
                "http://agent".to_owned(),
                path.display().to_string(),
            ),
        }
    }

    /// A client of the agent of that name, wherever its name leads: at this address.
    pub fn client_at(
        &self,
        name: &ServerName,
        address: SocketAddr,
        tls: bool,
    ) -> anyhow::Result<AgentClient> {
        let place = format!("{name} ({address})");
        if !tls {
            if !address.ip().is_loopback() {
                bail!("{address} is beyond this machine, where the token would travel in the clear");
            }
            return self.build(builder(), format!("http://{address}"), place);
        }
        let builder = self.over_tls()?.resolve(name.as_str(), address);
        self.build(builder, format!("https://{name}:{}", address.port()), place)
    }

    /// Asks the agent at this address of a group who it is.
    ///
    /// # Errors
    /// As [`AgentError`] tells; also if its certificate does not carry the name that it tells.
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
        asking.introduction(group.tls).await
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
            return self.build(builder(), format!("http://{address}"), place);
        }
        let builder = builder()
            .tls_backend_preconfigured(self.trust()?.introduced.clone())
            .https_only(true)
            .tls_info(true)
            .pool_max_idle_per_host(0)
            .resolve(&group.host, address);
        self.build(builder, format!("https://{}:{}", group.host, address.port()), place)
    }

    fn over_tls(&self) -> anyhow::Result<ClientBuilder> {
        Ok(builder().tls_backend_preconfigured(self.trust()?.named.clone()).https_only(true))
    }

    fn build(&self, builder: ClientBuilder, base: String, place: String) -> anyhow::Result<AgentClient> {
        Ok(AgentClient {
            http: builder.build().context("cannot build the HTTP client for agents")?,
            base: base.into(),
            place: place.into(),
            tokens: Arc::clone(&self.0.tokens),
        })
    }
}

fn builder() -> ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .pool_idle_timeout(Duration::from_secs(30))
}

impl AgentClient {
    async fn introduction(&self, tls: bool) -> Result<Introduction, AgentError> {
        let late = |_| {
            let reason = format!("no answer within {:?}", wire::DEFAULT_DEADLINE);
            self.unreachable(UnreachableKind::Network, &reason)
        };
        let answer = timeout(wire::DEFAULT_DEADLINE, self.info_with_certificate()).await.map_err(late)?;
        let (info, certificate) = answer?;
        let Some(told) = info.name else {
            let remedy = "it has no name: set BANGUI_AGENT_NAME there";
            return Err(self.unreachable(UnreachableKind::Protocol, remedy));
        };
        let name = server_name(&told).map_err(|why| {
            self.unreachable(UnreachableKind::Protocol, &format!("it reports the name {told:?}, {why}"))
        })?;
        let carried = match &certificate {
            Some(certificate) => tls::carries(certificate, name.as_str()).is_ok(),
            None => !tls,
        };
        if !carried {
            let reason = format!("it reports the name {name}, which its certificate does not carry");
            return Err(self.unreachable(UnreachableKind::Tls, &reason));
        }
        Ok(Introduction { name, instance: info.instance })
    }

    /// The answer, with the certificate of the connection that it came over.
    async fn info_with_certificate(
        &self,
    ) -> Result<(wire::Info, Option<CertificateDer<'static>>), AgentError> {
        for token in self.tokens.current().await.iter() {
            let request = self.request(Method::GET, "/v1/info").bearer_auth(token.expose_secret());
            let response = request.send().await.map_err(|error| self.network(error))?;
            if response.status() == StatusCode::UNAUTHORIZED {
                continue;
            }
            let shown = response.extensions().get::<reqwest::tls::TlsInfo>();
            let certificate = shown.and_then(reqwest::tls::TlsInfo::peer_certificate);
            let certificate = certificate.map(|der| CertificateDer::from(der.to_vec()));
            return Ok((self.read(response, wire::MAX_ANSWER).await?, certificate));
        }
        Err(self.token_refused())
    }
}

/// The server's name that an agent's makes: it is part of a URL later on, where what looks like an address is one.
fn server_name(told: &str) -> Result<ServerName, String> {
    let small = told.to_ascii_lowercase();
    let name = ServerName::parse(&small).map_err(|error| error.to_string())?;
    let url = url::Url::parse(&format!("https://{small}/")).ok();
    match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(host)) if host == small => Ok(name),
        _ => Err("which is no host name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_an_agent_tells_is_a_host_name_in_small_letters_and_never_an_address() {
        assert_eq!(server_name("Node-1.Example").unwrap().as_str(), "node-1.example");
        for bad in ["10.0.0.1", "0x7f.1", "1", "a/b", "a:1", "a@b", "", "-a", "a b", &"x".repeat(64)] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
    }
}
