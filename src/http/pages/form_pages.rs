//! When a browser requests the URL of a form, by a reload or from its history, it is redirected to the page of the form.
//!
//! Without this, a user who reloads after a refused form would get "Method not allowed".

use axum::http::Uri;
use axum::response::Response;

use super::message::see_other;

/// Redirects to the page of a form.
pub async fn show(uri: Uri) -> Response {
    see_other(&page_of(uri.path()))
}

/// The path of the page that the form with this path is on.
#[must_use]
pub fn page_of(form: &str) -> String {
    match form {
        "/confirm" | "/logout" => return "/".to_owned(),
        "/undo" => return "/activity".to_owned(),
        // The page and its form have the same path.
        "/settings" => return form.to_owned(),
        "/setup/never-ban" => return "/setup/next".to_owned(),
        _ => {}
    }
    if form.starts_with("/jobs/") {
        return "/jobs".to_owned();
    }
    match form.rsplit_once('/') {
        Some((page, _)) if page.starts_with('/') && !page.starts_with("//") => page.to_owned(),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_the_page_that_it_is_on() {
        for (form, page) in [
            ("/confirm", "/"),
            ("/logout", "/"),
            ("/undo", "/activity"),
            ("/setup/never-ban", "/setup/next"),
            ("/settings", "/settings"),
            ("/account/sessions", "/account"),
            ("/account/password", "/account"),
            ("/jobs/0123456789abcdef0123456789abcdef/cancel", "/jobs"),
            ("/addresses/203.0.113.0%2F24/unban", "/addresses/203.0.113.0%2F24"),
            ("/servers/web-1/probe", "/servers/web-1"),
            ("/servers/web-1/jails/ssh%20ddos/unban-all", "/servers/web-1/jails/ssh%20ddos"),
            ("//evil.example/x", "/"),
            ("x", "/"),
        ] {
            assert_eq!(page_of(form), page, "{form}");
        }
    }
}
