//! What needs attention, in this order: a decision, down, unreachable, degraded, busy. Each says what is wrong, what that means for
//! protection, since when, and what to do.

use askama::Template;
use askama::filters::HtmlSafe;
use chrono::{SecondsFormat, TimeDelta};

use super::clock::rough;
use super::marks::{self, count, counted};
use super::shell::Shell;
use crate::domain::{Condition, JailName, PendingRecovery, ServerName, ServerState, Timestamp};
use crate::http::auth::permissions::Right;

/// A server that accepts connections but does not answer counts as down after this time.
const BUSY_FOR: TimeDelta = TimeDelta::seconds(60);

/// One server that needs attention.
#[derive(Template, Debug)]
#[template(path = "attention.html")]
pub struct Attention {
    server: String,
    shown: marks::Shown,
    /// The text after the server's name.
    title: String,
    text: String,
    since: Option<String>,
    error: String,
    decision: Option<Decision>,
    /// Whether the user may request a probe.
    may_probe: bool,
    /// The page that its forms lead back to; the overview if empty.
    back: String,
    order: u8,
}

/// A decision that the user has to make, with the effect of each button.
#[derive(Debug)]
struct Decision {
    /// Identifies the pending recovery in the form.
    detected_at: String,
    roll_back: Option<String>,
    effect: &'static str,
}

impl HtmlSafe for Attention {}

impl Attention {
    /// What needs attention on this server, if anything does.
    #[must_use]
    pub fn of(server: &ServerName, state: &ServerState, shell: &Shell) -> Option<Self> {
        let clock = &shell.clock;
        if let Some(pending) = &state.pending_recovery {
            return Some(Self::pending(server, state, pending, shell));
        }
        let status = &state.status;
        let banned = status.totals().currently_banned;
        let mut item = Self::new(server, status.condition, shell);
        match status.condition {
            Condition::Down => {
                item.title = "is down: expect no new bans".to_owned();
                item.text =
                    "Its agent says that fail2ban does not answer. Earlier bans may be gone.".to_owned();
            }
            Condition::Unreachable => {
                item.title = "cannot be reached".to_owned();
                item.text = match banned {
                    _ if state.settled == Condition::Unknown => "It has not answered yet.".to_owned(),
                    1 => "This says nothing about fail2ban there; 1 was banned when it last answered."
                        .to_owned(),
                    _ => format!(
                        "This says nothing about fail2ban there; {} were banned when it last answered.",
                        count(banned)
                    ),
                };
            }
            Condition::Degraded => {
                let missing: Vec<&JailName> = absent(state);
                item.title = match missing.len() {
                    0 | 1 => "is missing a jail".to_owned(),
                    many => format!("is missing {many} jails"),
                };
                item.text = format!("{}. {}", names(&missing), others(state));
                item.error.clear();
            }
            Condition::Busy => {
                item.title = "is busy".to_owned();
                item.text = match state.busy_since {
                    Some(since) => {
                        let silent = clock.now - since;
                        let left = BUSY_FOR - silent;
                        let then = if left > TimeDelta::zero() {
                            format!(" It counts as down in {}.", rough(left))
                        } else {
                            String::new()
                        };
                        format!("It accepts connections but has not answered for {}.{then}", rough(silent))
                    }
                    None => "It accepts connections but does not answer in time.".to_owned(),
                };
                item.error.clear();
            }
            Condition::Up | Condition::Unknown => return None,
        }
        item.error = status
            .error
            .clone()
            .filter(|_| matches!(status.condition, Condition::Down | Condition::Unreachable))
            .unwrap_or_default();
        Some(item)
    }

    /// A server whose state cannot be read.
    #[must_use]
    pub fn unreadable(server: &ServerName, error: String, shell: &Shell) -> Self {
        let mut item = Self::new(server, Condition::Unreachable, shell);
        item.title = "cannot be shown".to_owned();
        item.text = "Its state in Redis cannot be decoded: finish the update of the workers, if one is under way; otherwise see docs/messages.md.".to_owned();
        item.error = error;
        item
    }

    fn new(server: &ServerName, condition: Condition, shell: &Shell) -> Self {
        Self {
            server: server.to_string(),
            shown: marks::condition(condition),
            title: String::new(),
            text: String::new(),
            since: None,
            error: String::new(),
            decision: None,
            may_probe: shell.may(Right::Probe),
            back: String::new(),
            order: order(condition),
        }
    }

    fn pending(server: &ServerName, state: &ServerState, pending: &PendingRecovery, shell: &Shell) -> Self {
        let after = rough(pending.detected_at - pending.activated_at);
        let jail = &pending.jail_name;
        let missing = absent(state);
        let (title, text, roll_back, effect) = if pending.recovered {
            (
                format!("is up again. It went down or lost jails {after} after {jail} was switched on"),
                if state.status.jails.contains_key(jail) {
                    format!("{jail} still runs.")
                } else {
                    format!("{jail} does not run now.")
                },
                None,
                "Dismissing changes nothing there and takes this warning away.",
            )
        } else if state.status.condition == Condition::Down || missing.is_empty() {
            (
                format!("went down {after} after {jail} was switched on"),
                match state.status.condition {
                    Condition::Unreachable => {
                        format!("Whether {server} bans now is not known: its agent cannot be reached.")
                    }
                    Condition::Down => {
                        format!("Expect no new bans on {server}, and earlier ones may be gone.")
                    }
                    // It may have brought bans back already.
                    _ => format!("Whether {server} bans now is not known: fail2ban does not answer yet."),
                },
                Some(format!("Switch {jail} off, start fail2ban")),
                "This may take half a minute. Bans come back from fail2ban's database, if it keeps one. Dismissing changes nothing there and takes this warning away.",
            )
        } else {
            (
                format!(
                    "lost {} {after} after {jail} was switched on",
                    counted(missing.len() as u64, "jail")
                ),
                match &missing[..] {
                    [one] => format!("{one} bans nobody until it is back. {}", others(state)),
                    many => format!("{} ban nobody until they are back. {}", names(many), others(state)),
                },
                Some(format!("Switch {jail} off, restore jails")),
                "This may take half a minute. Bans come back from fail2ban's database, if it keeps one. Dismissing changes nothing there and takes this warning away.",
            )
        };
        let detected_at = pending.detected_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut item = Self::new(server, state.status.condition, shell);
        if pending.recovered {
            item.shown = marks::condition(Condition::Busy);
        }
        Self {
            title,
            text,
            since: Some(shell.clock.since(pending.detected_at).to_string()),
            decision: shell.may(Right::Recover).then_some(Decision { detected_at, roll_back, effect }),
            order: 0,
            ..item
        }
    }

    fn since(&self) -> Option<Since<'_>> {
        self.since.as_deref().map(Since)
    }

    /// Makes its forms lead back to this page of bangui.
    #[must_use]
    pub fn back(mut self, path: &str) -> Self {
        path.clone_into(&mut self.back);
        self
    }

    /// Its position in the list.
    #[must_use]
    pub fn order(&self) -> u8 {
        self.order
    }
}

/// Markup of a `Clock`.
struct Since<'a>(&'a str);

impl std::fmt::Display for Since<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl HtmlSafe for Since<'_> {}

/// The position of a condition in every list.
#[must_use]
pub fn order(condition: Condition) -> u8 {
    match condition {
        Condition::Down => 1,
        Condition::Unreachable => 2,
        Condition::Degraded => 3,
        Condition::Busy => 4,
        Condition::Unknown => 5,
        Condition::Up => 6,
    }
}

/// Jails that should run but do not.
#[must_use]
pub fn absent(state: &ServerState) -> Vec<&JailName> {
    let status = &state.status;
    let stalled = status.stalled_jails.iter().filter(|jail| !status.missing_jails.contains(jail));
    status.missing_jails.iter().chain(stalled).collect()
}

fn names(jails: &[&JailName]) -> String {
    match jails {
        [] => "None".to_owned(),
        [one] => one.to_string(),
        [first @ .., last] if jails.len() <= 4 => {
            format!("{} and {last}", first.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
    }
}

fn others(state: &ServerState) -> String {
    match state.status.jails.len() {
        0 => "No other jail runs.".to_owned(),
        1 => "The other jail runs.".to_owned(),
        many => format!("The other {many} jails run."),
    }
}

/// Whether the state of a server is older than it should be: more than three times the probe interval, and at least 15 s.
#[must_use]
pub fn is_late(checked_at: Option<Timestamp>, now: Timestamp, interval: std::time::Duration) -> bool {
    let allowed = (interval * 3).max(std::time::Duration::from_secs(15));
    checked_at.is_some_and(|at| (now - at).to_std().is_ok_and(|age| age > allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{Access, Role};
    use crate::domain::{Activation, JailCounts};
    use crate::http::pages::clock::Clock;
    use crate::http::pages::prefs::Prefs;

    fn clock() -> Clock {
        Clock::new("2026-11-26T21:43:15Z".parse().unwrap(), &Prefs::of(&axum::http::HeaderMap::new()))
    }

    fn jail(name: &str) -> JailName {
        JailName::parse(name).unwrap()
    }

    fn shown(state: &ServerState) -> Option<String> {
        shown_to(Role::Admin, state)
    }

    fn shown_to(role: Role, state: &ServerState) -> Option<String> {
        let shell = Shell::of_access(clock(), Access { role, servers: Vec::new() });
        Attention::of(&ServerName::parse("web-1").unwrap(), state, &shell).map(|item| item.to_string())
    }

    fn with(condition: Condition) -> ServerState {
        let mut state = ServerState::default();
        state.status.condition = condition;
        state
    }

    #[test]
    fn a_server_that_is_well_or_not_checked_yet_needs_no_attention() {
        assert!(shown(&with(Condition::Up)).is_none() && shown(&with(Condition::Unknown)).is_none());
    }

    #[test]
    fn down_unreachable_and_busy_are_told_apart() {
        assert!(shown(&with(Condition::Down)).unwrap().contains("is down: expect no new bans"));
        assert!(shown(&with(Condition::Unreachable)).unwrap().contains("It has not answered yet."));
        let mut unreachable = with(Condition::Unreachable);
        unreachable.settled = Condition::Up;
        let unreachable = shown(&unreachable).unwrap();
        assert!(
            unreachable.contains("cannot be reached") && unreachable.contains("says nothing about fail2ban"),
            "{unreachable}"
        );
        let mut busy = with(Condition::Busy);
        busy.busy_since = Some(clock().now - TimeDelta::seconds(38));
        let busy = shown(&busy).unwrap();
        assert!(busy.contains("has not answered for 38 s. It counts as down in 22 s."), "{busy}");
    }

    #[test]
    fn a_pending_recovery_names_what_was_lost_and_what_each_button_does() {
        let mut state = with(Condition::Degraded);
        state.status.missing_jails = vec![jail("sshd"), jail("recidive")];
        state.status.jails = [(jail("x"), JailCounts::default()), (jail("y"), JailCounts::default())].into();
        let activation = Activation::new(jail("nginx-limit-req"), clock().now - TimeDelta::seconds(132));
        state.pending_recovery = Some(activation.crashed(activation.at + TimeDelta::seconds(12)));
        let operator = shown_to(Role::Operator, &state).unwrap();
        assert!(
            operator.contains("sshd and recidive ban nobody") && !operator.contains("/recovery"),
            "{operator}"
        );
        let text = shown(&state).unwrap();
        for part in [
            "lost 2 jails 12 s after nginx-limit-req was switched on",
            "sshd and recidive ban nobody",
            "The other 2 jails run.",
            "Switch nginx-limit-req off, restore jails",
            "2026-11-26T21:41:15.000000Z",
            "(2 min)",
            "Dismiss",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn what_is_banned_after_a_crash_is_not_claimed() {
        let says = |condition, recovered: bool, part: &str| {
            let mut state = with(condition);
            let activation = Activation::new(jail("web"), clock().now - TimeDelta::seconds(132));
            state.pending_recovery = Some(activation.crashed(activation.at + TimeDelta::seconds(12)));
            state.pending_recovery.as_mut().unwrap().recovered = recovered;
            let text = shown(&state).unwrap();
            assert!(text.contains(part) && !text.contains("Nobody is banned"), "{part} in {text}");
        };
        says(Condition::Down, false, "Expect no new bans on web-1, and earlier ones may be gone.");
        says(Condition::Busy, false, "Whether web-1 bans now is not known: fail2ban does not answer yet.");
        says(
            Condition::Unreachable,
            false,
            "Whether web-1 bans now is not known: its agent cannot be reached.",
        );
        says(Condition::Up, true, "It went down or lost jails 12 s after web was switched on");
    }
}
