//! The steps of a running change of a jail, and its last refused change: on the page of the jail, and in its row on the page of
//! its server. Both come from Redis, so every worker shows them and a reload keeps them.
//!
//! The elements are on the page, hidden, even when no change runs: scripts patch texts and classes, and insert nothing.

use super::marks::Mark;
use crate::domain::{ChangeStep, JailChangeKind, StepTime, Timestamp};
use crate::store::{RefusedChange, RunningChange};

/// A step of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its key within the page.
    pub key: &'static str,
    /// Its name.
    pub word: &'static str,
    /// How long it took, or has taken so far; empty if it is still to come.
    pub time: String,
    /// The shape of its mark.
    pub mark: Mark,
    /// The class of its item.
    pub class: &'static str,
}

/// The running change, if there is one.
#[derive(Debug, Default)]
pub struct Running {
    change: Option<RunningChange>,
}

/// A change that was refused.
#[derive(Debug)]
pub struct Refused {
    /// What was not done, as the beginning of a sentence.
    pub what: &'static str,
    /// When.
    pub at: Timestamp,
    /// Who had asked for it.
    pub who: String,
    /// Why, in the words of fail2ban or its agent.
    pub words: String,
    /// The steps that it took; empty if they are not known.
    pub steps: String,
}

impl From<RefusedChange> for Refused {
    fn from(change: RefusedChange) -> Self {
        let RefusedChange { noted, at, words } = change;
        let what = match noted.kind {
            JailChangeKind::Activate => "Not switched on",
            JailChangeKind::Deactivate => "Not switched off",
            JailChangeKind::RollBack => "Not rolled back",
            JailChangeKind::Settings => "Settings not changed",
            JailChangeKind::Ignore => "Never-banned list not changed",
            JailChangeKind::Unknown => "Not changed",
        };
        Self { what, at, who: noted.username, words, steps: sentence(&noted.steps) }
    }
}

impl Running {
    /// This change, or none.
    #[must_use]
    pub fn of(change: Option<RunningChange>) -> Self {
        Self { change }
    }

    /// Whether a change is running.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.change.is_some()
    }

    /// What is being done, and who asked for it; empty if no change is running.
    #[must_use]
    pub fn says(&self) -> String {
        let Some(RunningChange { noted, is_alive, .. }) = &self.change else { return String::new() };
        let doing = doing(noted.kind);
        if *is_alive {
            format!("Being {doing} by {}", noted.username)
        } else {
            format!(
                "Was being {doing} by {}; the worker that waited for it is gone. The agent completes the change or undoes it",
                noted.username
            )
        }
    }

    /// Since when.
    #[must_use]
    pub fn began_at(&self) -> Option<Timestamp> {
        self.change.as_ref().map(|change| change.began_at)
    }

    /// The steps in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.change.as_ref().map(|change| sentence(&change.noted.steps)).unwrap_or_default()
    }

    /// All steps, also those to come.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        list(self.change.as_ref().map_or(&[], |change| &change.noted.steps))
    }
}

/// What a change does to a jail.
#[must_use]
pub fn doing(kind: JailChangeKind) -> &'static str {
    match kind {
        JailChangeKind::Activate => "switched on",
        JailChangeKind::Deactivate => "switched off",
        JailChangeKind::RollBack => "rolled back",
        JailChangeKind::Settings | JailChangeKind::Ignore | JailChangeKind::Unknown => "changed",
    }
}

/// The list of steps: those of a successful change, and the undo, which is hidden unless it is needed.
#[must_use]
pub fn list(taken: &[StepTime]) -> Vec<Step> {
    let step = |step: &ChangeStep| {
        let time = taken.iter().rfind(|taken| taken.step == *step);
        let (mark, class) = match time {
            Some(StepTime { running: true, .. }) => (Mark::RING, "now"),
            Some(_) if *step == ChangeStep::Undo => (Mark::BACK, "done"),
            Some(_) => (Mark::CHECK, "done"),
            None if *step == ChangeStep::Undo => (Mark::BACK, "none"),
            None => (Mark::DOTTED, "to-come"),
        };
        let time = time.map(|time| lasted(time.ms)).unwrap_or_default();
        Step { key: step.as_str(), word: word(*step), time, mark, class }
    };
    ChangeStep::ORDER.iter().chain(&[ChangeStep::Undo]).map(step).collect()
}

/// `Lock 0.0 s, save old state 0.3 s, test 1.2 s so far`
#[must_use]
pub fn sentence(taken: &[StepTime]) -> String {
    let known = taken.iter().filter(|taken| taken.step != ChangeStep::Unknown);
    let step = |(n, StepTime { step, ms, running }): (usize, &StepTime)| {
        let name = word(*step);
        let name = if n == 0 { name.to_owned() } else { name.to_lowercase() };
        format!("{name} {}{}", lasted(*ms), if *running { " so far" } else { "" })
    };
    known.enumerate().map(step).collect::<Vec<_>>().join(", ")
}

fn word(step: ChangeStep) -> &'static str {
    match step {
        ChangeStep::Lock => "Lock",
        ChangeStep::Save => "Save old state",
        ChangeStep::Test => "Test",
        ChangeStep::Write => "Write",
        ChangeStep::Load => "Load",
        ChangeStep::Verify => "Verify",
        ChangeStep::Undo => "Put back",
        ChangeStep::Unknown => "Another step",
    }
}

fn lasted(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_listed_in_order_and_those_to_come_have_no_time() {
        let taken =
            [(ChangeStep::Lock, 20, false), (ChangeStep::Save, 310, false), (ChangeStep::Test, 1_250, true)];
        let taken = taken.map(|(step, ms, running)| StepTime { step, ms, running });
        let shown: Vec<_> = list(&taken).into_iter().map(|step| (step.word, step.time, step.class)).collect();
        let expected = [
            ("Lock", "0.0 s", "done"),
            ("Save old state", "0.3 s", "done"),
            ("Test", "1.2 s", "now"),
            ("Write", "", "to-come"),
            ("Load", "", "to-come"),
            ("Verify", "", "to-come"),
            ("Put back", "", "none"),
        ];
        assert_eq!(shown, expected.map(|(word, time, class)| (word, time.to_owned(), class)));
        assert_eq!(sentence(&taken), "Lock 0.0 s, save old state 0.3 s, test 1.2 s so far");
        let undone = [StepTime { step: ChangeStep::Undo, ms: 61_000, running: false }];
        assert_eq!(
            list(&undone).last().map(|step| (step.class, step.time.as_str())),
            Some(("done", "1 min 1 s"))
        );
    }

    #[test]
    fn without_a_change_nothing_is_said_and_every_step_is_to_come() {
        let none = Running::default();
        assert_eq!((none.says(), none.sentence(), none.is_there()), (String::new(), String::new(), false));
        assert!(none.steps().iter().all(|step| step.time.is_empty()));
    }
}
