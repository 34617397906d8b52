//! Forms that ban and unban in a jail: one address, a list that was pasted, all of them.

use axum::extract::State;
use axum::response::Response;

use super::form::{Errors, Form};
use super::jail;
use super::jail_asked::{FORM, Typed};
use super::jail_switches::{back, refused};
use super::jail_words::typed;
use super::marks::count;
use super::message::{Message, done};
use super::search::jail_path;
use super::shell::Visitor;
use crate::actions::ban::{self, AddressOutcome, BanError, BanOutcome, LockedOut};
use crate::actions::unban_all::{self, UnbanAllOutcome};
use crate::agent::client::BanResult;
use crate::domain::BanJobId;
use crate::domain::ban_job::{JOB_ABOVE, MOST_ADDRESSES};
use crate::domain::jail::Network;
use crate::http::error::{Problem, Result};
use crate::http::extract::Path;
use crate::http::state::AppState;

/// Lines that are named one by one.
const MAX_NAMED: usize = 20;

/// What was pasted: addresses that are right, and a sentence for each line that is not.
struct Pasted {
    good: Vec<Network>,
    bad: Vec<String>,
}

impl Pasted {
    /// Addresses stand on lines, or on one line with spaces or commas between them.
    fn read(text: &str) -> Self {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (line, words) in text.lines().enumerate() {
            for word in words.split([',', ';', ' ', '\t']).filter(|word| !word.is_empty()) {
                match Network::parse(word) {
                    Some(network) => good.push(network),
                    None => bad.push(format!("Line {}: {} is not an address.", line + 1, typed(word))),
                }
            }
        }
        good.sort_unstable();
        good.dedup();
        Self { good, bad }
    }

    /// The sentences, one a line, and how many more there are.
    fn sentences(&self) -> String {
        let mut shown: Vec<String> = self.bad.iter().take(MAX_NAMED).cloned().collect();
        if self.bad.len() > MAX_NAMED {
            shown.push(format!("{} more are not addresses.", count((self.bad.len() - MAX_NAMED) as u64)));
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

/// Bans what was typed or pasted.
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
    } else if pasted.good.len() > MOST_ADDRESSES {
        let (named, most) = (count(pasted.good.len() as u64), count(MOST_ADDRESSES as u64));
        Some(format!("{named} addresses are named; {most} at once are allowed."))
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
    let outcome = ban::ban(&state, visitor.actor.clone(), target.clone(), good, form.has("force"), id).await;
    let path = jail_path(&target.server, &target.jail);
    let left_out = if pasted.bad.is_empty() {
        String::new()
    } else {
        format!("Left out: {}", pasted.bad.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(" "))
    };
    let (jail, server) = (&target.jail, &target.server);
    let (to, message) = match outcome {
        Err(BanError::NeedsForce { ip, locks_out }) => {
            let why = match locks_out {
                LockedOut::Actor => "is, or contains, your own address",
                LockedOut::Proxy => {
                    "is, or contains, a trusted proxy: banning it would lock out everybody behind it"
                }
                LockedOut::Loopback => "is, or contains, a loopback address",
            };
            let sentence =
                format!("{ip} {why}. Nothing was banned. Tick “Also my own address” to ban it all the same.");
            return jail::refused(&state, visitor, target, refuse(sentence, total)).await;
        }
        Err(error) => (path, refused(&format!("Nothing was banned in {named}"), &error.into())),
        Ok(BanOutcome::Job(view)) => (
            format!("{path}?job={}", view.id),
            Message::wait(format!("Banning {} in {jail} on {server}.", addresses(total)))
                .and(format!("A job does it, and this page shows how far it is. {left_out}").trim()),
        ),
        Ok(BanOutcome::AtOnce(outcomes)) => {
            let (changed, same, failed) = sorted(outcomes, true);
            let title = match (&changed[..], &same[..]) {
                ([one], []) => format!("Banned {one} in {jail} on {server}."),
                ([], [one]) if failed.is_empty() => {
                    format!("{one} was banned already in {jail} on {server}.")
                }
                ([], _) => format!("No address was banned now in {jail} on {server}."),
                (many, _) => format!("Banned {} in {jail} on {server}.", addresses(many.len())),
            };
            let already = if same.len() > 1 || !same.is_empty() && !changed.is_empty() {
                format!("{} were banned already.", addresses(same.len()))
            } else {
                String::new()
            };
            let label = match changed.len() {
                1 => "Unban it".to_owned(),
                many => format!("Unban {}", addresses(many)),
            };
            let undo = (!changed.is_empty()).then(|| (label, format!("{path}/unban"), changed.join(" ")));
            (path, outcome_message(title, [already, left_out], failed, undo, &visitor))
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
            let (changed, same, failed) = sorted(outcomes, false);
            let title = match (&changed[..], &same[..]) {
                ([one], _) => format!("Unbanned {one} in {jail} on {server}."),
                ([], [one]) => format!("{one} was not banned in {jail} on {server}."),
                ([], _) => format!("No address was unbanned in {jail} on {server}."),
                (many, _) => format!("Unbanned {} in {jail} on {server}.", addresses(many.len())),
            };
            let undo = (!changed.is_empty())
                .then(|| (again(changed.len()), format!("{path}/bans"), changed.join(" ")));
            (
                back(&form, &path),
                outcome_message(title, [String::new(), String::new()], failed, undo, &visitor),
            )
        }
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

/// Unbans all of a jail. Up to a hundred can be banned again from the message.
pub async fn unban_everybody(
    State(state): State<AppState>,
    visitor: Visitor,
    Path((server, jail)): Path<(String, String)>,
) -> Result<Response> {
    let target = state.jail(&server, &jail)?;
    let path = jail_path(&target.server, &target.jail);
    let (jail, server) = (&target.jail, &target.server);
    let (before, _) = state.store.bans(server, jail, "", None, JOB_ABOVE).await?;
    let id = BanJobId::of(rand::random());
    let outcome = unban_all::unban_all(&state, visitor.actor.clone(), target.clone(), id).await;
    let (to, message) = match outcome {
        Err(error) => (path, refused(&format!("Not all of {target} were unbanned"), &error.into())),
        Ok(UnbanAllOutcome::Job(view)) => (
            format!("{path}?job={}", view.id),
            Message::wait(format!("Lifting all bans in {jail} on {server}."))
                .and("A job does it, and this page shows how far it is."),
        ),
        Ok(UnbanAllOutcome::AtOnce { unbanned, remaining }) => {
            let title = format!("Unbanned {} in {jail} on {server}.", addresses(unbanned));
            let message = match remaining {
                0 => Message::ok(title),
                left => Message::wait(title)
                    .and(format!("{} are still banned: unban all once more.", addresses(left))),
            };
            let ips: Vec<String> = before
                .items
                .into_iter()
                .map(|ban| ban.ip)
                .filter(|ip| Network::parse(ip).is_some())
                .collect();
            let whole = before.next_cursor.is_none() && !ips.is_empty() && unbanned > 0;
            let undo = (again(ips.len()), format!("{path}/bans"), ips.join(" "));
            (
                path,
                if whole {
                    message.undo(undo.0, undo.1, &[("ips", &undo.2)], visitor.shell.clock.now)
                } else {
                    message
                },
            )
        }
    };
    Ok(done(&state, &visitor.actor, &to, message).await)
}

/// Those that changed, those that were so already, and a sentence for each that is not as asked.
fn sorted(outcomes: Vec<AddressOutcome>, banned: bool) -> (Vec<String>, Vec<String>, Vec<String>) {
    let (mut changed, mut same, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            AddressOutcome::Known(BanResult { ip, banned: is, changed: true }) if is == banned => {
                changed.push(ip.to_string())
            }
            AddressOutcome::Known(BanResult { ip, banned: is, .. }) if is == banned => {
                same.push(ip.to_string())
            }
            AddressOutcome::Known(BanResult { ip, .. }) if banned => {
                failed.push(format!("{ip} is not banned: the jail may never ban it."));
            }
            AddressOutcome::Known(BanResult { ip, .. }) => failed.push(format!("{ip} is still banned.")),
            AddressOutcome::Unknown { ip, reason } => failed.push(format!("{ip} is not known: {reason}.")),
        }
    }
    (changed, same, failed)
}

fn outcome_message(
    title: String,
    more: [String; 2],
    failed: Vec<String>,
    undo: Option<(String, String, String)>,
    visitor: &Visitor,
) -> Message {
    let text = more.into_iter().chain(failed.iter().take(MAX_NAMED).cloned()).filter(|text| !text.is_empty());
    let text = text.collect::<Vec<_>>().join(" ");
    let message = match (failed.is_empty(), &undo) {
        (true, _) => Message::ok(title),
        (false, Some(_)) => Message::wait(title),
        (false, None) => Message::bad(title),
    };
    let message = message.and(text);
    match undo {
        Some((label, action, ips)) => message.undo(label, action, &[("ips", &ips)], visitor.shell.clock.now),
        None => message,
    }
}

fn again(many: usize) -> String {
    if many == 1 { "Ban it again".to_owned() } else { format!("Ban {} again", addresses(many)) }
}

fn addresses(many: usize) -> String {
    if many == 1 { "1 address".to_owned() } else { format!("{} addresses", count(many as u64)) }
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
