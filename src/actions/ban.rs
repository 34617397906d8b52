//! Making and lifting bans: a few at once, many as a job ([`super::ban_jobs`]). Where an action is slow, even a few take longer than
//! a client waits: a job then does the rest.
//!
//! After each command the agent asks fail2ban for the resulting state, which is the outcome, address by address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ban_batches::{self, Batches};
use super::ban_jobs::{EnqueueError, MAX_NAMED, enqueue};
use super::host_change::HostChange;
use super::{Actor, Context, JailTarget};
use crate::agent::client::{AgentError, BanResult};
use crate::domain::address::{is_no_host, largest_crowd, overlaps};
use crate::domain::ban_job::{JOB_ABOVE, MAX_JOB_ADDRESSES};
use crate::domain::undo::{Deed, UndoId};
use crate::domain::{BanAction, BanJobId, Network};
use crate::store::{BanJobView, Store, StoreError};

/// No further batch is sent after this, so that the answer comes within 30 s where an action takes seconds.
const HANDED_OVER_AFTER: Duration = Duration::from_secs(25);
/// The outcome, in the audit, of a change whose rest became a job.
pub const REST_IN_A_JOB: &str = "it takes long: a ban job does the rest";

/// The outcome of a change of bans.
#[derive(Debug)]
pub enum BanOutcome {
    /// It was made at once.
    AtOnce(Vec<AddressOutcome>),
    /// It is large or slow: a job does it, or the rest of it.
    Job(Box<BanJobView>),
}

/// The resulting state of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressOutcome {
    /// As fail2ban reports it afterwards; in a jail with very many bans, as it answered the command.
    Known(BanResult),
    /// The state is not known.
    Unknown {
        /// The address.
        ip: Network,
        /// Why.
        reason: String,
    },
}

/// Whom a ban would lock out besides an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedOut {
    /// The address that the request came from.
    Actor,
    /// A trusted proxy.
    Proxy,
    /// A loopback address.
    Loopback,
    /// A range so large that ordinary users are in it.
    Crowd,
}

/// Why bans were not made or lifted, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum BanError {
    /// No addresses, or too many.
    #[error("1 to {MAX_JOB_ADDRESSES} addresses can be named, not {named}")]
    Count {
        /// How many were named.
        named: usize,
    },
    /// An address that no host can have, so that its ban would have no effect.
    #[error("{ip} {why}: no host has this address")]
    NoHost {
        /// Which one.
        ip: Network,
        /// What kind of address it is: a phrase that follows the address.
        why: &'static str,
    },
    /// A ban that is refused without force.
    #[error("a ban of {ip} would lock out more than an attacker")]
    NeedsForce {
        /// Which one.
        ip: Network,
        /// Whom it would lock out.
        locks_out: LockedOut,
    },
    /// The agent refused.
    #[error(transparent)]
    Refused(AgentError),
    /// The agent did not answer: it is unknown whether the first addresses were changed.
    #[error("the outcome is unknown: some of the addresses may have been changed")]
    Unknown(#[source] AgentError),
    /// The job was not enqueued.
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Bans addresses in a jail. Refuses those that no host can have and, unless `force` is set, those whose ban would lock out more
/// than an attacker. `job` is the id of the job, if one is needed.
///
/// # Errors
/// [`BanError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn ban(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    ips: Vec<Network>,
    force: bool,
    job: BanJobId,
) -> Result<BanOutcome, BanError> {
    let ips = checked(ips)?;
    if let Some((ip, why)) = ips.iter().find_map(|ip| Some((*ip, is_no_host(ip.net())?))) {
        return Err(BanError::NoHost { ip, why });
    }
    if !force {
        refuse_own(&ips, actor.address, &context.trusted_proxies)?;
    }
    change(context, actor, target, BanAction::Ban, ips, job).await
}

/// Unbans addresses in a jail; otherwise like [`ban`].
///
/// # Errors
/// [`BanError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn unban(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    ips: Vec<Network>,
    job: BanJobId,
) -> Result<BanOutcome, BanError> {
    change(context, actor, target, BanAction::Unban, checked(ips)?, job).await
}

/// The addresses, each once; refuses none and too many.
fn checked(mut ips: Vec<Network>) -> Result<Vec<Network>, BanError> {
    if ips.is_empty() || ips.len() > MAX_JOB_ADDRESSES {
        return Err(BanError::Count { named: ips.len() });
    }
    ips.sort_unstable();
    ips.dedup();
    Ok(ips)
}

async fn change(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    order: BanAction,
    ips: Vec<Network>,
    job: BanJobId,
) -> Result<BanOutcome, BanError> {
    let task = context.clone();
    if ips.len() > JOB_ABOVE {
        let view = enqueue(context, actor, &target, job, order, ips, Vec::new()).await?;
        return Ok(BanOutcome::Job(Box::new(view)));
    }
    context.complete(at_once(task, actor, target, order, ips, job)).await
}

/// If the first batch fails, the whole change is refused; after that the outcome says what is known. What there is no time for
/// becomes a job.
async fn at_once(
    context: Context,
    actor: Actor,
    target: JailTarget,
    order: BanAction,
    ips: Vec<Network>,
    id: BanJobId,
) -> Result<BanOutcome, BanError> {
    let what = if order == BanAction::Ban { "ban.add" } else { "ban.remove" };
    let named: Vec<String> = ips.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let wanted = json!({ "ips": named, "asked": ips.len() });
    let change = HostChange::begin(context, actor, target, what, wanted).await?;
    let give_up_at = Instant::now() + HANDED_OVER_AFTER;
    let (store, target) = (&change.context.store, &change.target);
    let mut batches = AtOnce { store, target, order, give_up_at, tried: 0, outcomes: Vec::new() };
    let stopped = ban_batches::run(&mut batches, &ips).await.err();
    let (tried, mut outcomes) = (batches.tried, batches.outcomes);
    let stopped = match stopped {
        Some(Stopped::OutOfTime) => {
            let done: Vec<BanResult> = outcomes.iter().filter_map(AddressOutcome::known).cloned().collect();
            match enqueue(&change.context, change.actor.clone(), target, id.clone(), order, ips.clone(), done)
                .await
            {
                Ok(view) => return Ok(handed_over(&change, view, &outcomes).await),
                Err(error) => Some(Stopped::NotHandedOver(error)),
            }
        }
        stopped => stopped,
    };
    if let Some(stopped) = &stopped {
        let reason = format!("not tried: {stopped}");
        outcomes.extend(ips[tried..].iter().map(|ip| unknown(*ip, &reason)));
    }
    let changed: Vec<Network> = outcomes.iter().filter_map(AddressOutcome::changed).collect();
    let named = &changed[..changed.len().min(MAX_NAMED)];
    let after = json!({ "ips": named, "changed": changed.len(), "asked": ips.len() });
    let failed = match stopped {
        Some(Stopped::Failed(error)) => Some(error),
        Some(Stopped::OutOfTime | Stopped::NotHandedOver(_)) | None => None,
    };
    let outcome = failed.as_ref().map_or_else(|| "done".to_owned(), ToString::to_string);
    let entry = change.end((Value::Null, after), outcome).await;
    if !changed.is_empty() {
        let (banned, changed, ips) = (order == BanAction::Ban, changed.len(), changed);
        change.keep_undo(&UndoId::from(&id), Deed::Bans { banned, ips, changed }, entry).await;
    }
    change.request_probe().await;
    match failed {
        Some(error) if !outcomes.iter().any(|one| one.known().is_some()) => Err(match error {
            error @ AgentError::Refused { .. } => BanError::Refused(error),
            error => BanError::Unknown(error),
        }),
        _ => Ok(BanOutcome::AtOnce(outcomes)),
    }
}

/// The rest becomes a job that knows what was done so far: when it ends, it saves an undo for all of it.
async fn handed_over(change: &HostChange, view: BanJobView, outcomes: &[AddressOutcome]) -> BanOutcome {
    let changed: Vec<Network> = outcomes.iter().filter_map(AddressOutcome::changed).collect();
    let named = &changed[..changed.len().min(MAX_NAMED)];
    let after = json!({ "ips": named, "changed": changed.len(), "asked": view.progress.asked, "job": view.id.as_str() });
    change.end((Value::Null, after), REST_IN_A_JOB.to_owned()).await;
    change.request_probe().await;
    BanOutcome::Job(Box::new(view))
}

/// A change that is made in batches while its client waits.
struct AtOnce<'a> {
    store: &'a Store,
    target: &'a JailTarget,
    order: BanAction,
    give_up_at: Instant,
    /// Addresses that were sent, with or without an answer.
    tried: usize,
    outcomes: Vec<AddressOutcome>,
}

/// Why some batches were not sent.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("timed out before it began")]
    OutOfTime,
    #[error("timed out before it began, and no job does the rest: {0}")]
    NotHandedOver(#[source] EnqueueError),
    #[error(transparent)]
    Failed(AgentError),
}

impl Batches for AtOnce<'_> {
    type Error = Stopped;

    async fn send(&mut self, batch: &[Network]) -> Result<Vec<BanResult>, Stopped> {
        if Instant::now() > self.give_up_at {
            return Err(Stopped::OutOfTime);
        }
        let JailTarget { agent, jail, .. } = self.target;
        ban_batches::command(agent, jail, self.order, batch, None).await.map_err(|error| {
            let reason = error.to_string();
            self.tried += batch.len();
            self.outcomes.extend(batch.iter().map(|ip| unknown(*ip, &reason)));
            Stopped::Failed(error)
        })
    }

    async fn keep(&mut self, batch: &[Network], results: Vec<BanResult>) -> Result<(), Stopped> {
        self.tried += batch.len();
        let JailTarget { server, jail, .. } = self.target;
        ban_batches::note_changes(self.store, server, jail, self.order, &results).await;
        self.outcomes.extend(results.into_iter().map(AddressOutcome::Known));
        Ok(())
    }
}

impl AddressOutcome {
    fn known(&self) -> Option<&BanResult> {
        match self {
            Self::Known(result) => Some(result),
            Self::Unknown { .. } => None,
        }
    }

    /// Its address, if it was changed.
    fn changed(&self) -> Option<Network> {
        match self {
            Self::Known(BanResult { ip, changed: true, .. }) => Some(*ip),
            _ => None,
        }
    }
}

fn unknown(ip: Network, reason: &str) -> AddressOutcome {
    AddressOutcome::Unknown { ip, reason: reason.to_owned() }
}

/// Refuses bans that would lock out the user, all users, or the host itself.
fn refuse_own(ips: &[Network], own: Option<IpAddr>, proxies: &[IpNet]) -> Result<(), BanError> {
    if let Some((ip, locks_out)) = ips.iter().find_map(|ip| Some((*ip, locks_out(*ip, own, proxies)?))) {
        return Err(BanError::NeedsForce { ip, locks_out });
    }
    // Several small networks together may be too many addresses.
    let nets: Vec<IpNet> = ips.iter().map(|ip| ip.net()).collect();
    match largest_crowd(&nets) {
        Some(net) => Err(BanError::NeedsForce { ip: net.into(), locks_out: LockedOut::Crowd }),
        None => Ok(()),
    }
}

/// Whether a ban would lock out more than an attacker.
pub(super) fn is_own(ip: Network, own: Option<IpAddr>, proxies: &[IpNet]) -> bool {
    locks_out(ip, own, proxies).is_some()
}

fn locks_out(ip: Network, own: Option<IpAddr>, proxies: &[IpNet]) -> Option<LockedOut> {
    let loopback: [IpNet; 2] = [
        Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8).into(),
        Ipv6Net::from(Ipv6Addr::LOCALHOST).into(),
    ];
    let net = ip.net();
    if own.is_some_and(|own| overlaps(net, own.into())) {
        Some(LockedOut::Actor)
    } else if proxies.iter().any(|proxy| overlaps(net, *proxy)) {
        Some(LockedOut::Proxy)
    } else if loopback.iter().any(|own| overlaps(net, *own)) {
        Some(LockedOut::Loopback)
    } else {
        largest_crowd(&[net]).map(|_| LockedOut::Crowd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_proxies_and_loopback_are_refused_also_inside_a_network() {
        let refused = |ip: &str| {
            let proxies = ["10.0.0.0/24".parse().unwrap()];
            refuse_own(&[Network::parse(ip).unwrap()], "198.51.100.7".parse().ok(), &proxies).is_err()
        };
        for own in [
            "198.51.100.7",
            "198.51.100.0/24",
            "10.0.0.9",
            "10.0.0.0/8",
            "127.0.0.1",
            "127.8.0.1",
            "::1",
            "0.0.0.0/0",
            "::ffff:127.0.0.1",
            "::ffff:198.51.100.7",
            "::ffff:10.0.0.0/120",
            "64:ff9b::127.0.0.1",
            "64:ff9b::198.51.100.7",
            "64:ff9b::/96",
        ] {
            assert!(refused(own), "{own}");
        }
        for crowd in ["128.0.0.0/1", "8.0.0.0/7", "2000::/3", "2a00::/12"] {
            assert!(refused(crowd), "{crowd}");
            assert!(is_own(Network::parse(crowd).unwrap(), None, &[]), "{crowd}: an undo leaves it out");
        }
        let together = ["8.0.0.0/8", "9.0.0.0/8"].map(|net| Network::parse(net).unwrap());
        let refusal = refuse_own(&together, None, &[]);
        assert!(
            matches!(&refusal, Err(BanError::NeedsForce { ip, locks_out: LockedOut::Crowd }) if ip.to_string() == "8.0.0.0/7"),
            "{refusal:?}"
        );
        for other in ["8.0.0.0/8", "2a00::/16", "198.51.100.8", "203.0.113.0/24", "10.0.1.1", "2001:db8::1"] {
            assert!(!refused(other), "{other}");
        }
    }
}
