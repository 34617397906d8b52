//! Whether a fail2ban that does not answer is working: it runs the unban action of each address inside one command, and answers
//! nobody in that time.
//!
//! What can be seen from outside, by the best source there is:
//!
//! | source | shows |
//! |---|---|
//! | its process: what the kernel counts for it and for the children that it has waited for | CPU time, actions that ended |
//! | its process: a child that is alive | an action that runs; fail2ban itself ends one that takes too long (`timeout`) |
//! | its log file, where the process is in another container | a line for each address that is unbanned |

use std::path::Path;
use std::time::SystemTime;

/// What was seen at one moment; if two of them differ, there was work in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// `cminflt`, `cmajflt`, `utime`, `stime`, `cutime` and `cstime` of its process.
    Process([u64; 6]),
    /// The length of its log file, and when that was last written.
    Log(u64, Option<SystemTime>),
}

impl Progress {
    /// The progress of this process; none if it cannot be seen (it is in another container).
    #[must_use]
    pub fn of_process(pid: i32) -> Option<Self> {
        Self::parse(&stat(pid)?)
    }

    /// The progress as this log file shows it; none if it cannot be read.
    #[must_use]
    pub fn of_log(path: &Path) -> Option<Self> {
        let log = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self::Log(log.len(), log.modified().ok()))
    }

    /// `/proc/PID/stat`, see proc(5).
    fn parse(text: &str) -> Option<Self> {
        let fields = fields(text)?;
        let mut counts = [0; 6];
        // The first of the fields is the third of the file.
        for (count, field) in counts.iter_mut().zip([11, 13, 14, 15, 16, 17]) {
            *count = fields.get(field - 3)?.parse().ok()?;
        }
        Some(Self::Process(counts))
    }
}

/// Whether this process has a child that is alive.
#[must_use]
pub fn has_child(pid: i32) -> bool {
    let tasks = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    // The kernel lists children by the thread that began them.
    let lists = tasks.into_iter().flatten().flatten();
    lists.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).any(|children| {
        children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).any(is_alive)
    })
}

/// Whether it is alive: a child that has ended is listed until its parent has waited for it.
fn is_alive(pid: i32) -> bool {
    let text = stat(pid).unwrap_or_default();
    fields(&text).is_some_and(|fields| fields.first().is_some_and(|state| !["Z", "X"].contains(state)))
}

fn stat(pid: i32) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()
}

/// The fields after the name, which may contain anything, even brackets.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn work_of_a_process_and_of_its_children_is_seen() {
        let line = "42 (fail2ban) ser) S 1 42 42 0 -1 4194560 9000 700 3 1 55 12 80 33 20 0 9 0 5 1 2";
        assert_eq!(Progress::parse(line), Some(Progress::Process([700, 1, 55, 12, 80, 33])));
        assert_eq!(Progress::parse("42 (x) S 1"), None);
        let me = std::process::id().cast_signed();
        let before = Progress::of_process(me).unwrap();
        assert!(Command::new("true").status().unwrap().success());
        assert_ne!(Progress::of_process(me).unwrap(), before);
        assert_eq!(Progress::of_process(i32::MAX), None);
    }

    #[test]
    fn a_child_is_seen_while_it_lives_and_no_longer_once_it_is_a_zombie() {
        // A process of its own: other tests have children too.
        let script = "sleep 60 & echo $!; read line; kill $!; read line; exec sleep 60";
        let mut parent = Command::new("sh");
        parent.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut parent = parent.spawn().unwrap();
        let pid = parent.id().cast_signed();
        let waits_for = |wanted: bool| {
            let seen = (0..500).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                has_child(pid) == wanted
            });
            assert!(seen, "{wanted}");
        };
        waits_for(true);
        let mut stdin = parent.stdin.take().unwrap();
        stdin.write_all(b"on\n").unwrap();
        waits_for(false);
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(!has_child(i32::MAX));
    }

    #[test]
    fn a_line_in_the_log_is_seen() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        let before = Progress::of_log(log.path()).unwrap();
        assert_eq!(Progress::of_log(log.path()), Some(before));
        writeln!(log, "NOTICE  [app] Unban 198.51.100.1").unwrap();
        assert_ne!(Progress::of_log(log.path()), Some(before));
        assert_eq!(Progress::of_log(Path::new("/none/such")), None);
    }
}
