//! A model of several workers and one Redis, in random order: never an acceptance after an answered revocation. Each rule can
//! be taken away, and then the model must find the hole.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const WORKERS: usize = 3;
/// Sessions are numbers; a new login takes the next one.
type Session = u32;

#[derive(Clone, Copy)]
struct Rules {
    renewal_carries_the_number: bool,
    wait_for_the_lease: bool,
    incarnation: bool,
    fills_are_marked: bool,
}

const ALL: Rules = Rules {
    renewal_carries_the_number: true,
    wait_for_the_lease: true,
    incarnation: true,
    fills_are_marked: true,
};

#[derive(Default)]
struct Redis {
    run: u64,
    stored: Option<(u64, Duration)>,
    number: u64,
    /// The number that each holder has confirmed.
    holders: BTreeMap<u64, u64>,
    live: Vec<Session>,
}

struct Worker {
    cache: Cache<Session, ()>,
    id: u64,
    /// Messages on their way, which a lost link keeps for ever.
    pushed: VecDeque<Event<Session>>,
    linked: bool,
    paused: bool,
    fill: Option<(Option<Mark>, Session)>,
}

struct Pending {
    session: Session,
    number: u64,
    whole: bool,
    holders: Vec<u64>,
    end: Duration,
}

struct Model {
    rules: Rules,
    rng: StdRng,
    now: Duration,
    redis: Redis,
    workers: Vec<Worker>,
    pending: Vec<Pending>,
    answered: Vec<Session>,
    next: Session,
    next_id: u64,
}

impl Model {
    fn new(rules: Rules, seed: u64) -> Self {
        let worker = || Worker {
            cache: Cache { fills_are_marked: rules.fills_are_marked, ..Cache::default() },
            id: 0,
            pushed: VecDeque::new(),
            linked: true,
            paused: false,
            fill: None,
        };
        Self {
            rules,
            rng: StdRng::seed_from_u64(seed),
            now: Duration::from_secs(10),
            redis: Redis::default(),
            workers: (0..WORKERS).map(|_| worker()).collect(),
            pending: Vec::new(),
            answered: Vec::new(),
            next: 0,
            next_id: 1,
        }
    }

    /// The incarnation rule of the scripts: another Redis than the one stored keeps no holder.
    fn look_at_incarnation(&mut self) {
        let redis = &mut self.redis;
        if self.rules.incarnation && redis.stored.is_none_or(|(run, _)| run != redis.run) {
            redis.stored = Some((redis.run, self.now));
            redis.holders.clear();
        }
    }

    fn join(&mut self, w: usize) {
        self.look_at_incarnation();
        let (redis, worker) = (&mut self.redis, &mut self.workers[w]);
        worker.id = self.next_id;
        self.next_id += 1;
        worker.pushed.clear();
        redis.holders.insert(worker.id, redis.number);
        let incarnation = redis.run.to_string();
        worker.cache.step(Event::Joined { sent: self.now, incarnation, number: redis.number }, self.now);
    }

    fn renew(&mut self, w: usize) {
        let (redis, worker) = (&mut self.redis, &mut self.workers[w]);
        let Some((incarnation, number)) = worker.cache.applied() else { return };
        let same = !self.rules.incarnation || incarnation == redis.run.to_string();
        let event = if !same || !redis.holders.contains_key(&worker.id) {
            Event::Refused
        } else {
            redis.holders.insert(worker.id, number);
            let current = number == redis.number || !self.rules.renewal_carries_the_number;
            if current { Event::Renewed { sent: self.now } } else { Event::Behind }
        };
        worker.cache.step(event, self.now);
    }

    fn revoke(&mut self) {
        self.look_at_incarnation();
        let Some(&session) = self.redis.live.first() else { return };
        let redis = &mut self.redis;
        redis.live.retain(|live| *live != session);
        let previous = redis.number;
        redis.number = (previous + 1).max(u64::try_from(self.now.as_micros()).unwrap());
        for worker in &mut self.workers {
            worker.pushed.push_back(Event::Revoked {
                incarnation: redis.run.to_string(),
                previous,
                number: redis.number,
                ends: Ends::One(session),
            });
        }
        let whole = redis.stored.is_some_and(|(_, since)| self.now < since + LEASE);
        let holders = redis.holders.keys().copied().collect();
        let end = self.now + LEASE;
        self.pending.push(Pending { session, number: redis.number, whole, holders, end });
    }

    fn answer(&mut self) {
        let (now, redis, rules) = (self.now, &mut self.redis, self.rules);
        let answered = &mut self.answered;
        self.pending.retain_mut(|pending| {
            pending
                .holders
                .retain(|id| redis.holders.get(id).is_none_or(|applied| *applied < pending.number));
            let all = pending.holders.is_empty() && !pending.whole;
            let over = now >= pending.end || !rules.wait_for_the_lease;
            if over && !all {
                redis.holders.retain(|id, _| !pending.holders.contains(id));
            }
            if all || over {
                answered.push(pending.session);
            }
            !(all || over)
        });
    }

    fn act(&mut self) {
        let w = self.rng.random_range(0..WORKERS);
        self.now += Duration::from_millis(self.rng.random_range(0..40));
        let can = self.workers[w].linked && !self.workers[w].paused;
        match self.rng.random_range(0..100) {
            0..8 => {
                self.redis.live.push(self.next);
                self.next += 1;
            }
            8..16 => self.revoke(),
            16..20 => self.workers[w].paused = !self.workers[w].paused,
            20..23 => self.workers[w].linked = !self.workers[w].linked,
            // A Redis without its data, but for the sessions: what was ended stays ended.
            23 => {
                let live = std::mem::take(&mut self.redis.live);
                self.redis = Redis { run: self.redis.run + 1, live, ..Redis::default() };
                self.workers.iter_mut().for_each(|worker| worker.pushed.clear());
            }
            24 => self.workers[w].cache.empty(),
            25 => self.now += Duration::from_millis(self.rng.random_range(0..3000)),
            26..46 if can => {
                // Applying confirms, as the task does.
                if let Some(event) = self.workers[w].pushed.pop_front() {
                    let now = self.now;
                    if self.workers[w].cache.step(event, now) == Next::Confirm {
                        self.renew(w);
                    }
                }
            }
            46..56 if can && self.workers[w].cache.applied().is_none() => self.join(w),
            // Commands may pass on a link whose messages are stuck: that is what the number in a renewal is for.
            46..62 if !self.workers[w].paused => self.renew(w),
            62..74 => {
                let mark = self.workers[w].cache.mark(self.now);
                let session = self.redis.live.first().copied();
                self.workers[w].fill = session.map(|session| (mark, session));
            }
            74..84 => {
                let (now, worker) = (self.now, &mut self.workers[w]);
                if let Some((Some(mark), session)) = worker.fill.take() {
                    worker.cache.fill(mark, session, (), now + Duration::from_secs(60), now);
                }
            }
            _ => self.answer(),
        }
    }

    /// A request that begins now, at every worker: paused ones answer when they go on.
    fn accepts_what_was_answered(&self) -> bool {
        self.workers
            .iter()
            .any(|worker| self.answered.iter().any(|session| worker.cache.get(session, self.now).is_some()))
    }
}

/// Whether any of many histories has an acceptance after the answer.
fn has_a_hole(rules: Rules) -> bool {
    (0..400).any(|seed| {
        let mut model = Model::new(rules, seed);
        (0..1500).any(|_| {
            model.act();
            model.accepts_what_was_answered()
        })
    })
}

#[test]
fn no_session_is_accepted_after_its_revocation_was_answered() {
    assert!(!has_a_hole(ALL));
}

#[test]
fn without_the_number_in_a_renewal_there_is_a_hole() {
    assert!(has_a_hole(Rules { renewal_carries_the_number: false, ..ALL }));
}

#[test]
fn without_the_wait_for_the_lease_there_is_a_hole() {
    assert!(has_a_hole(Rules { wait_for_the_lease: false, ..ALL }));
}

#[test]
fn without_the_incarnation_there_is_a_hole() {
    assert!(has_a_hole(Rules { incarnation: false, ..ALL }));
}

#[test]
fn without_the_mark_of_a_fill_there_is_a_hole() {
    assert!(has_a_hole(Rules { fills_are_marked: false, ..ALL }));
}
