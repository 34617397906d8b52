//! The tables that the commands for people show, column by column.

use serde_json::Value;

use super::fields::*;
use super::table::{Column, seconds, text, time, until};

/// `bangui servers`
pub const SERVERS: &[Column] = &[
    Column { title: "SERVER", reads: &[SERVER_NAME], show: text },
    Column { title: "CONDITION", reads: &[SERVER_CONDITION], show: text },
    Column { title: "JAILS", reads: &[SERVER_JAILS], show: text },
    Column { title: "BANNED", reads: &[SERVER_BANNED], show: text },
    Column { title: "FAILING", reads: &[SERVER_FAILED], show: text },
    Column { title: "VERSION", reads: &[SERVER_VERSION], show: text },
    Column { title: "CHECKED", reads: &[SERVER_CHECKED], show: time },
    Column { title: "NOTE", reads: &[SERVER_ERROR, SERVER_MISSING], show: trouble },
];

/// `bangui jails`
pub const JAILS: &[Column] = &[
    Column { title: "JAIL", reads: &[JAIL_NAME], show: text },
    Column { title: "STATE", reads: &[JAIL_ACTIVE, JAIL_STALLED, JAIL_ENABLED], show: state },
    Column { title: "BANNED", reads: &[JAIL_BANNED], show: text },
    Column { title: "TOTAL", reads: &[JAIL_TOTAL], show: text },
    Column { title: "FAILING", reads: &[JAIL_FAILED], show: text },
    Column { title: "BANTIME", reads: &[JAIL_BANTIME], show: seconds },
    Column { title: "FINDTIME", reads: &[JAIL_FINDTIME], show: seconds },
    Column { title: "MAXRETRY", reads: &[JAIL_MAXRETRY], show: text },
    Column { title: "NOTE", reads: &[JAIL_ERRORS], show: text },
];

/// `bangui bans`
pub const BANS: &[Column] = &[
    Column { title: "BANNED", reads: &[BAN_IP], show: text },
    Column { title: "SINCE", reads: &[BAN_SINCE], show: time },
    Column { title: "UNTIL", reads: &[BAN_UNTIL], show: until },
];

/// `bangui ban`
pub const BANNED: &[Column] = &[
    Column { title: "ADDRESS", reads: &[RESULT_IP], show: text },
    Column { title: "RESULT", reads: &[RESULT_BANNED, RESULT_CHANGED, RESULT_ERROR], show: banned },
];

/// `bangui unban`
pub const UNBANNED: &[Column] = &[
    Column { title: "ADDRESS", reads: &[RESULT_IP], show: text },
    Column { title: "RESULT", reads: &[RESULT_BANNED, RESULT_CHANGED, RESULT_ERROR], show: unbanned },
];

/// `bangui jobs`
pub const JOBS: &[Column] = &[
    Column { title: "JOB", reads: &[JOB_ID], show: text },
    Column { title: "SERVER", reads: &[JOB_SERVER], show: text },
    Column { title: "JAIL", reads: &[JOB_JAIL], show: text },
    Column { title: "ORDER", reads: &[JOB_ORDER], show: text },
    Column { title: "STATE", reads: &[JOB_STATE], show: text },
    Column { title: "DONE", reads: &[JOB_DONE, JOB_ASKED], show: of },
    Column { title: "CHANGED", reads: &[JOB_CHANGED], show: text },
    Column { title: "FAILED", reads: &[JOB_FAILED], show: text },
    Column { title: "BY", reads: &[JOB_USERNAME], show: text },
    Column { title: "CREATED", reads: &[JOB_CREATED], show: time },
    Column { title: "NOTE", reads: &[JOB_REASON], show: text },
];

/// What failed in a job.
pub const FAILURES: &[Column] = &[
    Column { title: "ADDRESS", reads: &[FAILURE_IP], show: text },
    Column { title: "REASON", reads: &[FAILURE_REASON], show: text },
];

/// `bangui audit`
pub const AUDIT: &[Column] = &[
    Column { title: "TIME", reads: &[AUDIT_AT], show: time },
    Column { title: "WHO", reads: &[AUDIT_USERNAME], show: text },
    Column { title: "FROM", reads: &[AUDIT_IP], show: text },
    Column { title: "WHAT", reads: &[AUDIT_WHAT], show: text },
    Column { title: "TARGET", reads: &[AUDIT_TARGET], show: text },
    Column { title: "OUTCOME", reads: &[AUDIT_OUTCOME], show: text },
];

/// `bangui events`
pub const EVENTS: &[Column] = &[
    Column { title: "TIME", reads: &[EVENT_AT], show: time },
    Column { title: "TYPE", reads: &[EVENT_TYPE], show: text },
    Column { title: "SERVER", reads: &[EVENT_SERVER], show: text },
    Column { title: "FACTS", reads: &[EVENT_FACTS], show: facts },
];

/// Of a ban that holds, for `bangui why`.
pub const WHY_BANNED: &[Column] = &[
    Column { title: "SERVER", reads: &[BANNED_SERVER], show: text },
    Column { title: "JAIL", reads: &[BANNED_JAIL], show: text },
    Column { title: "BAN OR ENTRY", reads: &[BANNED_BAN], show: text },
    Column { title: "SINCE", reads: &[BANNED_SINCE], show: time },
    Column { title: "UNTIL", reads: &[BANNED_UNTIL], show: until },
];

/// Of an entry that keeps an address from being banned, for `bangui why`.
pub const WHY_NEVER: &[Column] = &[
    Column { title: "SERVER", reads: &[NEVER_SERVER], show: text },
    Column { title: "JAIL", reads: &[NEVER_JAIL], show: text },
    Column { title: "BAN OR ENTRY", reads: &[NEVER_ENTRY], show: text },
    Column { title: "SINCE", reads: &[], show: text },
    Column { title: "UNTIL", reads: &[NEVER_SOURCE, NEVER_FILE], show: source },
];

fn trouble(values: &[&Value]) -> String {
    match values {
        [Value::String(error), ..] => error.clone(),
        [_, Value::Array(missing)] if !missing.is_empty() => format!("missing: {}", text(&values[1..])),
        _ => String::new(),
    }
}

fn state(values: &[&Value]) -> String {
    match values {
        [Value::Bool(true), ..] => "on",
        [_, Value::Bool(true), ..] => "stalled",
        [.., Value::Bool(true)] => "not running",
        _ => "off",
    }
    .to_owned()
}

fn banned(values: &[&Value]) -> String {
    match values {
        [Value::Bool(true), Value::Bool(true), ..] => "banned".to_owned(),
        [Value::Bool(true), ..] => "already banned".to_owned(),
        [Value::Bool(false), ..] => "not banned: does the jail ignore it?".to_owned(),
        _ => unknown(values),
    }
}

fn unbanned(values: &[&Value]) -> String {
    match values {
        [Value::Bool(false), Value::Bool(true), ..] => "unbanned".to_owned(),
        [Value::Bool(false), ..] => "was not banned".to_owned(),
        [Value::Bool(true), ..] => "still banned, or banned again".to_owned(),
        _ => unknown(values),
    }
}

fn unknown(values: &[&Value]) -> String {
    let reason = values.last().and_then(|reason| reason.as_str()).unwrap_or("no reason was given");
    format!("not known: {reason}")
}

fn of(values: &[&Value]) -> String {
    let [done, asked] = values else { return String::new() };
    format!("{done} of {asked}")
}

fn source(values: &[&Value]) -> String {
    match values {
        [_, Value::String(file)] => format!("never banned, by {file}"),
        [Value::String(source), _] if source == "run_time" => {
            "never banned, until the next reload".to_owned()
        }
        _ => "never banned".to_owned(),
    }
}

/// `jail=app ip=203.0.113.7`
fn facts(values: &[&Value]) -> String {
    let Some(Value::Object(facts)) = values.first() else { return text(values) };
    let fact = |(name, value): (&String, &Value)| format!("{name}={}", text(&[value]));
    facts.iter().map(fact).collect::<Vec<_>>().join(" ")
}
