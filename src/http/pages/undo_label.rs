//! The label of the button that undoes a change: the opposite verb, and how many.

use super::jail_bans_outcome::back_label;
use super::jail_words::{back_to, numbers};
use crate::domain::undo::{Deed, Undoable};

/// The label of the button that undoes this; none for what this version cannot undo.
#[must_use]
pub fn label(done: &Undoable) -> Option<String> {
    Some(match &done.deed {
        Deed::Switched { on: true } => "Switch off again".to_owned(),
        Deed::Switched { on: false } => "Switch on again".to_owned(),
        Deed::Settings(deed) => {
            let before: Vec<_> =
                numbers(&deed.before).into_iter().map(|(name, value)| (name, Some(value))).collect();
            if before.is_empty() { "Set it back".to_owned() } else { back_to(&before) }
        }
        Deed::Ignored { .. } => "Take it off the list".to_owned(),
        Deed::Bans { banned, changed, .. } => back_label(*banned, *changed),
        Deed::Product { before, .. } if before.len() == 1 => "Set it back".to_owned(),
        Deed::Product { before, .. } => format!("Set {} settings back", before.len()),
        Deed::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_says_what_undoing_does() {
        let done = |deed| Undoable { username: "admin".to_owned(), server: None, jail: None, deed };
        let label = |deed| label(&done(deed));
        assert_eq!(label(Deed::Switched { on: true }).as_deref(), Some("Switch off again"));
        let bans = Deed::Bans { banned: false, ips: Vec::new(), changed: 3 };
        assert_eq!(label(bans).as_deref(), Some("Ban 3 addresses again"));
        assert_eq!(label(Deed::Unknown), None);
    }
}
