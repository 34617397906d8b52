//! `bangui events --follow`: the stream of events, followed across the ends of connections and of workers.
//!
//! A worker names the place where the stream begins, and with each event its place: the next connection continues there, at any
//! worker, and nothing is missed. What is no longer kept is announced by the server as a gap.

use std::time::Duration;

use clap::ArgMatches;
use rand::RngExt as _;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

use super::calls;
use super::columns;
use super::document::Document;
use super::error::ClientError;
use super::interrupts::Interrupts;
use super::output::Output;
use super::session::Session;
use super::sse::{Parser, Received};
use super::table::cells;
use crate::config::client_commands::AFTER;

/// How long the server may be away before the stream is given up.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const MIN_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Widths of the columns of events: lines come one by one, so that no table can be laid out.
const WIDTHS: [usize; 4] = [20, 20, 16, 0];

/// The stream and where it is.
struct Following<'a> {
    session: &'a Session,
    output: &'a Output,
    /// The place of the last event, or where the stream began.
    at: Option<String>,
    /// When to come back after an end, as the server says.
    retry: Duration,
    /// Since when there has been no stream.
    away_since: Option<Instant>,
}

/// Follows until Ctrl-C, which is its normal end.
///
/// # Errors
/// If the session ends, nobody reads the output, or the server is away for long.
pub async fn run(session: &Session, matches: &ArgMatches, output: &Output) -> Result<(), ClientError> {
    let mut interrupts = Interrupts::catch()?;
    let at = matches.get_one::<String>(AFTER).cloned();
    let mut following = Following { session, output, at, retry: MIN_PAUSE, away_since: None };
    tokio::select! {
        Err(error) = following.run() => Err(error),
        () = interrupts.any() => {
            if let Some(at) = &following.at {
                output.note(&format!("to continue from here: --after {at}"));
            }
            Ok(())
        }
    }
}

impl Following<'_> {
    async fn run(&mut self) -> Result<std::convert::Infallible, ClientError> {
        // The first connection must come about: nothing was promised yet.
        let mut stream = self.open().await?;
        loop {
            if let Err(error) = self.read(stream).await {
                if !error.may_pass() {
                    return Err(error);
                }
                self.output.note(&format!("lost the stream of events: {error}; connecting again"));
            }
            self.away_since = Some(Instant::now());
            stream = self.reopen().await?;
        }
    }

    async fn open(&self) -> Result<reqwest::Response, ClientError> {
        self.session.server.open(&calls::EVENTS.of(&[]), self.at.as_deref()).await
    }

    async fn reopen(&mut self) -> Result<reqwest::Response, ClientError> {
        let mut pause = self.retry;
        loop {
            sleep(pause.mul_f64(rand::rng().random_range(0.5..1.0))).await;
            let error = match self.open().await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let away = self.away_since.map_or(Duration::ZERO, |since| since.elapsed());
            if !error.may_pass() || away > PATIENCE {
                return Err(error);
            }
            pause = error.retry_after().unwrap_or(pause * 2).clamp(MIN_PAUSE, MAX_PAUSE);
        }
    }

    /// Prints what comes, to the end of the stream.
    async fn read(&mut self, mut stream: reqwest::Response) -> Result<(), ClientError> {
        let mut parser = Parser::default();
        while let Some(bytes) =
            stream.chunk().await.map_err(|error| self.session.server.unreachable(error))?
        {
            let events = parser.push(&bytes);
            for event in events.map_err(|_| self.session.server.strange("with an endless event"))? {
                self.take(event)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Received) -> Result<(), ClientError> {
        if let Some(retry) = event.retry {
            self.retry = Duration::from_millis(retry).clamp(MIN_PAUSE, MAX_PAUSE);
        }
        let Received { id, kind, data, .. } = event;
        match (kind.as_str(), data.is_empty()) {
            (_, true) => {}
            // The next connection says why, if it is not the worker's own end.
            ("end", false) => {}
            ("gap", false) => self.output.note("events are missing here: bangui no longer has them"),
            _ => self.print(&kind, data)?,
        }
        // After it was printed, so that an event that could not be printed is not skipped.
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.at = Some(id);
        }
        Ok(())
    }

    fn print(&self, kind: &str, data: String) -> Result<(), ClientError> {
        let Ok(value) = serde_json::from_str(&data) else {
            self.output.note(&format!("ignoring an event of the type {kind}, which is not JSON"));
            return Ok(());
        };
        let document = Document { status: StatusCode::OK, text: data, value };
        if self.output.json {
            return self.output.document(&document);
        }
        let cells = cells(columns::EVENTS, &document.value).into_iter().zip(WIDTHS);
        let line = cells.map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>().join("  ");
        self.output.line(line.trim_end())
    }
}
