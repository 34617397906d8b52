//! How many files and connections this process may have open.
//!
//! A leader keeps a connection to each agent, a worker one to each client; systems start with a soft limit of 1,024 for the
//! sake of programs that use `select(2)`. bangui does not use it, so a worker raises the soft limit to the hard one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and logs a warning if that is still below `wanted`.
pub fn raise(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(error = %error, "failed to raise the open file limit");
    }
    // `None` means unlimited.
    let Rlimit { current: allowed, .. } = getrlimit(Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    tracing::info!(files.before = shown(current), "open file limit: {}", shown(allowed));
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::warn!(
            files.allowed = allowed,
            files.wanted = wanted,
            "the open file limit is {allowed}, but up to {wanted} may be needed: raise the hard limit (`ulimit -Hn`, \
             LimitNOFILE= of systemd), or connections will be refused"
        );
    }
}
