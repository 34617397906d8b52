//! How requests reach a worker, and for which hosts: from variables to checked values.

use std::net::SocketAddr;
use std::num::NonZeroU8;

use ipnet::IpNet;
use url::Url;

use super::exposure::Around;
use super::sources::Reader;
use super::variables as vars;
use super::{AgentCredentials, Exposure, Listen, RedisConfig, Servers, hosts, values};

/// The address that a worker binds, unless it inherits its socket.
pub(super) fn bound(listen: &Listen) -> Option<SocketAddr> {
    match listen {
        Listen::Address(address) => Some(*address),
        Listen::Inherited => None,
    }
}

/// The proxies in front of a worker, and the hosts that requests may be for.
pub(super) struct Doors {
    pub public_url: Option<Url>,
    pub proxies: Vec<IpNet>,
    pub hops: Option<NonZeroU8>,
    pub hosts: Vec<String>,
}

impl Doors {
    pub fn read(read: &mut Reader<'_>) -> Self {
        let public_url = read.value(&vars::PUBLIC_URL, values::public_url);
        let proxies = read.value(&vars::TRUSTED_PROXIES, hosts::proxies).unwrap_or_default();
        let hops = read.value(&vars::TRUSTED_PROXY_HOPS, values::hops);
        if let (Some(hops), false) = (hops, proxies.is_empty()) {
            let allowed = "cannot be combined with BANGUI_TRUSTED_PROXIES: proxies are identified by number or by address, not both";
            read.note(vars::TRUSTED_PROXY_HOPS.name.to_owned(), Some(hops.to_string()), allowed.to_owned());
        }
        let hosts = read.value(&vars::ALLOWED_HOSTS, hosts::hosts).unwrap_or_default();
        Self { public_url, proxies, hops, hosts }
    }

    /// What this configuration exposes more than necessary.
    pub fn exposures(
        &self,
        listen: Option<SocketAddr>,
        redis: Option<&RedisConfig>,
        servers: &Servers,
        agents: &AgentCredentials,
    ) -> Vec<Exposure> {
        let around = Around {
            listen,
            public_url: self.public_url.as_ref(),
            allowed_hosts: &self.hosts,
            redis: redis.map(|redis| &redis.url),
            proxies: &self.proxies,
            servers: Some(servers),
            agents: Some(agents),
        };
        around.exposures()
    }
}
