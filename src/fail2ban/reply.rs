//! What the answers mean: from the pickled shapes to what a caller asked for.
//!
//! | shape | meaning |
//! |---|---|
//! | `(0, value)` | the answer |
//! | `(1, exception)` | the command was refused |
//! | `"ERROR: ..."` | fail2ban could not read the request |
//! | `['SHUTDOWN']` | it is ending |

use super::Fail2banError;
use super::pickle::Value;
use crate::domain::JailCounts;

/// The answer inside a reply.
///
/// # Errors
/// `Refused` for an exception, `Down` for every other shape.
pub fn answer(reply: Value) -> Result<Value, Fail2banError> {
    match reply {
        Value::Tuple(mut pair) if pair.len() == 2 => {
            let (content, code) = (pair.pop(), pair.pop());
            match (code, content) {
                (Some(Value::Int(0)), Some(value)) => Ok(value),
                (Some(Value::Int(1)), Some(exception)) => Err(refusal(&exception)),
                _ => Err(strange("a reply")),
            }
        }
        Value::List(items) if matches!(&items[..], [only] if only.as_str() == Some("SHUTDOWN")) => {
            Err(Fail2banError::Down("fail2ban is shutting down".into()))
        }
        Value::Str(text) if text.starts_with("ERROR") => {
            Err(Fail2banError::Down(format!("fail2ban could not read the command: {}", shortened(&text))))
        }
        _ => Err(strange("a reply")),
    }
}

/// `pong`
///
/// # Errors
/// `Down` if it is something else.
pub fn pong(answer: &Value) -> Result<(), Fail2banError> {
    answer.as_str().filter(|text| *text == "pong").map(|_| ()).ok_or_else(|| strange("the answer to ping"))
}

/// A text, such as the version.
///
/// # Errors
/// `Down` if it is something else.
pub fn text(answer: &Value) -> Result<&str, Fail2banError> {
    answer.as_str().ok_or_else(|| strange("a text"))
}

/// A boolean, however it is written.
#[must_use]
pub fn truth(answer: &Value) -> Option<bool> {
    match answer {
        Value::Bool(truth) => Some(*truth),
        Value::Int(number) => Some(*number != 0),
        _ => None,
    }
}

/// The names in the answer to `status`. One with a comma and a blank in it comes in pieces: see [`jail_count`].
///
/// # Errors
/// `Down` if it has another shape.
pub fn jail_list(answer: &Value) -> Result<Vec<&str>, Fail2banError> {
    let list =
        field(answer, "Jail list").and_then(Value::as_str).ok_or_else(|| strange("the list of jails"))?;
    // None at all is the empty text, which would split into one empty name.
    Ok(list.split(", ").filter(|name| !name.is_empty()).collect())
}

/// How many jails the answer to `status` counts: if fewer than there are pieces, some name has a comma and a blank in it.
#[must_use]
pub fn jail_count(answer: &Value) -> Option<usize> {
    field(answer, "Number of jail")?.as_count()?.try_into().ok()
}

/// The counts in the answer to `status JAIL short`.
///
/// # Errors
/// `Down` if it has another shape.
pub fn short_status(answer: &Value) -> Result<JailCounts, Fail2banError> {
    let counts = || {
        let (filter, actions) = (field(answer, "Filter")?, field(answer, "Actions")?);
        Some(JailCounts {
            currently_failed: field(filter, "Currently failed")?.as_count()?,
            total_failed: field(filter, "Total failed")?.as_count()?,
            currently_banned: field(actions, "Currently banned")?.as_count()?,
            total_banned: field(actions, "Total banned")?.as_count()?,
        })
    };
    counts().ok_or_else(|| strange("the status of a jail"))
}

/// The counts in the answer to `stats`: `{jail: [backend, (failed now, ever), (banned now, ever)]}`.
///
/// # Errors
/// `Down` if it has another shape.
pub fn stats(answer: &Value) -> Result<Vec<(&str, JailCounts)>, Fail2banError> {
    let Value::Dict(jails) = answer else { return Err(strange("the statistics")) };
    let counts = |(name, jail)| {
        let (name, jail): (&Value, &Value) = (name, jail);
        let [_backend, failed, banned] = jail.items()? else { return None };
        let ([failed_now, failed_ever], [banned_now, banned_ever]) = (failed.items()?, banned.items()?)
        else {
            return None;
        };
        let counts = JailCounts {
            currently_failed: failed_now.as_count()?,
            total_failed: failed_ever.as_count()?,
            currently_banned: banned_now.as_count()?,
            total_banned: banned_ever.as_count()?,
        };
        Some((name.as_str()?, counts))
    };
    let counts: Option<_> = jails.iter().map(|(name, jail)| counts((name, jail))).collect();
    counts.ok_or_else(|| strange("the statistics"))
}

/// A whole number, such as a ban time.
#[must_use]
pub fn number(answer: &Value) -> Option<i64> {
    match answer {
        Value::Int(number) => Some(*number),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a time in seconds, which fail2ban may keep as a float"
        )]
        Value::Float(number) => Some(*number as i64),
        Value::Str(text) => text.parse().ok(),
        _ => None,
    }
}

/// Texts in a list or a set, or in lists within (a journal match is a list of words, shown as one text).
#[must_use]
pub fn texts(answer: &Value) -> Vec<String> {
    let items = match answer {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => items,
        _ => return Vec::new(),
    };
    items
        .iter()
        .filter_map(|item| match item {
            Value::Str(text) => Some(text.to_string()),
            Value::List(_) | Value::Tuple(_) => Some(texts(item).join(" ")),
            _ => None,
        })
        .collect()
}

/// One ban, with its times as fail2ban gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban<'a> {
    /// The address, the network, or whatever else the jail bans.
    pub ip: &'a str,
    /// Its times, where it has some.
    pub times: Option<Times>,
}

/// The times of a ban, in fail2ban's local time: see [`super::zone`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it began.
    pub since: chrono::NaiveDateTime,
    /// For how many seconds; negative is permanent.
    pub seconds: i64,
    /// When it ends.
    pub end: chrono::NaiveDateTime,
}

impl Times {
    /// `Y-m-d H:M:S + SECONDS = Y-m-d H:M:S`
    fn parse(text: &str) -> Option<Self> {
        let time = |text: &str| chrono::NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%d %H:%M:%S").ok();
        let (since, rest) = text.split_once(" + ")?;
        let (seconds, end) = rest.split_once(" = ")?;
        Some(Self { since: time(since)?, seconds: seconds.trim().parse().ok()?, end: time(end)? })
    }
}

/// The answer to `get JAIL banip --with-time`: `IP \tY-m-d H:M:S + SECONDS = Y-m-d H:M:S` for each.
///
/// # Errors
/// `Down` if it has another shape.
pub fn bans(answer: &Value, most: usize) -> Result<Vec<Ban<'_>>, Fail2banError> {
    let lines = answer.items().filter(|lines| lines.len() <= most);
    let lines = lines.ok_or_else(|| strange("the list of bans"))?;
    lines
        .iter()
        .map(|line| {
            let line = line.as_str().ok_or_else(|| strange("the list of bans"))?;
            // What is banned may be any text, with tabs and blanks in it: the last tab is fail2ban's.
            let (ip, times) = line
                .rsplit_once('\t')
                .map_or((line, ""), |(ip, times)| (ip.strip_suffix(' ').unwrap_or(ip), times));
            Ok(Ban { ip, times: Times::parse(times) })
        })
        .collect()
}

/// The answer to `banned IP...`: for each, the jails that ban it.
///
/// # Errors
/// `Down` if it has another shape.
pub fn banned(answer: &Value, asked: usize) -> Result<Vec<Vec<&str>>, Fail2banError> {
    let lists = answer.items().filter(|lists| lists.len() == asked);
    lists
        .and_then(|lists| {
            lists.iter().map(|list| list.items()?.iter().map(Value::as_str).collect()).collect()
        })
        .ok_or_else(|| strange("the jails that ban an address"))
}

/// The answer to `get JAIL banned IP...`: whether each is banned. For one address it is a number, for more a list of them.
///
/// # Errors
/// `Down` if it has another shape.
pub fn banned_in(answer: &Value, asked: usize) -> Result<Vec<bool>, Fail2banError> {
    let each = match answer {
        Value::List(each) => each.iter().map(truth).collect::<Option<Vec<bool>>>(),
        one => truth(one).map(|one| vec![one]),
    };
    each.filter(|each| each.len() == asked).ok_or_else(|| strange("whether a jail bans an address"))
}

/// The value of `name` in a list of pairs, fail2ban's way to write a table.
fn field<'a>(table: &'a Value, name: &str) -> Option<&'a Value> {
    table.items()?.iter().find_map(|row| match row.items()? {
        [key, value] if key.as_str() == Some(name) => Some(value),
        _ => None,
    })
}

fn refusal(exception: &Value) -> Fail2banError {
    let (class, message) = match exception {
        Value::Reduced(call) => {
            let words: Vec<String> = call.args.iter().map(words).collect();
            (format!("{}.{}", call.name.module, call.name.name), words.join(", "))
        }
        other => ("an error".into(), words(other)),
    };
    Fail2banError::Refused { class: shortened(&class), message: shortened(&message) }
}

fn words(value: &Value) -> String {
    match value {
        Value::Str(text) => shortened(text),
        Value::Int(number) => number.to_string(),
        other => shortened(&format!("{other:?}")),
    }
}

/// The beginning of a text: enough to understand it, too little to flood a log.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn strange(what: &str) -> Fail2banError {
    Fail2banError::Down(format!("fail2ban sent {what} in a form that bangui does not know"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_are_read_with_their_times_and_without() {
        let list = Value::List(
            [
                "203.0.113.7 \t2026-11-22 22:01:02 + 600 = 2026-11-22 22:11:02",
                "2001:db8::1 \t2026-11-22 22:01:02 + -1 = 9999-12-31 23:59:59",
                "198.51.100.1",
                "mallory \tx \t2026-11-22 22:01:02 + 600 = 2026-11-22 22:11:02",
            ]
            .map(|line| Value::Str(line.into()))
            .into(),
        );
        let times = |seconds, end: &str| {
            Some(Times { since: "2026-11-22T22:01:02".parse().unwrap(), seconds, end: end.parse().unwrap() })
        };
        let ten_minutes = times(600, "2026-11-22T22:11:02");
        let read = bans(&list, 4).unwrap();
        assert_eq!(read[0], Ban { ip: "203.0.113.7", times: ten_minutes });
        assert_eq!(read[1], Ban { ip: "2001:db8::1", times: times(-1, "9999-12-31T23:59:59") });
        assert_eq!(read[2], Ban { ip: "198.51.100.1", times: None });
        assert_eq!(read[3], Ban { ip: "mallory \tx", times: ten_minutes });
        assert!(bans(&list, 3).is_err(), "a line more than it may have");
        assert!(bans(&Value::Int(1), 4).is_err());
    }
}
