//! Every key in Redis.
//!
//! All of them share the hash tag `{PREFIX}`, so that one script can compare the lease and write the state, or
//! end a session and its place in the index, in a cluster too. A key that no script combines with another
//! (login limits) spreads instead.
//!
//! | key after `{PREFIX}:`    | type    | lives                  | written by                  | read by |
//! |--------------------------|---------|------------------------|-----------------------------|---------|
//! | `layout`                 | string  | for ever               | first worker                | every start |
//! | `account:USER`           | hash    | for ever               | setup, password change      | login |
//! | `generation:USER`        | string  | for ever               | revoke all, password change | every session check |
//! | `setup-code`             | string  | until setup            | first worker                | workers, setup |
//! | `session:SHA256`         | string  | min(idle, absolute)    | login, touch, logout        | every session check |
//! | `sessions:USER`          | set     | pruned at each login   | login, logout               | list of sessions |
//! | `user-agent:DIGEST`      | string  | longest session        | login                       | list of sessions |
//! | `server:NAME`            | hash    | for ever               | scheduler, users' changes   | servers |
//! | `detecting:NAME`         | string  | 5 s                    | detection                   | detection |
//! | `probe-requests`         | set     | until taken            | users                       | scheduler |
//! | `events`                 | stream  | the last 10,000        | with every state write      | event stream |
//! | `lease`                  | string  | lease TTL              | scheduler                   | fenced scripts |
//! | `epoch`                  | string  | for ever               | scheduler                   | scheduler |
//! | `job:NAME`               | hash    | for ever               | scheduler                   | scheduler, cluster page |
//! | `workers`                | hash    | pruned by a job        | each worker's heartbeat     | cluster page |
//!
//! `PREFIX:wake` is a pub/sub channel: `released`, `probe`.
//!
//! A new key goes into this table and into the test below.

use crate::domain::ServerName;

use super::{SessionId, Username};

/// Builds keys under one prefix.
#[derive(Debug, Clone)]
pub struct Keys {
    tag: String,
    wake: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { tag: format!("{{{prefix}}}:"), wake: format!("{prefix}:wake") }
    }

    fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.tag)
    }

    pub(super) fn layout(&self) -> String {
        self.key("layout")
    }

    pub(super) fn account(&self, user: &Username) -> String {
        self.key(&format!("account:{}", user.as_str()))
    }

    pub(super) fn generation(&self, user: &Username) -> String {
        self.key(&format!("generation:{}", user.as_str()))
    }

    pub(super) fn setup_code(&self) -> String {
        self.key("setup-code")
    }

    /// The digest stands in it raw: 32 bytes instead of 43 for each of many sessions.
    pub(super) fn session(&self, id: &SessionId) -> Vec<u8> {
        let mut key = self.key("session:").into_bytes();
        key.extend_from_slice(id.as_bytes());
        key
    }

    pub(super) fn sessions(&self, user: &Username) -> String {
        self.key(&format!("sessions:{}", user.as_str()))
    }

    pub(super) fn user_agent(&self, digest: u64) -> String {
        self.key(&format!("user-agent:{digest:016x}"))
    }

    pub(super) fn server(&self, name: &ServerName) -> String {
        self.key(&format!("server:{name}"))
    }

    pub(super) fn detecting(&self, name: &ServerName) -> String {
        self.key(&format!("detecting:{name}"))
    }

    pub(super) fn probe_requests(&self) -> String {
        self.key("probe-requests")
    }

    pub(super) fn events(&self) -> String {
        self.key("events")
    }

    pub(super) fn lease(&self) -> String {
        self.key("lease")
    }

    pub(super) fn epoch(&self) -> String {
        self.key("epoch")
    }

    pub(super) fn job(&self, name: &str) -> String {
        self.key(&format!("job:{name}"))
    }

    pub(super) fn workers(&self) -> String {
        self.key("workers")
    }

    /// The channel that wakes schedulers.
    pub(super) fn wake(&self) -> &str {
        &self.wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SessionToken;

    /// CRC16/XMODEM over the hash tag, modulo 16384: Redis Cluster's slot (cluster specification, "Hash tags").
    fn slot(key: &[u8]) -> u16 {
        let tag = key
            .iter()
            .position(|byte| *byte == b'{')
            .and_then(|open| {
                let close = key[open + 1..].iter().position(|byte| *byte == b'}')?;
                (close > 0).then(|| &key[open + 1..open + 1 + close])
            })
            .unwrap_or(key);
        let crc = tag.iter().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        });
        crc % 16384
    }

    #[test]
    fn the_slot_function_is_the_one_of_the_cluster_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    }

    #[test]
    fn every_key_that_a_script_combines_with_another_lies_in_one_slot() {
        let keys = Keys::new("bangui");
        let name = ServerName::parse("web{x}1".replace(['{', '}'], "").as_str()).unwrap();
        let user = Username::admin();
        let session = SessionToken::fresh().unwrap().id();
        let all: Vec<Vec<u8>> = [
            keys.layout(),
            keys.account(&user),
            keys.generation(&user),
            keys.setup_code(),
            keys.sessions(&user),
            keys.user_agent(7),
            keys.server(&name),
            keys.detecting(&name),
            keys.probe_requests(),
            keys.events(),
            keys.lease(),
            keys.epoch(),
            keys.job("probe"),
            keys.workers(),
        ]
        .into_iter()
        .map(String::into_bytes)
        .chain([keys.session(&session)])
        .collect();
        let expected = slot(b"bangui");
        for key in all {
            assert_eq!(slot(&key), expected, "{}", String::from_utf8_lossy(&key));
        }
    }
}
