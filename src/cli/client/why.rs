//! `bangui why`: where an address is banned, until when, and what keeps it from being banned.

use clap::ArgMatches;

use super::calls;
use super::columns;
use super::error::ClientError;
use super::fields;
use super::output::Output;
use super::session::Session;
use super::table::{Table, cells, time};
use crate::config::client_commands::ADDRESS;
use crate::domain::Network;

/// Asks all servers; done only if each of them answered.
///
/// # Errors
/// If the server refuses, or not all could be asked.
pub async fn run(session: &Session, matches: &ArgMatches, output: &Output) -> Result<(), ClientError> {
    let address = matches.get_one::<Network>(ADDRESS).map(Network::to_string).unwrap_or_default();
    let document = session.get(&calls::LOOK_UP.of(&[&address.replace('/', "%2F")])).await?;
    let found = &document.value;
    let unanswered = fields::FOUND_UNANSWERED.items(found);
    let unknown = fields::FOUND_UNKNOWN.items(found);
    if output.json {
        output.document(&document)?;
    } else {
        let titles: Vec<&'static str> = columns::WHY_BANNED.iter().map(|column| column.title).collect();
        let mut table = Table::new(&titles);
        table
            .rows
            .extend(fields::FOUND_BANNED.items(found).iter().map(|ban| cells(columns::WHY_BANNED, ban)));
        table
            .rows
            .extend(fields::FOUND_NEVER.items(found).iter().map(|entry| cells(columns::WHY_NEVER, entry)));
        if table.rows.is_empty() {
            let where_asked = if unanswered.is_empty() { "" } else { " on the servers that answered" };
            output.line(&format!("No jail bans {}{where_asked}.", fields::FOUND_IP.text(found)))?;
        }
        output.rows(&table)?;
        for server in unanswered {
            let name = fields::UNANSWERED_SERVER.text(server);
            output.note(&format!("{name} could not be asked: {}", fields::UNANSWERED_REASON.text(server)));
            for ban in fields::UNANSWERED_LAST.items(server) {
                output.note(&format!(
                    "{name} had {} banned in {} when its list was read, at {}",
                    fields::BANNED_BAN.text(ban),
                    fields::BANNED_JAIL.text(ban),
                    time(&[fields::UNANSWERED_READ_AT.of(server)])
                ));
            }
        }
        for server in unknown.iter().filter_map(|server| server.as_str()) {
            let ip = fields::FOUND_IP.text(found);
            output.note(&format!("{server} did not say whether an entry keeps {ip} from being banned there"));
        }
    }
    match unanswered.len() + unknown.len() {
        0 => Ok(()),
        servers => {
            let plural = if servers == 1 { "server" } else { "servers" };
            Err(ClientError::NotDone(format!(
                "the answer is not complete: {servers} {plural} did not answer in full"
            )))
        }
    }
}
