//! What an agent may need at most, added up: it stays below the memory limit of `k8s/agents/agent.yaml`, which a test here reads.
//!
//! | what | how much | bounded by |
//! |---|---|---|
//! | the program itself | 16 MiB | measured: 10 MiB idle |
//! | fail2ban's programs, one at a time | 32 MiB | measured: 19 MiB, `fail2ban-client -t` with all jails of the package |
//! | connections | 512 × 200 KiB = 100 MiB | `agent/server/mod.rs`, `net/listener.rs` |
//! | the reply of fail2ban that is being read | 16 MiB, and 8 times that | `fail2ban/codec.rs`, `fail2ban/pickle/limits.rs`; one connection |
//! | the list of bans that is being turned into an answer | 8 × 16 MiB, and 300,000 × 160 bytes | `agent/host/bans.rs`: one at a time |
//! | the answer with that list | 32 MiB | `agent/wire/mod.rs`: workers read no more |
//!
//! A stranger can use up the connections, a hostile fail2ban the rest. Workers, which are authenticated, can ask for more at once.

#[cfg(test)]
mod tests {
    use crate::agent::host::bans::MAX_LINES;
    use crate::agent::server::{CONNECTIONS, MAX_UNREAD_BYTES};
    use crate::agent::wire::MAX_BAN_LIST;
    use crate::fail2ban::codec::MAX_REPLY;
    use crate::fail2ban::pickle::MEMORY_FACTOR;
    use crate::net::{MAX_CONNECTION_BYTES, MAX_UNREAD_BYTES as MAX_UNREAD_BY_CLIENTS};

    const MIB: usize = 1024 * 1024;
    const PROGRAM: usize = 16 * MIB;
    const TOOLS: usize = 32 * MIB;
    /// As a worker's, with more of an answer that waits, which the kernel counts twice.
    const CONNECTION: usize = MAX_CONNECTION_BYTES + 2 * (MAX_UNREAD_BYTES - MAX_UNREAD_BY_CLIENTS);
    /// A ban as fail2ban has it, and as the answer has it.
    const LINE: usize = 160;

    #[test]
    fn the_worst_that_strangers_and_a_hostile_fail2ban_can_do_fits_into_the_memory_limit_of_the_manifest() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/k8s/agents/agent.yaml");
        let manifest = std::fs::read_to_string(path).unwrap();
        let (_, limits) = manifest.split_once("limits:").unwrap();
        let memory = limits.lines().find_map(|line| line.trim().strip_prefix("memory: ")).unwrap();
        let allowed = memory.strip_suffix("Mi").unwrap().parse::<usize>().unwrap() * MIB;
        let reading = MAX_REPLY + MEMORY_FACTOR * MAX_REPLY;
        let list = MEMORY_FACTOR * MAX_REPLY + MAX_LINES * LINE + MAX_BAN_LIST;
        let sum = PROGRAM + TOOLS + CONNECTIONS * CONNECTION + reading + list;
        assert!(sum <= allowed, "{} MiB of {} MiB", sum / MIB, allowed / MIB);
    }
}
