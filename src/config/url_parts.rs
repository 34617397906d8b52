//! Parts that the kinds of Redis URLs share.

use url::Url;

/// The text percent-encoded, as user and password are before the `@` of a URL.
pub(super) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The text of a percent-encoded part of a URL.
pub(super) fn decoded(text: &str) -> String {
    let plain = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let mut pairs = url::form_urlencoded::parse(plain.as_bytes());
    pairs.next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

pub(super) fn check_database(text: &str) -> Result<(), String> {
    if text.is_empty() || text.parse::<u16>().is_ok() {
        return Ok(());
    }
    Err("the database must be a number; if the password contains a '/', write it as %2F".to_owned())
}

/// `host:port` of one of several hosts, with this port if it has none.
pub(super) fn host_port(text: &str, port: u16) -> Option<String> {
    let url = Url::parse(&format!("redis://{text}")).ok()?;
    let bare = url.path().is_empty() && url.query().is_none() && url.fragment().is_none();
    let host = url.host_str().filter(|host| !host.is_empty() && bare && url.username().is_empty())?;
    Some(format!("{host}:{}", url.port().unwrap_or(port)))
}

/// `user:password@`, percent-encoded, from the text before the `@`; empty if that is empty.
pub(super) fn credentials(user_info: &str) -> Option<String> {
    if user_info.is_empty() {
        return Some(String::new());
    }
    let whole = Url::parse(&format!("redis://{user_info}@h")).ok()?;
    let password = whole.password().map(|password| format!(":{password}")).unwrap_or_default();
    Some(format!("{}{password}@", whole.username()))
}

/// The same credentials with this password, which this percent-encodes.
pub(super) fn with_password(credentials: &str, password: &str) -> String {
    let user = credentials.split([':', '@']).next().unwrap_or_default();
    format!("{user}:{password}@")
}

/// The password of `user:password@`.
pub(super) fn password_of(credentials: &str) -> Option<String> {
    let (_, password) = credentials.trim_end_matches('@').split_once(':')?;
    Some(decoded(password)).filter(|password| !password.is_empty())
}
