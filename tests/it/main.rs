//! Integration tests: the real binary, each role a process of its own, against a real redis-server and a real
//! fail2ban.
//!
//! A test's name is the sentence it proves. Tests share nothing: each has its own Redis, its own folder, its own
//! fail2ban where it needs one, and leaves no process behind (`support::process`), so they run in parallel.
//! They wait for conditions (`support::eventually`), never for time to pass, except where the passing of time is
//! what is tested.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

mod store;
mod support;

mod access_log;
mod agent;
mod agent_bans;
mod agent_faults;
mod agent_jails;
mod agent_programs;
mod agent_tls;
mod audit;
mod audit_chain;
mod bad_input;
mod ban_jobs;
mod ban_lists;
mod ban_times;
mod bans;
mod broken_fail2ban;
mod cluster_view;
mod commands;
mod config_errors;
mod confirmation;
mod cross_site;
mod dashboard;
mod deployment;
mod detection;
mod diagnosis;
mod discovery;
mod docs;
mod documents;
mod dropin;
mod epochs;
mod events;
mod hang_ups;
mod host_changes;
mod host_down;
mod host_files;
mod hours;
mod idempotency;
mod interface;
mod jail_faults;
mod jail_names;
mod jails;
mod keys;
mod layers;
mod limits;
mod load;
mod look_up;
mod metrics;
mod near_cache;
mod near_cache_rounds;
mod near_cache_scripts;
mod newer_items;
mod newer_states;
mod one_redis;
mod pages;
mod pages_bad_input;
mod pages_confirm;
mod pages_policy;
mod parts;
mod passwords;
mod primary_proof;
mod proxies;
mod redis_acl;
mod redis_away;
mod redis_fails;
mod redis_refuses_writes;
mod redis_tls;
mod renewal;
mod schedule;
mod scheduler;
mod sentinel;
mod sentinel_trust;
mod servers;
mod session_cost;
mod sessions;
mod settings;
mod settings_order;
mod setup;
mod shutdown;
mod slow_unbans;
mod start_up;
mod stock_jails;
mod sweep;
mod switches;
mod trust;
mod unconfirmed;
mod up;
mod weak_passwords;
