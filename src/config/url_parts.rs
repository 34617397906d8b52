//! Parts that both kinds of Redis URLs share.

/// Percent-encoded, as user and password are before the `@` of a URL.
pub(super) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// As it was before it was put into a URL.
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
