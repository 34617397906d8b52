//! The server as an HTTP client sees it: one request, one answer, with a bound on each.
//!
//! * A token goes to the server that it is for and nowhere else: no redirect is followed, and no proxy of the environment is used.
//! * Over https the certificate authorities of the system are trusted, or those of the file in `SSL_CERT_FILE`.
//! * What may be sent again is sent again while the server cannot answer: a request that only reads, or that has an
//!   `Idempotency-Key`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::Url;

use super::calls::Request;
use super::document::Document;
use super::error::{ClientError, OF_LOGINS, Problem, is_passing};
use crate::net::http_client;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A change of a jail, or a few bans, are answered within 30 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A stream says something every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);
/// No answer of the API comes near.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const MIN_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A server, with or without a session.
pub struct Server {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    authorization: Option<HeaderValue>,
    /// Whether it has answered anything.
    answered: AtomicBool,
}

impl Server {
    /// The server at this URL.
    ///
    /// # Errors
    /// If there is no certificate authority to trust, or the token cannot be one.
    pub fn new(url: &Url, token: Option<&SecretString>) -> Result<Self, ClientError> {
        let base = url.as_str().trim_end_matches('/').to_owned();
        let builder = http_client::of(url)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .user_agent(concat!("bangui/", env!("CARGO_PKG_VERSION"), " (command line)"));
        let http =
            builder.build().map_err(|source| ClientError::Unreachable { url: base.clone(), source })?;
        let authorization = token.map(bearer).transpose()?;
        Ok(Self { http, base, authorization, answered: AtomicBool::new(false) })
    }

    /// Its URL, for people.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// If nobody answered, or the server refused.
    pub async fn ask(&self, request: &Request) -> Result<Document, ClientError> {
        let builder = self.builder(request).timeout(ANSWER_TIMEOUT);
        let response = builder.send().await.map_err(|error| self.unreachable(error))?;
        self.answered.store(true, Ordering::Relaxed);
        let (status, headers) = (response.status(), response.headers().clone());
        let text = self.read(response).await?;
        let is_fine = status.is_success();
        let value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(_) if is_fine && text.is_empty() => Value::Null,
            Err(_) => return Err(self.foreign(status, &headers)),
        };
        let document = Document { status, text, value };
        if is_fine { Ok(document) } else { Err(self.refusal(document, &headers)) }
    }

    /// Sends a request, if it may be repeated, until it is answered with something other than "not now", for as long as `patience`.
    /// A server that has never answered is not waited for.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_patiently(
        &self,
        request: &Request,
        patience: Duration,
    ) -> Result<Document, ClientError> {
        let (end, mut pause) = (Instant::now() + patience, MIN_PAUSE);
        loop {
            let error = match self.ask(request).await {
                Ok(document) => return Ok(document),
                Err(error) => error,
            };
            let was_there = self.answered.load(Ordering::Relaxed) || !error.was_not_sent();
            let wait = error.retry_after().unwrap_or(pause).mul_f64(rand::rng().random_range(0.8..1.2));
            if !request.may_be_repeated() || !error.may_pass() || !was_there || Instant::now() + wait > end {
                return Err(error);
            }
            sleep(wait).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Opens a stream of events after this one.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn open(&self, request: &Request, after: Option<&str>) -> Result<Response, ClientError> {
        let mut builder = self.builder(request);
        if let Some(after) = after {
            builder = builder.header(LAST_EVENT_ID, after);
        }
        let response = builder.send().await.map_err(|error| self.unreachable(error))?;
        self.answered.store(true, Ordering::Relaxed);
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            return Ok(response);
        }
        let text = self.read(response).await?;
        let Ok(value) = serde_json::from_str(&text) else { return Err(self.foreign(status, &headers)) };
        Err(self.refusal(Document { status, text, value }, &headers))
    }

    /// Nobody answered, or not to the end.
    pub fn unreachable(&self, source: reqwest::Error) -> ClientError {
        // Otherwise the message would contain the whole URL of the request.
        ClientError::Unreachable { url: self.base.clone(), source: source.without_url() }
    }

    fn builder(&self, request: &Request) -> reqwest::RequestBuilder {
        let mut url = format!("{}{}", self.base, request.path);
        if !request.query.is_empty() {
            let pairs = request.query.iter().map(|(name, value)| (*name, value.as_str()));
            url.push('?');
            url.push_str(&url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
        }
        let mut builder = self.http.request(request.method.clone(), url);
        if let Some(authorization) = &self.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if let Some(key) = &request.key {
            builder = builder.header(KEY, key);
        }
        match &request.body {
            Some(body) => builder.json(body),
            None => builder,
        }
    }

    async fn read(&self, mut response: Response) -> Result<String, ClientError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(self.strange(&format!("with more than {MAX_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        // What is not UTF-8 is not JSON either.
        Ok(String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".to_owned()))
    }

    fn refusal(&self, document: Document, headers: &HeaderMap) -> ClientError {
        let status = document.status;
        let request_id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        match Problem::of(document, self.base.clone(), request_id) {
            Ok(problem)
                if status == StatusCode::UNAUTHORIZED && !OF_LOGINS.contains(&problem.name.as_str()) =>
            {
                ClientError::NotLoggedIn(format!(
                    "{} does not accept the session or the token: it has ended, or is wrong. Log in with `bangui login {}`, or renew BANGUI_TOKEN if that is set",
                    self.base, self.base
                ))
            }
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => self.foreign(status, headers),
        }
    }

    fn foreign(&self, status: StatusCode, headers: &HeaderMap) -> ClientError {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let what = match location.filter(|_| status.is_redirection()) {
            Some(location) => format!("{status} to {location}"),
            None => status.to_string(),
        };
        ClientError::Foreign { url: self.base.clone(), what, is_passing: is_passing(status) }
    }

    /// It answered something that no version of bangui does.
    #[must_use]
    pub fn strange(&self, what: &str) -> ClientError {
        ClientError::Foreign { url: self.base.clone(), what: what.to_owned(), is_passing: false }
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, ClientError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
    let mut value =
        value.map_err(|_| ClientError::Usage("the token has characters that no token has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}
