//! Several workers and one Redis, and everything between them in any order: what is asked, served and answered are three steps
//! each; messages come late or never; workers pause and continue; their clocks run unequally; Redis forgets, or goes back to an
//! earlier memory. The caches and the waits are the very code that workers run. What the scripts do is a [`Redis`]: an imitation
//! in `model_tests.rs`, and the real one with the real scripts in `tests/it/near_cache_scripts.rs`.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::acts::{ACCOUNTS, Act, Kept, Redis, Revoked, Rules, Session, account_of};
use super::state::{Cache, Event, LEASE, Mark, Next};
use super::wait::{Listed, Looked, Outcome, Wait};

const WORKERS: usize = 3;
/// The most revocations that wait at once.
const MAX_WAITING: usize = 5;

enum Asked {
    Join(String),
    Renewal { id: String, incarnation: String, number: u64 },
}

struct Request {
    asked: Asked,
    sent: Duration,
    served: Option<Served>,
}

enum Served {
    Joined(String, u64),
    Renewal(i64),
}

struct Read {
    mark: Mark,
    session: Session,
    served: Option<bool>,
}

struct Worker {
    cache: Cache<Session, Kept>,
    id: String,
    messages: VecDeque<Vec<u8>>,
    request: Option<Request>,
    reads: VecDeque<Read>,
    /// The speed of its clock in percent; it began at `offset`.
    rate: u32,
    offset: Duration,
}

struct Revocation {
    by: usize,
    wait: Wait,
    /// What was gone when its script ran: what its answer promises to be refused.
    gone: BTreeSet<Session>,
    looked: Option<Looked>,
    outcome: Option<Outcome>,
}

/// How often each thing happened: a history in which nothing happens proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Happened {
    pub hits: u32,
    pub confirmed: u32,
    pub lease: u32,
    pub unknown_holders: u32,
    pub rejoined: u32,
    pub behind: u32,
}

/// The model.
pub struct World<R: Redis> {
    redis: R,
    rules: Rules,
    now: Duration,
    workers: Vec<Worker>,
    revocations: Vec<Revocation>,
    late: Vec<Request>,
    live: BTreeSet<Session>,
    sessions: Session,
    ids: u32,
    remembered: Option<(BTreeSet<Session>, R::Memory)>,
    answered: BTreeSet<Session>,
    pub happened: Happened,
}

impl Worker {
    fn clock(&self, now: Duration) -> Duration {
        self.offset + now * self.rate / 100
    }
}

impl<R: Redis> World<R> {
    /// A Redis that has been there for a while.
    pub fn new(mut redis: R, rules: Rules) -> Self {
        let (_, listed) = redis.revoke(Revoked::Nothing);
        redis.settle(&listed);
        let worker = |n: u32| Worker {
            cache: Cache::default(),
            id: String::new(),
            messages: VecDeque::new(),
            request: None,
            reads: VecDeque::new(),
            rate: 97 + 3 * n,
            offset: Duration::from_secs(u64::from(1_000 * n)),
        };
        Self {
            redis,
            rules,
            now: Duration::from_secs(10),
            workers: (0..WORKERS as u32).map(worker).collect(),
            revocations: Vec::new(),
            late: Vec::new(),
            live: BTreeSet::new(),
            sessions: 0,
            ids: 0,
            remembered: None,
            answered: BTreeSet::new(),
            happened: Happened::default(),
        }
    }

    /// Plays these acts, and fails if a session is accepted after the answer to its revocation.
    pub fn live_through(&mut self, history: impl IntoIterator<Item = Act>) -> Result<(), TestCaseError> {
        for (n, act) in history.into_iter().enumerate() {
            self.act(act);
            for (w, worker) in self.workers.iter().enumerate() {
                let now = worker.clock(self.now);
                let accepted = self.answered.iter().find(|session| worker.cache.get(session, now).is_some());
                prop_assert!(accepted.is_none(), "worker {w} accepts {accepted:?} after act {n}, {act:?}");
                self.happened.hits +=
                    u32::from(self.live.iter().any(|session| worker.cache.get(session, now).is_some()));
            }
        }
        Ok(())
    }

    fn act(&mut self, act: Act) {
        let revocation = |n: usize| n.checked_rem(self.revocations.len());
        match act {
            Act::Pass(ms) => self.now += Duration::from_millis(ms),
            Act::Login => {
                self.redis.login(self.sessions);
                self.live.insert(self.sessions);
                self.sessions += 1;
            }
            Act::Revoke(n) => {
                let one = n.checked_rem(self.live.len()).and_then(|n| self.live.iter().nth(n).copied());
                if let Some(session) = one {
                    self.live.remove(&session);
                    self.revoke(n, Revoked::One(session));
                }
            }
            Act::RevokeAll(n) => {
                let account = n % ACCOUNTS.len();
                self.live.retain(|session| account_of(*session) != account);
                self.revoke(0, Revoked::All(account));
            }
            Act::Sweep => self.revoke(1, Revoked::Nothing),
            Act::EndAgain => {
                let listed = self.redis.behind();
                self.wait(2, listed);
            }
            // One at a time: this does not hurry an earlier request.
            Act::Renew(w) if self.workers[w % WORKERS].request.is_some() => {}
            Act::Renew(w) => {
                [Act::Ask(w), Act::Serve(w), Act::Take(w)].into_iter().for_each(|act| self.act(act));
            }
            Act::Ask(w) => self.ask(w % WORKERS),
            Act::Serve(w) => {
                if let Some(mut request) = self.workers[w % WORKERS].request.take() {
                    self.serve(&mut request);
                    self.workers[w % WORKERS].request = Some(request);
                }
            }
            Act::Take(w) => self.take(w % WORKERS),
            Act::ServeLate => {
                if let Some(mut request) = self.late.pop() {
                    self.serve(&mut request);
                }
            }
            Act::Hear(w) => self.hear(w % WORKERS),
            Act::Lose(w) => drop(self.workers[w % WORKERS].messages.pop_front()),
            Act::Disconnect(w) => self.empty(w % WORKERS),
            Act::Leave(w) => {
                self.empty(w % WORKERS);
                self.redis.leave(&self.workers[w % WORKERS].id);
            }
            Act::ReadAndFill(w, n) => {
                let w = w % WORKERS;
                if let Some(mut read) = self.read(w, n) {
                    read.served = Some(self.redis.read(read.session));
                    self.fill(w, read);
                }
            }
            Act::Read(w, n) => {
                let read = self.read(w % WORKERS, n);
                self.workers[w % WORKERS].reads.extend(read);
            }
            Act::ServeRead(w) => {
                for read in &mut self.workers[w % WORKERS].reads {
                    read.served.get_or_insert_with(|| self.redis.read(read.session));
                }
            }
            Act::Fill(w) => {
                if let Some(read) = self.workers[w % WORKERS].reads.pop_front() {
                    self.fill(w % WORKERS, read);
                }
            }
            Act::LookAndHear(n) => [Act::Look(n), Act::HearLook(n)].into_iter().for_each(|act| self.act(act)),
            Act::Look(n) => {
                if let Some(n) = revocation(n) {
                    let holders = &self.revocations[n].wait.listed().holders;
                    self.revocations[n].looked = Some(self.redis.look(holders));
                }
            }
            Act::HearLook(n) => {
                if let Some(n) = revocation(n) {
                    let revocation = &mut self.revocations[n];
                    if let Some(looked) = revocation.looked.take() {
                        revocation.wait.heard(&looked);
                    }
                }
            }
            Act::Answer(n) => {
                if let Some(n) = revocation(n) {
                    self.answer(n);
                }
            }
            Act::AnswerAndSettle(n) => {
                [Act::Answer(n), Act::Settle(n)].into_iter().for_each(|act| self.act(act));
            }
            Act::Settle(n) => {
                if let Some(n) = revocation(n).filter(|&n| self.revocations[n].outcome.is_some()) {
                    let revocation = self.revocations.remove(n);
                    self.redis.settle(revocation.wait.listed());
                }
            }
            Act::Remember => self.remembered = Some((self.live.clone(), self.redis.memory())),
            Act::GoBack => {
                let Some((live, memory)) = self.remembered.take() else { return };
                self.redis.restart(Some(&memory));
                self.live = live;
                // The promise holds only while Redis keeps what it has written: not for sessions whose end it has forgotten.
                self.answered.retain(|session| !self.live.contains(session));
                self.revocations.iter_mut().for_each(|one| one.gone.retain(|gone| !self.live.contains(gone)));
                self.broken();
            }
            Act::Forget => {
                self.redis.restart(None);
                self.remembered = None;
                self.broken();
            }
        }
    }

    /// Whatever was on its way is lost; the workers notice later that their connections are broken.
    fn broken(&mut self) {
        self.late.clear();
        for worker in &mut self.workers {
            worker.messages.clear();
            worker.request = None;
        }
    }

    fn revoke(&mut self, by: usize, ends: Revoked) {
        let (message, listed) = self.redis.revoke(ends);
        self.workers.iter_mut().for_each(|worker| worker.messages.push_back(message.clone()));
        self.wait(by, listed);
    }

    fn wait(&mut self, by: usize, listed: Listed) {
        let by = by % WORKERS;
        let wait = Wait::begin(listed, self.workers[by].clock(self.now));
        let gone = (0..self.sessions).filter(|session| !self.live.contains(session)).collect();
        if self.revocations.len() == MAX_WAITING {
            // The longest wait is killed.
            self.revocations.remove(0);
        }
        self.revocations.push(Revocation { by, wait, gone, looked: None, outcome: None });
    }

    fn answer(&mut self, n: usize) {
        let revocation = &mut self.revocations[n];
        let now = self.workers[revocation.by].clock(self.now);
        let now = if self.rules.waits_for_the_lease { now } else { now + LEASE };
        if revocation.outcome.is_some() {
            return;
        }
        revocation.outcome = revocation.wait.outcome(now);
        if revocation.outcome.is_some() {
            self.answered.append(&mut revocation.gone);
        }
        match revocation.outcome {
            None => {}
            Some(Outcome::Lease) => self.happened.lease += 1,
            Some(Outcome::UnknownHolders) => self.happened.unknown_holders += 1,
            Some(outcome) => {
                self.happened.confirmed += u32::from(outcome == Outcome::Confirmed);
                self.revocations.remove(n);
            }
        }
    }

    fn ask(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        if worker.request.is_some() {
            return;
        }
        let asked = match worker.cache.applied() {
            None => {
                self.ids += 1;
                worker.id = format!("{:032x}", self.ids);
                worker.messages.clear();
                Asked::Join(worker.id.clone())
            }
            Some((incarnation, number)) => {
                Asked::Renewal { id: worker.id.clone(), incarnation: incarnation.to_string(), number }
            }
        };
        worker.request = Some(Request { asked, sent: worker.clock(self.now), served: None });
    }

    fn serve(&mut self, request: &mut Request) {
        if request.served.is_some() {
            return;
        }
        request.served = Some(match &request.asked {
            Asked::Join(id) => {
                let (incarnation, number) = self.redis.join(id);
                Served::Joined(incarnation, number)
            }
            Asked::Renewal { id, incarnation, number } => {
                Served::Renewal(self.redis.renew(id, incarnation, *number))
            }
        });
    }

    fn take(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        let Some(Request { sent, served: Some(served), .. }) =
            worker.request.take_if(|it| it.served.is_some())
        else {
            return;
        };
        let event = match served {
            Served::Joined(incarnation, number) => Event::Joined { sent, incarnation, number },
            Served::Renewal(answer) => Event::of_renewal(answer, sent),
        };
        self.happened.behind += u32::from(event == Event::Behind);
        self.step(w, event);
    }

    fn hear(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        // It applies nothing while it waits for an answer, nor before it has joined.
        if worker.request.is_some() || worker.cache.applied().is_none() {
            return;
        }
        let Some(message) = worker.messages.pop_front() else { return };
        let event = Event::of_message(&message, |id| u32::from_be_bytes(*id.first_chunk().unwrap())).unwrap();
        if self.step(w, event) == Next::Confirm {
            self.act(Act::Renew(w));
        }
    }

    fn step(&mut self, w: usize, event: Event<Session>) -> Next {
        let worker = &mut self.workers[w];
        let now = worker.clock(self.now);
        let next = worker.cache.step(event, now);
        if next == Next::Rejoin {
            self.happened.rejoined += 1;
        }
        next
    }

    fn empty(&mut self, w: usize) {
        let worker = &mut self.workers[w];
        worker.cache.empty();
        self.late.extend(worker.request.take());
    }

    fn read(&mut self, w: usize, n: usize) -> Option<Read> {
        let worker = &self.workers[w];
        let session = n.checked_rem(self.live.len()).and_then(|n| self.live.iter().nth(n).copied())?;
        let (mark, _) = worker.cache.mark(worker.clock(self.now))?;
        Some(Read { mark, session, served: None })
    }

    fn fill(&mut self, w: usize, Read { mark, session, served }: Read) {
        let worker = &mut self.workers[w];
        let now = worker.clock(self.now);
        let mark =
            if self.rules.fills_are_marked { Some(mark) } else { worker.cache.mark(now).map(|it| it.0) };
        if let (Some(true), Some(mark)) = (served, mark) {
            worker.cache.fill(mark, session, Kept(account_of(session)), Duration::from_secs(5), now);
        }
    }
}
