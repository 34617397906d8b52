//! The server that a command asks, with a session: named by `BANGUI_URL` and `BANGUI_TOKEN`, or by the last login.
//!
//! A token is sent to no server but its own: the kept one only to the URL that it was issued for, and the one in `BANGUI_TOKEN`
//! only to `BANGUI_URL`.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use url::Url;

use super::calls::{self, Request};
use super::document::Document;
use super::error::{CONFIRMATION_REQUIRED, ClientError};
use super::kept::{Place, is_api_token};
use super::password;
use super::server::Server;
use crate::config::{ClientConfig, values};

/// How long a change is sent again while the server cannot answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks which server.
pub struct Session {
    /// The server.
    pub server: Server,
    /// Whether it is the one that is kept.
    pub is_kept: bool,
    /// Whether it is no session but a token for programs.
    pub is_api_token: bool,
}

impl Session {
    /// Finds the server and the token.
    ///
    /// # Errors
    /// If there is none, or the kept login cannot be used.
    pub fn open(config: &ClientConfig) -> Result<Self, ClientError> {
        if let (Some(url), Some(token)) = (&config.url, &config.token) {
            return Self::at(url, token, false);
        }
        let kept = config
            .folder
            .as_ref()
            .map(|folder| Place::in_folder(Some(folder))?.read())
            .transpose()?
            .flatten();
        match (&config.url, kept) {
            (None, Some(kept)) => Self::at(&kept.url, &kept.token, true),
            (Some(url), Some(kept)) if *url == kept.url => Self::at(url, &kept.token, true),
            (Some(url), _) => {
                let shown = url.as_str().trim_end_matches('/');
                Err(ClientError::NotLoggedIn(format!(
                    "no login at {shown} is kept. Log in with `bangui login {shown}`, or set BANGUI_TOKEN_FILE"
                )))
            }
            (None, None) => Err(ClientError::NotLoggedIn(
                "log in with `bangui login URL`, or set BANGUI_URL and BANGUI_TOKEN_FILE".to_owned(),
            )),
        }
    }

    fn at(url: &Url, token: &SecretString, is_kept: bool) -> Result<Self, ClientError> {
        warn_of_plain_http(url);
        Ok(Self { server: Server::new(url, Some(token))?, is_kept, is_api_token: is_api_token(token) })
    }

    /// Asks for something that changes nothing.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn get(&self, request: &Request) -> Result<Document, ClientError> {
        self.server.ask(request).await
    }

    /// Asks for a change. If it needs the password again, asks for that and sends the request once more.
    ///
    /// # Errors
    /// As [`Server::ask`].
    pub async fn change(&self, request: &Request) -> Result<Document, ClientError> {
        match self.server.ask_patiently(request, PATIENCE).await {
            Err(error) if error.is_problem(CONFIRMATION_REQUIRED) => {
                let prompt = format!("{} needs your password again: ", self.server.url());
                // Without a terminal the refusal says what to do.
                let Ok(password) = password::ask(prompt).await else { return Err(error) };
                let body = json!({ "password": password.expose_secret() });
                self.server.ask(&calls::CONFIRM.of(&[]).sending(body)).await?;
                self.server.ask_patiently(request, PATIENCE).await
            }
            answered => answered,
        }
    }
}

/// Warns on stderr that anyone on the network path may read and change everything.
pub fn warn_of_plain_http(url: &Url) {
    if url.scheme() == "http" && !values::is_loopback(url) {
        eprintln!(
            "bangui: warning: {} is not encrypted: anyone on the network path can read the password and the session. Use https://",
            url.as_str().trim_end_matches('/')
        );
    }
}
