//! An entry of the audit in words: who did what to what, and the values before and after.

use serde_json::Value;

use super::marks::Mark;
use crate::actions::ban::REST_IN_A_JOB;
use crate::domain::Timestamp;
use crate::store::{AuditEntry, Username};

/// The longest value that is shown at once; a longer one is folded.
const SHORT: usize = 120;
/// How entries begin whose target is a user, a session or a token, not a server.
const ABOUT_PEOPLE: [&str; 6] = ["session.", "token.", "user.", "invitation.", "password.", "factor."];

/// What a person did.
#[derive(Debug)]
pub struct Deed {
    /// Its id.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub who: String,
    /// From where.
    pub from: Option<String>,
    /// What was done, as a sentence.
    pub what: String,
    /// The server that it was done to, or `server/jail`; none if it was done to a user, session or token, which `what` names.
    pub target: Option<String>,
    /// The outcome.
    pub outcome: String,
    /// The changed values.
    pub changes: Vec<ChangedValue>,
    /// The key of its undo: its place in the audit or, for a ban job that has ended, the job.
    pub entry: String,
    /// Its undo, if there still is one.
    pub undo: Option<Undo>,
}

/// The undo of a deed.
#[derive(Debug)]
pub struct Undo {
    /// Its id.
    pub id: String,
    /// What the button says.
    pub label: String,
    /// How long it is offered.
    pub until: Timestamp,
}

/// A changed value.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangedValue {
    /// Its name.
    pub name: String,
    /// The value before; none if there was none.
    pub before: Option<String>,
    /// The value after; none if there is none.
    pub after: Option<String>,
}

impl ChangedValue {
    /// Whether it is shown at once, not folded.
    #[must_use]
    pub fn is_short(&self) -> bool {
        let length = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
        length(&self.before) + length(&self.after) <= SHORT
    }
}

impl Deed {
    /// The entry in words.
    #[must_use]
    pub fn of(entry: AuditEntry) -> Self {
        let job = entry.after["job"].as_str().filter(|_| entry.what == "ban_job.end");
        let place =
            job.map_or_else(|| format!("{}/{}", entry.trail.as_str(), entry.id), |job| format!("job/{job}"));
        let mut what = words(&entry.what, &entry.outcome);
        let mut target = entry.target;
        if ABOUT_PEOPLE.iter().any(|kind| entry.what.starts_with(kind)) {
            // The audit names nobody where the password or the second factors of the first user were reset.
            let is_reset = matches!(entry.what.as_str(), "password.reset" | "factor.reset");
            let first = is_reset.then(|| Username::ADMIN.to_owned());
            if let Some(whom) = target.take().or(first) {
                what = format!("{what} {whom}");
            }
        }
        Self {
            entry: place,
            undo: None,
            changes: changes(&entry.before, &entry.after),
            what,
            id: entry.id,
            at: entry.at,
            who: entry.username,
            from: entry.address,
            target,
            outcome: entry.outcome,
        }
    }

    /// How it is shown: mark and colour.
    #[must_use]
    pub fn shown(&self) -> (Mark, &'static str) {
        match self.outcome.as_str() {
            "done" | "ok" => (Mark::CHECK, "muted"),
            "begun" | "queued" | "asked" | "running" | REST_IN_A_JOB => (Mark::RING, "muted"),
            "cancelled" => (Mark::BAR, "muted"),
            _ => (Mark::CROSS, "bad"),
        }
    }

    /// The server of the target, and its jail.
    #[must_use]
    pub fn place(&self) -> (Option<&str>, Option<&str>) {
        match self.target.as_deref().map(|target| target.split_once('/').ok_or(target)) {
            Some(Ok((server, jail))) => (Some(server), Some(jail)),
            Some(Err(server)) => (Some(server), None),
            None => (None, None),
        }
    }

    /// Whether it was about this address.
    #[must_use]
    pub fn is_about(&self, address: &str) -> bool {
        let has = |text: &Option<String>| text.as_ref().is_some_and(|text| names(text, address));
        has(&self.target) || self.changes.iter().any(|change| has(&change.before) || has(&change.after))
    }
}

/// Whether a text contains this address as a whole, not as a part of another.
fn names(text: &str, address: &str) -> bool {
    let part = |letter: char| letter.is_ascii_hexdigit() || matches!(letter, '.' | ':');
    text.match_indices(address).any(|(at, found)| {
        !text[..at].ends_with(part)
            && !text[at + found.len()..].starts_with(|letter| part(letter) || letter == '/')
    })
}

/// What was done; or what was begun, or tried without success, as the outcome says.
fn words(what: &str, outcome: &str) -> String {
    let (did, to) = match what {
        "setup.complete" => ("set up bangui", "set up bangui"),
        "session.begin" => ("logged in", "log in"),
        "session.end" => ("logged out", "log out"),
        "session.confirm" => ("entered the password again", "enter the password again"),
        "session.confirm_at_provider" => ("logged in at the provider again", "log in at the provider again"),
        "session.end_at_provider" => ("was logged out by single sign-on", "be logged out by single sign-on"),
        "session.replace" => ("ended the earlier session", "end the earlier session"),
        "session.revoke" => ("ended the session", "end the session"),
        "session.revoke_others" => ("ended all other sessions", "end all other sessions"),
        "session.revoke_all" => ("ended all sessions", "end all sessions"),
        "password.change" => ("changed the password", "change the password"),
        "password.reset" => ("reset the password of", "reset the password of"),
        "token.create" => ("created the token", "create the token"),
        "token.revoke" => ("revoked the token", "revoke the token"),
        "factor.set_app" => ("set up an authenticator app", "set up an authenticator app"),
        "factor.remove_app" => ("removed the authenticator app", "remove the authenticator app"),
        "factor.renew_recovery_codes" => ("made new recovery codes", "make new recovery codes"),
        "factor.add_passkey" => ("added the passkey", "add the passkey"),
        "factor.remove_passkey" => ("removed the passkey", "remove the passkey"),
        "factor.reset" => ("removed all second factors of", "remove all second factors of"),
        "user.invite" => ("invited the user", "invite the user"),
        "user.accept" => ("accepted the invitation by", "accept the invitation by"),
        "user.provide" => {
            ("got an account through single sign-on:", "get an account through single sign-on:")
        }
        "user.change" => ("changed the user", "change the user"),
        "user.disable" => ("disabled the user", "disable the user"),
        "user.enable" => ("enabled the user", "enable the user"),
        "user.delete" => ("deleted the user", "delete the user"),
        "invitation.revoke" => ("revoked the invitation for", "revoke the invitation for"),
        "settings.change" => ("changed settings", "change settings"),
        "recovery.clear" => ("dismissed the warning", "dismiss the warning"),
        "recovery.roll_back" => ("rolled back", "roll back"),
        "jail.activate" => ("switched the jail on", "switch the jail on"),
        "jail.deactivate" => ("switched the jail off", "switch the jail off"),
        "jail.settings" => ("changed settings of the jail", "change settings of the jail"),
        "jail.ignore" => ("added to the never-banned list", "add to the never-banned list"),
        "ban.add" => ("banned", "ban"),
        "ban.remove" => ("unbanned", "unban"),
        "ban.remove_all" => ("unbanned all", "unban all"),
        "undo" => ("undid a change", "undo a change"),
        "ban_job.begin" => ("began a job", "begin a job"),
        "ban_job.cancel" => ("cancelled a job", "cancel a job"),
        "ban_job.end" => return "began a job, which has ended".to_owned(),
        other => return other.to_owned(),
    };
    match outcome {
        "begun" | REST_IN_A_JOB => format!("began to {to}"),
        "done" | "ok" | "queued" | "asked" | "running" | "cancelled" => did.to_owned(),
        _ => format!("tried to {to}"),
    }
}

/// The differences between two values: of objects the changed members, of others the whole.
fn changes(before: &Value, after: &Value) -> Vec<ChangedValue> {
    let empty = serde_json::Map::new();
    let members = |value: &Value| -> Option<serde_json::Map<String, Value>> {
        match value {
            Value::Object(members) => Some(members.clone()),
            Value::Null => Some(empty.clone()),
            _ => None,
        }
    };
    let (Some(was), Some(is)) = (members(before), members(after)) else {
        let change = ChangedValue { name: String::new(), before: text(before), after: text(after) };
        return if change.before == change.after { Vec::new() } else { vec![change] };
    };
    let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let change = |name: &String| ChangedValue {
        name: name.clone(),
        before: was.get(name).and_then(text),
        after: is.get(name).and_then(text),
    };
    names.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::Trail;

    #[test]
    fn what_is_different_is_shown_member_by_member() {
        let different =
            changes(&json!({ "a": 1, "b": "x", "c": null }), &json!({ "a": 2, "b": "x", "c": ["y", "z"] }));
        let change = |name: &str, before: Option<&str>, after: Option<&str>| ChangedValue {
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        assert_eq!(different, [change("a", Some("1"), Some("2")), change("c", None, Some("y, z"))]);
        assert_eq!(changes(&Value::Null, &json!("x")), [change("", None, Some("x"))]);
        assert_eq!(changes(&Value::Null, &Value::Null), []);
    }

    #[test]
    fn nothing_that_was_refused_or_only_begun_is_shown_as_done() {
        let said = ["done", "begun", "no jail web is running"].map(|outcome| words("ban.add", outcome));
        assert_eq!(said, ["banned", "began to ban", "tried to ban"]);
        assert_eq!(words("ban_job.end", "failed"), "began a job, which has ended");
        assert_eq!(words("setup.refused", "wrong setup code"), "setup.refused");
    }

    #[test]
    fn users_and_sessions_are_named_in_the_sentence_and_are_no_servers() {
        let said = |what: &str, target: Option<&str>, outcome: &str| {
            let deed = Deed::of(AuditEntry {
                id: "1-0".to_owned(),
                trail: Trail::Security,
                at: Timestamp::default(),
                username: "admin".to_owned(),
                session: None,
                address: None,
                worker: None,
                what: what.to_owned(),
                target: target.map(str::to_owned),
                before: Value::Null,
                after: Value::Null,
                outcome: outcome.to_owned(),
                begun: None,
            });
            assert_eq!(deed.place(), (None, None), "{what}");
            deed.what
        };
        assert_eq!(said("user.invite", Some("eve"), "done"), "invited the user eve");
        assert_eq!(said("session.revoke", Some("0190"), "no answer"), "tried to end the session 0190");
        assert_eq!(said("password.reset", None, "done"), "reset the password of admin");
        assert_eq!(said("factor.reset", None, "done"), "removed all second factors of admin");
    }

    #[test]
    fn an_address_is_named_whole_or_not_at_all() {
        for (text, named) in [
            ("198.51.100.1", true),
            ("a, 198.51.100.1, b", true),
            ("198.51.100.17", false),
            ("198.51.100.1/24", false),
            ("1198.51.100.1", false),
        ] {
            assert_eq!(names(text, "198.51.100.1"), named, "{text}");
        }
    }
}
