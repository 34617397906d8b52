//! The commands for people: a client of the API, like any other, with tables for a terminal and documents for scripts.
//!
//! ```text
//! login.rs      a password in, a session in a file of mode 0600 (kept.rs, password.rs); logout
//! session.rs    which server, which token; the password again where a change needs it
//! server.rs     one request, one answer (document.rs); calls.rs has every call, and fields.rs every field that is read
//! error.rs      why something was not done, in words, and which exit code that is
//! output.rs     what is printed: columns.rs what the tables show, table.rs how
//! lists.rs why.rs diagnosis.rs events.rs (sse.rs) jobs.rs         what looks
//! ban.rs (addresses.rs, job.rs) ignore.rs                         what changes
//! interrupts.rs Ctrl-C while a command waits
//! ```
//!
//! It knows the server by its API alone, so that it works with one of a neighbouring version.

mod addresses;
mod ban;
mod calls;
mod columns;
mod diagnosis;
mod document;
mod error;
mod events;
mod fields;
mod ignore;
mod interrupts;
mod job;
mod jobs;
mod kept;
mod lists;
mod login;
mod output;
mod password;
mod server;
mod session;
mod sse;
mod table;
mod why;

use clap::ArgMatches;

use super::{Outcome, one_thread};
use crate::config::client_commands::{ClientCommand, JSON, is_set};
use crate::config::{self, ClientConfig, Environment, Flags};
use crate::domain::BanAction;
use crate::domain::printable::printable;
use error::ClientError;
use output::Output;
use session::Session;

/// Runs the command of this name.
///
/// # Errors
/// If it was not done, wholly or partly: see [`super::Failure::exit_code`].
pub fn run(name: &str, environment: &Environment, flags: &Flags, matches: &ArgMatches) -> Outcome {
    let loaded = config::client(environment, flags)?;
    for warning in &loaded.warnings {
        eprintln!("bangui: warning: {}", printable(warning));
    }
    // clap knows no other names.
    let Some(command) = ClientCommand::named(name) else { return Ok(()) };
    let output = Output::new(is_set(matches, JSON));
    Ok(one_thread()?.block_on(carry_out(command, &loaded.config, matches, &output))?)
}

async fn carry_out(
    command: ClientCommand,
    config: &ClientConfig,
    matches: &ArgMatches,
    output: &Output,
) -> Result<(), ClientError> {
    match command {
        ClientCommand::Login => return login::log_in(config, matches, output).await,
        ClientCommand::Logout => return login::log_out(config, output).await,
        _ => {}
    }
    let session = Session::open(config)?;
    match command {
        ClientCommand::Login | ClientCommand::Logout => Ok(()),
        ClientCommand::Servers => lists::servers(&session, output).await,
        ClientCommand::Jails => lists::jails(&session, matches, output).await,
        ClientCommand::Bans => lists::bans(&session, matches, output).await,
        ClientCommand::Ban => ban::run(&session, BanAction::Ban, matches, output).await,
        ClientCommand::Unban => ban::run(&session, BanAction::Unban, matches, output).await,
        ClientCommand::Why => why::run(&session, matches, output).await,
        ClientCommand::Ignore => ignore::run(&session, matches, output).await,
        ClientCommand::Events => events::run(&session, matches, output).await,
        ClientCommand::Jobs => jobs::run(&session, matches, output).await,
        ClientCommand::Audit => lists::list(&session, &calls::AUDIT, matches, output, columns::AUDIT).await,
        ClientCommand::Diagnosis => diagnosis::run(&session, output).await,
    }
}
