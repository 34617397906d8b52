//! The outcome of a change of bans in a jail, as the message on the next page.

use super::marks::count;
use super::message::Message;
use crate::actions::JailTarget;
use crate::actions::ban::AddressOutcome;
use crate::agent::client::BanResult;
use crate::domain::{Timestamp, UndoId};

/// The maximum number of lines that are shown one by one.
pub const MAX_NAMED: usize = 20;

/// The addresses that changed, those that were already in that state, and a sentence for each other one.
#[derive(Default)]
struct Sorted {
    changed: Vec<String>,
    same: Vec<String>,
    failed: Vec<String>,
}

/// The message about a change that `banned` or unbanned addresses, with its undo under the id `undo`.
#[must_use]
pub fn outcome_message(
    target: &JailTarget,
    outcomes: Vec<AddressOutcome>,
    banned: bool,
    more: &str,
    (undo, back, now): (&UndoId, &str, Timestamp),
) -> Message {
    let place = format!("in {} on {}", target.jail, target.server);
    let Sorted { changed, same, failed } = sorted(outcomes, banned);
    let verb = if banned { "Banned" } else { "Unbanned" };
    let title = match (&changed[..], &same[..]) {
        ([one], same) if same.is_empty() || !banned => format!("{verb} {one} {place}."),
        ([], [one]) if failed.is_empty() && banned => format!("{one} was banned already {place}."),
        ([], [one]) if failed.is_empty() => format!("{one} was not banned {place}."),
        ([], _) => format!("No address was {} {place}.", if banned { "banned now" } else { "unbanned" }),
        (many, _) => format!("{verb} {} {place}.", addresses(many.len())),
    };
    let already = match (same.len(), changed.is_empty()) {
        (0, _) | (1, true) => String::new(),
        (1, false) if banned => "1 address was banned already.".to_owned(),
        (1, false) => "1 address was not banned.".to_owned(),
        (same, _) if banned => format!("{} were banned already.", addresses(same)),
        (same, _) => format!("{} were not banned.", addresses(same)),
    };
    let text = [already, more.to_owned()].into_iter().chain(failed.iter().take(MAX_NAMED).cloned());
    let text = text.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    let message = match (failed.is_empty(), changed.is_empty()) {
        (true, _) => Message::ok(title),
        (false, false) => Message::wait(title),
        (false, true) => Message::bad(title),
    };
    let message = message.and(text);
    match changed.len() {
        0 => message,
        many => message.undo_of(undo, back_label(banned, many), back, now),
    }
}

/// The label of the button that undoes a change of this many addresses.
#[must_use]
pub fn back_label(banned: bool, many: usize) -> String {
    match (banned, many) {
        (true, 1) => "Unban it".to_owned(),
        (true, many) => format!("Unban {}", addresses(many)),
        (false, 1) => "Ban it again".to_owned(),
        (false, many) => format!("Ban {} again", addresses(many)),
    }
}

fn sorted(outcomes: Vec<AddressOutcome>, banned: bool) -> Sorted {
    let mut all = Sorted::default();
    for outcome in outcomes {
        match outcome {
            AddressOutcome::Known(BanResult { ip, banned: is, changed: true }) if is == banned => {
                all.changed.push(ip.to_string());
            }
            AddressOutcome::Known(BanResult { ip, banned: is, .. }) if is == banned => {
                all.same.push(ip.to_string());
            }
            AddressOutcome::Known(BanResult { ip, .. }) if banned => {
                all.failed.push(format!("{ip} is not banned: it may be on the jail's never-banned list."));
            }
            AddressOutcome::Known(BanResult { ip, .. }) => all.failed.push(format!("{ip} is still banned.")),
            AddressOutcome::Unknown { ip, reason } => {
                all.failed.push(format!("It is not known whether {ip} is banned: {reason}."))
            }
        }
    }
    all
}

/// `1 address`, `5,000 addresses`
#[must_use]
pub fn addresses(many: usize) -> String {
    if many == 1 { "1 address".to_owned() } else { format!("{} addresses", count(many as u64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_says_what_it_takes_back_and_of_how_many() {
        let labels =
            [(true, 1), (true, 2_000), (false, 1), (false, 2)].map(|(banned, many)| back_label(banned, many));
        assert_eq!(labels, ["Unban it", "Unban 2,000 addresses", "Ban it again", "Ban 2 addresses again"]);
    }
}
