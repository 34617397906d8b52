//! Where logins are, and which pages they may lead to: our own only, so that no link to the login leads elsewhere.

use super::message::is_own;

/// The path of the login that leads back to `here`.
#[must_use]
pub fn path(here: &str, ended: bool) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if here != "/" {
        query.append_pair("next", here);
    }
    if ended {
        query.append_pair("ended", "1");
    }
    let query = query.finish();
    if query.is_empty() { "/login".to_owned() } else { format!("/login?{query}") }
}

/// The path of the login after one that waited too long for its second factor.
#[must_use]
pub(super) fn over(next: &str) -> String {
    let path = path(&own(next), false);
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}over=1")
}

/// The path, if it is one of our pages to go to; else the first page.
pub(super) fn own(next: &str) -> String {
    let leads_on =
        is_own(next) && !["/login", "/logout", "/setup", "/assets"].iter().any(|not| next.starts_with(not));
    if leads_on { next.to_owned() } else { "/".to_owned() }
}

/// The name of a path's page: its last part.
#[must_use]
pub(super) fn goal(next: &str) -> String {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default().replace('+', "%2B");
    url::form_urlencoded::parse(last.as_bytes()).next().map(|(word, _)| word.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_pages_of_our_own() {
        assert_eq!(own("/addresses/203.0.113.77?m=1"), "/addresses/203.0.113.77?m=1");
        for elsewhere in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/logout",
            "/login?next=/",
            "javascript:1",
        ] {
            assert_eq!(own(elsewhere), "/", "{elsewhere}");
        }
        assert_eq!(path("/", false), "/login");
        assert_eq!(path("/servers/a?x=1&y=2", true), "/login?next=%2Fservers%2Fa%3Fx%3D1%26y%3D2&ended=1");
    }

    #[test]
    fn the_goal_is_named_by_the_last_part_of_its_path() {
        assert_eq!(goal("/addresses/203.0.113.0%2F24?x=1"), "203.0.113.0/24");
        assert_eq!(goal("/"), "");
    }
}
