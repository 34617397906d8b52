//! Events as they happen: server-sent events.
//!
//! A client is at a place in the stream of events, its `Last-Event-ID`, and may continue from there at any worker. It is sent
//! first what it missed, read from Redis, then what this worker's feed brings. A client that is too slow for the feed's buffer
//! reads from Redis again, page by page, so that slow clients do not fill the memory.
//!
//! ```text
//! retry: 2000                      once, at the beginning,
//! id: 1699999999999-0              with the place where it begins: who is cut off before the first event misses nothing either
//!
//! id: 1700000000000-0              an event, with its place
//! event: server.went_offline
//! data: {"type":...,"at":...,"server":...,"facts":{...}}
//!
//! event: gap                       events are missing here, since the stream keeps only so many
//! event: end                       with the reason: the session has ended, or this worker is stopping
//! :                                every 15 s, so that no proxy cuts the connection
//! ```
//!
//! Nothing is sent unless the session was checked within the last [`PROVED_FOR`]. The check does not extend the session: a user
//! who only watches is idle, and the session expires as it would without the stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rand::RngExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;

use super::time::Time;
use crate::domain::access::Access;
use crate::http::auth::caller::Caller;
use crate::http::auth::permissions::is_shown;
use crate::http::error::{Problem, Result};
use crate::http::event_clients::{EventPlace, MAX_EVENT_CLIENTS, MAX_EVENT_CLIENTS_OF_SESSION, NoPlace};
use crate::http::state::{AppState, Phase};
use crate::store::{News, Proof, StoredEvent, StreamId};

/// The interval of comments, so that no proxy takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a check of the session is valid.
const PROVED_FOR: Duration = Duration::from_secs(2);
/// The pause after Redis did not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// An event as it is streamed.
#[derive(Serialize, ToSchema)]
pub struct EventView<'a> {
    r#type: &'a str,
    at: Time,
    server: Option<&'a str>,
    facts: &'a Value,
}

/// Events as they happen, as server-sent events; `Last-Event-ID` resumes where an earlier stream ended, at any worker.
#[utoipa::path(get, path = "/api/v1/events", tag = "cluster",
    params(("Last-Event-ID" = Option<String>, Header, pattern = r"^[0-9]{1,15}-[0-9]{1,15}$",
        description = "The `id` of the last event that was received; without it, events from now on")),
    responses((status = 200, body = Vec<EventView<'_>>, content_type = "text/event-stream",
            description = "Each item is the `data` of one event, as JSON"),
        (status = 400, description = "`Last-Event-ID` is not a valid event ID"),
        (status = 429, description = "This session has 20 streams at this worker")))]
pub async fn follow(State(state): State<AppState>, caller: Caller, after: After) -> Result<Response> {
    let place = state.event_clients().take(caller.session.id).map_err(crowded)?;
    // Subscribe first, then determine where to begin: an event in between is in both, and is sent once.
    let news = state.events().subscribe();
    let newest = state.store.newest_event().await?;
    let mut ready = VecDeque::new();
    let at = match after.0 {
        None => newest,
        Some(after) => {
            // An id above the newest is not in the history: Redis has lost it.
            if after > newest || !state.store.event_is_kept(after).await? {
                ready.push_back(gap(after));
            }
            after.min(newest)
        }
    };
    ready.push_front(Event::default().retry(retry()).id(at.to_string()));
    let following = Following {
        behind: after.0.is_some(),
        proved_at: Instant::now(),
        session: caller.session.proof(),
        access: caller.session.access,
        state,
        news,
        at,
        ready,
        ended: false,
        _place: place,
    };
    let events = stream::unfold(following, async |mut following| {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    let no_buffers = (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    let events = Sse::new(Box::pin(events)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([no_buffers], events).into_response())
}

/// The event after which a client continues.
pub struct After(Option<StreamId>);

impl FromRequestParts<AppState> for After {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> std::result::Result<Self, Problem> {
        let Some(value) = parts.headers.get(HeaderName::from_static("last-event-id")) else {
            return Ok(Self(None));
        };
        let id = value.to_str().ok().and_then(StreamId::parse);
        let malformed =
            || Problem::malformed("`Last-Event-ID` must be the `id` of an event that was received");
        id.map(|id| Self(Some(id))).ok_or_else(malformed)
    }
}

/// One client.
struct Following {
    state: AppState,
    session: Proof,
    /// What it is sent: nothing of other servers.
    access: Access,
    proved_at: Instant,
    news: Receiver<News>,
    /// The last event that was queued.
    at: StreamId,
    /// Whether there may be events after it that the feed no longer has.
    behind: bool,
    /// The queue to send; a page of events at most.
    ready: VecDeque<Event>,
    ended: bool,
    _place: EventPlace,
}

impl Following {
    /// The next event to send; none after the end.
    async fn next(&mut self) -> Option<Event> {
        while !self.ended {
            if self.state.readiness().phase() == Phase::Draining {
                self.end("this worker is stopping: connect again");
            } else if self.proved_at.elapsed() >= PROVED_FOR {
                self.prove().await;
            } else if let Some(event) = self.ready.pop_front() {
                return Some(event);
            } else if self.behind {
                self.catch_up().await;
            } else {
                self.wait().await;
            }
        }
        self.ready.pop_front()
    }

    /// Ends the stream: only this event is sent, whatever was queued.
    fn end(&mut self, reason: &str) {
        let end = Event::default().event("end").retry(retry()).data(json!({ "reason": reason }).to_string());
        self.ready = [end].into();
        self.ended = true;
    }

    async fn prove(&mut self) {
        match self.state.store.session_lives(&self.session, self.state.session_life()).await {
            Ok(true) => self.proved_at = Instant::now(),
            Ok(false) => self.end("the session has ended"),
            // Unavailable is not absent: nothing is sent until Redis answers.
            Err(_) => self.pause().await,
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = self.state.readiness().drained() => {}
            () = tokio::time::sleep(ASK_AGAIN_AFTER) => {}
        }
    }

    async fn catch_up(&mut self) {
        match self.state.store.events_after(self.at).await {
            Ok((events, all)) => {
                events.iter().for_each(|event| self.push(event));
                self.behind = !all;
            }
            Err(_) => self.pause().await,
        }
    }

    async fn wait(&mut self) {
        let news = tokio::select! {
            () = self.state.readiness().drained() => return,
            () = sleep_until(self.proved_at + PROVED_FOR) => return,
            news = self.news.recv() => news,
        };
        match news {
            Ok(News::Event(event)) => self.push(&event),
            Ok(News::Gap(after)) => {
                self.ready.push_back(gap(self.at.max(after)));
                // The history may have been reset, and restarted with lower ids.
                self.at = self.at.min(after);
                self.behind = true;
            }
            Err(RecvError::Lagged(_)) => match self.state.store.event_is_kept(self.at).await {
                Ok(kept) => {
                    if !kept {
                        self.ready.push_back(gap(self.at));
                    }
                    self.behind = true;
                }
                Err(_) => {
                    self.behind = true;
                    self.pause().await;
                }
            },
            Err(RecvError::Closed) => self.end("this worker is stopping: connect again"),
        }
    }

    /// Queues an event, unless it was queued before, or is not for this account.
    fn push(&mut self, event: &StoredEvent) {
        if event.id <= self.at {
            return;
        }
        self.at = event.id;
        if !is_shown(event, &self.access) {
            return;
        }
        let StoredEvent { id, kind, server, facts } = event;
        let view = EventView { r#type: kind, at: id.at().into(), server: server.as_deref(), facts };
        let data = serde_json::to_string(&view).unwrap_or_default();
        self.ready.push_back(Event::default().id(id.to_string()).event(kind).data(data));
    }
}

/// The time after which a client reconnects; random, so that not all do at once.
fn retry() -> Duration {
    Duration::from_millis(rand::rng().random_range(1_000..3_000))
}

fn gap(after: StreamId) -> Event {
    Event::default().event("gap").data(json!({ "after": after.to_string() }).to_string())
}

fn crowded(no_place: NoPlace) -> Problem {
    let (status, detail) = match no_place {
        NoPlace::Worker => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "this worker already serves {MAX_EVENT_CLIENTS} event streams: try another worker, or try again later"
            ),
        ),
        NoPlace::Session => (
            StatusCode::TOO_MANY_REQUESTS,
            format!(
                "this session already has {MAX_EVENT_CLIENTS_OF_SESSION} event streams at this worker: close one first"
            ),
        ),
    };
    Problem::new(status, "too-many-streams", "Too many event streams", detail).retry_after(5)
}
