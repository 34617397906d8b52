//! What has changed between two lists of bans, as events: the first hundred of each kind, then how many more.
//!
//! The old list comes piece by piece, as it is read; both are in the order of their text, so that each is read only once and the
//! old one is never in memory as a whole.

use std::collections::BTreeMap;

use super::JailName;
use super::event::{BanDelta, Event};

/// The most events of one kind for one list; a jail that loses 100,000 bans at once must not push all others out of the stream.
const MAX_NAMED: usize = 100;

/// An address that was banned or unbanned through bangui between the two lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanNote {
    /// In the spelling of the lists.
    pub ip: String,
    /// Whether it was banned; otherwise it was unbanned.
    pub banned: bool,
}

impl BanNote {
    /// `+ADDRESS` or `-ADDRESS`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let banned = text.starts_with('+');
        text.strip_prefix(['+', '-']).map(|ip| Self { ip: ip.to_owned(), banned })
    }
}

impl std::fmt::Display for BanNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.banned { '+' } else { '-' }, self.ip)
    }
}

/// What is known about a noted address.
#[derive(Default)]
struct Noted {
    banned: bool,
    unbanned: bool,
    in_old: bool,
    in_new: bool,
}

/// A comparison in progress.
pub struct BanChanges<'a> {
    noted: BTreeMap<String, Noted>,
    /// The addresses of the new list that are still to come, in order.
    new: std::iter::Peekable<std::vec::IntoIter<&'a str>>,
    added: Vec<String>,
    more_added: u64,
    removed: Vec<String>,
    more_removed: u64,
}

impl<'a> BanChanges<'a> {
    /// Begins with the new list, in any order, and the notes that were taken before it was read.
    #[must_use]
    pub fn to(new: impl IntoIterator<Item = &'a str>, notes: Vec<BanNote>) -> Self {
        let mut new: Vec<&str> = new.into_iter().collect();
        new.sort_unstable();
        let mut noted: BTreeMap<String, Noted> = BTreeMap::new();
        for BanNote { ip, banned } in notes {
            let in_new = new.binary_search(&ip.as_str()).is_ok();
            let noted = noted.entry(ip).or_default();
            noted.in_new = in_new;
            noted.banned |= banned;
            noted.unbanned |= !banned;
        }
        let new = new.into_iter().peekable();
        Self { noted, new, added: Vec::new(), more_added: 0, removed: Vec::new(), more_removed: 0 }
    }

    /// The next address of the old list, in order.
    pub fn from(&mut self, old: &str) {
        if let Some(noted) = self.noted.get_mut(old) {
            noted.in_old = true;
        }
        while let Some(new) = self.new.next_if(|new| *new < old) {
            note(&mut self.added, &mut self.more_added, new);
        }
        if self.new.next_if(|new| *new == old).is_none() {
            note(&mut self.removed, &mut self.more_removed, old);
        }
    }

    /// The events, once the old list has ended.
    #[must_use]
    pub fn events(mut self, jail: &JailName) -> Vec<Event> {
        for new in self.new.by_ref() {
            note(&mut self.added, &mut self.more_added, new);
        }
        let mut went: (Vec<String>, u64) = Default::default();
        for (ip, noted) in self.noted {
            match noted {
                // It came and went.
                Noted { banned: true, in_old: false, in_new: false, .. } => {
                    note(&mut self.added, &mut self.more_added, &ip);
                    note(&mut self.removed, &mut self.more_removed, &ip);
                }
                // It went and came back.
                Noted { unbanned: true, in_old: true, in_new: true, .. } => {
                    note(&mut went.0, &mut went.1, &ip);
                    note(&mut self.added, &mut self.more_added, &ip);
                }
                _ => {}
            }
        }
        let deltas = |ips: Vec<String>, more: u64| {
            ips.into_iter().map(BanDelta::Ip).chain((more > 0).then_some(BanDelta::More(more)))
        };
        let gone = deltas(went.0, went.1).map(|what| Event::BanRemoved { jail: jail.clone(), what });
        let added =
            deltas(self.added, self.more_added).map(|what| Event::BanAdded { jail: jail.clone(), what });
        let removed = deltas(self.removed, self.more_removed)
            .map(|what| Event::BanRemoved { jail: jail.clone(), what });
        gone.chain(added).chain(removed).collect()
    }
}

fn note(listed: &mut Vec<String>, more: &mut u64, ip: &str) {
    if listed.len() < MAX_NAMED {
        listed.push(ip.to_owned());
    } else {
        *more += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn reported(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Vec<String> {
        reported_with(old, new, &[])
    }

    fn reported_with(old: &BTreeSet<String>, new: &BTreeSet<String>, notes: &[(&str, bool)]) -> Vec<String> {
        let note = |(ip, banned): &(&str, bool)| BanNote { ip: (*ip).to_owned(), banned: *banned };
        let mut changes = BanChanges::to(new.iter().map(String::as_str), notes.iter().map(note).collect());
        old.iter().for_each(|ip| changes.from(ip));
        let events = changes.events(&JailName::parse("sshd").unwrap());
        events.iter().map(|event| format!("{} {}", event.kind(), event.facts())).collect()
    }

    #[test]
    fn additions_and_removals_are_reported_one_by_one_and_beyond_a_limit_as_a_count() {
        let set = |ips: &[&str]| ips.iter().map(|&ip| ip.to_owned()).collect();
        let changes = reported(&set(&["203.0.113.1", "203.0.113.2"]), &set(&["203.0.113.10", "203.0.113.2"]));
        let expected = [
            r#"ban.added {"ip":"203.0.113.10","jail":"sshd"}"#,
            r#"ban.removed {"ip":"203.0.113.1","jail":"sshd"}"#,
        ];
        assert_eq!(changes, expected);
        let many: BTreeSet<String> = (0..250).map(|n| format!("198.51.100.{n}")).collect();
        let changes = reported(&BTreeSet::new(), &many);
        assert_eq!(changes.len(), 101);
        assert_eq!(changes[100], r#"ban.added {"jail":"sshd","more":150}"#);
    }

    #[test]
    fn an_address_that_came_and_went_between_two_lists_is_reported_if_it_was_noted() {
        for note in ["+203.0.113.7", "-2001:db8::/32"] {
            assert_eq!(BanNote::parse(note).unwrap().to_string(), note);
        }
        assert_eq!(BanNote::parse("203.0.113.7"), None);
        let set = |ips: &[&str]| ips.iter().map(|&ip| ip.to_owned()).collect::<BTreeSet<_>>();
        let reported = |old: &[&str], new: &[&str], notes| reported_with(&set(old), &set(new), notes);
        let (added, removed) =
            (r#"ban.added {"ip":"a","jail":"sshd"}"#, r#"ban.removed {"ip":"a","jail":"sshd"}"#);
        assert_eq!(reported(&[], &[], &[("a", true), ("a", false)]), [added, removed]);
        assert_eq!(reported(&[], &[], &[("a", true)]), [added, removed], "fail2ban has lifted it");
        assert_eq!(reported(&["a"], &["a"], &[("a", false), ("a", true)]), [removed, added]);
        // What the lists show is reported once.
        assert_eq!(reported(&[], &["a"], &[("a", true)]), [added]);
        assert_eq!(reported(&["a"], &[], &[("a", false)]), [removed]);
        assert_eq!(reported(&["a"], &["a"], &[("a", true)]), [""; 0]);
        assert_eq!(reported(&[], &[], &[("a", false)]), [""; 0]);
    }

    proptest! {
        #[test]
        fn the_reported_changes_are_the_difference_of_the_two_lists(
            old in prop::collection::btree_set("[0-9]{1,2}", 0..40),
            new in prop::collection::btree_set("[0-9]{1,2}", 0..40),
        ) {
            let expected = new.difference(&old).count() + old.difference(&new).count();
            prop_assert_eq!(reported(&old, &new).len(), expected);
        }
    }
}
