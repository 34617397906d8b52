//! A change of a jail that takes longer than a client should wait for an answer: what it is, and how far it is.
//!
//! ```text
//! running ──ended──▶ done, refused (nothing was changed) or failed
//!    ▲│
//!    │└─ its worker fell silent ──▶ not known
//!    └──────── heard again ─────────────┘
//! ```

use serde::{Deserialize, Serialize};

use super::hex_id;

/// Names a change: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JailChangeId(String);

impl JailChangeId {
    /// Of 128 random bits.
    #[must_use]
    pub fn of(bits: u128) -> Self {
        Self(hex_id::write(bits))
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex_id::read(text).map(Self)
    }
}

impl std::fmt::Display for JailChangeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JailChangeKind {
    /// The jail is switched on.
    Activate,
    /// The jail is switched off.
    Deactivate,
    /// Its settings.
    Settings,
    /// A network is unbanned and ignored.
    Ignore,
    /// An activation after which fail2ban went down or lost jails is rolled back.
    RollBack,
    /// One that only another version knows.
    #[serde(other)]
    Unknown,
}

impl JailChangeKind {
    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Settings => "settings",
            Self::Ignore => "ignore",
            Self::RollBack => "roll_back",
            Self::Unknown => "unknown",
        }
    }
}

/// How far a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JailChangeState {
    /// A worker waits for its end.
    Running,
    /// The jail is as asked.
    Done,
    /// It was not acceptable.
    Refused,
    /// It could not be made, or not all of it.
    Failed,
    /// The worker that waited for its end is gone, or cannot reach Redis. The change may have been made, or not, or may still be.
    NotKnown,
}

impl JailChangeState {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::NotKnown => "not_known",
        }
    }

    /// Reads what is stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Refused, Self::Failed, Self::NotKnown]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// The state of a change that has ended with this HTTP status.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            0..400 => Self::Done,
            400..500 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_nothing_else_is_one() {
        let id = JailChangeId::of(7);
        assert_eq!(JailChangeId::parse(&id.to_string()), Some(id.clone()));
        for bad in ["", "7", "../x", &id.to_string().replace('7', "G"), &format!("{id}0")] {
            assert_eq!(JailChangeId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_state_is_read_back_and_a_kind_of_a_later_version_is_unknown() {
        for status in [200, 422, 503] {
            let state = JailChangeState::of_status(status);
            assert_eq!(JailChangeState::parse(state.as_str()), Some(state));
        }
        let later: JailChangeKind = serde_json::from_str("\"rename\"").unwrap();
        assert_eq!(later, JailChangeKind::Unknown);
    }
}
