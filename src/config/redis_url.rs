//! `BANGUI_REDIS_URL`, and how passwords inside URLs are hidden.
//!
//! The URL is kept as text and passed to the Redis client unchanged, except that `password=` of a unix
//! socket's URL becomes `pass=`, the name that the client knows.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::cluster_url::ClusterUrl;
use super::sentinel_url::SentinelUrl;
use super::url_parts::{check_database, decoded, encoded};

const FORMS: &str = "must be redis://[user:password@]host[:port][/db], the same with rediss:// for TLS, \
                     redis+unix:///path?db=N&password=..., redis+sentinel://[user:password@]host,host/NAME[/db], or \
                     redis+cluster://[user:password@]host,host";

/// Checks the URL.
///
/// # Errors
/// Says what is allowed, without the value.
pub fn parse(text: &str) -> Result<SecretString, String> {
    if let Some(sentinels) = SentinelUrl::parse(text) {
        return sentinels.map(|url| url.text().into());
    }
    if let Some(cluster) = ClusterUrl::parse(text) {
        return cluster.map(|url| url.text().into());
    }
    let url = Url::parse(text).map_err(|error| format!("{FORMS} ({error})"))?;
    match url.scheme() {
        "redis" | "rediss" => check_tcp(&url).map(|()| text.into()),
        "redis+unix" => unix(url),
        _ => Err(FORMS.to_owned()),
    }
}

/// Replaces the password of the URL: one from a file may have characters that nobody would percent-encode by hand.
#[must_use]
pub fn with_password(url: &SecretString, password: &SecretString) -> SecretString {
    let password = password.expose_secret();
    if let Some(Ok(sentinels)) = SentinelUrl::parse(url.expose_secret()) {
        return sentinels.with_password(password).text().into();
    }
    if let Some(Ok(cluster)) = ClusterUrl::parse(url.expose_secret()) {
        return cluster.with_password(password).text().into();
    }
    let Ok(mut parsed) = Url::parse(url.expose_secret()) else { return url.clone() };
    if parsed.scheme() == "redis+unix" {
        let others: Vec<(String, String)> = parsed
            .query_pairs()
            .filter(|(key, _)| key != "pass")
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        parsed.query_pairs_mut().clear().extend_pairs(others).append_pair("pass", password);
    } else if parsed.set_password(Some(&encoded(password))).is_err() {
        return url.clone(); // Only a URL without a host has none, and that was refused.
    }
    String::from(parsed).into()
}

/// Every password in the URL: for Redis and for the Sentinels.
pub(super) fn passwords(url: &SecretString) -> Vec<String> {
    if let Some(Ok(sentinels)) = SentinelUrl::parse(url.expose_secret()) {
        return sentinels.passwords();
    }
    if let Some(Ok(cluster)) = ClusterUrl::parse(url.expose_secret()) {
        return cluster.passwords();
    }
    let Ok(parsed) = Url::parse(url.expose_secret()) else { return Vec::new() };
    let named =
        parsed.query_pairs().filter(|(key, _)| key == "pass").map(|(_, password)| password.into_owned());
    named.chain(parsed.password().map(decoded)).filter(|password| !password.is_empty()).collect()
}

fn check_tcp(url: &Url) -> Result<(), String> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("has no host; {FORMS}"));
    }
    check_database(url.path().trim_matches('/'))?;
    check_query(url, &["protocol"])?;
    if url.fragment().is_some() {
        return Err("must not have a fragment; if the password contains a '#', write it as %23".to_owned());
    }
    Ok(())
}

fn unix(mut url: Url) -> Result<SecretString, String> {
    let path = url.to_file_path().unwrap_or_default();
    if url.host_str().is_some_and(|host| !host.is_empty())
        || !path.is_absolute()
        || path.as_os_str().len() < 2
    {
        return Err("must have three slashes before the path: redis+unix:///path".to_owned());
    }
    check_query(&url, &["db", "user", "pass", "password", "protocol"])?;
    let pairs: Vec<(String, String)> =
        url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    for (_, value) in pairs.iter().filter(|(key, _)| key == "db") {
        check_database(value)?;
    }
    url.set_query(None);
    for (key, value) in pairs {
        url.query_pairs_mut().append_pair(if key == "password" { "pass" } else { &key }, &value);
    }
    Ok(String::from(url).into())
}

fn check_query(url: &Url, known: &[&str]) -> Result<(), String> {
    match url.query_pairs().find(|(key, _)| !known.contains(&key.as_ref())) {
        Some(_) => Err(format!("has a parameter after '?' other than {}", known.join(", "))),
        None => Ok(()),
    }
}

/// The value without secrets: whatever could be a password inside a URL becomes `***`. It is used on invalid values, so it
/// does not rely on their syntax, and hides too much rather than too little.
#[must_use]
pub fn hide_passwords(text: &str) -> String {
    let (shown, query) = match text.split_once('?') {
        Some((before, query)) if !query.contains('@') => (before, Some(query)),
        _ => (text, None),
    };
    let (scheme, rest) = shown.split_once("://").map_or(("", shown), |(scheme, rest)| (scheme, rest));
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => hide_strange_port(rest),
    };
    let separator = if scheme.is_empty() { "" } else { "://" };
    let query = query.map(hide_query).unwrap_or_default();
    format!("{scheme}{separator}{rest}{query}")
}

/// `redis://:secret`, which lacks its host, looks like a port that is not a number.
fn hide_strange_port(rest: &str) -> String {
    let authority = rest.find(['/', ',']).map_or(rest, |end| rest.get(..end).unwrap_or(rest));
    match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') && !port.chars().all(|c| c.is_ascii_digit()) => {
            format!("{host}:***")
        }
        _ => rest.to_owned(),
    }
}

fn hide_query(query: &str) -> String {
    let hidden = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, value)) if !matches!(key, "db" | "protocol") || value.len() > 8 => format!("{key}=***"),
        _ => pair.to_owned(),
    });
    format!("?{}", hidden.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separate_password_replaces_the_one_in_the_url() {
        for (url, expected) in [
            ("redis://h:6379/1", "redis://:p%40%2F%25w@h:6379/1"),
            ("rediss://user:old@h", "rediss://user:p%40%2F%25w@h"),
            ("redis+unix:///run/r.sock?db=1&password=old", "redis+unix:///run/r.sock?db=1&pass=p%40%2F%25w"),
            ("redis+sentinel://user:old@a,b/m", "redis+sentinel://user:p%40%2F%25w@a:26379,b:26379/m/"),
            ("redis+sentinel://a/m/1", "redis+sentinel://:p%40%2F%25w@a:26379/m/1"),
            ("rediss+cluster://user:old@a,b:1", "rediss+cluster://user:p%40%2F%25w@a:6379,b:1"),
        ] {
            let joined = with_password(&parse(url).unwrap(), &"p@/%w".into());
            assert_eq!(joined.expose_secret(), expected);
        }
    }

    #[test]
    fn the_forms_of_one_redis_are_taken_as_the_client_knows_them() {
        for same in [
            "redis://localhost",
            "redis://:p%23w@10.0.0.1:6379/3",
            "redis://user:pw@[::1]:6380",
            "rediss://redis.example.org",
            "redis+unix:///run/redis.sock",
            "redis+unix:///run/redis.sock?db=2&pass=x",
        ] {
            assert_eq!(parse(same).unwrap().expose_secret(), same);
        }
        let unix = parse("redis+unix:///run/redis.sock?db=2&password=a%26b").unwrap();
        assert_eq!(unix.expose_secret(), "redis+unix:///run/redis.sock?db=2&pass=a%26b");
    }

    #[test]
    fn every_password_is_found() {
        for (url, expected) in [
            ("redis://h:6379/1", vec![]),
            ("redis://user@h", vec![]),
            ("rediss://user:p%40w@h", vec!["p@w"]),
            ("redis+unix:///run/r.sock?db=1", vec![]),
            ("redis+unix:///run/r.sock?password=p%26w", vec!["p&w"]),
            ("redis+sentinel://a,b/m", vec![]),
            ("redis+sentinel://u:p@a,b/m?sentinel_user=s&sentinel_password=q%2B", vec!["p", "q+"]),
            ("redis+cluster://a,b", vec![]),
            ("rediss+cluster://u:p%40w@a,b", vec!["p@w"]),
        ] {
            assert_eq!(passwords(&parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "localhost:6379",
            "localhost",
            "http://localhost",
            "redis://",
            "redis:///3",
            "redis://host/x",
            "redis://host:99999",
            "redis://host?password=x",
            "redis://host/0#x",
            "redis+unix://run/redis.sock",
            "redis+unix:///",
            "redis+unix:///run/x?db=-1",
            "redis+unix:///run/x?auth=s",
            "redis+sentinel://a,b",
            "redis+cluster://a,b/1",
            "unix:///run/redis.sock",
        ] {
            assert!(parse(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn no_password_is_shown_however_badly_the_url_is_formed() {
        for (value, shown) in [
            ("redis://localhost:6379/x", "redis://localhost:6379/x"),
            ("redis://:hunter2@h/x", "redis://***@h/x"),
            ("redis://user:hun/ter2?@h", "redis://***@h"),
            ("redis://:hunter2", "redis://:***"),
            ("user:hunter2@host", "***@host"),
            ("host:hunter2", "host:***"),
            ("redis://[::1]", "redis://[::1]"),
            ("redis+unix:///run/x?db=1&password=hunter2", "redis+unix:///run/x?db=1&password=***"),
            ("redis+unix:///run/x?db=hunter2hunter2", "redis+unix:///run/x?db=***"),
            (
                "redis+sentinel://u:hunter2@a:1,b/x?sentinel_password=hunter2",
                "redis+sentinel://***@a:1,b/x?sentinel_password=***",
            ),
            ("redis+cluster://u:hunter2@a:1,b/x", "redis+cluster://***@a:1,b/x"),
            ("redis+cluster://:hunter2/x,b", "redis+cluster://:***"),
            ("a=https://u:hunter2,w@host:1", "a=https://***@host:1"),
            ("a=https://x:1,b=ftp://y:2", "a=https://x:1,b=ftp://y:2"),
            ("plain", "plain"),
        ] {
            assert_eq!(hide_passwords(value), shown);
        }
    }
}
