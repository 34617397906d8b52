//! Undoing changes: one form for every change that can be undone, in the message that confirmed it and in its entry on the activity
//! page, for ten minutes, at any worker.

use axum::extract::State;
use axum::response::Response;

use super::confirm;
use super::form::Form;
use super::jail_bans_outcome::{addresses, outcome_message};
use super::jail_settings::{may_be_banned, set};
use super::jail_switches::{Outcome, answer, back, refused, switched};
use super::jail_words::{back_to, numbers};
use super::message::{Message, done, see_other};
use super::search::jail_path;
use super::settings::changed;
use super::shell::Visitor;
use crate::actions::ban::BanOutcome;
use crate::actions::undo::{self as action, Undone};
use crate::actions::{Actor, JailTarget};
use crate::domain::undo::{Deed, UndoId, Undoable};
use crate::domain::{JailChangeId, JailChangeKind, Timestamp};
use crate::http::auth::allowed::require;
use crate::http::auth::permissions::Right;
use crate::http::error::{Problem, Result};
use crate::http::state::AppState;

/// Undoes the change that the form names.
pub async fn undo(State(state): State<AppState>, visitor: Visitor, form: Form) -> Result<Response> {
    let id = UndoId::parse(form.text("id"))
        .ok_or_else(|| Problem::malformed("the form does not name what is to be undone; nothing was done"))?;
    let back = back(&form, "/activity");
    let known = state.store.undoable(std::slice::from_ref(&id)).await?.pop().flatten();
    let reached =
        |done: &Undoable| done.server.as_ref().is_none_or(|server| visitor.actor.access.reaches(server));
    let known = known.filter(reached);
    if let Some(done) = &known {
        require(&state, &visitor.actor, Right::to_undo(done))?;
    }
    let jail = known.and_then(|done| Some((jail_of(&state, &done)?, kind(&done.deed)?)));
    let next = match jail {
        Some(jail) => of_jail(&state, &visitor, id, jail, &back).await,
        None => at_once(&state, &visitor, id, &back).await,
    };
    let (to, message) = match next {
        Ok(Next::Shown(to, message)) => (to, *message),
        Ok(Next::Running(page)) => return Ok(see_other(&page)),
        Err(problem) if problem.name() == "confirmation-required" => {
            return confirm::ask(visitor, "Set the settings back", &back, &form);
        }
        Err(problem) => (back, refused("Nothing was undone", &problem)),
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

fn may_undo(actor: &Actor, done: &Undoable) -> bool {
    Right::to_undo(done).of(&actor.access)
}

/// The page that comes next.
enum Next {
    /// A page with a message.
    Shown(String, Box<Message>),
    /// The page of a change that takes longer than a browser waits.
    Running(String),
}

/// Undoes a change of a jail, which may take longer than a browser waits.
async fn of_jail(
    state: &AppState,
    visitor: &Visitor,
    id: UndoId,
    (target, kind): (JailTarget, JailChangeKind),
    back: &str,
) -> Result<Next> {
    let new: u128 = rand::random();
    let (context, actor, to) = (state.clone(), visitor.actor.clone(), back.to_owned());
    let now = visitor.shell.clock.now;
    let change = async move {
        let undone = action::undo(&context, actor, id, new, may_undo).await?;
        serde_json::to_value(of_jail_done(undone, &UndoId::of(new), &to, now)).map_err(Problem::internal)
    };
    Ok(match answer(state, &visitor.actor, &target, (kind, JailChangeId::of(new)), change).await? {
        Outcome::Running(page) => Next::Running(page),
        Outcome::Done(message) => {
            let message: Message = serde_json::from_value(message).map_err(Problem::internal)?;
            Next::Shown(back.to_owned(), Box::new(message))
        }
    })
}

/// Undoes changes that are answered at once: bans and settings of bangui; also answers for those that are no longer known.
async fn at_once(state: &AppState, visitor: &Visitor, id: UndoId, back: &str) -> Result<Next> {
    let new: u128 = rand::random();
    let (undo, now) = (UndoId::of(new), visitor.shell.clock.now);
    let undone = action::undo(state, visitor.actor.clone(), id, new, may_undo).await?;
    let (to, message) = match undone {
        Undone::Bans { target, banned, outcome, left_out, not_kept } => {
            let text = besides(banned, left_out, not_kept);
            match outcome {
                BanOutcome::AtOnce(outcomes) => {
                    (back.to_owned(), outcome_message(&target, outcomes, banned, &text, (&undo, back, now)))
                }
                BanOutcome::Job(view) => {
                    let (verb, again) = if banned { ("Banning", " again") } else { ("Unbanning", "") };
                    let many = addresses(view.progress.asked);
                    let title = format!("{verb} {many}{again} in {} on {}.", target.jail, target.server);
                    let text = format!("A job does it; this page shows its progress. {text}");
                    let page = format!("{}?job={}", jail_path(&target.server, &target.jail), view.id);
                    (page, Message::wait(title).and(text.trim_end()))
                }
            }
        }
        Undone::Product { before, after, names } => {
            (back.to_owned(), changed(&before, &after, &names, &undo, &visitor.shell))
        }
        undone => (back.to_owned(), of_jail_done(undone, &undo, back, now)),
    };
    Ok(Next::Shown(to, Box::new(message)))
}

/// The message about a jail that is as before, with an undo of the undo.
fn of_jail_done(undone: Undone, undo: &UndoId, back: &str, now: Timestamp) -> Message {
    let named = |target: &JailTarget| format!("{} on {}", target.jail, target.server);
    match undone {
        Undone::Switched { target, on } => switched(&target, on, undo, back, now),
        Undone::Settings { target, deed } => {
            let before: Vec<_> =
                numbers(&deed.after).into_iter().map(|(name, value)| (name, Some(value))).collect();
            set(&named(&target), &numbers(&deed.before), "as before").undo_of(
                undo,
                back_to(&before),
                back,
                now,
            )
        }
        Undone::NotIgnored { target, network } => {
            may_be_banned(network, &named(&target)).undo_of(undo, "Put it back on the list", back, now)
        }
        Undone::Bans { target, .. } => Message::ok(format!("The bans in {} are as before.", named(&target))),
        Undone::Product { .. } => Message::ok("The settings are as before."),
    }
}

/// What the undo left out, and why.
fn besides(banned: bool, left_out: usize, not_kept: usize) -> String {
    let mut text = String::new();
    if left_out > 0 {
        let why = if banned {
            "banned again already, on the never-banned list, or your own"
        } else {
            "unbanned already"
        };
        text = format!("Left out: {} ({why}). ", addresses(left_out));
    }
    if not_kept > 0 {
        text.push_str(&format!(
            "{} of the change were not kept for the undo: they stay as they are.",
            addresses(not_kept)
        ));
    }
    text.trim_end().to_owned()
}

/// The jail of a change, if its server is still there.
fn jail_of(state: &AppState, done: &Undoable) -> Option<JailTarget> {
    let server = state.server(done.server.as_ref()?.as_str()).ok()?;
    Some(server.jail(done.jail.clone()?))
}

/// The kind of jail change that undoes this; none if it is not a change of a jail.
fn kind(deed: &Deed) -> Option<JailChangeKind> {
    match deed {
        Deed::Switched { on: true } => Some(JailChangeKind::Deactivate),
        Deed::Switched { on: false } => Some(JailChangeKind::Activate),
        Deed::Settings(_) | Deed::Ignored { .. } => Some(JailChangeKind::Settings),
        Deed::Bans { .. } | Deed::Product { .. } | Deed::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_says_what_it_leaves_out() {
        assert_eq!(besides(true, 0, 0), "");
        assert_eq!(besides(false, 1, 0), "Left out: 1 address (unbanned already).");
        let both = besides(true, 2, 3_000);
        assert!(
            both.contains("Left out: 2 addresses")
                && both.ends_with(
                    "3,000 addresses of the change were not kept for the undo: they stay as they are."
                ),
            "{both}"
        );
    }
}
