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

/// Yes or no, however it is written.
#[must_use]
pub fn truth(answer: &Value) -> Option<bool> {
    match answer {
        Value::Bool(truth) => Some(*truth),
        Value::Int(number) => Some(*number != 0),
        _ => None,
    }
}

/// The names in the answer to `status`.
///
/// # Errors
/// `Down` if it has another shape.
pub fn jail_list(answer: &Value) -> Result<Vec<&str>, Fail2banError> {
    let list =
        field(answer, "Jail list").and_then(Value::as_str).ok_or_else(|| strange("the list of jails"))?;
    // None at all is the empty text, which would split into one empty name.
    Ok(list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
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

/// The value of `name` in a list of pairs, fail2ban's way to write a table.
fn field<'a>(table: &'a Value, name: &str) -> Option<&'a Value> {
    table.items()?.iter().find_map(|row| match row.items()? {
        [key, value] if key.as_str() == Some(name) => Some(value),
        _ => None,
    })
}

fn refusal(exception: &Value) -> Fail2banError {
    let (class, message) = match exception {
        Value::Reduced { module, name, args } => {
            let words: Vec<String> = args.iter().map(words).collect();
            (format!("{module}.{name}"), words.join(", "))
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

/// Enough of a text to be understood, and not enough to flood a log.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn strange(what: &str) -> Fail2banError {
    Fail2banError::Down(format!("fail2ban sent {what} in a form that this program does not know"))
}
