//! What to log of events that come in floods: the first few from each source, then how many more there were. Pure: the caller has
//! the clock.
//!
//! Everything is bounded: the sources that are remembered, the lines per minute for all of them together, and the counts that are
//! reported. Everything else is only counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The length of a window, which begins with a source's first event.
pub const WINDOW: Duration = Duration::from_secs(60);
/// The most lines about one source in a window.
const SAID_EACH: u32 = 10;
/// The most lines about all sources together in a window.
const SAID_IN_ALL: u32 = 300;
/// The most sources that are remembered.
const SOURCES: usize = 1_000;
/// The most sources whose counts are reported one by one: those with the greatest counts.
const REPORTED: usize = 50;

/// What has been said about one source in its window.
#[derive(Debug, Default)]
struct Window {
    since: Duration,
    said: u32,
    more: u64,
}

impl Window {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) >= WINDOW
    }
}

/// What was not logged one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded<K> {
    /// The source; none for all others together.
    pub source: Option<K>,
    /// How many there were.
    pub more: u64,
}

/// The windows of all sources.
#[derive(Debug)]
pub struct Folds<K> {
    sources: HashMap<K, Window>,
    all: Window,
    unremembered: u64,
}

impl<K> Default for Folds<K> {
    fn default() -> Self {
        Self { sources: HashMap::new(), all: Window::default(), unremembered: 0 }
    }
}

impl<K: Eq + Hash> Folds<K> {
    /// Whether to log that something came from `source` at `now`. If not, it is counted.
    pub fn say(&mut self, source: K, now: Duration) -> bool {
        if self.all.is_over(now) {
            self.all = Window { since: now, ..Window::default() };
        }
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            self.unremembered += 1;
            return false;
        }
        let window = self.sources.entry(source).or_insert(Window { since: now, ..Window::default() });
        if window.is_over(now) {
            // What it counted was not reported yet: `close` does so with the window that begins now.
            *window = Window { since: now, said: 0, more: window.more };
        }
        let say = window.said < SAID_EACH && self.all.said < SAID_IN_ALL;
        if say {
            window.said += 1;
            self.all.said += 1;
        } else {
            window.more += 1;
        }
        say
    }

    /// Forgets the windows that are over, and returns what was counted in them; `everything` closes all of them.
    pub fn close(&mut self, now: Duration, everything: bool) -> Vec<Folded<K>> {
        let over = self.sources.extract_if(|_, window| everything || window.is_over(now));
        let mut folded: Vec<Folded<K>> = over
            .filter(|(_, window)| window.more > 0)
            .map(|(source, window)| Folded { source: Some(source), more: window.more })
            .collect();
        folded.sort_by_key(|folded| std::cmp::Reverse(folded.more));
        let others = folded.split_off(folded.len().min(REPORTED));
        let more =
            std::mem::take(&mut self.unremembered) + others.iter().map(|folded| folded.more).sum::<u64>();
        if more > 0 {
            folded.push(Folded { source: None, more });
        }
        folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn ten_a_minute_are_reported_for_each_source_and_the_rest_counted() {
        let mut folds = Folds::default();
        let said = (0..1_000).filter(|_| folds.say("a", s(5))).count();
        assert_eq!(said, 10);
        assert!(folds.say("b", s(6)));
        assert_eq!(folds.close(s(64), false), []);
        assert_eq!(folds.close(s(65), false), [Folded { source: Some("a"), more: 990 }]);
        assert!(folds.say("a", s(65)));
        assert_eq!(folds.close(s(200), false), [], "nothing more came");
    }

    #[test]
    fn what_was_counted_is_not_lost_when_the_next_window_begins_before_anybody_looked() {
        let mut folds = Folds::default();
        assert_eq!((0..13).filter(|_| folds.say("a", s(0))).count(), 10);
        assert!(folds.say("a", s(60)));
        assert_eq!(folds.close(s(61), true), [Folded { source: Some("a"), more: 3 }]);
    }

    #[test]
    fn many_sources_log_no_more_than_their_common_limit_and_the_table_stays_bounded() {
        let mut folds = Folds::default();
        let said = (0..5_000).filter(|source| folds.say(*source, s(0))).count();
        assert_eq!((said, folds.sources.len()), (300, 1_000));
        let folded = folds.close(s(60), false);
        let counted: u64 = folded.iter().map(|folded| folded.more).sum();
        assert_eq!((counted, folded.len()), (4_700, 51));
        assert!(folded.contains(&Folded { source: None, more: 4_650 }));
        assert!(folds.say(1, s(60)));
    }
}
