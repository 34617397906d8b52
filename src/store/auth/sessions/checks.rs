//! The read behind every authenticated request, many at a time.
//!
//! Requests that check their sessions at the same moment are answered by one `MGET`. There is no task for it: a request that
//! finds a place free reads for itself at once, without a hop to another task; one that finds none waits, and is either
//! answered by the next read, or gets the turn to read, for itself and for all who wait:
//!
//! ```text
//! ask ─▶ a place is free ─▶ read (own question, all that wait) ─▶ answer them ─▶ pass the place on, or give it back
//!     └▶ none is         ─▶ wait ─┬─ answered ─▶ done
//!                                 ├─ "your turn", with the place ─▶ read, as above
//!                                 └─ the reader's client hung up in the middle of its read ─▶ ask again
//! ```
//!
//! Exact all the same: a session's read is sent after its request asked for it, so what was revoked before the request began is
//! seen; and in the same round trip Redis proves that it is the primary (`primary.rs`), so that a demoted one is never trusted.
//! Each session comes with the generation of the account that its token names, each generation once. Nothing is remembered from one
//! read to the next except what the bytes that came were decoded to (`store/decoded.rs`).

use std::collections::VecDeque;
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::record::{Kept, Record};
use super::token::{Proof, ProofKind};
use crate::store::auth::account_id::AccountId;
use crate::store::connection::shared::SharedConnection;
use crate::store::decoded::Decoded;
use crate::store::keys::Keys;
use crate::store::{Result, SessionId, StoreError};

/// The most sessions in one read.
const BATCH_SIZE: usize = 256;
/// Reads on their way at once: the second one, so that Redis is not idle while the answers of the first are handed out.
const PLACES: usize = 2;
/// The most requests that wait: more than a worker has connections.
const WAITING: usize = 65_536;
/// How long a check may take in all, waiting included.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1_000);

/// Bytes of sessions that were decoded: about ten thousand.
const DECODED_ROOM: usize = 640 * 1024;

/// Each with the answer that shows it.
type DecodedSessions = Decoded<SessionId, Kept>;

/// One request that waits.
struct Question {
    proof: Proof,
    reply: oneshot::Sender<Reply>,
}

/// What ends its wait.
enum Reply {
    /// The session, if it is alive.
    Session(Result<Option<Kept>>),
    /// It is to read now.
    Turn(Place),
}

/// Those who wait, and how many read.
#[derive(Default)]
struct Turns {
    reading: usize,
    waiting: VecDeque<Question>,
}

/// Where questions are asked. All clones share one queue.
#[derive(Clone)]
pub(in crate::store) struct SessionChecks {
    shared: Arc<SharedConnection>,
    keys: Arc<Keys>,
    turns: Arc<Mutex<Turns>>,
    decoded: Arc<DecodedSessions>,
}

impl SessionChecks {
    /// Over this connection.
    pub fn new(shared: Arc<SharedConnection>, keys: Arc<Keys>) -> Self {
        let decoded = Arc::new(Decoded::with_room(DECODED_ROOM));
        Self { shared, keys, turns: Arc::default(), decoded }
    }

    /// The session, if it is alive: stored, and of its user's present generation.
    pub async fn ask(&self, proof: Proof) -> Result<Option<Kept>> {
        timeout(CHECK_TIMEOUT, self.answer(proof))
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("it did not answer in time".to_owned())))
    }

    async fn answer(&self, proof: Proof) -> Result<Option<Kept>> {
        loop {
            let place = match self.begin(proof)? {
                Begun::Reading(place) => place,
                Begun::Waiting(reply) => match reply.await {
                    Ok(Reply::Session(session)) => return session,
                    Ok(Reply::Turn(place)) => place,
                    // The request that was reading for this one is gone.
                    Err(_) => continue,
                },
            };
            // On the heap: most checks are answered by the read of another, and need no room for one of their own.
            return Box::pin(self.read(proof, place)).await;
        }
    }

    fn begin(&self, proof: Proof) -> Result<Begun> {
        let mut turns = lock(&self.turns);
        if turns.reading < PLACES {
            turns.reading += 1;
            return Ok(Begun::Reading(Place(Some(Arc::clone(&self.turns)))));
        }
        if turns.waiting.len() >= WAITING {
            return Err(StoreError::unavailable("too many requests wait for it".to_owned()));
        }
        let (reply, replied) = oneshot::channel();
        turns.waiting.push_back(Question { proof, reply });
        Ok(Begun::Waiting(replied))
    }

    /// Reads this session, and those of all who wait.
    async fn read(&self, proof: Proof, place: Place) -> Result<Option<Kept>> {
        let questions = place.take_waiting();
        let proofs = || iter::once(&proof).chain(questions.iter().map(|question| &question.proof));
        let mut command = redis::cmd("MGET");
        for proof in proofs() {
            command.arg(self.keys.proof(proof));
        }
        // Each generation once, after the sessions.
        let mut generations = Generations::default();
        let places: Vec<usize> = proofs().map(|proof| generations.place(proof)).collect();
        for (account, kind) in generations.0 {
            command.arg(self.keys.generation_of(account, kind));
        }
        let values: Result<Vec<Option<Vec<u8>>>> =
            self.shared.read_from_primary("session_check", &self.keys, &command).await;
        // The next read is sent before these answers are processed.
        drop(place);
        match values {
            Ok(values) => {
                let mut values = values;
                let read = values.split_off((questions.len() + 1).min(values.len()));
                let read: Vec<Option<u64>> =
                    read.iter().map(|value| value.as_deref().and_then(parse_generation)).collect();
                let mut values = values.into_iter().zip(places);
                let alive = |proof: &Proof, (value, place): (_, usize)| {
                    alive(&self.decoded, proof, value, read.get(place).copied().flatten())
                };
                let own = values.next().map_or(Ok(None), |value| alive(&proof, value));
                for (question, value) in questions.into_iter().zip(values) {
                    // An error here means that this client has hung up.
                    let _ = question.reply.send(Reply::Session(alive(&question.proof, value)));
                }
                own
            }
            Err(error) => {
                for question in questions {
                    let _ = question.reply.send(Reply::Session(Err(error.clone())));
                }
                Err(error)
            }
        }
    }
}

/// The generations that one read asks for, each once, in the order in which they are asked for.
///
/// One read is about few accounts: to look through them takes less time than to hash them.
#[derive(Default)]
struct Generations(Vec<(AccountId, ProofKind)>);

impl Generations {
    /// Which of them is that of `proof`.
    fn place(&mut self, proof: &Proof) -> usize {
        let of = (proof.account, proof.kind);
        self.0.iter().position(|known| *known == of).unwrap_or_else(|| {
            self.0.push(of);
            self.0.len() - 1
        })
    }
}

/// How a question begins.
enum Begun {
    Reading(Place),
    Waiting(oneshot::Receiver<Reply>),
}

/// The right to read. Dropped, also by a client that hangs up in the middle of its read, it is passed on to the one who has
/// waited longest.
struct Place(Option<Arc<Mutex<Turns>>>);

impl Place {
    /// Those who wait, as many as one read takes. Clients that have hung up since need no answer.
    fn take_waiting(&self) -> Vec<Question> {
        let Some(turns) = &self.0 else { return Vec::new() };
        let mut turns = lock(turns);
        let batch = turns.waiting.len().min(BATCH_SIZE - 1);
        turns.waiting.drain(..batch).filter(|question| !question.reply.is_closed()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        loop {
            let next = {
                let mut held = lock(&turns);
                let next = held.waiting.pop_front();
                if next.is_none() {
                    held.reading -= 1;
                }
                next
            };
            let Some(Question { reply, .. }) = next else { return };
            match reply.send(Reply::Turn(Self(Some(Arc::clone(&turns))))) {
                Ok(()) => return,
                // It has hung up: the next one. The place that comes back must not pass itself on.
                Err(Reply::Turn(mut place)) => place.0 = None,
                Err(Reply::Session(_)) => {}
            }
        }
    }
}

fn lock(turns: &Mutex<Turns>) -> MutexGuard<'_, Turns> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The session that this value of Redis is; none where there is no value, or where it is of another generation than the user's
/// present one.
fn alive(
    decoded: &DecodedSessions,
    proof: &Proof,
    value: Option<Vec<u8>>,
    generation: Option<u64>,
) -> Result<Option<Kept>> {
    let Some(bytes) = value else {
        decoded.forget(&proof.id);
        return Ok(None);
    };
    let kept = decoded.read(&proof.id, bytes, |bytes| Record::decode(bytes).map(Kept::new))?;
    Ok(Some(kept).filter(|kept| kept.record().is_alive(proof, generation)))
}

/// The decimal number that INCR keeps.
pub(in crate::store) fn parse_generation(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::*;
    use crate::domain::access::Role;

    fn id(n: u8) -> Proof {
        crate::store::SessionToken::parse(&format!("{}{}", "A".repeat(42), char::from(b'A' + n * 4)))
            .unwrap()
            .proof()
    }

    /// As [`SessionChecks`], without a Redis.
    fn place(turns: &Arc<Mutex<Turns>>) -> Place {
        lock(turns).reading += 1;
        Place(Some(Arc::clone(turns)))
    }

    fn wait(turns: &Arc<Mutex<Turns>>, n: u8) -> oneshot::Receiver<Reply> {
        let (reply, replied) = oneshot::channel();
        lock(turns).waiting.push_back(Question { proof: id(n), reply });
        replied
    }

    #[test]
    fn a_place_that_is_dropped_goes_to_the_one_who_has_waited_longest_and_has_not_hung_up() {
        let turns = Arc::<Mutex<Turns>>::default();
        let first = place(&turns);
        let (gone, mut second, mut third) = (wait(&turns, 1), wait(&turns, 2), wait(&turns, 3));
        drop(gone);
        drop(first);
        let Ok(Reply::Turn(place)) = second.try_recv() else { panic!("the second one does not read") };
        assert_eq!(lock(&turns).reading, 1);
        assert_eq!(place.take_waiting().len(), 1, "the third one's");
        drop(place);
        assert!(third.try_recv().is_err(), "its reader is gone, so it asks again");
        let turns = lock(&turns);
        assert_eq!((turns.reading, turns.waiting.len()), (0, 0));
    }

    #[test]
    fn a_turn_that_nobody_takes_is_passed_on() {
        let turns = Arc::<Mutex<Turns>>::default();
        let first = place(&turns);
        let (second, mut third) = (wait(&turns, 1), wait(&turns, 2));
        drop(first);
        // Its client hangs up with the turn in hand.
        drop(second);
        assert!(matches!(third.try_recv(), Ok(Reply::Turn(_))));
        assert_eq!(lock(&turns).reading, 0);
    }

    #[test]
    fn one_read_takes_as_many_as_it_may_and_leaves_the_rest() {
        let turns = Arc::<Mutex<Turns>>::default();
        let first = place(&turns);
        let waiting: Vec<_> = (0..300).map(|_| wait(&turns, 1)).collect();
        assert_eq!(first.take_waiting().len(), BATCH_SIZE - 1);
        assert_eq!(lock(&turns).waiting.len(), waiting.len() - (BATCH_SIZE - 1));
    }

    #[test]
    fn each_generation_is_asked_for_once_and_found_at_its_place() {
        let (session, token) = (ProofKind::Session, ProofKind::ApiToken);
        let mut generations = Generations::default();
        let mut place = |account: &str, kind| {
            let account = AccountId::parse(account).unwrap();
            generations.place(&Proof { account, kind, ..id(1) })
        };
        let first = [place("admin", session), place("admin", token), place("Anna0001", session)];
        assert_eq!(first, [0, 1, 2]);
        let again = [place("Anna0001", session), place("admin", token), place("admin", session)];
        assert_eq!(again, [2, 1, 0]);
        assert_eq!(generations.0.len(), 3);
    }

    fn bytes(seen: i64, generation: u64) -> Vec<u8> {
        let document = Document {
            username: "admin".to_owned(),
            created: 1,
            expires: 2,
            ip: [0; 4].into(),
            agent: 0,
            role: Role::Admin,
            servers: Vec::new(),
            account: AccountId::ADMIN,
            api_token: None,
        };
        Record { seen, generation, document }.encode().unwrap()
    }

    fn read(decoded: &DecodedSessions, value: Option<Vec<u8>>, generation: u64) -> Option<(i64, u64)> {
        let kept = alive(decoded, &id(1), value, Some(generation)).unwrap();
        kept.map(|kept| (kept.record().seen, kept.record().generation))
    }

    #[test]
    fn what_redis_has_now_counts_and_never_what_was_decoded_before() {
        let decoded = Decoded::with_room(DECODED_ROOM);
        assert_eq!(read(&decoded, Some(bytes(1, 5)), 5), Some((1, 5)));
        assert_eq!(read(&decoded, Some(bytes(1, 5)), 5), Some((1, 5)), "from what was kept");
        assert_eq!(read(&decoded, Some(bytes(2, 5)), 5), Some((2, 5)), "touched");
        assert_eq!(read(&decoded, Some(bytes(2, 5)), 6), None, "all sessions were ended");
        assert_eq!(read(&decoded, None, 5), None, "it was ended");
        assert_eq!(read(&decoded, Some(bytes(2, 6)), 6), Some((2, 6)));
    }

    #[test]
    fn bytes_that_cannot_be_decoded_are_an_error_each_time_and_the_others_are_read() {
        let decoded = Decoded::with_room(DECODED_ROOM);
        for _ in 0..2 {
            assert!(alive(&decoded, &id(1), Some(vec![0; 9]), Some(5)).is_err());
            assert!(alive(&decoded, &id(2), Some(bytes(1, 5)), Some(5)).is_ok_and(|kept| kept.is_some()));
        }
    }
}
