//! The rules of a holder, pure: when a worker may answer from its cache, what it must drop, and what to do. No clock, no Redis.
//!
//! *Term* counts the emptyings. A fill carries the [`Mark`] (term, number) noted before its read was sent; an entry is kept
//! only if neither has moved since, so what was read before a revocation is never kept after it.
//!
//! Times are of this machine's boot-time clock.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::entries::Entries;

/// How long a cache may answer without a renewal, and how long a revocation waits for one that does not confirm.
pub const LEASE: Duration = Duration::from_secs(2);
/// A holder stops this much earlier: clocks of two machines do not run equally fast.
pub const MARGIN: Duration = Duration::from_millis(250);

/// When a fill's read was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    term: u64,
    number: u64,
    at: Duration,
}

/// What a revocation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends<K> {
    /// One session.
    One(K),
    /// All there are: what version 0.2 says, which knows one account.
    All,
    /// All of the account with this id.
    AllOf(String),
    /// Nothing: somebody wants to know which holders are left.
    Nothing,
}

/// What a holder receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<K> {
    /// It has become a holder; the request was sent at this time.
    Joined { sent: Duration, incarnation: String, number: u64 },
    /// A revocation.
    Revoked { incarnation: String, previous: u64, number: u64, ends: Ends<K> },
    /// The renewal that was sent at this time was accepted.
    Renewed { sent: Duration },
    /// The renewal was refused because there is a revocation that it had not applied; what it had applied is confirmed.
    Behind,
    /// The renewal was refused: this is no holder any more.
    Refused,
}

/// What a holder must do after an event, the most pressing last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    /// Nothing.
    Wait,
    /// Confirm to Redis which number was applied.
    Confirm,
    /// The cache is emptied: rejoin under a new id.
    Rejoin,
}

/// What a cache keeps: each entry is some account's.
pub trait OfAccount {
    /// Whether it is of the account with this id.
    fn is_of(&self, account: &str) -> bool;
}

/// What the message of a revocation of all sessions of an account begins with, before the account's id. Version 0.2 cannot read it,
/// and joins again with an empty cache.
const ALL_OF: &[u8] = b"all:";

impl<K> Event<K> {
    /// Reads a message of a revocation, `INCARNATION|PREVIOUS|NUMBER|ID`; `None` for anything else.
    pub fn of_message(message: &[u8], key: impl FnOnce([u8; 32]) -> K) -> Option<Self> {
        let mut parts = message.splitn(4, |&byte| byte == b'|');
        let mut text = || std::str::from_utf8(parts.next()?).ok();
        let incarnation = text()?.to_owned();
        let (previous, number) = (text()?.parse().ok()?, text()?.parse().ok()?);
        let ends = match parts.next()? {
            b"all" => Ends::All,
            b"none" => Ends::Nothing,
            // An id may begin with anything, but has another length.
            id if id.len() < 32 && id.starts_with(ALL_OF) => {
                let account = id.strip_prefix(ALL_OF).filter(|account| !account.is_empty())?;
                Ends::AllOf(std::str::from_utf8(account).ok()?.to_owned())
            }
            id => Ends::One(key(id.try_into().ok()?)),
        };
        Some(Self::Revoked { incarnation, previous, number, ends })
    }

    /// Reads the answer to a renewal.
    pub fn of_renewal(answer: i64, sent: Duration) -> Self {
        match answer {
            1 => Self::Renewed { sent },
            0 => Self::Behind,
            _ => Self::Refused,
        }
    }
}

#[derive(Debug)]
struct Joined {
    incarnation: Arc<str>,
    number: u64,
    until: Duration,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Duration,
}

/// One worker's cache and its right to answer from it. Everything in it changes under one lock.
#[derive(Debug)]
pub struct Cache<K, V> {
    term: u64,
    joined: Option<Joined>,
    entries: Entries<K, Entry<V>>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { term: 0, joined: None, entries: Entries::default() }
    }
}

impl<K: Eq + Hash, V: Clone + OfAccount> Cache<K, V> {
    /// Applies an event.
    pub fn step(&mut self, event: Event<K>, now: Duration) -> Next {
        if let Event::Joined { sent, incarnation, number } = event {
            self.empty();
            let until = sent + LEASE - MARGIN;
            self.joined = Some(Joined { incarnation: incarnation.into(), number, until });
            return Next::Wait;
        }
        let Some(joined) = self.joined.as_mut().filter(|joined| now < joined.until) else {
            return self.rejoin();
        };
        match event {
            Event::Revoked { incarnation, .. } if *incarnation != *joined.incarnation => self.rejoin(),
            // Published between the subscription and the joining.
            Event::Revoked { number, .. } if number <= joined.number => Next::Wait,
            Event::Revoked { previous, .. } if previous != joined.number => self.rejoin(),
            Event::Revoked { number, ends, .. } => {
                joined.number = number;
                match ends {
                    Ends::One(key) => self.entries.remove(&key),
                    Ends::All => self.entries.clear(),
                    Ends::AllOf(account) => self.entries.retain(|entry| !entry.value.is_of(&account)),
                    Ends::Nothing => {}
                }
                Next::Confirm
            }
            Event::Renewed { sent } => {
                joined.until = joined.until.max(sent + LEASE - MARGIN);
                Next::Wait
            }
            // The lease is not extended: the message was sent before this answer, and if it is stuck the lease expires.
            Event::Behind | Event::Joined { .. } => Next::Wait,
            Event::Refused => self.rejoin(),
        }
    }

    /// Answers nothing from here on, until it has rejoined.
    pub fn empty(&mut self) {
        self.term += 1;
        self.joined = None;
        self.entries.clear();
    }

    fn rejoin(&mut self) -> Next {
        self.empty();
        Next::Rejoin
    }

    fn holds(&self, now: Duration) -> Option<&Joined> {
        self.joined.as_ref().filter(|joined| now < joined.until)
    }

    /// The incarnation and the number that a renewal carries.
    pub fn applied(&self) -> Option<(Arc<str>, u64)> {
        self.joined.as_ref().map(|joined| (Arc::clone(&joined.incarnation), joined.number))
    }

    /// The mark that a fill takes before it reads, and the incarnation it must read from; none while this is no holder.
    pub fn mark(&self, now: Duration) -> Option<(Mark, Arc<str>)> {
        let joined = self.holds(now)?;
        let mark = Mark { term: self.term, number: joined.number, at: now };
        Some((mark, Arc::clone(&joined.incarnation)))
    }

    /// The value, if the lease holds and the entry is young enough.
    pub fn get(&self, key: &K, now: Duration) -> Option<V> {
        self.holds(now)?;
        self.entries.get(key).filter(|entry| now < entry.until).map(|entry| entry.value.clone())
    }

    /// Keeps what was read after `mark` for this long from then on, unless something was revoked since.
    pub fn fill(&mut self, mark: Mark, key: K, value: V, life: Duration, now: Duration) {
        let same = |joined: &Joined| (self.term, joined.number) == (mark.term, mark.number);
        let until = mark.at + life;
        if now < until && self.holds(now).is_some_and(same) {
            self.entries.insert(key, Entry { value, until });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_what_it_ends_and_anything_else_is_rejected() {
        let read = |text: &[u8]| Event::of_message(text, |id| id);
        let mut message = b"ab.cd|7|9|".to_vec();
        message.extend([b'|'; 32]);
        let expected =
            |ends| Some(Event::Revoked { incarnation: "ab.cd".to_owned(), previous: 7, number: 9, ends });
        assert_eq!(read(&message), expected(Ends::One([b'|'; 32])));
        assert_eq!(read(b"ab.cd|7|9|all"), expected(Ends::All));
        assert_eq!(read(b"ab.cd|7|9|none"), expected(Ends::Nothing));
        assert_eq!(read(b"ab.cd|7|9|all:admin"), expected(Ends::AllOf("admin".to_owned())));
        let mut like_all = b"ab.cd|7|9|".to_vec();
        like_all.extend(b"all:5678901234567890123456789012");
        assert!(matches!(read(&like_all), Some(Event::Revoked { ends: Ends::One(_), .. })), "an id");
        for other in
            [&b""[..], b"ab.cd|7|9", b"ab.cd|7|x|all", b"ab.cd|7|9|al", b"ab.cd|7|9|all:", &message[..40]]
        {
            assert_eq!(read(other), None);
        }
    }

    #[derive(Clone)]
    struct Of(&'static str);

    impl OfAccount for Of {
        fn is_of(&self, account: &str) -> bool {
            self.0 == account
        }
    }

    #[test]
    fn the_end_of_all_sessions_of_one_account_leaves_those_of_another() {
        let s = Duration::from_secs;
        let mut cache = Cache::default();
        cache.step(Event::Joined { sent: s(10), incarnation: "a".to_owned(), number: 1 }, s(10));
        let (mark, _) = cache.mark(s(10)).unwrap();
        cache.fill(mark, 1, Of("admin"), s(9), s(10));
        cache.fill(mark, 2, Of("Anna0001"), s(9), s(10));
        let ends = Ends::AllOf("Anna0001".to_owned());
        let event = Event::Revoked { incarnation: "a".to_owned(), previous: 1, number: 2, ends };
        assert_eq!(cache.step(event, s(10)), Next::Confirm);
        assert!(cache.get(&1, s(10)).is_some() && cache.get(&2, s(10)).is_none());
        let event = Event::Revoked { incarnation: "a".to_owned(), previous: 2, number: 3, ends: Ends::All };
        cache.step(event, s(10));
        assert!(cache.get(&1, s(10)).is_none());
    }

    #[test]
    fn an_entry_is_not_older_than_its_life_counted_from_before_its_read() {
        let s = Duration::from_secs;
        let mut cache = Cache::default();
        cache.step(Event::Joined { sent: s(10), incarnation: "a".to_owned(), number: 1 }, s(10));
        let (mark, _) = cache.mark(s(10)).unwrap();
        cache.fill(mark, 1, Of("admin"), s(1), s(10) + Duration::from_millis(900));
        assert!(cache.get(&1, s(10) + Duration::from_millis(999)).is_some());
        assert!(cache.get(&1, s(11)).is_none());
        cache.fill(mark, 2, Of("admin"), s(1), s(11));
        assert!(cache.get(&2, s(11)).is_none(), "its life was over when it came");
    }
}
