//! `bangui audit verify`: checks that the audit is complete and unchanged; prints a line for each trail, and sets the exit code.
//!
//! ```text
//! ok    audit security  128 entries; the newest is number 4711 with the hash 9f86d0...
//! FAIL  audit changes   3 entries before entry 90 (1767225600000-0) are missing
//! ```
//!
//! Keep a printed hash elsewhere: if somebody has rewritten the chain in Redis, the entry with that number has another hash.

use std::io::Write;

use anyhow::Context as _;

use super::{Failure, Outcome, connected, one_thread, started};
use crate::config::{Environment, Flags, RedisConfig, roles};
use crate::domain::printable::printable;
use crate::store::{Store, Trail};

/// Follows the chain of each trail and prints a line about it; fails without another message if one is broken.
///
/// # Errors
/// If the configuration is wrong, Redis does not answer, or a trail is broken.
pub fn run(environment: &Environment, flags: &Flags) -> Outcome {
    let config = started(roles::audit(environment, flags)?);
    let whole = one_thread()?.block_on(verify(&config, &mut std::io::stdout()))?;
    if whole { Ok(()) } else { Err(Failure::Quiet) }
}

async fn verify(config: &RedisConfig, out: &mut impl Write) -> anyhow::Result<bool> {
    let store = Store::open_unsupervised(config)?;
    connected(&store).await.context("nothing was verified")?;
    let mut whole = true;
    for trail in Trail::CHAINED {
        let (level, sentence) = match store.verify_audit(trail).await? {
            Ok(trail) => {
                let (entries, number, hash) = (trail.entries, trail.number, trail.hash);
                let plural = if entries == 1 { "entry" } else { "entries" };
                ("ok", format!("{entries} {plural}; the newest is number {number} with the hash {hash}"))
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
