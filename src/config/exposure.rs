//! What a valid configuration exposes more than necessary: a warning at the start, and a line of `bangui check`.
//!
//! None of this is refused, since bangui cannot see its surroundings: the network may be private, or a proxy may add TLS.

use std::net::{IpAddr, SocketAddr};

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::cluster_url::ClusterUrl;
use super::hosts::is_wide;
use super::sentinel_url::SentinelUrl;
use super::{AgentCredentials, AgentUrl, Exposure, Servers};

/// The parts of the configuration that can expose something.
#[derive(Default)]
pub(super) struct Around<'a> {
    /// Where it listens; `None` if it inherits its socket.
    pub listen: Option<SocketAddr>,
    pub public_url: Option<&'a Url>,
    pub allowed_hosts: &'a [String],
    pub redis: Option<&'a SecretString>,
    pub proxies: &'a [ipnet::IpNet],
    pub servers: Option<&'a Servers>,
    pub agents: Option<&'a AgentCredentials>,
}

impl Around<'_> {
    /// All exposures.
    pub fn exposures(&self) -> Vec<Exposure> {
        let found = [
            ("listen", self.listening()),
            ("public URL", self.plain_public_url()),
            ("redis", self.plain_redis()),
            ("proxies", self.wide_proxies()),
            ("agents", self.one_token()),
        ];
        let exposure = |(what, message): (_, Option<String>)| Some(Exposure { what, message: message? });
        found.into_iter().filter_map(exposure).collect()
    }

    fn listening(&self) -> Option<String> {
        let address = self.listen.filter(|address| !address.ip().to_canonical().is_loopback())?;
        if self.public_url.is_some_and(|url| url.scheme() == "https") {
            return None;
        }
        let hosts = if self.public_url.is_none() && self.allowed_hosts.is_empty() {
            " and requests for other hosts are refused"
        } else {
            ""
        };
        Some(format!(
            "BANGUI_LISTEN ({address}) is reachable from other machines: passwords and sessions are sent unencrypted unless a \
             proxy in front adds TLS; set BANGUI_PUBLIC_URL to its https:// address, so that browsers send the cookie over TLS \
             only{hosts}"
        ))
    }

    fn plain_public_url(&self) -> Option<String> {
        let url = self.public_url.filter(|url| url.scheme() == "http" && !is_loopback(url.host()))?;
        Some(format!("BANGUI_PUBLIC_URL is {url}: passwords and sessions are sent unencrypted; use https://"))
    }

    fn plain_redis(&self) -> Option<String> {
        let url = self.redis?.expose_secret();
        if url.starts_with("rediss") {
            return None;
        }
        let several = |hosts: &[String]| {
            let without_port =
                |host: &String| host.rsplit_once(':').map_or(host.clone(), |(host, _)| host.to_owned());
            hosts.iter().map(without_port).collect()
        };
        let hosts: Vec<String> = match (SentinelUrl::parse(url), ClusterUrl::parse(url)) {
            (Some(sentinels), _) => several(sentinels.ok()?.sentinels()),
            (_, Some(cluster)) => several(cluster.ok()?.seeds()),
            (None, None) => {
                let url = Url::parse(url).ok().filter(|url| url.scheme() == "redis")?;
                vec![url.host_str()?.to_owned()]
            }
        };
        let host = hosts.into_iter().find(|host| !is_loopback(Host::parse(host).ok()))?;
        Some(format!(
            "the connection to Redis at {host} is not encrypted (redis://): anyone on the network path can read and change \
             sessions; use rediss://, or a private network"
        ))
    }

    fn wide_proxies(&self) -> Option<String> {
        let wide: Vec<String> =
            self.proxies.iter().filter(|net| is_wide(net)).map(ToString::to_string).collect();
        (!wide.is_empty()).then(|| {
            format!(
                "BANGUI_TRUSTED_PROXIES is too wide: {}: each of these addresses can pretend to be any client, and so evade \
                 login limits or exhaust those of others; list the load balancers only, or set BANGUI_TRUSTED_PROXY_HOPS where \
                 nobody else can reach the workers",
                wide.join(", ")
            )
        })
    }

    fn one_token(&self) -> Option<String> {
        let (servers, agents) = (self.servers?, self.agents?);
        let is_sent = |shared: bool, https: bool| !https || shared || agents.worker_cert.is_none();
        let listed = servers
            .listed
            .iter()
            .filter(|one| is_sent(one.shared_token, matches!(one.url, AgentUrl::Https(_))));
        let groups = servers.groups.iter().filter(|group| is_sent(group.shared_token, group.tls));
        let (listed, groups) = (listed.count(), groups.count());
        (listed + 2 * groups > 1).then(|| {
            "several servers share one token (BANGUI_AGENT_TOKEN): anyone who controls one of their hosts learns it and can \
             command the agents of all; give the workers a certificate (BANGUI_WORKER_CERT), and the agents BANGUI_WORKER_CA \
             instead of the token"
                .to_owned()
        })
    }
}

fn is_loopback<S: AsRef<str>>(host: Option<Host<S>>) -> bool {
    match host {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name.as_ref() == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AgentTokenConfig, WorkerCertConfig, values};

    fn whats(around: &Around<'_>) -> Vec<&'static str> {
        around.exposures().into_iter().map(|exposure| exposure.what).collect()
    }

    #[test]
    fn a_worker_on_loopback_exposes_nothing_and_one_beyond_it_without_https_does() {
        let https: Url = "https://bangui.example".parse().unwrap();
        let http: Url = "http://bangui.example".parse().unwrap();
        let local: Url = "http://localhost:8080".parse().unwrap();
        for (listen, public_url, expected) in [
            ("127.0.0.1:1", None, vec![]),
            ("[::1]:1", Some(&local), vec![]),
            ("[::ffff:127.0.0.1]:1", None, vec![]),
            ("0.0.0.0:1", None, vec!["listen"]),
            ("[::]:1", Some(&http), vec!["listen", "public URL"]),
            ("0.0.0.0:1", Some(&https), vec![]),
            ("127.0.0.1:1", Some(&http), vec!["public URL"]),
        ] {
            let around = Around { listen: listen.parse().ok(), public_url, ..Around::default() };
            assert_eq!(whats(&around), expected, "{listen} {public_url:?}");
        }
    }

    #[test]
    fn redis_on_another_machine_must_use_tls() {
        for (url, open) in [
            ("redis://localhost", false),
            ("redis://:p@127.0.0.1:6379/3", false),
            ("redis://[::1]", false),
            ("redis+unix:///run/r.sock", false),
            ("rediss://redis.example", false),
            ("rediss+sentinel://a,b/m", false),
            ("redis://redis:6379", true),
            ("redis://localhost.example", true),
            ("redis+sentinel://127.0.0.1,10.0.0.1/m", true),
            ("redis+sentinel://127.0.0.1,127.0.0.2/m", false),
            ("redis+cluster://127.0.0.1:7000,10.0.0.1:7000", true),
            ("rediss+cluster://10.0.0.1:7000", false),
        ] {
            let url: SecretString = url.into();
            let around = Around { redis: Some(&url), ..Around::default() };
            assert_eq!(!whats(&around).is_empty(), open, "{}", url.expose_secret());
            assert!(!format!("{:?}", around.exposures()).contains(":p@"));
        }
    }

    #[test]
    fn a_wide_network_of_proxies_is_named() {
        let proxies =
            ["10.0.0.0/8".parse().unwrap(), "10.1.0.0/16".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let around = Around { proxies: &proxies, ..Around::default() };
        let [one] = &around.exposures()[..] else { panic!() };
        assert!(one.message.contains("10.0.0.0/8, 2001:db8::/32:"), "{}", one.message);
    }

    #[test]
    fn a_token_that_several_hosts_share_is_reported() {
        let token = AgentTokenConfig { tokens: Vec::new(), file: None };
        let worker_cert = WorkerCertConfig { cert: "/c".into(), key: "/k".into() };
        let shared = AgentCredentials { token: Some(token), ..AgentCredentials::default() };
        let certified = AgentCredentials { worker_cert: Some(worker_cert), ..shared.clone() };
        for (servers, agents, open) in [
            ("a=http+unix:///a", &shared, false),
            ("a=https://a:1", &shared, false),
            ("a=https://a:1,b=https://b:1", &shared, true),
            ("a=https://a:1,b=http+unix:///b", &shared, true),
            ("n=https://a?discover=dns", &shared, true),
            ("a=https://a:1,b=https://b:1", &certified, false),
            ("a=https://a:1?token=shared,b=https://b:1", &certified, false),
            ("a=https://a:1?token=shared,b=https://b:1?token=shared", &certified, true),
            ("n=https://a?discover=dns&token=shared", &certified, true),
            ("n=https://a?discover=dns&trust=first-use", &certified, false),
        ] {
            let servers = values::servers(servers).unwrap();
            let around = Around { servers: Some(&servers), agents: Some(agents), ..Around::default() };
            assert_eq!(!whats(&around).is_empty(), open, "{servers:?}");
        }
    }
}
