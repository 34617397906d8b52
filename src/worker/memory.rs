//! The most memory that a worker may need: a test here checks that it is below the memory limit of `k8s/base/worker.yaml`.
//!
//! | what | how much | bounded by |
//! |---|---|---|
//! | the program itself, and what it caches | 24 MiB | measured: 27 MiB idle, 5 MiB without pages of the program file, `cargo bench -- footprint` |
//! | connections: headers, bodies of strangers, buffers, those of the kernel included | (1,536 + 64) × 136 KiB = 213 MiB | `net/places.rs`, `net/listener.rs`, `net/socket.rs` |
//! | forms that were kept over a login | 32 × 3 × 64 KiB = 6 MiB | `http/large_forms.rs` |
//! | passwords that are being hashed | (cores + 1) × 19 MiB, with the one core of the manifest 38 MiB | `password/gate.rs` |
//! | lists of bans that a leader reads | 200,000 × 192 bytes, and 1.6 MiB of each of 4 answers = 43 MiB | `scheduler/ban_pulls.rs` |
//!
//! A stranger can make a worker use all of these but the last, which a hostile agent can. Those who are logged in can ask for more
//! at once: pages of bans and of events, larger bodies. More connections (`BANGUI_MAX_CONNECTIONS`) or more cores need more memory.

#[cfg(test)]
mod tests {
    use crate::http::LARGE_FORM_BYTES;
    use crate::net::MAX_CONNECTION_BYTES;
    use crate::password::gate;
    use crate::scheduler::MAX_LIST_BYTES;
    use crate::worker::PROBE_CONNECTIONS;

    const MIB: usize = 1024 * 1024;
    const PROGRAM: usize = 24 * MIB;

    /// The value of `name:` under `limits:`.
    fn limit(manifest: &str, name: &str) -> usize {
        let (_, limits) = manifest.split_once("limits:").unwrap();
        let line = limits.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        let value = line.trim_start_matches(':').trim().trim_matches('"');
        let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap() * if value.ends_with("Mi") { MIB } else { 1 }
    }

    #[test]
    fn the_worst_that_strangers_and_agents_can_do_fits_into_the_memory_limit_of_the_manifest() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/k8s/base/worker.yaml");
        let manifest = std::fs::read_to_string(path).unwrap();
        let connections: usize = crate::config::variables::MAX_CONNECTIONS.default.unwrap().parse().unwrap();
        let cores = limit(&manifest, "cpu");
        let sum = PROGRAM
            + (connections + PROBE_CONNECTIONS) * MAX_CONNECTION_BYTES
            + LARGE_FORM_BYTES
            + gate::most_at_once(cores) * gate::HASH_BYTES
            + MAX_LIST_BYTES;
        let allowed = limit(&manifest, "memory");
        assert!(sum <= allowed, "{} MiB of {} MiB", sum / MIB, allowed / MIB);
    }
}
