//! Which rights the user of `BANGUI_REDIS_URL` needs, and which of them are missing.
//!
//! `user.acl` is the rule, as a line of a Redis ACL file: docs/redis.md shows it, every Redis of the tests has that user and
//! the workers there run as it, and a test compares it with the commands that the source sends. A new command goes in
//! there and into `FORMS`.
//!
//! At each connect the commands are queued in a transaction that is then discarded: Redis judges rights when it queues,
//! so a missing right is reported at once and by name, not when it is first needed. (`redis.acl_check_cmd` in a script would
//! be the obvious way; Redis 7.0.15 crashes on a command with keys that is asked for without arguments.)

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, RedisResult, Value};

use crate::store::keys::Keys;

/// The rule for the prefix `bangui`.
pub const RULE: &str = include_str!("user.acl");

/// What else the user needs on a Redis Cluster. These commands come before all others there, so a missing right is reported at
/// once too.
pub const CLUSTER_RIGHTS: [&str; 2] = ["+cluster|nodes", "+cluster|slots"];

/// Each command in its shortest valid form: `K` is a key, `C` a channel, anything else is literal.
const FORMS: &[&str] = &[
    "del K",
    "evalsha 0 0",
    "exists K",
    "expire K 0",
    "get K",
    "getrange K 0 0",
    "hdel K 0",
    "hget K 0",
    "hgetall K",
    "hincrby K 0 0",
    "hkeys K",
    "hlen K",
    "hmget K 0",
    "hset K 0 0",
    "hsetnx K 0 0",
    "incr K",
    "info",
    "lindex K 0",
    "lrem K 0 0",
    "mget K",
    "persist K",
    "pexpire K 0",
    "pexpireat K 0",
    "pttl K",
    "publish C 0",
    "pubsub numsub",
    "rename K K",
    "rpush K 0",
    "sadd K 0",
    "script load 0",
    "set K 0",
    "setrange K 0 0",
    "sismember K 0",
    "smembers K",
    "spop K",
    "srandmember K",
    "srem K 0",
    "sscan K 0",
    "subscribe C",
    "time",
    "unlink K",
    "wait 0 0",
    "xadd K * 0 0",
    "xrange K - +",
    "xread streams K 0",
    "xrevrange K + -",
    "zadd K 0 0",
    "zcard K",
    "zrange K 0 0",
    "zrangebylex K - +",
    "zrem K 0",
    "zremrangebyrank K 0 0",
];

/// A command that is tried, and the rights it needs.
struct Attempt {
    command: Cmd,
    right: String,
    /// The right to its key or channel.
    object: String,
}

/// The rights that are missing, as `ACL SETUSER` takes them. If there are any, the connection must not be used any more: it may
/// still be inside a transaction.
pub(in crate::store) async fn missing(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<Vec<String>, RedisError> {
    // First these alone: without the right to MULTI, what follows would be run.
    let missing = denied(connection, vec![attempt("multi", "", ""), attempt("exec", "", "")]).await?;
    if !missing.is_empty() {
        return Ok(missing);
    }
    let [tagged, spread] = keys.patterns();
    let few = ["get K", "set K 0", "publish C 0", "subscribe C"];
    let all = std::iter::once(attempt("multi", "", ""))
        .chain(FORMS.iter().map(|form| attempt(form, &tagged, &keys.wake())))
        .chain(few.iter().map(|form| attempt(form, &spread, &keys.revoked())))
        .chain(std::iter::once(attempt("subscribe C", "", &keys.leaders())))
        .chain(std::iter::once(attempt("discard", "", "")))
        .collect();
    denied(connection, all).await
}

fn attempt(form: &str, key: &str, channel: &str) -> Attempt {
    let mut words = form.split(' ');
    let name = words.next().unwrap_or_default();
    let mut attempt = Attempt { command: redis::cmd(name), right: format!("+{name}"), object: String::new() };
    for word in words {
        let word = match word {
            "K" => {
                attempt.object = format!("~{key}");
                key
            }
            "C" => {
                attempt.object = format!("&{channel}");
                channel
            }
            other => other,
        };
        if matches!((name, word), ("script", "load") | ("pubsub", "numsub")) {
            attempt.right = format!("+{name}|{word}");
        }
        attempt.command.arg(word);
    }
    attempt
}

/// Sends them; returns each right that was missing for one of them, once.
async fn denied(
    connection: &mut MultiplexedConnection,
    attempts: Vec<Attempt>,
) -> Result<Vec<String>, RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.ignore_errors();
    for attempt in &attempts {
        pipeline.add_command(attempt.command.clone());
    }
    let answers: Vec<RedisResult<Value>> = pipeline.query_async(connection).await?;
    let mut missing = Vec::new();
    for (attempt, answer) in attempts.into_iter().zip(answers) {
        // Any other error (a full Redis, a replica) says nothing about rights.
        let Err(error) = answer else { continue };
        // The second is what EXEC makes of the first.
        if !matches!(error.code(), Some("NOPERM" | "EXECABORT")) {
            continue;
        }
        let of_command = error.detail().is_some_and(|words| words.contains(" to run "));
        let right = if of_command { attempt.right } else { attempt.object };
        if !missing.contains(&right) {
            missing.push(right);
        }
    }
    Ok(missing)
}
