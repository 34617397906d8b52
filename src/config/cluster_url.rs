//! `redis+cluster://[user:password@]host[:port],host[:port],...[/0]`: some nodes of a Redis Cluster. One that answers is enough to
//! find the others.
//!
//! `rediss+cluster://` uses TLS to all nodes. All nodes have the same credentials. A cluster has database 0 only.

use super::url_parts::{credentials, encoded, host_port, password_of, with_password};

const FORM: &str = "must be redis+cluster://[user:password@]host[:port],host[:port],..., \
                    the same with rediss+cluster:// for TLS";
const PORT: u16 = 6_379;

/// The parts of the URL. Contains a password, so it has no `Debug`.
#[derive(Clone)]
pub struct ClusterUrl {
    scheme: &'static str,
    /// `user:password@`, percent-encoded, or nothing.
    credentials: String,
    /// `host:port` of each.
    seeds: Vec<String>,
}

impl ClusterUrl {
    /// Parses the URL; `None` if it has another scheme.
    ///
    /// # Errors
    /// Says what is allowed, without the value.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme {
            "redis+cluster" => "redis",
            "rediss+cluster" => "rediss",
            _ => return None,
        };
        Some(parts(scheme, rest))
    }

    /// `host:port` of each node that the URL names.
    #[must_use]
    pub fn seeds(&self) -> &[String] {
        &self.seeds
    }

    /// The URL of the node at this `host:port` as a Redis client takes it.
    #[must_use]
    pub fn node(&self, address: &str) -> String {
        format!("{}://{}{address}", self.scheme, self.credentials)
    }

    /// Whether the nodes speak TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.scheme == "rediss"
    }

    /// The same with this password.
    pub(super) fn with_password(mut self, password: &str) -> Self {
        self.credentials = with_password(&self.credentials, &encoded(password));
        self
    }

    /// The password, if there is one.
    pub(super) fn passwords(&self) -> Vec<String> {
        password_of(&self.credentials).into_iter().collect()
    }

    /// The URL as text, for [`Self::parse`].
    pub(super) fn text(&self) -> String {
        format!("{}+cluster://{}{}", self.scheme, self.credentials, self.seeds.join(","))
    }
}

fn parts(scheme: &'static str, rest: &str) -> Result<ClusterUrl, String> {
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    if query.is_some() {
        return Err(format!("must have nothing after a '?'; {FORM}"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match path.trim_end_matches('/') {
        "" | "0" => {}
        other if other.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(format!("names a database, and a Redis Cluster has database 0 only; {FORM}"));
        }
        _ => return Err(format!("must have nothing after the hosts; {FORM}")),
    }
    let (user_info, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let seed =
        |text| host_port(text, PORT).ok_or_else(|| format!("one of the nodes is not host[:port]; {FORM}"));
    let seeds = hosts.split(',').map(seed).collect::<Result<Vec<_>, _>>()?;
    let credentials = credentials(user_info).ok_or_else(|| FORM.to_owned())?;
    Ok(ClusterUrl { scheme, credentials, seeds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ClusterUrl {
        ClusterUrl::parse(text).unwrap().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn nodes_and_credentials_are_found() {
        let url = parsed("redis+cluster://user:p%40w@a,b:7000,[::1]:5/0");
        assert_eq!(url.seeds(), ["a:6379", "b:7000", "[::1]:5"]);
        assert_eq!(url.node("10.0.0.1:6379"), "redis://user:p%40w@10.0.0.1:6379");
        assert!(!url.has_tls());
        let tls = parsed("rediss+cluster://endpoint.example.org");
        assert_eq!(tls.node("h:1"), "rediss://h:1");
        assert!(tls.has_tls());
    }

    #[test]
    fn the_text_of_a_url_is_parsed_to_the_same() {
        for (text, again) in [
            ("redis+cluster://a,b:1", "redis+cluster://a:6379,b:1"),
            ("rediss+cluster://:p@a/", "rediss+cluster://:p@a:6379"),
        ] {
            assert_eq!(parsed(text).text(), again);
            assert_eq!(parsed(again).text(), again);
        }
    }

    #[test]
    fn any_other_url_is_refused_or_is_not_a_clusters() {
        for bad in [
            "redis+cluster://",
            "redis+cluster:///0",
            "redis+cluster://a,",
            "redis+cluster://a:b",
            "redis+cluster://a/x",
            "redis+cluster://a/0/0",
            "redis+cluster://a?protocol=resp3",
        ] {
            assert!(ClusterUrl::parse(bad).unwrap().is_err(), "{bad} was taken");
        }
        let error = ClusterUrl::parse("redis+cluster://:secret@a/3").unwrap().map(|_| ()).unwrap_err();
        assert!(error.contains("database 0 only") && !error.contains("secret"), "{error}");
        assert!(ClusterUrl::parse("redis://a").is_none());
        assert!(ClusterUrl::parse("redis+sentinel://a/m").is_none());
    }
}
