//! Every key in Redis.
//!
//! Most of them share the hash tag `{PREFIX}`, so that one script can compare the lease and write the state, or end a session and
//! remove it from the index, on a Redis Cluster too. A key that no script combines with these (login limits, idempotency keys)
//! spreads over slots instead, by account or by site: an address and the site around it are still one atomic step. On a Redis
//! Cluster these have the tag too, since bangui talks to the owner of one slot only.
//!
//! | key after `{PREFIX}:`    | type    | lives                  | written by                  | read by |
//! |--------------------------|---------|------------------------|-----------------------------|---------|
//! | `layout`                 | string  | permanent              | first worker                | every start |
//! | `primary`                | string  | never there            | nobody                      | checks that writes are accepted |
//! | `account:USER`           | hash    | until it is deleted    | setup, invitation, first login with the provider, password and users' changes | login |
//! | `accounts`               | zset    | permanent              | invitation, first login with the provider, users' changes | list of users |
//! | `admins`                 | set     | permanent              | the same                    | users' changes |
//! | `generation:ID`          | string  | as its account         | revoke all, password and users' changes | every session check |
//! | `token-generation:ID`    | string  | as its account         | users' changes              | every check of a token for programs |
//! | `invitation:SHA256`      | hash    | a day, until it is used | admins                     | the invited |
//! | `invitations`            | set     | pruned at each invitation | admins                   | list of invitations |
//! | `setup-code`             | string  | a day, or until setup  | first worker                | workers, setup |
//! | `session:SHA256`         | string  | min(idle, absolute)    | login, touch, logout        | every session check |
//! | `api-token:SHA256`       | string  | at most a year         | users, hourly touch         | every check of it |
//! | `api-tokens:USER`        | set     | pruned at each new one | users                       | list of tokens |
//! | `confirmed:SHA256`       | string  | 5 min, not longer than the session | confirmation               | sensitive changes |
//! | `sessions:USER`          | set     | pruned at each login   | login, logout               | list of sessions |
//! | `provider-account:PAIR`  | string  | as its account         | first login with the provider | login with the provider |
//! | `provider-sessions:sid:PAIR`, `:sub:PAIR` | set | longest session        | login with the provider     | logout at the provider |
//! | `provider-logout:sid:PAIR`, `:sub:PAIR` | string | 30 min   | logout at the provider      | login with the provider |
//! | `provider-logout-token:PAIR` | string | 10 min             | logout at the provider      | the same |
//! | `user-agent:DIGEST`      | string  | longest session        | login                       | list of sessions |
//! | `once:KIND:SHA256`       | string  | 10 min at most, until it is used | steps of logins and ceremonies | the next step |
//! | `passkey:SHA256`         | string  | until it is removed    | users                       | logins with a passkey alone |
//! | `message:SHA256:ID`      | string  | 10 min                 | forms of pages              | the page that comes next |
//! | `server:NAME`            | hash    | permanent              | scheduler, users' changes   | servers |
//! | `hours:NAME`             | hash    | 25 h after a probe     | scheduler                   | scheduler, servers, jails |
//! | `detecting:NAME`         | string  | 5 s                    | detection                   | detection |
//! | `bans:SERVER/JAIL`       | zset    | until the next list, or the jail is gone | scheduler                   | pages of bans |
//! | `bans-known:SERVER/JAIL` | hash    | until the jail is gone | scheduler                   | scheduler, pages of bans |
//! | `ban-notes:SERVER/JAIL`  | set     | until the next list, 10 min | users, ban jobs         | scheduler |
//! | `ban-lists`              | set     | permanent              | scheduler                   | scheduler |
//! | `bans:SERVER/JAIL/EPOCH` | zset    | 5 min, until it is put in place | scheduler          | nobody |
//! | `discovered`             | hash    | permanent              | scheduler                   | every worker |
//! | `findings`               | hash    | 30 days after the last look, 5,000 | diagnosis, scheduler | diagnosis |
//! | `refused-logins:HOUR`    | string  | 3 h                    | login                       | diagnosis |
//! | `ban-jobs`               | zset    | the last 1,000         | users                       | list of ban jobs |
//! | `ban-jobs-open`          | zset    | permanent              | users, ban jobs             | workers that look for work |
//! | `ban-jobs-line:SERVER/JAIL` | list | until it is empty      | users, ban jobs             | ban jobs |
//! | `ban-job:ID`             | hash    | a day after its end    | users, ban jobs             | ban jobs, pages |
//! | `ban-job:ID:ips`         | string  | until its end          | users                       | ban jobs |
//! | `ban-job:ID:failures`    | hash    | a day after its end    | ban jobs                    | pages |
//! | `jail-change:ID`         | hash    | a day                  | the worker that waits for its end | whoever asks for it |
//! | `changing:SERVER`      | hash    | an hour after the last | the worker that waits for a change | pages of servers and jails |
//! | `refused:SERVER`       | hash    | 30 days after the last | the worker that waits for a change | pages of servers and jails |
//! | `undo:ID`              | hash    | 10 min                 | whoever changed something   | undo, activity |
//! | `undo:ID:ips`          | string  | 10 min after its job   | ban jobs                    | undo |
//! | `undos`                | zset    | 10 min, the last 1,000 | whoever changed something   | activity |
//! | `probe-requests`         | set     | until taken            | users                       | scheduler |
//! | `events`                 | stream  | the last 10,000        | with every state write      | event stream |
//! | `settings`               | hash    | permanent              | users                       | every worker |
//! | `audit-TRAIL`            | stream  | `BANGUI_AUDIT_DAYS`, 16 MiB | every change and refusal | audit page, `audit verify` |
//! | `audit-chain-TRAIL`      | hash    | permanent              | with every entry            | the next entry, `audit verify` |
//! | `audit`                  | stream  | the last 10,000        | version 0.2                 | audit page |
//! | `lease`                  | string  | lease TTL              | scheduler                   | fenced scripts |
//! | `epoch`                  | string  | permanent              | scheduler                   | scheduler |
//! | `watcher`                | string  | 3 s                    | the waiting worker that watches the leader | waiting workers |
//! | `job:NAME`               | hash    | permanent              | scheduler                   | scheduler, cluster page |
//! | `workers`                | hash    | pruned by a job        | each worker's heartbeat     | cluster page |
//! | `holders`                | hash    | permanent              | near caches, revocations    | the same, cluster page |
//!
//! | key that spreads                       | type   | lives              | written by   | read by |
//! |----------------------------------------|--------|--------------------|--------------|---------|
//! | `PREFIX:attempts:{SITE}`               | string | until full again   | every login  | every login |
//! | `PREFIX:attempts:{SITE}:ADDRESS`       | string | until full again   | every login  | every login |
//! | `PREFIX:failures:{ACCOUNT}`            | string | until full again   | failed login | every login |
//! | `PREFIX:emptied:{ACCOUNT}`             | string | until some are back | failed login | every login |
//! | `PREFIX:failed:{ACCOUNT}:ADDRESS`      | string | an hour at most    | failed login | every login |
//! | `PREFIX:known:{ACCOUNT}:ADDRESS`       | string | 30 days            | login        | every login |
//! | `PREFIX:idempotent:{REQUEST}`          | hash   | a day              | changes with a key | the same |
//!
//! On a Redis Cluster, `{PREFIX}` takes the place of `PREFIX`. `ADDRESS` is an IPv4 address or an IPv6 /64, `SITE` the IPv6 /48
//! around it or the same IPv4 address, `ACCOUNT` a digest of the name that was typed: people type passwords there by mistake.
//! `PAIR` is a digest of a provider's issuer with a subject, the id of a session, or that of a token there.
//! `REQUEST` is a digest of the user and the key. `ID` is the short id of an account, `admin` for the admin.
//!
//! `PREFIX:wake` is a pub/sub channel: `released`, `probe`, `settings`, `servers`, `ban-job`. `PREFIX:revoked` notifies near
//! caches of revocations: `INCARNATION|PREVIOUS|NUMBER|ID`, with `all:ACCOUNT` or `none` for the id. `PREFIX:leader:OWNER|EPOCH` carries no
//! messages: the leader subscribes to the one of its term, and the watcher counts the subscriptions.
//!
//! A new key goes into this table and into `keys_tests.rs`.

mod of_accounts;
mod of_limits;

use super::slot::slot;
use super::{SessionId, Trail};
use crate::config::RedisConfig;
use crate::domain::undo::UndoId;
use crate::domain::{BanJobId, JailChangeId, JailName, ServerName};

/// Builds keys under one prefix.
#[derive(Debug, Clone)]
pub struct Keys {
    tag: String,
    spread: String,
    channel: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let plain = format!("{prefix}:");
        Self { tag: format!("{{{prefix}}}:"), spread: plain.clone(), channel: plain }
    }

    /// The same for a Redis Cluster: all in one slot.
    pub(super) fn in_one_slot(prefix: &str) -> Self {
        let keys = Self::new(prefix);
        Self { spread: keys.tag.clone(), ..keys }
    }

    pub(super) fn of(config: &RedisConfig) -> Self {
        if config.is_cluster() { Self::in_one_slot(&config.prefix) } else { Self::new(&config.prefix) }
    }

    /// Whether no key spreads.
    pub(super) fn are_in_one_slot(&self) -> bool {
        self.spread == self.tag
    }

    /// The slot of a Redis Cluster that the keys with the tag lie in.
    pub(super) fn slot(&self) -> u16 {
        slot(self.primary().as_bytes())
    }

    fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.tag)
    }

    /// The patterns that all keys match, as the ACL rule has them.
    pub(super) fn patterns(&self) -> [String; 2] {
        [format!("{}*", self.tag), format!("{}*", self.spread)]
    }

    pub(super) fn layout(&self) -> String {
        self.key("layout")
    }

    /// Never there: `SET ... XX` changes nothing, and is refused where a write would be.
    pub(super) fn primary(&self) -> String {
        self.key("primary")
    }

    pub(super) fn setup_code(&self) -> String {
        self.key("setup-code")
    }

    pub(super) fn user_agent(&self, digest: u64) -> String {
        self.key(&format!("user-agent:{digest:016x}"))
    }

    pub(super) fn server(&self, name: &ServerName) -> String {
        self.key(&format!("server:{name}"))
    }

    /// Bans and failures per hour.
    pub(super) fn hours(&self, name: &ServerName) -> String {
        self.key(&format!("hours:{name}"))
    }

    pub(super) fn detecting(&self, name: &ServerName) -> String {
        self.key(&format!("detecting:{name}"))
    }

    /// The list of a jail's bans.
    pub(super) fn bans(&self, server: &ServerName, jail: &JailName) -> String {
        self.key(&format!("bans:{}", place(server, jail)))
    }

    pub(super) fn bans_beside(&self, server: &ServerName, jail: &JailName, epoch: u64) -> String {
        self.key(&format!("bans:{}/{epoch}", place(server, jail)))
    }

    pub(super) fn bans_known(&self, server: &ServerName, jail: &JailName) -> String {
        self.key(&format!("bans-known:{}", place(server, jail)))
    }

    /// The outcome of a form that this session posted.
    pub(super) fn message(&self, session: &SessionId, id: &str) -> String {
        self.key(&format!("message:{session}:{id}"))
    }

    /// What was banned and unbanned through bangui since the list was read.
    pub(super) fn ban_notes(&self, server: &ServerName, jail: &JailName) -> String {
        self.key(&format!("ban-notes:{}", place(server, jail)))
    }

    pub(super) fn discovered(&self) -> String {
        self.key("discovered")
    }

    /// Since when each finding has been seen.
    pub(super) fn findings(&self) -> String {
        self.key("findings")
    }

    /// How many attempts at a password were refused in an hour since 1970.
    pub(super) fn refused_logins(&self, hour: i64) -> String {
        self.key(&format!("refused-logins:{hour}"))
    }

    /// The names of all lists of bans.
    pub(super) fn ban_lists(&self) -> String {
        self.key("ban-lists")
    }

    pub(super) fn ban_jobs(&self) -> String {
        self.key("ban-jobs")
    }

    pub(super) fn ban_jobs_open(&self) -> String {
        self.key("ban-jobs-open")
    }

    /// The open jobs of a jail, in order.
    pub(super) fn ban_jobs_line(&self, server: &ServerName, jail: &JailName) -> String {
        self.key(&format!("ban-jobs-line:{}", place(server, jail)))
    }

    pub(super) fn ban_job(&self, id: &BanJobId) -> String {
        self.key(&format!("ban-job:{id}"))
    }

    pub(super) fn ban_job_ips(&self, id: &BanJobId) -> String {
        self.key(&format!("ban-job:{id}:ips"))
    }

    pub(super) fn ban_job_failures(&self, id: &BanJobId) -> String {
        self.key(&format!("ban-job:{id}:failures"))
    }

    pub(super) fn jail_change(&self, id: &JailChangeId) -> String {
        self.key(&format!("jail-change:{id}"))
    }

    /// The changes of jails that are running on a server.
    pub(super) fn changing(&self, server: &ServerName) -> String {
        self.key(&format!("changing:{server}"))
    }

    /// The latest refused change of each jail of a server.
    pub(super) fn refused(&self, server: &ServerName) -> String {
        self.key(&format!("refused:{server}"))
    }

    /// What can be undone.
    pub(super) fn undo(&self, id: &UndoId) -> String {
        self.key(&format!("undo:{id}"))
    }

    /// The addresses of what can be undone, where they are many.
    pub(super) fn undo_ips(&self, id: &UndoId) -> String {
        self.key(&format!("undo:{id}:ips"))
    }

    /// All that can be undone, by the entries of the audit.
    pub(super) fn undos(&self) -> String {
        self.key("undos")
    }

    pub(super) fn probe_requests(&self) -> String {
        self.key("probe-requests")
    }

    pub(super) fn events(&self) -> String {
        self.key("events")
    }

    pub(super) fn settings(&self) -> String {
        self.key("settings")
    }

    /// The entries of a trail.
    pub(super) fn audit(&self, trail: Trail) -> String {
        match trail {
            Trail::Earlier => self.key("audit"),
            chained => self.key(&format!("audit-{}", chained.as_str())),
        }
    }

    /// What is known about a trail besides its entries.
    pub(super) fn audit_chain(&self, trail: Trail) -> String {
        self.key(&format!("audit-chain-{}", trail.as_str()))
    }

    pub(super) fn lease(&self) -> String {
        self.key("lease")
    }

    pub(super) fn epoch(&self) -> String {
        self.key("epoch")
    }

    /// Which of the waiting workers watches the leader.
    pub(super) fn watcher(&self) -> String {
        self.key("watcher")
    }

    pub(super) fn job(&self, name: &str) -> String {
        self.key(&format!("job:{name}"))
    }

    pub(super) fn workers(&self) -> String {
        self.key("workers")
    }

    /// Which near caches a revocation waits for, each with the number of the latest revocation it has confirmed; and the latest
    /// number, and the incarnation of Redis. They share a key, so that Redis loses all of them or none.
    pub(super) fn holders(&self) -> String {
        self.key("holders")
    }

    /// The channel that notifies near caches of revocations.
    pub(super) fn revoked(&self) -> String {
        format!("{}revoked", self.channel)
    }

    /// The channel that wakes workers.
    pub(super) fn wake(&self) -> String {
        format!("{}wake", self.channel)
    }

    /// The channel to which the leader of a term subscribes, `term` being what the lease holds.
    pub(super) fn leader(&self, term: &str) -> String {
        format!("{}leader:{term}", self.channel)
    }

    /// The pattern that the channels of all terms match, as the ACL rule has it.
    pub(super) fn leaders(&self) -> String {
        self.leader("*")
    }
}

/// A jail as part of a key: an unescaped `/` within its name could make it the key of another list.
fn place(server: &ServerName, jail: &JailName) -> String {
    format!("{server}/{}", jail.as_str().replace('%', "%25").replace('/', "%2F"))
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
