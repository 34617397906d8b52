//! The fields of the API's documents that the commands for people show or act on, each by its schema and its place.
//!
//! Documents are read by place rather than as a whole, so that this version shows what a newer or older server sends, and prints
//! it unchanged with `--json`. A test holds every field against the API's own document: what is renamed there is missed here.

use serde_json::Value;

/// A field of a document.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The name of the schema in the API's document.
    #[cfg(test)]
    schema: &'static str,
    /// A JSON pointer.
    at: &'static str,
}

const NOTHING: &Value = &Value::Null;

impl Field {
    /// Its value, `null` if there is none.
    #[must_use]
    pub fn of(self, document: &Value) -> &Value {
        document.pointer(self.at).unwrap_or(NOTHING)
    }

    /// Its text, empty if there is none.
    #[must_use]
    pub fn text(self, document: &Value) -> &str {
        self.of(document).as_str().unwrap_or_default()
    }

    /// Its number, 0 if there is none.
    #[must_use]
    pub fn number(self, document: &Value) -> u64 {
        self.of(document).as_u64().unwrap_or_default()
    }

    /// Its items, empty if there are none.
    #[must_use]
    pub fn items(self, document: &Value) -> &[Value] {
        self.of(document).as_array().map(Vec::as_slice).unwrap_or_default()
    }
}

macro_rules! fields {
    ($($schema:literal { $($name:ident = $at:literal;)* })*) => {
        $($(
            #[doc = concat!("`", $at, "` of `", $schema, "`")]
            pub const $name: Field = Field { #[cfg(test)] schema: $schema, at: $at };
        )*)*
        #[cfg(test)]
        const ALL: &[Field] = &[$($($name),*),*];
    };
}

fields! {
    "Problem" {
        PROBLEM_TYPE = "/type";
        PROBLEM_TITLE = "/title";
        PROBLEM_DETAIL = "/detail";
        PROBLEM_RETRY = "/retry_after_seconds";
    }
    "LoginRefused" {
        PROBLEM_LOGIN = "/login";
    }
    "LoggedIn" {
        LOGIN_TOKEN = "/token";
        LOGIN_USERNAME = "/session/username";
        LOGIN_EXPIRES = "/session/expires_at";
    }
    "SessionView" {
        SESSION_USERNAME = "/username";
        SESSION_EXPIRES = "/expires_at";
    }
    "List_ServerView" {
        // Every list has these two.
        ITEMS = "/items";
        NEXT_CURSOR = "/next_cursor";
    }
    "ServerView" {
        SERVER_NAME = "/name";
        SERVER_CONDITION = "/status/condition";
        SERVER_JAILS = "/status/active_jails";
        SERVER_BANNED = "/status/currently_banned";
        SERVER_FAILED = "/status/currently_failed";
        SERVER_VERSION = "/status/version";
        SERVER_CHECKED = "/status/checked_at";
        SERVER_ERROR = "/status/error";
        SERVER_MISSING = "/status/missing_jails";
    }
    "JailView" {
        JAIL_NAME = "/name";
        JAIL_ACTIVE = "/active";
        JAIL_ENABLED = "/enabled";
        JAIL_STALLED = "/stalled";
        JAIL_BANNED = "/currently_banned";
        JAIL_TOTAL = "/total_banned";
        JAIL_FAILED = "/currently_failed";
        JAIL_BANTIME = "/bantime";
        JAIL_FINDTIME = "/findtime";
        JAIL_MAXRETRY = "/maxretry";
        JAIL_ERRORS = "/errors";
    }
    "JailList" {
        JAILS_ERRORS = "/errors";
    }
    "Ban" {
        BAN_IP = "/ip";
        BAN_SINCE = "/banned_at";
        BAN_UNTIL = "/expires_at";
    }
    "BanPage" {
        BANS_READ_AT = "/read_at";
    }
    "Outcome" {
        RESULTS = "/results";
    }
    "AddressOutcome" {
        RESULT_IP = "/ip";
        RESULT_BANNED = "/banned";
        RESULT_CHANGED = "/changed";
        RESULT_ERROR = "/error";
    }
    "Found" {
        FOUND_IP = "/ip";
        FOUND_BANNED = "/banned";
        FOUND_NEVER = "/never_banned";
        FOUND_UNKNOWN = "/never_banned_unknown";
        FOUND_UNANSWERED = "/unanswered";
    }
    "BannedIn" {
        BANNED_SERVER = "/server";
        BANNED_JAIL = "/jail";
        BANNED_BAN = "/ban";
        BANNED_SINCE = "/banned_at";
        BANNED_UNTIL = "/expires_at";
    }
    "NeverBanned" {
        NEVER_SERVER = "/server";
        NEVER_JAIL = "/jail";
        NEVER_ENTRY = "/entry";
        NEVER_SOURCE = "/source";
        NEVER_FILE = "/file";
    }
    "Unanswered" {
        UNANSWERED_SERVER = "/server";
        UNANSWERED_REASON = "/reason";
        UNANSWERED_LAST = "/last_known";
        UNANSWERED_READ_AT = "/read_at";
    }
    "BanJob" {
        JOB_ID = "/id";
        JOB_SERVER = "/server";
        JOB_JAIL = "/jail";
        JOB_ORDER = "/order";
        JOB_STATE = "/state";
        JOB_ASKED = "/asked";
        JOB_DONE = "/done";
        JOB_CHANGED = "/changed";
        JOB_FAILED = "/failed";
        JOB_FAILURES = "/failures";
        JOB_USERNAME = "/username";
        JOB_CREATED = "/created_at";
        JOB_REASON = "/reason";
    }
    "BanJobFailure" {
        FAILURE_IP = "/ip";
        FAILURE_REASON = "/reason";
    }
    "JailChange" {
        CHANGE_ID = "/id";
        CHANGE_STATE = "/state";
        CHANGE_PROBLEM = "/problem";
    }
    "AuditEntry" {
        AUDIT_AT = "/at";
        AUDIT_USERNAME = "/username";
        AUDIT_WHAT = "/what";
        AUDIT_TARGET = "/target";
        AUDIT_OUTCOME = "/outcome";
        AUDIT_IP = "/ip";
    }
    "Diagnosis" {
        FINDINGS = "/items";
        NOT_ASKED = "/not_asked";
    }
    "FindingView" {
        FINDING_SEVERITY = "/severity";
        FINDING_SERVER = "/server";
        FINDING_JAIL = "/jail";
        FINDING_TITLE = "/title";
        FINDING_DETAIL = "/detail";
        FINDING_REMEDY = "/remedy";
        FINDING_COMMAND = "/command";
        FINDING_SINCE = "/since";
    }
    "NotAsked" {
        NOT_ASKED_SERVER = "/server";
        NOT_ASKED_REASON = "/reason";
    }
    "EventView" {
        EVENT_TYPE = "/type";
        EVENT_AT = "/at";
        EVENT_SERVER = "/server";
        EVENT_FACTS = "/facts";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a schema has a field at these parts of a pointer, by way of references and of what it is composed of.
    fn has(document: &Value, schema: &Value, parts: &[&str]) -> bool {
        if let Some(reference) = schema["$ref"].as_str() {
            let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema");
            return has(document, schema, parts);
        }
        let composed = ["allOf", "oneOf", "anyOf"].iter().filter_map(|of| schema[*of].as_array()).flatten();
        if composed.into_iter().any(|part| has(document, part, parts)) {
            return true;
        }
        match parts {
            [] => true,
            [first, rest @ ..] => {
                schema["properties"].get(*first).is_some_and(|field| has(document, field, rest))
            }
        }
    }

    #[test]
    fn the_api_has_every_field() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        for Field { schema, at } in ALL {
            let parts: Vec<&str> = at.split('/').skip(1).collect();
            let schema = &document["components"]["schemas"][*schema];
            assert!(schema.is_object() && has(&document, schema, &parts), "{at} of {schema}");
        }
        let server = &document["components"]["schemas"]["ServerView"];
        assert!(!has(&document, server, &["status", "nothing"]), "what is not there is missed");
    }
}
