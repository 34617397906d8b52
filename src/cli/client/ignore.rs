//! `bangui ignore`: unbans an address and never bans it again, waiting for the change of the jail however long it takes.

use std::time::Duration;

use clap::ArgMatches;
use rand::RngExt as _;
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::sleep;

use super::calls;
use super::document::Document;
use super::error::{ClientError, title_and_detail};
use super::fields;
use super::interrupts::Interrupts;
use super::output::Output;
use super::session::Session;
use crate::config::client_commands::{ADDRESS, JAIL, PERSISTENT, SERVER, is_set};
use crate::domain::{JailChangeId, JailChangeState, JailName, Network, ServerName};

/// How long the server may be away while the change is followed.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(700);

/// Changes the jail.
///
/// # Errors
/// If the server refuses, or the change fails.
pub async fn run(session: &Session, matches: &ArgMatches, output: &Output) -> Result<(), ClientError> {
    let jail = matches.get_one::<JailName>(JAIL).map(JailName::to_segment).unwrap_or_default();
    let server = matches.get_one::<ServerName>(SERVER).map(ServerName::as_str).unwrap_or_default();
    let address = matches.get_one::<Network>(ADDRESS).map(Network::to_string).unwrap_or_default();
    let persistent = is_set(matches, PERSISTENT);
    let body = json!({ "network": address, "persistent": persistent });
    let request = calls::IGNORE.of(&[server, &jail]).sending(body).once();
    let mut document = session.change(&request).await?;
    let at_once = document.status != StatusCode::ACCEPTED;
    if !at_once {
        document = follow(session, &document, output).await?;
    }
    if output.json {
        output.document(&document)?;
    }
    let state = JailChangeState::parse(fields::CHANGE_STATE.text(&document.value));
    if !at_once && state != Some(JailChangeState::Done) {
        let problem = fields::CHANGE_PROBLEM.of(&document.value);
        let words = title_and_detail(problem).join("\n");
        let what = match state {
            Some(JailChangeState::Refused) => "The change was not made",
            _ => "The change failed",
        };
        return Err(ClientError::NotDone(format!("{what}: {words}")));
    }
    if output.json {
        return Ok(());
    }
    let how_long = if persistent { "for good" } else { "until the jail's next reload" };
    output.line(&format!("{address} is not banned in {server}/{jail}, and will not be, {how_long}."))
}

/// The change, once it has ended. It ends without this command too.
async fn follow(session: &Session, begun: &Document, output: &Output) -> Result<Document, ClientError> {
    let Some(id) = JailChangeId::parse(fields::CHANGE_ID.text(&begun.value)) else {
        return Err(session.server.strange("with a change that has no id"));
    };
    let id = id.to_string();
    output
        .note("the change takes longer than 30 s: waiting. Ctrl-C stops waiting, and the change continues.");
    let mut interrupts = Interrupts::catch()?;
    let ended = async {
        loop {
            let document = session.server.ask_patiently(&calls::CHANGE.of(&[&id]), PATIENCE).await?;
            match JailChangeState::parse(fields::CHANGE_STATE.text(&document.value)) {
                Some(JailChangeState::Running) => {}
                Some(JailChangeState::NotKnown) => {
                    let why = "the outcome of the change is not known: `bangui why` with this address shows whether the list has it";
                    return Err(ClientError::NotDone(why.to_owned()));
                }
                _ => return Ok(document),
            }
            sleep(POLL_INTERVAL.mul_f64(rand::rng().random_range(0.8..1.2))).await;
        }
    };
    tokio::select! {
        ended = ended => ended,
        () = interrupts.any() => {
            Err(ClientError::NotDone("stopped waiting: the change continues. `bangui why` with this address shows whether the list has it".to_owned()))
        }
    }
}
