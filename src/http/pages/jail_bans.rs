//! Forms that ban and unban in a jail: one address, a pasted list, or all.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::Response;

use super::form::{Errors, Form};
use super::jail;
use super::jail_asked::{FORM, Typed};
use super::jail_bans_outcome::{MAX_NAMED, addresses, back_label, outcome_message};
use super::jail_switches::{back, refused};
use super::jail_words::typed;
use super::marks::count;
use super::message::{Message, done};
use super::search::jail_path;
use super::shell::Visitor;
use crate::actions::ban::{self, BanError, BanOutcome, LockedOut};
use crate::actions::unban_all::{self, UnbanAllOutcome};
use crate::domain::ban_job::MAX_JOB_ADDRESSES;
use crate::domain::jail::Network;
use crate::domain::{BanJobId, UndoId};
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// A pasted list: the valid addresses, and a sentence for each line that is not one.
struct Pasted {
    good: Vec<Network>,
    bad: Vec<String>,
}

impl Pasted {
    /// Reads a list: addresses on separate lines, or on one line with spaces or commas between them.
    fn read(text: &str) -> Self {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (line, words) in text.lines().enumerate() {
            for word in words.split([',', ';', ' ', '\t']).filter(|word| !word.is_empty()) {
                match Network::parse(word) {
                    Some(network) => good.push(network),
                    None => bad.push(format!("Line {}: {} {}.", line + 1, typed(word), why_not(word))),
                }
            }
        }
        good.sort_unstable();
        good.dedup();
        Self { good, bad }
    }

    /// The sentences, one per line, and how many more there are.
    fn sentences(&self) -> String {
        let mut shown: Vec<String> = self.bad.iter().take(MAX_NAMED).cloned().collect();
        match self.bad.len().saturating_sub(MAX_NAMED) {
            0 => {}
            1 => shown.push("1 more is not an address.".to_owned()),
            more => shown.push(format!("{} more are not addresses.", count(more as u64))),
        }
        if !self.good.is_empty() {
            let tick = "tick “Leave out lines that are not addresses” to ban";
            shown.push(match self.good.len() {
                1 => format!("1 is an address: {tick} it."),
                many => format!("{} are addresses: {tick} them.", count(many as u64)),
            });
        }
        shown.join("\n")
    }
}

/// Why a word is neither an address nor a network. The script that checks the list while it is typed has the same words.
fn why_not(word: &str) -> String {
    let address = word.split_once('/').and_then(|(address, _)| address.parse::<IpAddr>().ok());
    match address {
        Some(address) if word.matches('/').count() == 1 => {
            let most = if address.is_ipv4() { 32 } else { 128 };
            format!("is not a network: after the slash is a number up to {most}")
        }
        _ => "is not an address".to_owned(),
    }
}

/// Bans the addresses that were typed or pasted.
pub async fn ban(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
    form: Form<FORM>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let pasted = Pasted::read(form.raw("ips"));
    let leave_out = form.has("good") && !pasted.good.is_empty();
    let wrong = if !pasted.bad.is_empty() && !leave_out {
        Some(pasted.sentences())
    } else if pasted.good.is_empty() {
        Some("Type an address or a network.".to_owned())
    } else if pasted.good.len() > MAX_JOB_ADDRESSES {
        let (named, most) = (count(pasted.good.len() as u64), count(MAX_JOB_ADDRESSES as u64));
        Some(format!("This list has {named} addresses; {most} at once are allowed."))
    } else {
        None
    };
    let refuse = |sentence: String, good: usize| Typed {
        good,
        ..Typed::of(&form, &["ips", "force"], Errors::one("ips", sentence), "ban")
    };
    if let Some(sentence) = wrong {
        return jail::refused(&state, visitor, target, refuse(sentence, pasted.good.len())).await;
    }
    let (named, good) = (target.to_string(), pasted.good);
    let total = good.len();
    let id = BanJobId::of(rand::random());
    let undo = UndoId::from(&id);
    let outcome = ban::ban(&state, visitor.actor.clone(), target.clone(), good, form.has("force"), id).await;
    let path = jail_path(&target.server, &target.jail);
    let left_out = if pasted.bad.is_empty() {
        String::new()
    } else {
        format!("Left out: {}", pasted.bad.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(" "))
    };
    let (jail, server) = (&target.jail, &target.server);
    let (to, message) = match outcome {
        Err(BanError::NoHost { ip, why }) => {
            let sentence = format!("{ip} {why}: no host has this address. Nothing was banned.");
            return jail::refused(&state, visitor, target, refuse(sentence, total)).await;
        }
        Err(BanError::NeedsForce { ip, locks_out }) => {
            let why = match locks_out {
                LockedOut::Actor => "is, or contains, your own address",
                LockedOut::Proxy => {
                    "is, or contains, a trusted proxy: banning it would lock out everybody behind it"
                }
                LockedOut::Loopback => "is, or contains, a loopback address",
                LockedOut::Crowd => {
                    "is so large, alone or with its neighbours in the list, that it contains ordinary users"
                }
            };
            let sentence = format!(
                "{ip} {why}. Nothing was banned. Tick “Also ban my own address” to ban it all the same."
            );
            return jail::refused(&state, visitor, target, refuse(sentence, total)).await;
        }
        Err(error) => (path, refused(&format!("Nothing was banned in {named}"), &error.into())),
        Ok(BanOutcome::Job(view)) => (
            format!("{path}?job={}", view.id),
            Message::wait(format!("Banning {} in {jail} on {server}.", addresses(total)))
                .and(format!("A job does it; this page shows its progress. {left_out}").trim()),
        ),
        Ok(BanOutcome::AtOnce(outcomes)) => {
            let message =
                outcome_message(&target, outcomes, true, &left_out, (&undo, &path, visitor.shell.clock.now));
            (path, message)
        }
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

/// Unbans an address, or several.
pub async fn unban(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
    form: Form<FORM>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let pasted = Pasted::read(form.raw("ips"));
    if let Some(first) = pasted.bad.first() {
        return Err(Problem::invalid(format!("nothing was unbanned. {first}")));
    }
    let (total, id) = (pasted.good.len(), BanJobId::of(rand::random()));
    let undo = UndoId::from(&id);
    let path = jail_path(&target.server, &target.jail);
    let (jail, server) = (&target.jail, &target.server);
    let outcome = ban::unban(&state, visitor.actor.clone(), target.clone(), pasted.good, id).await;
    let (to, message) = match outcome {
        Err(error) => {
            (back(&form, &path), refused(&format!("Nothing was unbanned in {target}"), &error.into()))
        }
        Ok(BanOutcome::Job(view)) => (
            format!("{path}?job={}", view.id),
            Message::wait(format!("Unbanning {} in {jail} on {server}.", addresses(total))),
        ),
        Ok(BanOutcome::AtOnce(outcomes)) => {
            let to = back(&form, &path);
            let message =
                outcome_message(&target, outcomes, false, "", (&undo, &to, visitor.shell.clock.now));
            (to, message)
        }
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

/// Lifts all bans of a jail. They can be banned again from the message, or from the page of the job that lifts them.
pub async fn unban_everybody(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let path = jail_path(&target.server, &target.jail);
    let (jail, server) = (&target.jail, &target.server);
    let id = BanJobId::of(rand::random());
    let undo = UndoId::from(&id);
    let outcome = unban_all::unban_all(&state, visitor.actor.clone(), target.clone(), id).await;
    let (to, message) = match outcome {
        Err(error) => {
            (path, refused(&format!("Not all bans in {jail} on {server} were lifted"), &error.into()))
        }
        Ok(UnbanAllOutcome::Job(view)) => (
            format!("{path}?job={}", view.id),
            Message::wait(format!("Lifting all bans in {jail} on {server}.")).and(
                "A job does it; this page shows its progress. Once it has ended, it can be undone here.",
            ),
        ),
        Ok(UnbanAllOutcome::AtOnce { unbanned, remaining }) => {
            let title = format!("Unbanned {} in {jail} on {server}.", addresses(unbanned));
            let message = match remaining {
                0 => Message::ok(title),
                1 => Message::wait(title).and("1 address is still banned: unban all once more."),
                left => Message::wait(title)
                    .and(format!("{} are still banned: unban all once more.", addresses(left))),
            };
            let message = match unbanned {
                0 => message,
                many => message.undo_of(&undo, back_label(false, many), &path, visitor.shell.clock.now),
            };
            (path, message)
        }
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_line_has_its_sentence_and_the_good_ones_are_counted_once() {
        let pasted = Pasted::read("203.0.113.18\n203.0.113.18, 2001:db8::1\n203.0.113.300\n<b>\n");
        assert_eq!(pasted.good.len(), 2);
        assert_eq!(
            pasted.bad,
            ["Line 3: 203.0.113.300 is not an address.", "Line 4: <b> is not an address."]
        );
        assert!(pasted.sentences().contains("2 are addresses: tick"), "{}", pasted.sentences());
        let many = Pasted::read(&"x\n".repeat(30));
        assert!(many.sentences().ends_with("10 more are not addresses."), "{}", many.sentences());
    }
}
