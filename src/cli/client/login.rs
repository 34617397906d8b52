//! `bangui login` and `bangui logout`.
//!
//! A login is a session, begun with a password; or, for accounts that have none, a token that its user has made on the page of the account
//! and enters here. Both are kept in the same file.

use std::io::IsTerminal as _;

use clap::ArgMatches;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::calls;
use super::error::{ClientError, PASSWORD_LOGIN_OFF, SECOND_FACTOR_REQUIRED, WRONG_CODE};
use super::fields;
use super::kept::{Kept, Place, is_api_token};
use super::output::Output;
use super::password;
use super::server::Server;
use super::session::{Session, warn_of_plain_http};
use super::table::time;
use crate::config::ClientConfig;
use crate::config::client_commands::{LOGIN_URL, TOKEN, USERNAME, is_set};
use crate::domain::printable::printable;

/// What a login is kept as, and what is said about it.
struct Begun {
    token: SecretString,
    username: String,
    until: String,
}

/// Logs in and keeps the session, or the token; the session that was kept for the same server is ended.
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
        ClientError::Usage("name the URL of bangui: `bangui login https://bangui.example`".to_owned())
    })?;
    warn_of_plain_http(&url);
    let server = Server::new(&url, None)?;
    let begun = if is_set(matches, TOKEN) {
        with_token(&url, &server).await?
    } else {
        let username = matches.get_one::<String>(USERNAME).map(String::as_str).unwrap_or_default();
        match with_password(&server, username, output).await {
            Err(error) if error.is_problem(PASSWORD_LOGIN_OFF) && std::io::stdin().is_terminal() => {
                output.note(&format!(
                    "Passwords are switched off at {} for all accounts but one. Make a token on the page of your account, {}/account, and \
                     enter it here.",
                    server.url(),
                    server.url()
                ));
                with_token(&url, &server).await?
            }
            answer => answer?,
        }
    };
    let Begun { token, username, until } = begun;
    let kept = Kept { url: url.clone(), token };
    // Checks the token before it is kept.
    Server::new(&url, Some(&kept.token))?;
    place.write(&kept)?;
    if let Some(before) = before.filter(|before| is_ended_by(before, &kept)) {
        // It may have ended already, and ends in time anyway.
        let _ = Server::new(&url, Some(&before.token))?.ask(&calls::LOG_OUT.of(&[])).await;
    }
    let what = if is_api_token(&kept.token) { "token" } else { "session" };
    output.line(&format!(
        "Logged in to {} as {username}, until {until} at most. The {what} is kept in {}.",
        server.url(),
        place.shown()
    ))?;
    if config.token.is_some() {
        output.note("BANGUI_TOKEN is set: commands use that, not this login.");
    }
    Ok(())
}

/// Whether what was kept before is a session that a new login at the same server ends.
fn is_ended_by(before: &Kept, new: &Kept) -> bool {
    let is_same = before.token.expose_secret() == new.token.expose_secret();
    before.url == new.url && !is_same && !is_api_token(&before.token)
}

/// Asks for the password, and for the second factor if there is one.
async fn with_password(server: &Server, username: &str, output: &Output) -> Result<Begun, ClientError> {
    let password =
        password::read(format!("Password of {} at {}: ", printable(username), server.url())).await?;
    let body = json!({ "username": username, "password": password.expose_secret() });
    let answer = match server.ask(&calls::LOG_IN.of(&[]).sending(body)).await {
        Err(ClientError::Refused(problem)) if problem.name == SECOND_FACTOR_REQUIRED => {
            let login = fields::PROBLEM_LOGIN.text(&problem.document.value);
            second_factor(server, login, output).await?
        }
        answer => answer?.value,
    };
    let token = fields::LOGIN_TOKEN.text(&answer);
    if token.is_empty() {
        return Err(server.strange("without a token"));
    }
    Ok(Begun {
        token: token.into(),
        username: fields::LOGIN_USERNAME.text(&answer).to_owned(),
        until: time(&[fields::LOGIN_EXPIRES.of(&answer)]),
    })
}

/// Asks for a token, and the server whose it is.
async fn with_token(url: &Url, server: &Server) -> Result<Begun, ClientError> {
    let token = password::read_token(format!("Token for {}: ", server.url())).await?;
    let asked = Server::new(url, Some(&token))?.ask(&calls::SESSION.of(&[])).await;
    let answer = asked.map_err(|error| match error {
        ClientError::NotLoggedIn(_) => ClientError::NotLoggedIn(format!(
            "{url} does not accept this token: it may be cut off, or was revoked, or has expired. Make another on the page of your account, \
             {url}/account; nothing is kept of this one",
            url = server.url()
        )),
        error => error,
    })?;
    Ok(Begun {
        token,
        username: fields::SESSION_USERNAME.text(&answer.value).to_owned(),
        until: time(&[fields::SESSION_EXPIRES.of(&answer.value)]),
    })
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

/// Ends the session, on every worker at once, and forgets it. A token is only forgotten.
///
/// # Errors
/// If the server cannot say that the session has ended: the login is kept then.
pub async fn log_out(config: &ClientConfig, output: &Output) -> Result<(), ClientError> {
    let session = match Session::open(config) {
        Ok(session) => session,
        Err(ClientError::NotLoggedIn(_)) => return output.line("No login is kept: there is nothing to end."),
        Err(error) => return Err(error),
    };
    if session.is_kept && session.is_api_token {
        Place::in_folder(config.folder.as_ref())?.remove()?;
        let url = session.server.url();
        return output.line(&format!(
            "The token for {url} is not kept any more. It stays valid until you revoke it on the page of your account, {url}/account."
        ));
    }
    let ended = match session.get(&calls::LOG_OUT.of(&[])).await {
        Ok(_) => "Logged out of",
        Err(ClientError::NotLoggedIn(_)) => "The session had ended already at",
        Err(error) => {
            output.note(&match (session.is_api_token, session.is_kept) {
                (true, _) => format!(
                    "A logout does not end the token in BANGUI_TOKEN: revoke it on the page of your account, {}/account.",
                    session.server.url()
                ),
                (false, true) => "The session has not been ended, and is still kept.".to_owned(),
                (false, false) => "The session has not been ended.".to_owned(),
            });
            return Err(error);
        }
    };
    if session.is_kept {
        Place::in_folder(config.folder.as_ref())?.remove()?;
    }
    output.line(&format!("{ended} {}.", session.server.url()))
}
