//! `redis+sentinel://[user:password@]host[:port],host[:port],.../NAME[/db][?sentinel_user=U&sentinel_password=P]`.
//!
//! The credentials before the hosts are for Redis; those for the Sentinels, if they need any, follow the `?`.
//! `rediss+sentinel://` uses TLS to the Sentinels and to Redis.

use super::url_parts::{check_database, credentials, encoded, host_port, password_of, with_password};

const FORM: &str = "must be redis+sentinel://[user:password@]host[:port],host[:port],.../NAME[/db], \
                    the same with rediss+sentinel:// for TLS";
const PORT: u16 = 26_379;

/// The parts of the URL. Contains passwords, so it has no `Debug`.
#[derive(Clone)]
pub struct SentinelUrl {
    scheme: &'static str,
    /// `user:password@`, percent-encoded, or nothing.
    credentials: String,
    /// The same for the Sentinels.
    sentinel_credentials: String,
    /// `host:port` of each.
    sentinels: Vec<String>,
    name: String,
    database: String,
}

impl SentinelUrl {
    /// Parses the URL; `None` if it has another scheme.
    ///
    /// # Errors
    /// Says what is allowed, without the value.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme {
            "redis+sentinel" => "redis",
            "rediss+sentinel" => "rediss",
            _ => return None,
        };
        Some(parts(scheme, rest))
    }

    /// The name under which the Sentinels know the primary.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `host:port` of each Sentinel.
    #[must_use]
    pub fn sentinels(&self) -> &[String] {
        &self.sentinels
    }

    /// The URL of a Sentinel as a Redis client takes it.
    #[must_use]
    pub fn sentinel(&self, address: &str) -> String {
        format!("{}://{}{address}", self.scheme, self.sentinel_credentials)
    }

    /// The URL of the primary at this `host:port`.
    #[must_use]
    pub fn primary(&self, address: &str) -> String {
        format!("{}://{}{address}/{}", self.scheme, self.credentials, self.database)
    }

    /// The same with this password for Redis.
    pub(super) fn with_password(mut self, password: &str) -> Self {
        self.credentials = with_password(&self.credentials, &encoded(password));
        self
    }

    /// The passwords for Redis and for the Sentinels, if there are any.
    pub(super) fn passwords(&self) -> Vec<String> {
        [&self.credentials, &self.sentinel_credentials].into_iter().filter_map(|of| password_of(of)).collect()
    }

    /// The URL as text, for [`Self::parse`].
    pub(super) fn text(&self) -> String {
        let Self { scheme, credentials, sentinel_credentials, sentinels, name, database } = self;
        let mut text = format!("{scheme}+sentinel://{credentials}{}/{name}/{database}", sentinels.join(","));
        if let Some((user, password)) =
            sentinel_credentials.strip_suffix('@').and_then(|both| both.split_once(':'))
        {
            text.push_str(&format!("?sentinel_user={user}&sentinel_password={password}"));
        }
        text
    }
}

fn parts(scheme: &'static str, rest: &str) -> Result<SentinelUrl, String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) =
        rest.split_once('/').ok_or_else(|| format!("has no name of a primary; {FORM}"))?;
    let (user_info, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (name, database) =
        path.trim_end_matches('/').split_once('/').unwrap_or((path.trim_end_matches('/'), ""));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(format!(
            "the name of the primary must consist of A-Z, a-z, 0-9, '_', '.' and '-'; {FORM}"
        ));
    }
    check_database(database)?;
    let sentinels = hosts.split(',').map(sentinel).collect::<Result<Vec<_>, _>>()?;
    let credentials = credentials(user_info).ok_or_else(|| FORM.to_owned())?;
    let sentinel_credentials = sentinel_credentials(query)?;
    let (name, database) = (name.to_owned(), database.to_owned());
    Ok(SentinelUrl { scheme, credentials, sentinel_credentials, sentinels, name, database })
}

fn sentinel(text: &str) -> Result<String, String> {
    host_port(text, PORT).ok_or_else(|| format!("one of the Sentinels is not host[:port]; {FORM}"))
}

fn sentinel_credentials(query: &str) -> Result<String, String> {
    let (mut user, mut password) = (String::new(), None);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "sentinel_user" => user = value.into_owned(),
            "sentinel_password" => password = Some(value.into_owned()),
            _ => {
                return Err(
                    "has a parameter after '?' other than sentinel_user, sentinel_password".to_owned()
                );
            }
        }
    }
    match password {
        Some(password) => Ok(format!("{}:{}@", encoded(&user), encoded(&password))),
        None if user.is_empty() => Ok(String::new()),
        None => Err("has a sentinel_user without a sentinel_password".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> SentinelUrl {
        SentinelUrl::parse(text).unwrap().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn sentinels_name_and_credentials_are_found() {
        let url = parsed(
            "redis+sentinel://user:p%40w@a,b:26380,[::1]:5/main/3?sentinel_user=s&sentinel_password=x%2Fy",
        );
        assert_eq!(url.sentinels(), ["a:26379", "b:26380", "[::1]:5"]);
        assert_eq!(url.name(), "main");
        assert_eq!(url.primary("10.0.0.1:6379"), "redis://user:p%40w@10.0.0.1:6379/3");
        assert_eq!(url.sentinel("a:26379"), "redis://s:x%2Fy@a:26379");
        let plain = parsed("rediss+sentinel://a/main");
        assert_eq!(plain.primary("h:1"), "rediss://h:1/");
        assert_eq!(plain.sentinel("a:26379"), "rediss://a:26379");
    }

    #[test]
    fn the_text_of_a_url_is_parsed_to_the_same() {
        for (text, again) in [
            ("redis+sentinel://a,b:1/main", "redis+sentinel://a:26379,b:1/main/"),
            (
                "redis+sentinel://:p@a/m/2?sentinel_password=%25+x",
                "redis+sentinel://:p@a:26379/m/2?sentinel_user=&sentinel_password=%25%20x",
            ),
        ] {
            assert_eq!(parsed(text).text(), again);
            assert_eq!(parsed(again).text(), again);
        }
    }

    #[test]
    fn any_other_url_is_refused_or_is_not_a_sentinels() {
        for bad in [
            "redis+sentinel://",
            "redis+sentinel://a",
            "redis+sentinel:///main",
            "redis+sentinel://a,/main",
            "redis+sentinel://a:b/main",
            "redis+sentinel://a/",
            "redis+sentinel://a/ma in",
            "redis+sentinel://a/main/x",
            "redis+sentinel://a/main/1/2",
            "redis+sentinel://a/main?sentinel_user=x",
            "redis+sentinel://a/main?password=x",
        ] {
            assert!(SentinelUrl::parse(bad).unwrap().is_err(), "{bad} was taken");
        }
        assert!(SentinelUrl::parse("redis://a/main").is_none());
    }
}
