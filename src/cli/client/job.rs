//! A ban job, followed to its end with a progress bar. It runs on the workers, so it continues when this command stops waiting.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rand::RngExt as _;
use serde_json::Value;
use tokio::time::sleep;

use super::calls;
use super::columns;
use super::document::Document;
use super::error::ClientError;
use super::fields;
use super::interrupts::Interrupts;
use super::output::Output;
use super::session::Session;
use crate::domain::BanJobState;
use crate::domain::printable::printable;

/// How long the server may be away while a job is followed.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(400);
const BAR: &str = "{bar:40} {pos}/{len}  {per_sec}  {eta} left  {msg}";

/// What Ctrl-C does to the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Nothing.
    Leave,
    /// It is cancelled.
    Cancel,
}

/// Follows a job to its end, and prints how it ended. Returns what is not as requested, in words.
///
/// # Errors
/// If not everything was done, the wait was interrupted, or the server could not be asked for too long.
pub async fn follow(
    session: &Session,
    id: &str,
    on_interrupt: OnInterrupt,
    interrupts: &mut Interrupts,
    output: &Output,
) -> Result<Option<String>, ClientError> {
    let bar = bar();
    let ended = tokio::select! {
        ended = until_over(session, id, &bar) => ended,
        () = interrupts.any() => {
            bar.finish_and_clear();
            if on_interrupt == OnInterrupt::Leave {
                return Err(ClientError::NotDone(format!("stopped waiting. {}", continues(id))));
            }
            let document = session.get(&calls::CANCEL_JOB.of(&[id])).await.inspect_err(|_| output.note(&continues(id)))?;
            return ended_as(&document, output);
        }
    };
    bar.finish_and_clear();
    match ended {
        Ok(document) => ended_as(&document, output),
        Err(error) => {
            output.note(&continues(id));
            Err(error)
        }
    }
}

/// What to do about a job that nobody waits for.
#[must_use]
pub fn continues(id: &str) -> String {
    format!("The job continues: `bangui jobs {id}` shows it, `bangui jobs {id} --cancel` cancels it.")
}

/// The job, once it is over. A job that makes no progress for a quarter of an hour fails, so that this ends.
async fn until_over(session: &Session, id: &str, bar: &ProgressBar) -> Result<Document, ClientError> {
    loop {
        let document = session.server.ask_patiently(&calls::JOB.of(&[id]), PATIENCE).await?;
        show(bar, &document.value);
        let state = BanJobState::parse(fields::JOB_STATE.text(&document.value));
        if state.is_some_and(BanJobState::is_over) {
            return Ok(document);
        }
        sleep(POLL_INTERVAL.mul_f64(rand::rng().random_range(0.8..1.2))).await;
    }
}

/// Drawn on stderr, and only if that is a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // The template is a constant; if it were invalid, the default bar would be shown.
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, job: &Value) {
    bar.set_length(fields::JOB_ASKED.number(job));
    bar.set_position(fields::JOB_DONE.number(job));
    let failed = fields::JOB_FAILED.number(job);
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    let state = fields::JOB_STATE.text(job);
    let reason = fields::JOB_REASON.text(job);
    bar.set_message(printable(&format!("{state}{failed} {reason}")).trim_end().to_owned());
}

/// Prints a job that has ended. Returns what is not as requested, in words.
fn ended_as(document: &Document, output: &Output) -> Result<Option<String>, ClientError> {
    let job = &document.value;
    print(document, output)?;
    let (asked, failed) = (fields::JOB_ASKED.number(job), fields::JOB_FAILED.number(job));
    match BanJobState::parse(fields::JOB_STATE.text(job)) {
        Some(BanJobState::Done) => {
            Ok((failed > 0).then(|| format!("{failed} of {asked} addresses are not as requested")))
        }
        _ => {
            let (state, done) = (fields::JOB_STATE.text(job), fields::JOB_DONE.number(job));
            let state = printable(state);
            Err(ClientError::NotDone(format!("the job is {state}: {done} of {asked} addresses were tried")))
        }
    }
}

/// Prints a job with what failed in it.
///
/// # Errors
/// If nobody reads it.
pub fn print(document: &Document, output: &Output) -> Result<(), ClientError> {
    if output.json {
        return output.document(document);
    }
    output.table(columns::JOBS, std::slice::from_ref(&document.value))?;
    let failures = fields::JOB_FAILURES.items(&document.value);
    output.table(columns::FAILURES, failures)?;
    let unlisted = fields::JOB_FAILED.number(&document.value).saturating_sub(failures.len() as u64);
    if unlisted > 0 {
        output.note(&format!("{unlisted} more failed"));
    }
    Ok(())
}
