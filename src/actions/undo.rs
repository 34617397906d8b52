//! Undoing a change: from the message that confirmed it, or from its entry in the audit, at any worker, for ten minutes.
//!
//! ```text
//! undo(id) ─▶ still as the change left it? ─▶ take it ─▶ the opposite action ─▶ audit
//!                    └─ no ─▶ refused           └─ not made ─▶ given back
//! ```
//!
//! The opposite action is an ordinary one: it has its own entries in the audit, and can itself be undone. An additional entry
//! `undo` says whose change was undone, or why it was not.

use serde_json::{Map, Value, json};

use super::ban::{BanError, BanOutcome, is_own};
use super::ban_jobs::{EnqueueError, enqueue};
use super::change_jail::{ChangeJailError, change_settings};
use super::change_settings::{self as product, ChangeSettingsError};
use super::settings_seen::{in_files, in_force};
use super::switch_jail::{self, SwitchError};
use super::{Actor, Context, JailTarget, UnknownTarget, ban};
use crate::agent::client::{AgentError, JailView};
use crate::domain::address::is_no_host;
use crate::domain::ban_job::JOB_ABOVE;
use crate::domain::undo::{Deed, MAX_ADDRESSES, SettingsDeed, UndoId, Undoable};
use crate::domain::{BanAction, BanJobId, JailChangeId, JailSettings, Network, Timestamp};
use crate::settings::Effective;
use crate::store::{AuditRecord, StoreError, Taken};

/// What was undone, and how things are now.
#[derive(Debug)]
pub enum Undone {
    /// The jail was switched back.
    Switched {
        /// The jail.
        target: JailTarget,
        /// Whether it runs now.
        on: bool,
    },
    /// Settings of the jail are as before.
    Settings {
        /// The jail.
        target: JailTarget,
        /// The settings that were set back.
        deed: Box<SettingsDeed>,
    },
    /// A network is off the never-banned list.
    NotIgnored {
        /// The jail.
        target: JailTarget,
        /// The network.
        network: Network,
    },
    /// Addresses are banned or unbanned again.
    Bans {
        /// The jail.
        target: JailTarget,
        /// Whether the undo bans them; otherwise it unbans them.
        banned: bool,
        /// The outcome.
        outcome: BanOutcome,
        /// How many were left out because they were already banned or unbanned, or must not be banned.
        left_out: usize,
        /// How many of the changed addresses were not saved, so that they were not undone.
        not_kept: usize,
    },
    /// Settings of bangui are as before.
    Product {
        /// The settings before the undo.
        before: Box<Effective>,
        /// The settings now.
        after: Box<Effective>,
        /// The names of the changed settings.
        names: Vec<String>,
    },
}

/// Why something was not undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// It was longer ago than ten minutes, or there is no such change.
    #[error("it can no longer be undone")]
    Over,
    /// Somebody has undone it.
    #[error("`{by}` has already undone it")]
    Before {
        /// When.
        at: Timestamp,
        /// Who did.
        by: String,
    },
    /// The account may not do the opposite.
    #[error("this account may not undo it")]
    NotAllowed,
    /// Things are not as the change left them.
    #[error("{0}")]
    Changed(String),
    /// The server or the jail is gone.
    #[error(transparent)]
    Target(#[from] UnknownTarget),
    /// The agent did not report the current state, so nothing was tried.
    #[error(transparent)]
    Unreadable(AgentError),
    /// The opposite switch failed.
    #[error(transparent)]
    Switch(#[from] SwitchError),
    /// The opposite change of a jail failed.
    #[error(transparent)]
    Settings(#[from] ChangeJailError),
    /// The opposite change of bans failed.
    #[error(transparent)]
    Ban(#[from] BanError),
    /// The opposite change of bangui's settings failed.
    #[error(transparent)]
    Product(#[from] ChangeSettingsError),
    /// Redis failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<EnqueueError> for UndoError {
    fn from(error: EnqueueError) -> Self {
        BanError::from(error).into()
    }
}

/// Undoes a change, if the account may do the opposite: `may` judges. `new` is the id of the opposite change, so that it can itself be undone.
///
/// # Errors
/// [`UndoError`].
#[tracing::instrument(target = "bangui::trace", level = "trace", skip_all)]
pub async fn undo(
    context: &Context,
    actor: Actor,
    id: UndoId,
    new: u128,
    may: fn(&Actor, &Undoable) -> bool,
) -> Result<Undone, UndoError> {
    let task = context.clone();
    let action = async move {
        let done = match task.store.take_undo(&id, actor.username()).await? {
            Taken::Yours(done) => *done,
            Taken::Before { at, by } => return Err(UndoError::Before { at, by }),
            Taken::Over => return Err(UndoError::Over),
        };
        // On the heap: a future with the opposites of all kinds of changes is too large for a thread's stack.
        let judged = judge(&actor, &done, may);
        let refused = judged.is_err();
        let outcome = match judged {
            Ok(()) => Box::pin(make(&task, &actor, &id, &done, new)).await,
            Err(error) => Err(error),
        };
        if outcome.is_err()
            && let Err(error) = task.store.give_undo_back(&id).await
        {
            tracing::debug!(error = %error, "failed to release an undo that was refused: it cannot be retried");
        }
        // Whoever asked for it notes that it was not allowed.
        if !refused {
            note(&task, &actor, &id, &done, &outcome).await;
        }
        outcome
    };
    context.complete(action).await
}

/// Of a server that the account is not for, there is no change.
fn judge(actor: &Actor, done: &Undoable, may: fn(&Actor, &Undoable) -> bool) -> Result<(), UndoError> {
    if done.server.as_ref().is_some_and(|server| !actor.access.reaches(server)) {
        return Err(UndoError::Over);
    }
    if may(actor, done) { Ok(()) } else { Err(UndoError::NotAllowed) }
}

/// The entry that says what was undone, or why not.
async fn note(
    context: &Context,
    actor: &Actor,
    id: &UndoId,
    done: &Undoable,
    outcome: &Result<Undone, UndoError>,
) {
    let place =
        [done.server.as_ref().map(|name| name.as_str()), done.jail.as_ref().map(|name| name.as_str())];
    let target = place.into_iter().flatten().collect::<Vec<_>>().join("/");
    let record = AuditRecord {
        target: Some(target).filter(|target| !target.is_empty()),
        after: json!({ "undone": what(&done.deed), "by": done.username, "change": id.as_str() }),
        outcome: outcome.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned()),
        ..actor.record("undo")
    };
    context.note(&record).await;
}

/// What the audit calls the change that was undone.
fn what(deed: &Deed) -> &'static str {
    match deed {
        Deed::Switched { on: true } => "jail.activate",
        Deed::Switched { on: false } => "jail.deactivate",
        Deed::Settings(_) => "jail.settings",
        Deed::Ignored { .. } => "jail.ignore",
        Deed::Bans { banned: true, .. } => "ban.add",
        Deed::Bans { banned: false, .. } => "ban.remove",
        Deed::Product { .. } => "settings.change",
        Deed::Unknown => "unknown",
    }
}

async fn make(
    context: &Context,
    actor: &Actor,
    id: &UndoId,
    done: &Undoable,
    new: u128,
) -> Result<Undone, UndoError> {
    if let Deed::Product { before, revision } = &done.deed {
        let patch: Map<String, Value> =
            before.iter().map(|(name, value)| (name.clone(), value.clone().unwrap_or(Value::Null))).collect();
        return set_product_back(context, actor, patch, *revision, UndoId::of(new)).await;
    }
    let (Some(server), Some(jail)) = (&done.server, &done.jail) else { return Err(UndoError::Over) };
    let target = context.server(server.as_str())?.jail(jail.clone());
    let change = JailChangeId::of(new);
    let view = async || {
        let view = target.agent.jail_view(&target.jail).await.map_err(UndoError::Unreadable)?;
        view.ok_or(UndoError::Target(UnknownTarget::Jail))
    };
    match &done.deed {
        Deed::Switched { on } => {
            let view = view().await?;
            if view.running != *on {
                let now = if view.running { "runs" } else { "does not run" };
                return Err(UndoError::Changed(format!(
                    "the jail {target} {now} now, which is not how this change left it"
                )));
            }
            let switched = match on {
                true => switch_jail::deactivate(context, actor.clone(), target.clone(), change).await?,
                false => switch_jail::activate(context, actor.clone(), target.clone(), change).await?,
            };
            Ok(Undone::Switched { target, on: switched.active })
        }
        Deed::Settings(deed) => {
            if !in_force(&view().await?).is_still(&deed.after) {
                return Err(UndoError::Changed(format!("the settings of {target} have been changed since")));
            }
            set_back(context, actor, &target, deed, change).await?;
            Ok(Undone::Settings { target, deed: Box::new(deed.clone()) })
        }
        Deed::Ignored { network, persistent } => {
            take_off(context, actor, &target, &view().await?, *network, *persistent, change).await?;
            Ok(Undone::NotIgnored { target, network: *network })
        }
        Deed::Bans { banned, ips, changed } => {
            let kept = if ips.is_empty() { context.store.undo_ips(id).await? } else { ips.clone() };
            let not_kept = changed.saturating_sub(kept.len());
            if kept.is_empty() {
                return Err(UndoError::Over);
            }
            let view = view().await?;
            if !view.running {
                return Err(UndoError::Changed(format!(
                    "the jail {target} no longer runs, so it bans nobody"
                )));
            }
            bans_back(context, actor, target, &view, (*banned, kept, not_kept), BanJobId::of(new)).await
        }
        Deed::Product { .. } | Deed::Unknown => Err(UndoError::Over),
    }
}

async fn set_product_back(
    context: &Context,
    actor: &Actor,
    patch: Map<String, Value>,
    revision: u64,
    new: UndoId,
) -> Result<Undone, UndoError> {
    let read = context.store.settings().await?;
    let before = context.settings.bootstrap().with(&read.overrides, read.revision);
    let names = patch.keys().cloned().collect();
    let stale = || UndoError::Changed("settings have been changed since".to_owned());
    let expected = move |now| now == revision;
    match product::change_settings(context, actor.clone(), expected, patch, new).await {
        Ok(after) => Ok(Undone::Product { before: Box::new(before), after: Box::new(after), names }),
        Err(ChangeSettingsError::Stale { .. }) => Err(stale()),
        Err(error) => Err(error.into()),
    }
}

/// Sets settings back; of a persistent change, in the files first, as that loads the jail again.
async fn set_back(
    context: &Context,
    actor: &Actor,
    target: &JailTarget,
    deed: &SettingsDeed,
    change: JailChangeId,
) -> Result<(), UndoError> {
    let set = async |settings: &JailSettings, persistent, id| {
        change_settings(context, actor.clone(), target.clone(), settings.clone(), persistent, id).await
    };
    if deed.persistent {
        let view = set(&deed.files, true, change).await?;
        if !view.running || in_force(&view).is_still(&deed.before) {
            return Ok(());
        }
        set(&deed.before, false, JailChangeId::of(rand::random())).await?;
    } else {
        set(&deed.before, false, change).await?;
    }
    Ok(())
}

/// Removes from the never-banned list a network that a change had added.
async fn take_off(
    context: &Context,
    actor: &Actor,
    target: &JailTarget,
    view: &JailView,
    network: Network,
    persistent: bool,
    change: JailChangeId,
) -> Result<(), UndoError> {
    let files = in_files(view).filter(|_| persistent);
    let seen = files.unwrap_or_else(|| in_force(view));
    if !seen.ignores(network) {
        let gone = format!("the never-banned list of {target} no longer has {network}");
        return Err(UndoError::Changed(gone));
    }
    let list: Option<Vec<Network>> = seen.ignoreip.iter().map(|entry| Network::parse(entry)).collect();
    let named =
        || format!("the never-banned list of {target} contains host names, which bangui does not rewrite");
    let mut list = list.ok_or_else(|| UndoError::Changed(named()))?;
    list.retain(|entry| *entry != network);
    let settings = JailSettings { ignoreip: Some(list), ..JailSettings::default() };
    change_settings(context, actor.clone(), target.clone(), settings, persistent, change).await?;
    Ok(())
}

/// Bans what was unbanned, or the other way round. Leaves out addresses already in that state, and those that must not be banned now.
async fn bans_back(
    context: &Context,
    actor: &Actor,
    target: JailTarget,
    view: &JailView,
    (were_banned, kept, not_kept): (bool, Vec<Network>, usize),
    job: BanJobId,
) -> Result<Undone, UndoError> {
    let total = kept.len();
    let mut ips = kept;
    ips.truncate(MAX_ADDRESSES);
    if !were_banned {
        let never: Vec<Network> = view.ignoreip.iter().filter_map(|entry| Network::parse(entry)).collect();
        ips.retain(|ip| {
            !never.iter().any(|entry| entry.contains(*ip))
                && !is_own(*ip, actor.address, &context.trusted_proxies)
                && is_no_host(ip.net()).is_none()
        });
    }
    let small = ips.len() <= JOB_ABOVE;
    // Many become a job, which itself finds the addresses already in that state.
    if small && !ips.is_empty() {
        let found = target.agent.banned(&ips).await.map_err(UndoError::Unreadable)?;
        let is_banned =
            |ip: &Network| found.iter().any(|lookup| lookup.ip == *ip && lookup.jails.contains(&target.jail));
        ips.retain(|ip| is_banned(ip) == were_banned);
    }
    if ips.is_empty() {
        let now = if were_banned { "unbanned" } else { "banned, or put on the never-banned list," };
        return Err(UndoError::Changed(format!(
            "the addresses of this change have been {now} in {target} since"
        )));
    }
    let left_out = total - ips.len();
    let outcome = match (small, were_banned) {
        (true, true) => ban::unban(context, actor.clone(), target.clone(), ips, job).await?,
        (true, false) => ban::ban(context, actor.clone(), target.clone(), ips, false, job).await?,
        (false, _) => {
            let order = if were_banned { BanAction::Unban } else { BanAction::Ban };
            BanOutcome::Job(Box::new(
                enqueue(context, actor.clone(), &target, job, order, ips, Vec::new()).await?,
            ))
        }
    };
    Ok(Undone::Bans { target, banned: !were_banned, outcome, left_out, not_kept })
}
