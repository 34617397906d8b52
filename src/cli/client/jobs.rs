//! `bangui jobs`: the list, or one job: shown, awaited or cancelled.

use clap::ArgMatches;

use super::calls;
use super::columns;
use super::error::ClientError;
use super::interrupts::Interrupts;
use super::job::{self, OnInterrupt};
use super::lists;
use super::output::Output;
use super::session::Session;
use crate::config::client_commands::{CANCEL, JOB, WAIT, is_set};
use crate::domain::BanJobId;

/// Shows, awaits or cancels.
///
/// # Errors
/// If the server refuses; of a job that is awaited, also if not all was done.
pub async fn run(session: &Session, matches: &ArgMatches, output: &Output) -> Result<(), ClientError> {
    let Some(id) = matches.get_one::<BanJobId>(JOB) else {
        return lists::list(session, &calls::JOBS, matches, output, columns::JOBS).await;
    };
    if is_set(matches, WAIT) {
        let mut interrupts = Interrupts::catch()?;
        let ended = job::follow(session, id.as_str(), OnInterrupt::Leave, &mut interrupts, output).await?;
        return ClientError::unless_done(ended);
    }
    let call = if is_set(matches, CANCEL) { calls::CANCEL_JOB } else { calls::JOB };
    job::print(&session.get(&call.of(&[id.as_str()])).await?, output)
}
