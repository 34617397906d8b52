//! `bangui ban` and `bangui unban`: a few addresses at once, more as ban jobs, one after the other.

use clap::ArgMatches;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::addresses;
use super::calls;
use super::columns;
use super::document::Document;
use super::error::ClientError;
use super::fields;
use super::interrupts::Interrupts;
use super::job::{self, OnInterrupt};
use super::output::Output;
use super::session::Session;
use crate::config::client_commands::{CANCEL_ON_INTERRUPT, FORCE, JAIL, NO_WAIT, SERVER, is_set};
use crate::domain::ban_job::MAX_JOB_ADDRESSES;
use crate::domain::{BanAction, BanJobId, JailName, Network, ServerName};

/// Bans or unbans; done only if every address is as requested.
///
/// # Errors
/// If an address is wrong, the server refuses, or not all was done.
pub async fn run(
    session: &Session,
    action: BanAction,
    matches: &ArgMatches,
    output: &Output,
) -> Result<(), ClientError> {
    let addresses = addresses::read(matches)?;
    let mut interrupts = Interrupts::catch()?;
    let (mut left, mut failures) = (addresses.len(), Vec::new());
    for part in addresses.chunks(MAX_JOB_ADDRESSES) {
        left -= part.len();
        let sent = send(session, action, matches, part, &mut interrupts, output).await;
        if sent.is_err() && left > 0 {
            output.note(&format!("Addresses that were not sent: {left}."));
        }
        failures.extend(sent?);
    }
    ClientError::unless_done((!failures.is_empty()).then(|| failures.join("; ")))
}

/// Sends as many addresses as one request may have. Returns what is not as requested, in words.
async fn send(
    session: &Session,
    action: BanAction,
    matches: &ArgMatches,
    addresses: &[Network],
    interrupts: &mut Interrupts,
    output: &Output,
) -> Result<Option<String>, ClientError> {
    let jail = matches.get_one::<JailName>(JAIL).map(JailName::to_segment).unwrap_or_default();
    let server = matches.get_one::<ServerName>(SERVER).map(ServerName::as_str).unwrap_or_default();
    let ips: Vec<String> = addresses.iter().map(Network::to_string).collect();
    let (call, body) = match action {
        BanAction::Ban => (calls::BAN, json!({ "ips": ips, "force": is_set(matches, FORCE) })),
        _ => (calls::UNBAN, json!({ "ips": ips })),
    };
    let request = call.of(&[server, &jail]).sending(body).once();
    let document = tokio::select! {
        answered = session.change(&request) => answered?,
        () = interrupts.any() => {
            let why = "stopped waiting for the answer: bangui may still make the change";
            return Err(ClientError::NotDone(why.to_owned()));
        }
    };
    if document.status != StatusCode::ACCEPTED {
        return results(action, &document, output);
    }
    // Text that is not an id must not become part of a path with another meaning.
    let Some(id) = BanJobId::parse(fields::JOB_ID.text(&document.value)) else {
        return Err(session.server.strange("with a job that has no id"));
    };
    if is_set(matches, NO_WAIT) {
        job::print(&document, output)?;
        output.note(&job::continues(id.as_str()));
        return Ok(None);
    }
    let cancels = is_set(matches, CANCEL_ON_INTERRUPT);
    let on_interrupt = if cancels { OnInterrupt::Cancel } else { OnInterrupt::Leave };
    job::follow(session, id.as_str(), on_interrupt, interrupts, output).await
}

/// Prints the resulting state of each address.
fn results(action: BanAction, document: &Document, output: &Output) -> Result<Option<String>, ClientError> {
    let results = fields::RESULTS.items(&document.value);
    if output.json {
        output.document(document)?;
    } else {
        let columns = if action == BanAction::Ban { columns::BANNED } else { columns::UNBANNED };
        output.table(columns, results)?;
    }
    let wanted = Value::Bool(action == BanAction::Ban);
    let failed = results.iter().filter(|result| *fields::RESULT_BANNED.of(result) != wanted).count();
    Ok((failed > 0).then(|| format!("{failed} of {} addresses are not as requested", results.len())))
}
