//! A user of one worker: anonymous, with a cookie, or with a bearer token.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, IF_MATCH, SET_COOKIE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{PASSWORD, http};

/// How a client proves its session.
#[derive(Clone)]
enum Proof {
    None,
    Cookie(String),
    Bearer(String),
}

/// A user of one worker.
#[derive(Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    proof: Proof,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    /// The body as JSON, `null` if it is not JSON.
    pub body: Value,
    /// The method and URL, for messages.
    pub asked: String,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let http = http().timeout(Duration::from_secs(20)).build().unwrap();
        Self { base: format!("http://{address}"), http, proof: Proof::None }
    }

    /// The same user at another worker.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { base: format!("http://{address}"), ..self.clone() }
    }

    /// The same user on new connections.
    pub fn renewed(&self, address: SocketAddr) -> Self {
        Self { proof: self.proof.clone(), ..Self::new(address) }
    }

    /// The same user, who sees redirects instead of following them.
    pub fn without_redirects(&self) -> Self {
        let http = http().timeout(Duration::from_secs(20)).redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().unwrap(), ..self.clone() }
    }

    /// Without any proof.
    pub fn anonymous(&self) -> Self {
        Self { proof: Proof::None, ..self.clone() }
    }

    /// With this session in the cookie.
    pub fn with_cookie(&self, token: &str) -> Self {
        Self { proof: Proof::Cookie(token.to_owned()), ..self.clone() }
    }

    /// With this session as bearer token.
    pub fn with_bearer(&self, token: &str) -> Self {
        Self { proof: Proof::Bearer(token.to_owned()), ..self.clone() }
    }

    /// A request with the proof of this client, to be completed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.proof {
            Proof::None => request,
            Proof::Cookie(token) => request.header(COOKIE, format!("bangui={token}")),
            Proof::Bearer(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        }
    }

    /// Sends a request. An error means that there was no answer.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let request = request.build()?;
        let asked = format!("{} {}", request.method(), request.url());
        let response = self.http.execute(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, headers, text, body, asked })
    }

    /// Sends a request that the worker must answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// `PATCH` with an `If-Match`.
    pub async fn patch(&self, path: &str, if_match: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).header(IF_MATCH, if_match).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    /// Logs in as the admin; returns the session's token. Tries again when too many passwords are being checked (503).
    pub async fn log_in(&self) -> String {
        loop {
            let answer = self.anonymous().post("/api/v1/session", json!({ "password": PASSWORD })).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                answer.expect(201);
                return answer.body["token"].as_str().expect("a token").to_owned();
            }
        }
    }

    /// Logs in; returns the client with the session as bearer token.
    pub async fn logged_in(&self) -> Self {
        self.with_bearer(&self.log_in().await)
    }

    /// Proves the password again: this session may make sensitive changes for five minutes.
    pub async fn confirm(&self, password: &str) -> Answer {
        loop {
            let answer = self.post("/api/v1/session/confirm", json!({ "password": password })).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
        }
    }

    /// The same client, confirmed.
    pub async fn confirmed(self) -> Self {
        self.confirm(PASSWORD).await.expect(204);
        self
    }

    /// Changes the password; returns the client with the new token of its session.
    pub async fn change_password(&self, current: &str, new: &str) -> Self {
        let answer = self.put("/api/v1/password", json!({ "current": current, "new": new })).await;
        self.with_bearer(&answer.expect(204).session_cookie())
    }
}

impl Answer {
    /// The token in the session cookie that the answer sets.
    #[track_caller]
    pub fn session_cookie(&self) -> String {
        let cookies = self.cookies();
        let token = cookies.iter().find_map(|cookie| cookie.split_once("bangui=")?.1.split(';').next());
        token.unwrap_or_else(|| panic!("{} sets no session cookie: {self:?}", self.asked)).to_owned()
    }

    /// Fails unless the status is this.
    #[track_caller]
    pub fn expect(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.asked, self.text);
        self
    }

    /// Fails unless it is a problem document with this status; returns the last part of its type.
    #[track_caller]
    pub fn problem(&self, status: u16) -> &str {
        self.expect(status);
        let kind = self.headers.get("content-type").map(|value| value.to_str().unwrap());
        assert_eq!(kind, Some("application/problem+json"), "{}: {}", self.asked, self.text);
        assert_eq!(self.body["status"], u64::from(status), "{}: {}", self.asked, self.text);
        for field in ["title", "detail"] {
            let text = self.body[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{}: no {field}: {}", self.asked, self.text);
        }
        let name = self.body["type"].as_str().and_then(|name| name.strip_prefix("urn:bangui:problem:"));
        name.unwrap_or_else(|| panic!("{}: no type: {}", self.asked, self.text))
    }

    /// The cookies it sets.
    pub fn cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }
}
