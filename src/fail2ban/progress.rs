//! Whether a fail2ban that does not answer is at work: it runs the unban action of each address inside one command, and answers
//! nobody while it works.
//!
//! What can be seen from outside is what the kernel counts of its process: time on a processor, and of the children it has
//! waited for (each action is one) time and page faults. An action that sleeps counts when it ends.

use std::path::Path;

/// The counts at one moment; two that differ were taken with work in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress([u64; 6]);

impl Progress {
    /// Of this process; none where it cannot be seen (it is in another container).
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        Self::parse(&text)
    }

    /// `/proc/PID/stat`, see proc(5): `cminflt`, `cmajflt`, `utime`, `stime`, `cutime`, `cstime`.
    fn parse(text: &str) -> Option<Self> {
        // The name may hold anything, brackets too.
        let (_, rest) = text.rsplit_once(')')?;
        // The first of the rest is the third field.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let mut counts = [0; 6];
        for (count, field) in counts.iter_mut().zip([11, 13, 14, 15, 16, 17]) {
            *count = fields.get(field - 3)?.parse().ok()?;
        }
        Some(Self(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_process_and_of_its_children_is_seen() {
        let line = "42 (fail2ban) ser) S 1 42 42 0 -1 4194560 9000 700 3 1 55 12 80 33 20 0 9 0 5 1 2";
        assert_eq!(Progress::parse(line), Some(Progress([700, 1, 55, 12, 80, 33])));
        assert_eq!(Progress::parse("42 (x) S 1"), None);
        let me = std::process::id().cast_signed();
        let before = Progress::of(me).unwrap();
        assert!(std::process::Command::new("true").status().unwrap().success());
        assert_ne!(Progress::of(me).unwrap(), before);
        assert_eq!(Progress::of(i32::MAX), None);
    }
}
