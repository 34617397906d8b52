//! The read behind every authenticated request, many at a time.
//!
//! Requests that check their sessions at the same moment are answered by one `MGET`: a request that arrives while a read is in
//! flight waits for the next one. Under load that is far less than a command for each request; a request that is alone pays two
//! hops between tasks.
//!
//! Exact all the same: a session's read is sent after its request asked for it, so what was revoked before the request
//! began is seen; and in the same round trip Redis proves that it is the primary (`primary.rs`), so that a demoted one is never
//! trusted. Nothing is remembered from one read to the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::record::Record;
use crate::store::connection::shared::SharedConnection;
use crate::store::keys::Keys;
use crate::store::{Result, SessionId, StoreError, Username};

/// Sessions in one read at most.
const BATCH_SIZE: usize = 256;
/// Reads on their way at once: the second one, so that Redis is not idle while the answers of the first are handed out.
const IN_FLIGHT: usize = 2;
/// Requests that wait at most; the next ones wait for a place among them.
const WAITING: usize = 4_096;
/// How long a check may take in all, waiting included.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1_000);

/// One request's question.
struct Question {
    id: SessionId,
    answer: oneshot::Sender<Result<Option<Record>>>,
}

/// Where questions are asked. The task that answers them ends with the last clone.
#[derive(Clone)]
pub(in crate::store) struct SessionChecks {
    questions: mpsc::Sender<Question>,
}

impl SessionChecks {
    /// With the task that answers the questions, which is to be run.
    pub fn open(
        shared: Arc<SharedConnection>,
        keys: Arc<Keys>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (questions, asked) = mpsc::channel(WAITING);
        (Self { questions }, read_together(shared, keys, asked))
    }

    /// The session, if it is alive: stored, and of its user's present generation.
    pub async fn ask(&self, id: SessionId) -> Result<Option<Record>> {
        let asking = async {
            let (answer, answered) = oneshot::channel();
            let gone = |_| StoreError::unavailable("this worker is stopping".to_owned());
            self.questions.send(Question { id, answer }).await.map_err(|_| gone(()))?;
            answered.await.map_err(|_| gone(()))?
        };
        timeout(CHECK_TIMEOUT, asking)
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("it did not answer in time".to_owned())))
    }
}

async fn read_together(shared: Arc<SharedConnection>, keys: Arc<Keys>, mut asked: mpsc::Receiver<Question>) {
    let turns = Arc::new(Semaphore::new(IN_FLIGHT));
    // The semaphore is never closed.
    while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
        let mut questions = Vec::with_capacity(16);
        if asked.recv_many(&mut questions, BATCH_SIZE).await == 0 {
            return;
        }
        let (shared, keys) = (Arc::clone(&shared), Arc::clone(&keys));
        tokio::spawn(async move {
            read(&shared, &keys, questions).await;
            drop(turn);
        });
    }
}

async fn read(shared: &SharedConnection, keys: &Keys, mut questions: Vec<Question>) {
    // Clients that have hung up since need no answer.
    questions.retain(|question| !question.answer.is_closed());
    if questions.is_empty() {
        return;
    }
    let mut command = redis::cmd("MGET");
    command.arg(keys.generation(&Username::admin()));
    for question in &questions {
        command.arg(keys.session(&question.id));
    }
    let values: Result<Vec<Option<Vec<u8>>>> =
        shared.read_from_primary("session_check", keys, &command).await;
    match values {
        Ok(values) => answer(questions, values),
        Err(error) => {
            for question in questions {
                // An error here means that this client has gone away.
                let _ = question.answer.send(Err(error.clone()));
            }
        }
    }
}

fn answer(questions: Vec<Question>, values: Vec<Option<Vec<u8>>>) {
    let mut values = values.into_iter();
    let generation = values.next().flatten().as_deref().and_then(parse_generation);
    for (question, value) in questions.into_iter().zip(values) {
        let record = value.map(|value| Record::decode(&value)).transpose();
        let alive = record.map(|record| record.filter(|record| Some(record.generation) == generation));
        let _ = question.answer.send(alive);
    }
}

/// The decimal number that INCR keeps.
pub(in crate::store) fn parse_generation(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
