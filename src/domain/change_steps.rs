//! The steps that an agent takes to change a jail, each with how long it took.
//!
//! The agent measures them on its own clock, as durations: no two machines' clocks are compared. A step that this version does
//! not know is [`ChangeStep::Unknown`], so that agents and workers of neighbouring versions understand each other.

use serde::{Deserialize, Serialize};

/// The most steps of one change that are kept: each of them, and a few that are taken twice.
pub const MAX_STEPS: usize = 12;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeStep {
    /// Waits for its turn: one change of a host at a time.
    Lock,
    /// Finds out what runs and what the files say, to be able to undo the change.
    Save,
    /// Tests the new configuration on a copy.
    Test,
    /// Writes it to its place.
    Write,
    /// fail2ban loads it; a jail that ends runs the unban action of each of its bans.
    Load,
    /// Checks that the jail is as asked, and every other jail still runs.
    Verify,
    /// Undoes the change.
    Undo,
    /// A step that only another version knows.
    #[serde(other)]
    Unknown,
}

impl ChangeStep {
    /// The steps of a change that works, in order.
    pub const ORDER: [Self; 6] = [Self::Lock, Self::Save, Self::Test, Self::Write, Self::Load, Self::Verify];

    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Save => "save",
            Self::Test => "test",
            Self::Write => "write",
            Self::Load => "load",
            Self::Verify => "verify",
            Self::Undo => "undo",
            Self::Unknown => "unknown",
        }
    }
}

/// A step that was taken, or is being taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// The step.
    pub step: ChangeStep,
    /// How long it took, or has taken so far, in milliseconds.
    pub ms: u64,
    /// Whether it is being taken.
    #[serde(default)]
    pub running: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_back_and_one_of_a_later_version_is_unknown() {
        for step in ChangeStep::ORDER.into_iter().chain([ChangeStep::Undo]) {
            let text = serde_json::to_string(&step).unwrap();
            assert_eq!(text, format!("\"{}\"", step.as_str()));
            assert_eq!(serde_json::from_str::<ChangeStep>(&text).unwrap(), step);
        }
        let later: StepTime = serde_json::from_str(r#"{"step":"notify","ms":7,"depth":1}"#).unwrap();
        assert_eq!(later, StepTime { step: ChangeStep::Unknown, ms: 7, running: false });
    }
}
