//! A page: a template, rendered, with the policy of pages.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::form::Errors;
use crate::http::error::Problem;

/// What a page may load and do: its own style and scripts, and no script may turn text into markup.
pub const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'",
);

/// A page to send. `T` has the field `shell`, which `layout.html` shows.
pub struct Page<T> {
    template: T,
    status: StatusCode,
    errors: Errors,
}

/// Marks a page that must be shown whole, not patched into the present one: our script lets the browser send the form itself.
#[derive(Clone, Copy)]
pub struct Whole;

/// Marks the page that asks for the second factor of a login: our script asks for it in place.
#[derive(Clone)]
pub struct AsksFactor {
    /// By which the login continues.
    pub login: String,
    /// Whether a passkey can be used.
    pub passkeys: bool,
}

impl<T> Page<T> {
    /// A page with status 200.
    pub fn new(template: T) -> Self {
        Self { template, status: StatusCode::OK, errors: Errors::default() }
    }

    /// The page of a refused form, with what was typed, and the errors beside its fields.
    pub fn refused(template: T, errors: Errors) -> Self {
        Self { template, status: StatusCode::UNPROCESSABLE_ENTITY, errors }
    }

    /// With another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl<T: Template> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let html = match self.template.render() {
            Ok(html) => html,
            Err(error) => {
                return Problem::internal(format!("a page cannot be rendered: {error}")).into_response();
            }
        };
        let mut response = (self.status, axum::response::Html(html)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if !self.errors.is_empty() {
            response.extensions_mut().insert(self.errors);
        }
        response
    }
}
