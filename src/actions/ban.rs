//! Making and lifting bans: a few at once, many as a job ([`super::ban_jobs`]).
//!
//! After each command the agent asks fail2ban for the resulting state, and that is the outcome, address by address.

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
use crate::domain::address::overlaps;
use crate::domain::ban_job::{JOB_ABOVE, MAX_JOB_ADDRESSES};
use crate::domain::undo::{Deed, UndoId};
use crate::domain::{BanAction, BanJobId, Network};
use crate::store::{BanJobView, Store, StoreError};

/// No further batch is sent after this.
pub(super) const AT_ONCE_TIMEOUT: Duration = Duration::from_secs(60);

/// The outcome of a change of bans.
#[derive(Debug)]
pub enum BanOutcome {
    /// It was made at once.
    AtOnce(Vec<AddressOutcome>),
    /// It is large: a job makes it.
    Job(Box<BanJobView>),
}

/// The resulting state of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressOutcome {
    /// As fail2ban says when asked again; beside very many bans, as it answered to the command.
    Known(BanResult),
    /// Not known.
    Unknown {
        /// The address.
        ip: Network,
        /// Why.
        reason: String,
    },
}

/// What a ban would lock out besides an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedOut {
    /// The address that the request came from.
    Actor,
    /// A trusted proxy.
    Proxy,
    /// A loopback address.
    Loopback,
}

/// Why no ban was made or lifted.
#[derive(Debug, thiserror::Error)]
pub enum BanError {
    /// No addresses, or too many.
    #[error("1 to {MAX_JOB_ADDRESSES} addresses can be named, not {named}")]
    Count {
        /// How many were named.
        named: usize,
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

/// Bans addresses in a jail; without `force` none that would lock out more than an attacker. `job` is the name of the job, if
/// it becomes one.
///
/// # Errors
/// [`BanError`].
pub async fn ban(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    ips: Vec<Network>,
    force: bool,
    job: BanJobId,
) -> Result<BanOutcome, BanError> {
    let ips = checked(ips)?;
    if !force {
        refuse_own(&ips, actor.address, &context.trusted_proxies)?;
    }
    change(context, actor, target, BanAction::Ban, ips, job).await
}

/// Unbans addresses in a jail; as [`ban`].
///
/// # Errors
/// [`BanError`].
pub async fn unban(
    context: &Context,
    actor: Actor,
    target: JailTarget,
    ips: Vec<Network>,
    job: BanJobId,
) -> Result<BanOutcome, BanError> {
    change(context, actor, target, BanAction::Unban, checked(ips)?, job).await
}

/// As many as may be, each once.
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
        let view = enqueue(context, actor, &target, job, order, ips).await?;
        return Ok(BanOutcome::Job(Box::new(view)));
    }
    let undo = UndoId::from(&job);
    context.complete(at_once(task, actor, target, order, ips, undo)).await.map(BanOutcome::AtOnce)
}

/// If the first batch fails, all is refused; after that the outcome says what is known.
async fn at_once(
    context: Context,
    actor: Actor,
    target: JailTarget,
    order: BanAction,
    ips: Vec<Network>,
    id: UndoId,
) -> Result<Vec<AddressOutcome>, BanError> {
    let what = if order == BanAction::Ban { "ban.add" } else { "ban.remove" };
    let named: Vec<String> = ips.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let wanted = json!({ "ips": named, "asked": ips.len() });
    let change = HostChange::begin(context, actor, target, what, wanted).await?;
    let give_up_at = Instant::now() + AT_ONCE_TIMEOUT;
    let (store, target) = (&change.context.store, &change.target);
    let mut batches = AtOnce { store, target, order, give_up_at, tried: 0, outcomes: Vec::new() };
    let stopped = ban_batches::run(&mut batches, &ips).await.err();
    let (tried, mut outcomes) = (batches.tried, batches.outcomes);
    if let Some(stopped) = &stopped {
        let reason = format!("not tried: {stopped}");
        outcomes.extend(ips[tried..].iter().map(|ip| unknown(*ip, &reason)));
    }
    let changed: Vec<Network> = outcomes.iter().filter_map(AddressOutcome::changed).collect();
    let named = &changed[..changed.len().min(MAX_NAMED)];
    let after = json!({ "ips": named, "changed": changed.len(), "asked": ips.len() });
    let failed = match stopped {
        Some(Stopped::Failed(error)) => Some(error),
        Some(Stopped::OutOfTime) | None => None,
    };
    let outcome = failed.as_ref().map_or_else(|| "done".to_owned(), ToString::to_string);
    let entry = change.end((Value::Null, after), outcome).await;
    if !changed.is_empty() {
        let (banned, changed, ips) = (order == BanAction::Ban, changed.len(), changed);
        change.keep_undo(&id, Deed::Bans { banned, ips, changed }, entry).await;
    }
    change.request_probe().await;
    match failed {
        Some(error) if !outcomes.iter().any(AddressOutcome::is_known) => Err(match error {
            error @ AgentError::Refused { .. } => BanError::Refused(error),
            error => BanError::Unknown(error),
        }),
        _ => Ok(outcomes),
    }
}

/// The batches of a change that is made while its client waits.
struct AtOnce<'a> {
    store: &'a Store,
    target: &'a JailTarget,
    order: BanAction,
    give_up_at: Instant,
    /// Addresses that were sent.
    tried: usize,
    outcomes: Vec<AddressOutcome>,
}

/// Why some batches were not sent.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("timed out before it began")]
    OutOfTime,
    #[error(transparent)]
    Failed(AgentError),
}

impl Batches for AtOnce<'_> {
    type Error = Stopped;

    async fn send(&mut self, batch: &[Network]) -> Result<Vec<BanResult>, Stopped> {
        if Instant::now() > self.give_up_at {
            return Err(Stopped::OutOfTime);
        }
        self.tried += batch.len();
        let JailTarget { agent, jail, .. } = self.target;
        ban_batches::command(agent, jail, self.order, batch, None).await.map_err(|error| {
            let reason = error.to_string();
            self.outcomes.extend(batch.iter().map(|ip| unknown(*ip, &reason)));
            Stopped::Failed(error)
        })
    }

    async fn keep(&mut self, _: &[Network], results: Vec<BanResult>) -> Result<(), Stopped> {
        let JailTarget { server, jail, .. } = self.target;
        ban_batches::note_changes(self.store, server, jail, self.order, &results).await;
        self.outcomes.extend(results.into_iter().map(AddressOutcome::Known));
        Ok(())
    }
}

impl AddressOutcome {
    fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
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

/// So that nobody locks out themselves, all users, or the host by accident.
fn refuse_own(ips: &[Network], own: Option<IpAddr>, proxies: &[IpNet]) -> Result<(), BanError> {
    match ips.iter().find_map(|ip| Some((*ip, locks_out(*ip, own, proxies)?))) {
        Some((ip, locks_out)) => Err(BanError::NeedsForce { ip, locks_out }),
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
    } else {
        loopback.iter().any(|own| overlaps(net, *own)).then_some(LockedOut::Loopback)
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
        for other in ["198.51.100.8", "203.0.113.0/24", "10.0.1.1", "2001:db8::1"] {
            assert!(!refused(other), "{other}");
        }
    }
}
