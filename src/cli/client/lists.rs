//! What is listed: servers, jails, bans, jobs, the audit. Lists with pages show one page, and say how to see the next.

use clap::ArgMatches;
use futures_util::StreamExt as _;
use serde_json::Value;

use super::calls::{self, Call, Request};
use super::columns;
use super::document::Document;
use super::error::ClientError;
use super::fields;
use super::output::Output;
use super::session::Session;
use super::table::{Column, Table, time};
use crate::config::client_commands::{ALL, CURSOR, JAIL, LIMIT, SEARCH, SERVER, is_set};
use crate::domain::{JailName, ServerName};

/// Servers that are asked for their jails at once.
const MAX_CONCURRENT_SERVERS: usize = 8;

/// `bangui servers`
///
/// # Errors
/// If the server refuses; here and below.
pub async fn servers(session: &Session, output: &Output) -> Result<(), ClientError> {
    let document = session.get(&calls::SERVERS.of(&[])).await?;
    if output.json {
        return output.document(&document);
    }
    output.table(columns::SERVERS, fields::ITEMS.items(&document.value))
}

/// `bangui jails`: those of one server, or of all.
pub async fn jails(session: &Session, matches: &ArgMatches, output: &Output) -> Result<(), ClientError> {
    let Some(server) = matches.get_one::<ServerName>(SERVER) else { return all_jails(session, output).await };
    let document = session.get(&calls::JAILS.of(&[server.as_str()])).await?;
    if output.json {
        return output.document(&document);
    }
    output.table(columns::JAILS, fields::ITEMS.items(&document.value))?;
    for error in fields::JAILS_ERRORS.items(&document.value) {
        output.note(&format!(
            "fail2ban cannot read all of its configuration: {}",
            error.as_str().unwrap_or_default()
        ));
    }
    Ok(())
}

/// With `--json` one object: for each server its document, or the problem that its jails were refused with.
async fn all_jails(session: &Session, output: &Output) -> Result<(), ClientError> {
    let servers = session.get(&calls::SERVERS.of(&[])).await?.value;
    let names =
        fields::ITEMS.items(&servers).iter().map(|server| fields::SERVER_NAME.text(server).to_owned());
    // Text that is not a name must not become part of a path with another meaning.
    let names: Vec<String> = names.filter(|name| ServerName::parse(name).is_ok()).collect();
    let count = names.len();
    let asking = names.into_iter().map(async |name| {
        let answer = session.get(&calls::JAILS.of(&[&name])).await;
        (name, answer)
    });
    let answers: Vec<(String, Result<Document, ClientError>)> =
        futures_util::stream::iter(asking).buffered(MAX_CONCURRENT_SERVERS).collect().await;
    let mut titles = vec!["SERVER"];
    titles.extend(columns::JAILS.iter().map(|column| column.title));
    let (mut table, mut documents, mut refused) = (Table::new(&titles), Vec::new(), 0);
    for (name, answer) in answers {
        let document = match answer {
            Ok(document) => document,
            Err(ClientError::Refused(problem)) => {
                refused += 1;
                output.note(&format!("{name}: {}", fields::PROBLEM_DETAIL.text(&problem.document.value)));
                problem.document
            }
            Err(error) => return Err(error),
        };
        let rows = Table::of(columns::JAILS, fields::ITEMS.items(&document.value)).rows;
        table.rows.extend(rows.into_iter().map(|row| std::iter::once(name.clone()).chain(row).collect()));
        documents.push(format!("{}:{}", Value::from(name), document.line()));
    }
    if output.json {
        output.raw_json(&format!("{{{}}}", documents.join(",")))?;
    } else {
        output.rows(&table)?;
    }
    match refused {
        0 => Ok(()),
        _ => Err(ClientError::NotDone(format!(
            "not every server could be asked for its jails: {refused} of {count} could not"
        ))),
    }
}

/// `bangui bans`
pub async fn bans(session: &Session, matches: &ArgMatches, output: &Output) -> Result<(), ClientError> {
    let jail = matches.get_one::<JailName>(JAIL).map(JailName::to_segment).unwrap_or_default();
    let server = matches.get_one::<ServerName>(SERVER).map(ServerName::as_str).unwrap_or_default();
    let request = calls::BANS.of(&[server, &jail]).with("q", matches.get_one::<String>(SEARCH));
    let last = pages(session, request, matches, output, columns::BANS).await?;
    if !output.json && fields::BANS_READ_AT.of(&last).is_null() {
        output.note("the list of bans has not been read from fail2ban yet");
    } else if !output.json {
        let none = if fields::ITEMS.items(&last).is_empty() { "no bans to show, " } else { "" };
        output.note(&format!("{none}as read from fail2ban at {}", time(&[fields::BANS_READ_AT.of(&last)])));
    }
    Ok(())
}

/// `bangui jobs` without a job, and `bangui audit`.
pub async fn list(
    session: &Session,
    call: &Call,
    matches: &ArgMatches,
    output: &Output,
    columns: &[Column],
) -> Result<(), ClientError> {
    pages(session, call.of(&[]), matches, output, columns).await.map(drop)
}

/// Prints a page, or with `--all` each page as it comes; the last one.
async fn pages(
    session: &Session,
    request: Request,
    matches: &ArgMatches,
    output: &Output,
    columns: &[Column],
) -> Result<Value, ClientError> {
    let request = request.with("limit", matches.get_one::<u16>(LIMIT));
    let mut cursor = matches.get_one::<String>(CURSOR).cloned();
    loop {
        let document = session.get(&request.clone().with("cursor", cursor.as_ref())).await?;
        if output.json {
            output.document(&document)?;
        } else {
            output.table(columns, fields::ITEMS.items(&document.value))?;
        }
        let next = fields::NEXT_CURSOR.of(&document.value).as_str();
        // Stop if the server's cursors lead in a circle.
        let next = next.filter(|next| cursor.as_deref() != Some(*next)).map(str::to_owned);
        match next {
            Some(next) if is_set(matches, ALL) => cursor = Some(next),
            Some(next) => {
                if !output.json {
                    output.note(&format!(
                        "there are more: --all shows them, and --cursor {next} the next page"
                    ));
                }
                return Ok(document.value);
            }
            None => return Ok(document.value),
        }
    }
}
