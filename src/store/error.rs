//! What can go wrong with Redis. *Unavailable is not absent*: an absent thing is `Ok(None)`, never an error.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::cause::Cause;

/// What every verb of the store returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Redis did not answer, or cannot at the moment: try again soon. 503 to users.
    #[error("Redis is unavailable: {reason}")]
    Unavailable {
        /// Why, for the operator.
        reason: String,
        /// The error below.
        #[source]
        cause: Option<Cause>,
    },
    /// Redis has reached its `maxmemory` and refuses writes; reads continue. 503 to users.
    #[error("Redis is full (OOM)")]
    Full {
        /// In Redis's words.
        #[source]
        cause: Cause,
    },
    /// Redis refuses writes for another reason; reads continue. 503 to users.
    #[error("Redis refuses writes ({code})")]
    WritesRefused {
        /// `MISCONF`, `NOREPLICAS`.
        code: &'static str,
        /// In Redis's words.
        #[source]
        cause: Cause,
    },
    /// Done on the primary, and not confirmed by as many replicas as were asked for: a failover may undo it. 503.
    #[error("{confirmed} of {wanted} replicas confirmed")]
    Unconfirmed {
        /// How many did in time.
        confirmed: u64,
        /// `BANGUI_REDIS_MIN_REPLICAS`.
        wanted: u16,
    },
    /// Another write came between; the step may be retried.
    #[error("conflict: another write came first")]
    Conflict,
    /// The lease is lost: a scheduled write was refused.
    #[error("the write was refused: this worker is no longer the leader")]
    Fenced,
    /// Stored data cannot be decoded by this version: a bug, or another program wrote it. 500 to users.
    #[error("failed to decode stored data: {reason}")]
    Corrupt {
        /// Which data, and what is wrong with it.
        reason: String,
        /// The error below.
        #[source]
        cause: Option<Cause>,
    },
}

impl StoreError {
    /// Redis cannot answer, for a reason that has no underlying error.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), cause: None }
    }

    /// Stored data cannot be decoded by this version.
    pub fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt { reason: reason.into(), cause: None }
    }

    /// Whether Redis refuses writes, and answers reads.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::WritesRefused { .. })
    }

    /// Adds the error that caused it.
    #[must_use]
    pub fn because(mut self, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        if let Self::Unavailable { cause, .. } | Self::Corrupt { cause, .. } = &mut self {
            *cause = Some(Cause::of(error));
        }
        self
    }
}

/// Error codes of Redis about its own state, as they appear in the error of a script on Redis 6.2, which wraps them.
const REDIS_CANNOT: [&str; 3] = ["READONLY", "LOADING", "MASTERDOWN"];
/// The codes with which Redis refuses a write because its last snapshot or append failed, or because it has too few replicas.
const REFUSES_WRITES: [&str; 2] = ["MISCONF", "NOREPLICAS"];

/// Why Redis refuses to write, if this error is such a refusal.
pub(super) fn refuses_writes(error: &RedisError) -> Option<StoreError> {
    let words = error.to_string();
    // By its text, since a script of Redis 6.2 and a pipeline wrap the error and hide its code.
    if words.contains("command not allowed when used memory") {
        return Some(StoreError::Full { cause: Cause::of(error.clone()) });
    }
    let code = *REFUSES_WRITES.iter().find(|word| words.contains(**word))?;
    Some(StoreError::WritesRefused { code, cause: Cause::of(error.clone()) })
}

/// The text that Redis 6.2 makes of an error within a script; Redis 7 passes the error on as it is.
pub(super) fn in_script(error: &RedisError) -> Option<&str> {
    error.detail().filter(|words| words.contains("rror running script"))
}

impl From<RedisError> for StoreError {
    /// A refusal by one of our scripts, data of the wrong shape, a refused write; or else Redis is unavailable, which includes every
    /// answer about its own state (LOADING, READONLY, NOAUTH ...).
    fn from(error: RedisError) -> Self {
        if let Some(refused) = refuses_writes(&error) {
            return refused;
        }
        match (error.kind(), error.code()) {
            (_, Some("FENCED")) => Self::Fenced,
            (_, Some("CONFLICT")) => Self::Conflict,
            (_, Some("MOVED")) => Self::unavailable(format!(
                "the slot of bangui's keys is at another node of the Redis Cluster, and is followed there if BANGUI_REDIS_URL \
                 begins with redis+cluster:// ({error})"
            ))
            .because(error),
            (_, Some("ASK" | "TRYAGAIN")) => Self::unavailable(format!(
                "the slot of bangui's keys is being moved to another node of the Redis Cluster ({error})"
            ))
            .because(error),
            // From a script while the slot is being moved: a key that the script still needs has just gone.
            _ if error.to_string().contains("access a non local key") => {
                Self::unavailable(error.to_string()).because(error)
            }
            _ if in_script(&error)
                .is_some_and(|words| REDIS_CANNOT.iter().any(|word| words.contains(word))) =>
            {
                Self::unavailable(error.to_string()).because(error)
            }
            (ErrorKind::UnexpectedReturnType | ErrorKind::Parse, _) | (_, Some("WRONGTYPE")) => {
                Self::corrupt(error.to_string()).because(error)
            }
            (ErrorKind::Server(ServerErrorKind::ResponseError), code)
                if code == Some("ERR") || code.is_none() =>
            {
                Self::corrupt(error.to_string()).because(error)
            }
            (_, Some("NOPERM")) => Self::unavailable(format!(
                "the user of BANGUI_REDIS_URL lacks a right, see docs/redis.md for the rule: {error}"
            ))
            .because(error),
            _ if error.is_io_error() && !error.is_timeout() => {
                Self::unavailable(plain(error.to_string())).because(error)
            }
            _ if error.is_timeout() => Self::unavailable("it did not answer in time").because(error),
            _ => Self::unavailable(error.to_string()).because(error),
        }
    }
}

/// Why a TLS connection failed, in words that say what to do.
fn plain(words: String) -> String {
    let remedy = if words.contains("UnknownIssuer") || words.contains("BadSignature") {
        "its certificate is signed by no CA that is trusted here: BANGUI_REDIS_CA must name the file of the CA that signed it"
    } else if words.contains("NotValidForName") || words.contains("not valid for name") {
        "its certificate is for other names than the host in BANGUI_REDIS_URL"
    } else if words.contains("InvalidContentType") {
        "it does not speak TLS on that port: BANGUI_REDIS_URL must begin with redis://, or name the other port"
    } else {
        return words;
    };
    format!("{remedy} ({words})")
}

impl From<rmp_serde::decode::Error> for StoreError {
    fn from(error: rmp_serde::decode::Error) -> Self {
        Self::corrupt(error.to_string()).because(error)
    }
}

impl From<rmp_serde::encode::Error> for StoreError {
    fn from(error: rmp_serde::encode::Error) -> Self {
        Self::corrupt(format!("failed to encode a value: {error}")).because(error)
    }
}
