//! Is this Redis the primary, and does it take writes? Asked by a write that changes nothing: `SET ... XX` on a key that never
//! exists.
//!
//! Only a write reveals all of it. A replica answers `READONLY`; a primary that hands over (`FAILOVER`) still calls itself the
//! primary, and delays the write until it is a replica, although the other one may have taken over already. `ROLE` would miss
//! that. And every user and every managed service is allowed `SET`.
//!
//! A session check sends it before its read, in the same round trip ([`read`]): a request that began after a logout was
//! answered elsewhere is never answered by a Redis that had handed over before. Where writes are refused for another reason
//! (`MISCONF`, `NOREPLICAS`, a full memory) reads continue, and `INFO` reports the role at the price of a second round trip.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value};

use crate::store::StoreError;
use crate::store::error::{in_script, refuses_writes};
use crate::store::keys::Keys;

/// The role of a Redis, and whether it takes writes.
#[derive(Debug, Clone)]
pub(in crate::store) enum Standing {
    /// It is the primary and takes writes.
    Primary,
    /// It is the primary, and refuses writes for this reason.
    Refusing(StoreError),
    /// It is a replica.
    Replica,
}

/// Whether this error says that Redis is a replica.
pub(in crate::store) fn is_replica(error: &RedisError) -> bool {
    error.code() == Some("READONLY") || in_script(error).is_some_and(|words| words.contains("READONLY"))
}

/// Whether this error says that a node of a Redis Cluster does not serve these keys: the slot belongs to another node, or it has
/// lost contact with the cluster.
pub(in crate::store) fn is_not_served(error: &RedisError) -> bool {
    matches!(error.code(), Some("MOVED" | "CLUSTERDOWN"))
}

/// Whether this error says that the slot of these keys is being moved to another node: nothing was done, and as long as the keys
/// are spread over both nodes, nothing that needs more than one of them can be.
pub(in crate::store) fn is_on_its_way(error: &RedisError) -> bool {
    matches!(error.code(), Some("ASK" | "TRYAGAIN"))
}

/// A write that changes nothing.
pub(in crate::store) fn question(keys: &Keys) -> Cmd {
    redis::cmd("SET").arg(keys.primary()).arg("").arg("XX").to_owned()
}

/// Asks, and reads in the same round trip. What was read from a replica must not be used.
pub(in crate::store) async fn read<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    command: &Cmd,
) -> Result<(Standing, T), RedisError> {
    let mut both = redis::pipe();
    both.ignore_errors().add_command(question(keys)).add_command(command.clone());
    let (proof, read) = pair(both.query_async(connection).await?)?;
    match proof {
        Ok(_) => Ok((Standing::Primary, redis::from_redis_value(read?)?)),
        // The role is what matters: that the read failed may be a consequence.
        Err(error) if is_replica(&error) => Err(error),
        Err(error) => {
            let Some(reason) = refuses_writes(&error) else { return Err(error) };
            let mut both = redis::pipe();
            both.cmd("INFO").arg("replication").add_command(command.clone());
            let (info, read): (String, Value) = both.query_async(connection).await?;
            let standing =
                if names_a_replica(&info) { Standing::Replica } else { Standing::Refusing(reason) };
            Ok((standing, redis::from_redis_value(read)?))
        }
    }
}

/// Asks for the role in `INFO` as well: a replica may be configured to take writes.
pub(in crate::store) async fn ask(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<Standing, RedisError> {
    let mut both = redis::pipe();
    both.ignore_errors().add_command(question(keys)).cmd("INFO").arg("replication");
    let (proof, info) = pair(both.query_async(connection).await?)?;
    let info: String = redis::from_redis_value(info?)?;
    match proof {
        _ if names_a_replica(&info) => Ok(Standing::Replica),
        Ok(_) => Ok(Standing::Primary),
        Err(error) if is_replica(&error) => Ok(Standing::Replica),
        Err(error) => refuses_writes(&error).map(Standing::Refusing).ok_or(error),
    }
}

fn names_a_replica(info: &str) -> bool {
    info.lines().any(|line| line.trim_end() == "role:slave")
}

type Pair = (RedisResult<Value>, RedisResult<Value>);

fn pair(answers: Vec<RedisResult<Value>>) -> Result<Pair, RedisError> {
    let mut answers = answers.into_iter();
    match (answers.next(), answers.next()) {
        (Some(first), Some(second)) => Ok((first, second)),
        _ => Err((redis::ErrorKind::UnexpectedReturnType, "a pipeline of two has fewer answers").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn what_a_node_of_a_cluster_says_of_the_slot_is_understood() {
        for (line, not_served, on_its_way) in [
            ("MOVED 3999 127.0.0.1:6381", true, false),
            ("CLUSTERDOWN The cluster is down", true, false),
            ("ASK 3999 127.0.0.1:6381", false, true),
            ("TRYAGAIN Multiple keys request during rehashing of slot", false, true),
            ("READONLY You can't write against a read only replica.", false, false),
            ("CROSSSLOT Keys in request don't hash to the same slot", false, false),
            (
                "ERR Script attempted to access a non local key in a cluster node script: 1, on @user_script:1.",
                false,
                false,
            ),
        ] {
            let error = error(line);
            assert_eq!((is_not_served(&error), is_on_its_way(&error)), (not_served, on_its_way), "{line}");
            let known = !line.starts_with("CROSSSLOT");
            let unavailable = matches!(StoreError::from(error), StoreError::Unavailable { .. });
            assert!(unavailable || !known, "{line} is not said to be corrupt data");
        }
    }
}
