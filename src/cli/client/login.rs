//! `bangui login` and `bangui logout`.

use std::io::IsTerminal as _;

use clap::ArgMatches;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use url::Url;

use super::calls;
use super::error::{ClientError, SECOND_FACTOR_REQUIRED, WRONG_CODE};
use super::fields;
use super::kept::{Kept, Place};
use super::output::Output;
use super::password;
use super::server::Server;
use super::session::{Session, warn_of_plain_http};
use super::table::time;
use crate::config::ClientConfig;
use crate::config::client_commands::{LOGIN_URL, USERNAME};
use crate::domain::printable::printable;

/// Logs in and keeps the session; the one that was kept for the same server is ended.
///
/// # Errors
/// If the server refuses, or the login cannot be kept.
pub async fn log_in(config: &ClientConfig, matches: &ArgMatches, output: &Output) -> Result<(), ClientError> {
    let place = Place::in_folder(config.folder.as_ref())?;
    let before = match place.read() {
        Ok(before) => before,
        // A login that others may have read is replaced. Its session is not ended: it expires.
        Err(error) => {
            output.note(&format!("{error}."));
            None
        }
    };
    let named = matches.get_one::<Url>(LOGIN_URL).or(config.url.as_ref());
    let url = named.or(before.as_ref().map(|kept| &kept.url)).cloned().ok_or_else(|| {
        ClientError::Usage("name the server: `bangui login https://bangui.example`".to_owned())
    })?;
    warn_of_plain_http(&url);
    let server = Server::new(&url, None)?;
    let username = matches.get_one::<String>(USERNAME).map(String::as_str).unwrap_or_default();
    let password =
        password::read(format!("Password of {} at {}: ", printable(username), server.url())).await?;
    let body = json!({ "username": username, "password": password.expose_secret() });
    let answer = match server.ask(&calls::LOG_IN.of(&[]).sending(body)).await {
        Err(ClientError::Refused(problem)) if problem.name == SECOND_FACTOR_REQUIRED => {
            let login = fields::PROBLEM_LOGIN.text(&problem.document.value);
            second_factor(&server, login, output).await?
        }
        answer => answer?.value,
    };
    let token = fields::LOGIN_TOKEN.text(&answer);
    if token.is_empty() {
        return Err(server.strange("without a token"));
    }
    let kept = Kept { url: url.clone(), token: token.into() };
    // Checks the token before it is kept.
    Server::new(&url, Some(&kept.token))?;
    place.write(&kept)?;
    if let Some(before) = before.filter(|before| before.url == url) {
        // It may have ended already, and ends in time anyway.
        let _ = Server::new(&url, Some(&before.token))?.ask(&calls::LOG_OUT.of(&[])).await;
    }
    output.line(&format!(
        "Logged in to {} as {}, until {} at most. The session is kept in {}.",
        server.url(),
        fields::LOGIN_USERNAME.text(&answer),
        time(&[fields::LOGIN_EXPIRES.of(&answer)]),
        place.shown()
    ))?;
    if config.token.is_some() {
        output.note("BANGUI_TOKEN is set: commands use that, not this login.");
    }
    Ok(())
}

/// Asks for the second factor until it is right, or the server ends the login.
async fn second_factor(server: &Server, login: &str, output: &Output) -> Result<Value, ClientError> {
    loop {
        let code =
            password::read_code("Code of your authenticator app, or a recovery code: ".to_owned()).await?;
        let body = json!({ "login": login, "code": code.expose_secret().trim() });
        match server.ask(&calls::SECOND_FACTOR.of(&[]).sending(body)).await {
            // Standard input has one code.
            Err(error) if error.is_problem(WRONG_CODE) && std::io::stdin().is_terminal() => {
                output.note("The code is wrong, or was used before.");
            }
            answer => return Ok(answer?.value),
        }
    }
}

/// Ends the session, on every worker at once, and forgets it.
///
/// # Errors
/// If the server cannot say that the session has ended: the login is kept then.
pub async fn log_out(config: &ClientConfig, output: &Output) -> Result<(), ClientError> {
    let session = match Session::open(config) {
        Ok(session) => session,
        Err(ClientError::NotLoggedIn(_)) => return output.line("No login is kept: there is nothing to end."),
        Err(error) => return Err(error),
    };
    let ended = match session.get(&calls::LOG_OUT.of(&[])).await {
        Ok(_) => "Logged out of",
        Err(ClientError::NotLoggedIn(_)) => "The session had ended already at",
        Err(error) => {
            output.note("The session has not been ended, and is still kept.");
            return Err(error);
        }
    };
    if session.is_kept {
        Place::in_folder(config.folder.as_ref())?.remove()?;
    }
    output.line(&format!("{ended} {}.", session.server.url()))
}
