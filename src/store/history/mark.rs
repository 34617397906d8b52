//! What an earlier `bangui audit verify` printed of a trail, and somebody kept outside Redis: that its newest entry was this one.
//!
//! A chain alone shows what was removed in the middle. If somebody removes entries at one of its ends and adjusts the record beside
//! it, the rest is still a whole chain; only what is known from elsewhere shows the loss.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::trail::Trail;

/// An entry of a trail, by its number, its hash and when it was written: `TRAIL:NUMBER:HASH:SECONDS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailMark {
    /// In which trail it is.
    pub trail: Trail,
    /// Its number; 0 for a trail without entries.
    pub number: u64,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// When it was written, in seconds since 1970; none if that was left out.
    pub at: Option<i64>,
}

/// Why a text is no mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it must be TRAIL:NUMBER:HASH or TRAIL:NUMBER:HASH:SECONDS, as an earlier run has printed it")]
pub struct MarkError;

impl FromStr for TrailMark {
    type Err = MarkError;

    fn from_str(text: &str) -> Result<Self, MarkError> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let (trail, number, hash, at) = match parts[..] {
            [trail, number, hash] => (trail, number, hash, None),
            [trail, number, hash, at] => (trail, number, hash, Some(at)),
            _ => return Err(MarkError),
        };
        let trail = Trail::CHAINED.into_iter().find(|known| known.as_str() == trail).ok_or(MarkError)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        let hash = is_hash.then(|| hash.to_ascii_lowercase()).ok_or(MarkError)?;
        let at = at.map(|at| at.parse().map_err(|_| MarkError)).transpose()?;
        Ok(Self { trail, number: number.parse().map_err(|_| MarkError)?, hash, at })
    }
}

impl fmt::Display for TrailMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.trail.as_str(), self.number, self.hash)?;
        self.at.map_or(Ok(()), |at| write!(f, ":{at}"))
    }
}

/// The facts about a trail that decide whether entries at its beginning were due to be trimmed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// When the oldest entry that is left was written, in seconds since 1970.
    pub oldest_at: i64,
    /// The bytes of all that is left.
    pub bytes: u64,
    /// Redis's clock.
    pub now: i64,
    /// How long entries are kept.
    pub kept_for: Duration,
}

/// Beyond 16 MiB entries are trimmed one by one, so at least this much is left.
const NEARLY_FULL: u64 = 15 * 1024 * 1024;

impl TrailMark {
    /// Whether a marked entry that is gone was trimmed because it was too old, or to make room.
    pub(super) fn was_due(&self, ends: Ends) -> bool {
        let kept_for = i64::try_from(ends.kept_for.as_secs()).unwrap_or(i64::MAX);
        let old_enough = match self.at {
            Some(at) => ends.now.saturating_sub(at) >= kept_for,
            // The entry trimmed last is about as old as the next one, unless nothing was written for long.
            None => ends.now.saturating_sub(ends.oldest_at) >= kept_for / 2,
        };
        old_enough || ends.bytes >= NEARLY_FULL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_is_printed_with_its_time_or_without() {
        let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        for text in [format!("security:4711:{hash}"), format!("changes:0:{hash}:1767225600")] {
            assert_eq!(text.parse::<TrailMark>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "security",
            &format!("earlier:1:{hash}"),
            &format!("security:-1:{hash}"),
            &format!("security:1:{}", &hash[1..]),
            &format!("security:1:{}x", &hash[1..]),
            &format!("security:1:{hash}:soon"),
            &format!("security:1:{hash}:1:2"),
        ] {
            assert_eq!(bad.parse::<TrailMark>(), Err(MarkError), "{bad}");
        }
    }

    #[test]
    fn an_entry_is_due_when_it_is_too_old_or_the_trail_is_full() {
        let mark = |at| TrailMark { trail: Trail::Changes, number: 1, hash: String::new(), at };
        let ends = Ends { oldest_at: 950, bytes: 1_000, now: 1_000, kept_for: Duration::from_secs(100) };
        assert!(mark(Some(900)).was_due(ends));
        assert!(!mark(Some(901)).was_due(ends));
        assert!(mark(Some(999)).was_due(Ends { bytes: NEARLY_FULL, ..ends }));
        assert!(mark(None).was_due(ends));
        assert!(!mark(None).was_due(Ends { oldest_at: 951, ..ends }));
    }
}
