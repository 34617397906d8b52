//! An event in words, and the filters by kind.

use serde_json::Value;

use super::marks::{Mark, count};
use crate::domain::Timestamp;
use crate::store::StoredEvent;

/// The kinds to filter by: the text of the link, its word in the URL, and the types of its events.
pub const GROUPS: [(&str, &str, &[&str]); 4] = [
    ("bans", "bans", &["ban."]),
    ("servers", "servers", &["server."]),
    ("recoveries", "recoveries", &["recovery.", "activation."]),
    ("bangui itself", "bangui", &["settings.", "scheduler."]),
];

/// An event.
#[derive(Debug)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// Its type, as in the API.
    pub kind: String,
    /// On which server.
    pub server: Option<String>,
    /// In which jail.
    pub jail: Option<String>,
    /// The address that it is about.
    pub address: Option<String>,
    /// The sentence about it.
    pub says: String,
    /// fail2ban's own words, or the agent's.
    pub said: Option<String>,
}

impl Event {
    /// The event in words.
    #[must_use]
    pub fn of(event: StoredEvent) -> Self {
        let StoredEvent { id, kind, server, facts } = event;
        let text = |name: &str| facts.get(name).and_then(Value::as_str).map(str::to_owned);
        let (jail, address) = (text("jail"), text("ip"));
        let (says, said) = words(&kind, &facts);
        Self { id: id.to_string(), at: id.at(), kind, server, jail, address, says, said }
    }

    /// How it is shown: mark and colour.
    #[must_use]
    pub fn shown(&self) -> (Mark, &'static str) {
        match self.kind.as_str() {
            "server.came_online" | "recovery.resolved" => (Mark::DOT, "ok"),
            "server.went_offline" => (Mark::SQUARE, "bad"),
            "server.degraded" | "recovery.pending" => (Mark::TRIANGLE, "warn"),
            "ban.added" => (Mark::BARRED, "ink"),
            "ban.removed" => (Mark::HOLLOW, "muted"),
            _ => (Mark::INFO, "muted"),
        }
    }
}

fn words(kind: &str, facts: &Value) -> (String, Option<String>) {
    let text = |name: &str| facts.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let more = facts.get("more").and_then(Value::as_u64);
    let says = match kind {
        "server.came_online" => match text("version") {
            Some(version) => format!("fail2ban {version} answers."),
            None => "fail2ban answers.".to_owned(),
        },
        "server.went_offline" => "fail2ban does not answer.".to_owned(),
        "server.degraded" => {
            let missing = facts.get("missing").and_then(Value::as_array);
            let missing: Vec<&str> = missing.into_iter().flatten().filter_map(Value::as_str).collect();
            format!("Jails are missing: {}.", missing.join(", "))
        }
        "server.added" => {
            format!("An agent was found at {}.", text("address").unwrap_or("an address not known"))
        }
        "server.removed" => "The agent was gone for ten minutes and was removed.".to_owned(),
        "recovery.pending" => format!(
            "The server was {} {} s after the jail was switched on.",
            text("condition").unwrap_or("in another condition"),
            facts.get("seconds_since_activation").and_then(Value::as_i64).unwrap_or_default()
        ),
        "recovery.resolved" => "The server has recovered.".to_owned(),
        "recovery.cleared" => "The warning is gone: it was dismissed, or the jail rolled back.".to_owned(),
        "activation.recorded" => "The jail is about to be switched on.".to_owned(),
        "ban.added" | "ban.removed" => {
            let verb = if kind == "ban.added" { "banned" } else { "no longer banned" };
            more.map_or_else(|| format!("{verb}."), |more| format!("{} more {verb}.", count(more)))
        }
        "settings.changed" => "Settings were changed.".to_owned(),
        "scheduler.elected" => "A worker became the leader.".to_owned(),
        other => format!("{other} {facts}"),
    };
    (says, text("reason").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StreamId;

    #[test]
    fn an_event_says_what_happened_and_an_unknown_one_shows_what_it_has() {
        let event = |kind: &str, facts: Value| {
            let id = StreamId::parse("1700000000000-1").unwrap();
            Event::of(StoredEvent { id, kind: kind.to_owned(), server: Some("web-1".to_owned()), facts })
        };
        let ban = event("ban.added", serde_json::json!({ "jail": "sshd", "ip": "203.0.113.7" }));
        assert_eq!(
            (ban.says.as_str(), ban.jail.as_deref(), ban.address.as_deref()),
            ("banned.", Some("sshd"), Some("203.0.113.7"))
        );
        assert_eq!(
            event("ban.removed", serde_json::json!({ "jail": "sshd", "more": 1200 })).says,
            "1,200 more no longer banned."
        );
        assert_eq!(
            event("server.went_offline", serde_json::json!({ "reason": "no socket" })).said.as_deref(),
            Some("no socket")
        );
        assert_eq!(event("moon.rose", serde_json::json!({ "x": 1 })).says, "moon.rose {\"x\":1}");
    }
}
