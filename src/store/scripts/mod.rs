//! The atomic steps, each a `.lua` file that opens with what it does, KEYS, ARGV and Returns.
//!
//! They are addressed by hash (EVALSHA), so that two versions of bangui can run different ones on one Redis,
//! and loaded at every connect. A new script goes into the folder and into the list below: one that writes an audit entry into the
//! `audited` part, whose scripts begin with the functions of `shared/audit.lua`, any other into the `plain` part.

use std::sync::LazyLock;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation, ToRedisArgs};

/// A script with the name it has in the metrics.
pub(super) struct Named {
    name: &'static str,
    script: Script,
}

macro_rules! scripts {
    (@source audited $name:literal) => {
        concat!(include_str!("shared/audit.lua"), include_str!(concat!($name, ".lua")))
    };
    (@source plain $name:literal) => {
        include_str!(concat!($name, ".lua"))
    };
    ($($kind:ident { $($constant:ident = $name:literal),* $(,)? })*) => {
        $($(pub(super) static $constant: LazyLock<Named> = LazyLock::new(|| Named {
            name: $name,
            script: Script::new(scripts!(@source $kind $name)),
        });)*)*

        /// Sends all of them to Redis, so that EVALSHA finds them.
        pub(super) async fn load_all(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
            let mut pipeline = redis::pipe();
            $($(pipeline.cmd("SCRIPT").arg("LOAD").arg(scripts!(@source $kind $name));)*)*
            pipeline.exec_async(connection).await
        }

        #[cfg(test)]
        const SOURCES: &[(&str, &str)] = &[$($(($name, include_str!(concat!($name, ".lua")))),*),*];
    };
}

scripts! {
    plain {
        ACCOUNT_CONFIRM = "account_confirm",
        ACCOUNT_LIMIT = "account_limit",
        BANS_FORGET = "bans_forget",
        BANS_WRITE = "bans_write",
        BAN_JOB_CLAIM = "ban_job_claim",
        BAN_JOB_PUT_BACK = "ban_job_put_back",
        BAN_JOB_RENEW = "ban_job_renew",
        CACHE_BEHIND = "cache_behind",
        CACHE_JOIN = "cache_join",
        CACHE_RENEW = "cache_renew",
        CACHE_SETTLE = "cache_settle",
        CHANGE_END = "change_end",
        CHANGE_NOTE = "change_note",
        CONFLICTS_WRITE = "conflicts_write",
        DISCOVERED_WRITE = "discovered_write",
        FACTOR_USE = "factor_use",
        FINDINGS_NOTE = "findings_note",
        IDEMPOTENCY_BEGIN = "idempotency_begin",
        IDEMPOTENCY_END = "idempotency_end",
        IDEMPOTENCY_HOLD = "idempotency_hold",
        JAIL_CHANGE_BEGIN = "jail_change_begin",
        JAIL_CHANGE_END = "jail_change_end",
        JAIL_CHANGE_HOLD = "jail_change_hold",
        JOB_BEGIN = "job_begin",
        JOB_END = "job_end",
        LEASE_ACQUIRE = "lease_acquire",
        LEASE_RELEASE = "lease_release",
        LEASE_RENEW = "lease_renew",
        LIMIT_GIVE_BACK = "limit_give_back",
        LIMIT_TAKE = "limit_take",
        LOCK_RELEASE = "lock_release",
        ONCE_TAKE = "once_take",
        PROVIDER_LOGOUT = "provider_logout",
        PROVIDER_SESSION_NOTE = "provider_session_note",
        PASSKEY_USE = "passkey_use",
        PROBE_REQUEST = "probe_request",
        PROBE_REQUESTS_TAKE = "probe_requests_take",
        UNDO_KEEP = "undo_keep",
        UNDO_TAKE = "undo_take",
        WATCHER_CLAIM = "watcher_claim",
        WORKERS_REMOVE = "workers_remove",
        SERVER_WRITE_FENCED = "server_write_fenced",
        SESSION_READ = "session_read",
        SESSION_TOUCH = "session_touch",
        SETUP_CODE = "setup_code",
    }
    audited {
        ACCOUNT_CREATE = "account_create",
        API_TOKEN_CREATE = "api_token_create",
        AUDIT_WRITE = "audit_write",
        BAN_JOB_CANCEL = "ban_job_cancel",
        BAN_JOB_CREATE = "ban_job_create",
        BAN_JOB_END = "ban_job_end",
        FACTOR_CHANGE = "factor_change",
        FACTOR_SET = "factor_set",
        INVITATION_ACCEPT = "invitation_accept",
        INVITATION_CREATE = "invitation_create",
        INVITATION_REVOKE = "invitation_revoke",
        PROVIDER_ACCOUNT_CREATE = "provider_account_create",
        PASSKEYS_CHANGE = "passkeys_change",
        REVOKE = "revoke",
        SERVER_WRITE = "server_write",
        SESSION_BEGIN = "session_begin",
        SESSION_CONFIRM = "session_confirm",
        SETTINGS_WRITE = "settings_write",
    }
}

/// One call of a script, with its keys and arguments.
pub(super) struct Call {
    name: &'static str,
    invocation: ScriptInvocation<'static>,
}

impl Named {
    pub fn call(&'static self) -> Call {
        Call { name: self.name, invocation: self.script.prepare_invoke() }
    }
}

impl Call {
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn key(mut self, key: impl ToRedisArgs) -> Self {
        self.invocation.key(key);
        self
    }

    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.invocation.arg(arg);
        self
    }

    pub async fn invoke<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        self.invocation.invoke_async(connection).await
    }

    /// Appends it to a pipeline. A pipeline does not load a script that Redis has forgotten: see [`load_all`].
    pub fn append_to(&self, pipeline: &mut Pipeline) {
        pipeline.invoke_script(&self.invocation);
    }
}

#[cfg(test)]
mod tests {
    use super::SOURCES;

    #[test]
    fn every_script_opens_with_its_sentence_keys_arguments_and_answer() {
        for (name, source) in SOURCES {
            let header: String = source.lines().take_while(|line| line.starts_with("--")).collect();
            for part in ["KEYS", "ARGV", "Returns"] {
                assert!(header.contains(part), "the header of {name}.lua has no {part}");
            }
        }
    }

    #[test]
    fn every_script_in_the_folder_is_in_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/scripts");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".lua").map(str::to_owned));
        for file in files {
            assert!(SOURCES.iter().any(|(name, _)| *name == file), "{file}.lua is in no list");
        }
    }
}
