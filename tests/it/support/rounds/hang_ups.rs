//! Rounds in which the client hangs up at a random moment of a revocation: afterwards the session is alive everywhere or refused
//! everywhere, an ended session has one audit entry, and a second try is answered once the session is refused everywhere.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bangui::store::{SessionLife, SessionToken, Store};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rand::RngExt as _;
use redis::streams::StreamRangeReply;
use reqwest::Method;
use tokio::time::sleep;

use super::{AFTER, BEFORE, Fault, Scene, begin_session, check};
use crate::support::proxy::Mode;
use crate::support::redis::Redis;
use crate::support::{Client, SOON, eventually};

/// A confirmation of the victim takes this much longer, so that clients can hang up in the middle of a revocation.
const LATENCY: Duration = Duration::from_millis(15);
/// Clients hang up within this time.
const MAX_HANG_UP_DELAY_US: u64 = 60_000;
/// A request that has not begun this long after it was sent never will.
const BEGIN_TIMEOUT: Duration = Duration::from_millis(500);
const LIFE: SessionLife = SessionLife { idle: Duration::from_secs(600), absolute: Duration::from_secs(600) };

/// The outcome of the rounds.
#[derive(Debug, Default)]
pub struct HangUps {
    pub rounds: usize,
    /// Sessions that had ended though nobody got the answer, and (below) those that stayed alive.
    pub ended: usize,
    pub alive: usize,
    /// Clients that were answered before they hung up.
    pub answered: usize,
    /// Sessions that were accepted after the answer to a second try, each as a sentence.
    pub accepted: Vec<String>,
    /// Sessions that were neither alive everywhere nor refused everywhere.
    pub split: Vec<String>,
    /// Sessions that ended with no audit entry, or with several.
    pub unaudited: Vec<String>,
}

/// Runs so many rounds, `together` at once.
pub async fn hang_ups(rounds: usize, together: usize) -> HangUps {
    let scene = Scene::set_up(Fault::None).await;
    scene.proxy.set(Mode::Delay(LATENCY));
    let audit = Audit::default();
    let (tally, begun) = (Mutex::new(HangUps::default()), AtomicUsize::new(0));
    let admin = scene.cluster.client(0).logged_in().await;
    let clients = scene.clients();
    let sessions = {
        let lane = |_| async {
            let mut sessions = Vec::new();
            loop {
                let n = begun.fetch_add(1, Ordering::Relaxed);
                if n >= rounds {
                    return sessions;
                }
                sessions.push(round(n, &clients, &admin, &scene.store, &tally).await);
            }
        };
        let mut lanes: FuturesUnordered<_> = (0..together).map(lane).collect();
        let all = async {
            let mut all = Vec::new();
            while let Some(sessions) = lanes.next().await {
                all.extend(sessions);
            }
            all
        };
        tokio::select! {
            all = all => all,
            () = audit.follow(&scene.cluster.redis) => unreachable!("it never returns"),
        }
    };
    // The entry is written in the step that ends the session.
    audit.read(&mut scene.cluster.redis.connection().await).await;
    let mut tally = tally.into_inner().unwrap();
    let entries = audit.entries.into_inner().unwrap();
    for id in sessions {
        let count = entries.get(&id).copied().unwrap_or_default();
        if count != 1 {
            tally.unaudited.push(format!("session {id} has {count} entries"));
        }
    }
    tally
}

/// One session from its beginning to its end; returns its id.
async fn round(
    n: usize,
    clients: &[Client],
    admin: &Client,
    store: &Store,
    tally: &Mutex<HangUps>,
) -> String {
    let token = eventually("a session", SOON, || begin_session(store)).await;
    let id = SessionToken::parse(&token).unwrap().id();
    let callers: Vec<Client> = clients.iter().map(|client| client.with_bearer(&token)).collect();
    for _ in 0..2 {
        futures_util::future::join_all(callers.iter().map(|caller| check(caller, BEFORE))).await;
    }
    // A logout by the session itself, or a revocation by another session of the user.
    let request = if n.is_multiple_of(2) {
        callers[n % 3].request(Method::DELETE, "/api/v1/session")
    } else {
        admin.request(Method::DELETE, &format!("/api/v1/sessions/{id}"))
    };
    let patience = Duration::from_micros(rand::rng().random_range(0..MAX_HANG_UP_DELAY_US));
    let answered = tokio::time::timeout(patience, callers[n % 3].try_send(request)).await.is_ok();
    let hung_up = Instant::now();
    // Half of them try again at once.
    let agreed = if n % 4 < 2 { Agreed::Unasked } else { agree(&callers, store, &token, hung_up).await };
    let mut status = None;
    for _ in 0..100 {
        let caller = &callers[(n + 1) % 3];
        let answer = caller.try_send(caller.request(Method::DELETE, "/api/v1/session")).await;
        status = answer.map(|answer| answer.status.as_u16()).ok();
        if matches!(status, Some(204 | 401)) {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let after = futures_util::future::join_all(callers.iter().map(|caller| check(caller, AFTER))).await;
    let mut tally = tally.lock().unwrap();
    tally.rounds += 1;
    tally.answered += usize::from(answered);
    match (&agreed, status) {
        (Agreed::Never(how), _) => tally.split.push(format!("round {n}: {how}")),
        (Agreed::Ended, Some(204)) => tally.split.push(format!("round {n}: it had ended and ended again")),
        (Agreed::Ended, _) | (Agreed::Unasked, Some(401)) => tally.ended += 1,
        _ => tally.alive += 1,
    }
    if !matches!(status, Some(204 | 401)) {
        tally.split.push(format!("round {n}: the second try was answered {status:?}"));
    }
    for (worker, status) in after.iter().enumerate().filter(|(_, status)| **status == Some(200)) {
        tally.accepted.push(format!("round {n}: worker {worker} answered {status:?} after the answer"));
    }
    id.to_string()
}

/// What workers and Redis say about a session.
enum Agreed {
    /// Nobody was asked.
    Unasked,
    Alive,
    Ended,
    Never(String),
}

/// Waits until all say the same.
async fn agree(callers: &[Client], store: &Store, token: &str, hung_up: Instant) -> Agreed {
    let id = SessionToken::parse(token).unwrap().proof();
    let mut how = String::new();
    while hung_up.elapsed() < SOON {
        let before = store.session_lives(&id, LIFE).await.ok();
        let seen = futures_util::future::join_all(callers.iter().map(|caller| check(caller, AFTER))).await;
        let after = store.session_lives(&id, LIFE).await.ok();
        let all = |status: u16| seen.iter().all(|seen| *seen == Some(status));
        match (before, after) {
            (Some(false), Some(false)) if all(401) => return Agreed::Ended,
            (Some(true), Some(true)) if all(200) && hung_up.elapsed() > BEGIN_TIMEOUT => {
                return Agreed::Alive;
            }
            _ => how = format!("{before:?}, {seen:?}, {after:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    Agreed::Never(how)
}

/// The audit entries about ended sessions, read as they are written: Redis keeps only the latest.
#[derive(Default)]
struct Audit {
    at: Mutex<String>,
    entries: Mutex<HashMap<String, usize>>,
}

impl Audit {
    async fn follow(&self, redis: &Redis) {
        let mut connection = redis.connection().await;
        loop {
            self.read(&mut connection).await;
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn read(&self, connection: &mut redis::aio::MultiplexedConnection) {
        let from = match self.at.lock().unwrap().as_str() {
            "" => "-".to_owned(),
            at => format!("({at}"),
        };
        let mut command = redis::cmd("XRANGE");
        command.arg("{it}:audit-security").arg(from).arg("+");
        let read: StreamRangeReply = command.query_async(connection).await.unwrap();
        for entry in read.ids {
            let text = |name: &str| entry.get::<String>(name).unwrap_or_default();
            let ended = match text("what").as_str() {
                "session.end" => text("session"),
                "session.revoke" => text("target"),
                _ => String::new(),
            };
            *self.entries.lock().unwrap().entry(ended).or_default() += 1;
            *self.at.lock().unwrap() = entry.id;
        }
    }
}
