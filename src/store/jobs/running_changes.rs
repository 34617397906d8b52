//! The changes of jails that are running, with their steps, and the latest refused change of each jail: any worker shows them, also
//! after a page is reloaded.
//!
//! The worker that waits for a change records its progress every half second (`actions/follow_change.rs`). One that falls silent
//! for [`SILENT_AFTER`] counts as dead: the outcome of its change is then not known. A refusal stays until a change of the jail
//! succeeds, and for `REFUSED_FOR` at most.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::change_steps::StepTime;
use crate::domain::{JailChangeId, JailChangeKind, JailName, ServerName, Timestamp};
use crate::store::connection::clock::{millis, moment, time_micros};
use crate::store::{Result, Store, scripts};

/// A worker that waits for a change and says nothing for this long counts as dead.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);
/// The most running changes that are recorded for a server; any others run without being shown.
const MAX_RUNNING: usize = 100;
/// How long the record of a change is kept after its worker has died.
const NOTED_FOR: Duration = Duration::from_secs(3600);
/// The most refusals that are kept for a server; any others are only in the audit.
const MAX_REFUSED: usize = 200;
/// How long a refusal is kept.
const REFUSED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many bytes of a refusal's text are kept; the audit has all of it.
const MAX_WORDS: usize = 8 * 1024;

/// What is known about a change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotedChange {
    /// What is changed.
    pub kind: JailChangeKind,
    /// Who asked for it.
    pub username: String,
    /// The steps that were taken, and the one that is being taken.
    #[serde(default)]
    pub steps: Vec<StepTime>,
}

/// A change that is running.
#[derive(Debug, Clone)]
pub struct RunningChange {
    /// Its id.
    pub id: JailChangeId,
    /// What is known about it.
    pub noted: NotedChange,
    /// When it began.
    pub began_at: Timestamp,
    /// Whether its worker is alive; if not, its outcome is not known.
    pub is_alive: bool,
}

/// A refused change of a jail.
#[derive(Debug, Clone)]
pub struct RefusedChange {
    /// What it was, with the steps that it took.
    pub noted: NotedChange,
    /// When it was refused.
    pub at: Timestamp,
    /// Why, in the words of fail2ban or its agent.
    pub words: String,
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeEnd<'a> {
    /// It was made, or there was nothing to do.
    Done,
    /// It was refused, for this reason.
    Refused(&'a str),
    /// Its outcome is not known, or there is no such jail.
    Unknown,
}

/// The changes of a server's jails.
#[derive(Debug, Clone, Default)]
pub struct ServerChanges {
    /// Those that are running.
    pub running: BTreeMap<JailName, RunningChange>,
    /// The latest refused change of each jail.
    pub refused: BTreeMap<JailName, RefusedChange>,
}

#[derive(Serialize, Deserialize)]
struct Refused {
    #[serde(flatten)]
    noted: NotedChange,
    words: String,
}

impl Store {
    /// Records how far a change is; false if another change of the jail is recorded, or too many are.
    ///
    /// # Errors
    /// As [`crate::store::StoreError`] says, here and below.
    pub async fn note_change(
        &self,
        server: &ServerName,
        jail: &JailName,
        id: &JailChangeId,
        noted: &NotedChange,
    ) -> Result<bool> {
        let call = scripts::CHANGE_NOTE
            .call()
            .key(self.keys.changing(server))
            .key(self.keys.jail_change(id))
            .arg(jail.as_str())
            .arg(id.to_string())
            .arg(rmp_serde::to_vec_named(noted)?)
            .arg(millis(SILENT_AFTER))
            .arg(MAX_RUNNING)
            .arg(NOTED_FOR.as_secs());
        self.shared.call(&call).await
    }

    /// Records the end of a change.
    pub async fn end_change(
        &self,
        server: &ServerName,
        jail: &JailName,
        id: &JailChangeId,
        noted: &NotedChange,
        end: ChangeEnd<'_>,
    ) -> Result<()> {
        let (word, refused) = match end {
            ChangeEnd::Done => ("done", Vec::new()),
            ChangeEnd::Unknown => ("unknown", Vec::new()),
            ChangeEnd::Refused(words) => {
                let refused = Refused { noted: noted.clone(), words: shortened(words) };
                ("refused", rmp_serde::to_vec_named(&refused)?)
            }
        };
        let call = scripts::CHANGE_END
            .call()
            .key(self.keys.changing(server))
            .key(self.keys.refused(server))
            .key(self.keys.jail_change(id))
            .arg(jail.as_str())
            .arg(id.to_string())
            .arg(rmp_serde::to_vec_named(noted)?)
            .arg(word)
            .arg(refused)
            .arg(MAX_REFUSED)
            .arg(REFUSED_FOR.as_secs());
        self.shared.call::<()>(&call).await
    }

    /// The changes of a server's jails. What this version cannot read is left out.
    pub async fn changes_of(&self, server: &ServerName) -> Result<ServerChanges> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.keys.changing(server));
        pipeline.cmd("HGETALL").arg(self.keys.refused(server));
        pipeline.cmd("TIME");
        type Fields = HashMap<String, Vec<u8>>;
        let (running, refused, time): (Fields, Fields, (i64, i64)) =
            self.shared.pipeline_apart("changes_of", &pipeline).await?;
        let now = time_micros(time) / 1000;
        let running = running
            .into_iter()
            .filter_map(|(jail, bytes)| Some((JailName::parse(&jail).ok()?, running_of(&bytes, now)?)));
        let refused = refused
            .into_iter()
            .filter_map(|(jail, bytes)| Some((JailName::parse(&jail).ok()?, refused_of(&bytes)?)));
        Ok(ServerChanges { running: running.collect(), refused: refused.collect() })
    }
}

/// Cut to what is kept, with a note if anything was cut.
fn shortened(words: &str) -> String {
    if words.len() <= MAX_WORDS {
        return words.to_owned();
    }
    let end = words.floor_char_boundary(MAX_WORDS);
    format!("{}…\n({} bytes; the audit has all of it)", &words[..end], words.len())
}

/// The text up to the next space, and what comes after it.
fn word(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

fn moment_of(ms: &str) -> Option<Timestamp> {
    ms.parse::<i64>().ok()?.checked_mul(1000).map(moment)
}

fn running_of(bytes: &[u8], now: i64) -> Option<RunningChange> {
    let (id, rest) = word(bytes)?;
    let (until, rest) = word(rest)?;
    let (began, rest) = word(rest)?;
    Some(RunningChange {
        id: JailChangeId::parse(id)?,
        noted: rmp_serde::from_slice(rest).ok()?,
        began_at: moment_of(began)?,
        is_alive: until.parse::<i64>().ok()? >= now,
    })
}

fn refused_of(bytes: &[u8]) -> Option<RefusedChange> {
    let (at, rest) = word(bytes)?;
    let Refused { noted, words } = rmp_serde::from_slice(rest).ok()?;
    Some(RefusedChange { noted, at: moment_of(at)?, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_back_and_a_silent_worker_counts_as_dead() {
        let noted = NotedChange {
            kind: JailChangeKind::Activate,
            username: "admin".to_owned(),
            steps: vec![StepTime { step: crate::domain::ChangeStep::Test, ms: 40, running: true }],
        };
        let id = JailChangeId::of(7);
        let mut bytes = format!("{id} 5000 4000 ").into_bytes();
        bytes.extend(rmp_serde::to_vec_named(&noted).unwrap());
        let read = running_of(&bytes, 5000).unwrap();
        assert_eq!(
            (read.is_alive, read.noted.steps, read.began_at),
            (true, noted.steps.clone(), moment(4_000_000))
        );
        assert!(!running_of(&bytes, 5001).unwrap().is_alive);
        let refused = Refused { noted, words: "<b>\u{202e}".to_owned() };
        let mut bytes = b"6000 ".to_vec();
        bytes.extend(rmp_serde::to_vec_named(&refused).unwrap());
        let read = refused_of(&bytes).unwrap();
        assert_eq!((read.words.as_str(), read.noted.username.as_str()), ("<b>\u{202e}", "admin"));
        for torn in [&b""[..], b"6000", b"x y", b"6000 \xc1"] {
            assert!(refused_of(torn).is_none() && running_of(torn, 0).is_none());
        }
    }

    #[test]
    fn words_beyond_what_is_kept_are_cut_between_letters_and_the_text_says_so() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"ä".repeat(MAX_WORDS));
        assert!(long.starts_with('ä') && long.contains("the audit has all of it"), "{}", long.len());
        assert!(long.len() < MAX_WORDS + 100);
    }
}
