//! `bangui audit verify`: checks that the audit is complete and unchanged; prints a line for each trail, and sets the exit code.
//!
//! ```text
//! ok    audit security  128 entries; the newest is security:4711:9f86d0...:1767225600
//! FAIL  audit changes   missing entries: 3, before entry 90 (1767225600000-0)
//! ```
//!
//! Keep what is printed somewhere else, and pass it to a later run as `--since`: if somebody removes the newest or the oldest
//! entries together with the record of them, the rest is still a whole chain.

use std::io::Write;

use anyhow::Context as _;

use super::{Failure, Outcome, connected, one_thread, started};
use crate::config::{AuditConfig, Environment, Flags, roles};
use crate::domain::printable::printable;
use crate::store::{Store, Trail, TrailMark, WholeTrail};

/// Follows the chain of each trail and prints a line about it; fails without another message if one is broken.
///
/// # Errors
/// If the configuration is wrong, Redis does not answer, or a trail is broken.
pub fn run(environment: &Environment, flags: &Flags, since: &[String]) -> Outcome {
    let read = |text: &String| {
        text.parse::<TrailMark>().map_err(|error| Failure::Refused(format!("--since {text}: {error}")))
    };
    let seen: Vec<TrailMark> = since.iter().map(read).collect::<Result<_, Failure>>()?;
    let config = started(roles::audit(environment, flags)?);
    let whole = one_thread()?.block_on(verify(&config, &seen, &mut std::io::stdout()))?;
    if whole { Ok(()) } else { Err(Failure::Quiet) }
}

async fn verify(config: &AuditConfig, seen: &[TrailMark], out: &mut impl Write) -> anyhow::Result<bool> {
    let store = Store::open_unsupervised(&config.redis)?;
    store.keep_audit_for(config.audit_kept);
    connected(&store).await.context("nothing was verified")?;
    let mut whole = true;
    for trail in Trail::CHAINED {
        let (level, sentence) = match store.verify_audit(trail, seen).await? {
            Ok(WholeTrail { entries, number, hash, at }) => {
                let plural = if entries == 1 { "entry" } else { "entries" };
                let newest = TrailMark { trail, number, hash, at };
                ("ok", format!("{entries} {plural}; the newest is {newest}"))
            }
            Err(broken) => {
                whole = false;
                ("FAIL", broken.to_string())
            }
        };
        let what = format!("audit {}", trail.as_str());
        writeln!(out, "{level:<4}  {what:<14}  {}", printable(&sentence))
            .context("the report cannot be written")?;
    }
    Ok(whole)
}
