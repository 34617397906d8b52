//! Which of the listed jails really run: fail2ban lists a jail from `add` on, even if it was never started.
//!
//! A reload that fails on a new jail leaves it like that: listed, with counts, watching nothing; a failed start in the background
//! does that to every jail. No command of 1.0.2 shows it (nor of 1.1: `get JAIL idle` is about something else). But fail2ban names
//! its threads (`server/jailthread.py`): a jail runs while there is a thread `f2b/f.JAIL` (its filter) and a thread `f2b/a.JAIL`
//! (its actions). The kernel keeps 15 bytes of a name, so for jails whose names begin alike the number of threads decides: all of
//! them run, or none does; otherwise it is not known.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use crate::domain::JailName;

/// How many bytes of a thread's name the kernel keeps.
const KEPT: usize = 15;
/// The most threads that are read; no fail2ban has more.
const MAX_THREADS: usize = 20_000;
/// The thread that every fail2ban has from its start.
const OBSERVER: &[u8] = b"f2b/observer";
/// The place of `starttime` in a `stat`, counted from after the name (`man 5 proc`).
const BEGAN: usize = 19;

/// Whether each listed jail runs, by the threads of the process; none if that cannot be known.
#[must_use]
pub fn started<'a>(
    pid: i32,
    jails: impl Iterator<Item = &'a JailName>,
) -> BTreeMap<&'a JailName, Option<bool>> {
    let threads = names(&Path::new("/proc").join(pid.to_string()).join("task"));
    judge(&threads, jails)
}

/// Whether this process is a fail2ban that names its threads. With socket activation the listening process is systemd.
#[must_use]
pub fn is_fail2ban(pid: i32) -> bool {
    has_observer(&names(&Path::new("/proc").join(pid.to_string()).join("task")))
}

/// A number for the life of this fail2ban and all its jails: another one once any of their threads has ended or begun. `None` if the
/// threads cannot be seen.
#[must_use]
pub fn life(pid: i32) -> Option<u64> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")).ok()?;
    let stat = |task: std::io::Result<std::fs::DirEntry>| std::fs::read(task.ok()?.path().join("stat")).ok();
    let stats: Vec<Vec<u8>> = tasks.take(MAX_THREADS).filter_map(stat).collect();
    life_of(pid, stats.iter().filter_map(|stat| Thread::parse(stat)).collect())
}

fn life_of(pid: i32, mut threads: Vec<Thread<'_>>) -> Option<u64> {
    threads.retain(|thread| thread.name.starts_with(b"f2b/"));
    threads.sort_unstable();
    let mut life = DefaultHasher::new();
    (pid, &threads).hash(&mut life);
    threads.iter().any(|thread| thread.name == OBSERVER).then(|| life.finish())
}

/// A thread, as its `stat` shows it: `12 (f2b/a.sshd) S 1 ...`. Its id may be used again, but not within a tick.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Thread<'a> {
    id: &'a [u8],
    name: &'a [u8],
    /// In ticks since the machine was started.
    began: u64,
}

impl<'a> Thread<'a> {
    fn parse(stat: &'a [u8]) -> Option<Self> {
        let (from, to) =
            (stat.iter().position(|byte| *byte == b'(')?, stat.iter().rposition(|byte| *byte == b')')?);
        let began = std::str::from_utf8(stat.get(to + 1..)?).ok()?.split_ascii_whitespace().nth(BEGAN)?;
        Some(Self { id: &stat[..from], name: stat.get(from + 1..to)?, began: began.parse().ok()? })
    }
}

fn names(tasks: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(tasks) else { return Vec::new() };
    let comm =
        |entry: std::io::Result<std::fs::DirEntry>| std::fs::read(entry.ok()?.path().join("comm")).ok();
    // As bytes, since the kernel may cut a name in the middle of a character.
    entries
        .take(MAX_THREADS)
        .filter_map(comm)
        .map(|name| name.strip_suffix(b"\n").unwrap_or(&name).to_owned())
        .collect()
}

/// fail2ban has an observer thread from its start. Without one this is another process, or a fail2ban that cannot name its threads.
fn has_observer(threads: &[Vec<u8>]) -> bool {
    threads.iter().any(|name| name == OBSERVER)
}

fn judge<'a>(
    threads: &[Vec<u8>],
    jails: impl Iterator<Item = &'a JailName>,
) -> BTreeMap<&'a JailName, Option<bool>> {
    let is_fail2ban = has_observer(threads);
    let mut groups: BTreeMap<[Vec<u8>; 2], Vec<&JailName>> = BTreeMap::new();
    for jail in jails {
        groups.entry(["f", "a"].map(|part| kept(&format!("f2b/{part}.{jail}")))).or_default().push(jail);
    }
    let count = |wanted: &Vec<u8>| threads.iter().filter(|name| *name == wanted).count();
    groups
        .into_iter()
        .flat_map(|(parts, jails)| {
            let fewest = parts.iter().map(count).min().unwrap_or_default();
            let started = match fewest {
                _ if !is_fail2ban => None,
                0 => Some(false),
                all if all >= jails.len() => Some(true),
                _ => None,
            };
            jails.into_iter().map(move |jail| (jail, started))
        })
        .collect()
}

fn kept(name: &str) -> Vec<u8> {
    name.bytes().take(KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jail_runs_while_both_its_threads_do() {
        let jails = ["app", "off", "half", "nginx-http-auth", "nginx-http-bots"]
            .map(|name| JailName::parse(name).unwrap());
        let threads = |more: &[&str]| -> Vec<Vec<u8>> {
            let names = ["fail2ban-server", "f2b/observer", "f2b/f.app", "f2b/a.app", "f2b/a.half"];
            names.iter().chain(more).map(|name| name.as_bytes().to_owned()).collect()
        };
        let verdicts =
            |threads: &[Vec<u8>]| judge(threads, jails.iter()).values().copied().collect::<Vec<_>>();
        let [all, one] = [
            ["f2b/f.nginx-htt", "f2b/a.nginx-htt"].repeat(2),
            ["f2b/f.nginx-htt", "f2b/a.nginx-htt"].to_vec(),
        ];
        assert_eq!(verdicts(&threads(&all)), [Some(true), Some(false), Some(true), Some(true), Some(false)]);
        assert_eq!(verdicts(&threads(&one)), [Some(true), Some(false), None, None, Some(false)]);
        assert_eq!(verdicts(&[b"systemd".to_vec()]), [None; 5]);
        assert_eq!(
            judge(&names(Path::new("/proc/self/task")), jails.iter()).len(),
            5,
            "threads of some other process"
        );
    }

    #[test]
    fn a_life_ends_with_any_thread_of_a_jail_and_with_none_of_another() {
        let stat = |id: u32, name: &str, began: u32| {
            format!("{id} ({name}) S 1{} {began} 0 0", " 0".repeat(BEGAN - 2)).into_bytes()
        };
        let life =
            |stats: &[Vec<u8>]| life_of(7, stats.iter().map(|stat| Thread::parse(stat).unwrap()).collect());
        let before = [stat(1, "f2b/observer", 5), stat(2, "f2b/f.a) b", 6), stat(3, "f2b/a.a) b", 6)];
        let with = |n: usize, other| {
            let mut stats = before.to_vec();
            stats[n] = other;
            life(&stats)
        };
        assert!(life(&before).is_some());
        let same = [before[2].clone(), before[0].clone(), before[1].clone(), stat(9, "python3", 9)];
        assert_eq!(life(&same), life(&before));
        for other in
            [with(1, stat(4, "f2b/f.a) b", 6)), with(1, stat(2, "f2b/f.a) b", 7)), life(&before[..2])]
        {
            assert!(other.is_some() && other != life(&before), "another thread, or a later one, or none");
        }
        assert_eq!(with(0, stat(1, "systemd", 5)), None, "not a fail2ban");
        let own = std::fs::read("/proc/self/stat").unwrap();
        assert!(Thread::parse(&own).is_some_and(|thread| thread.began > 0));
    }

    #[test]
    fn a_name_that_is_cut_in_the_middle_of_a_character_is_found() {
        let jail = JailName::parse("abcdefghß").unwrap();
        let threads =
            [&b"f2b/observer"[..], b"f2b/f.abcdefgh\xc3", b"f2b/a.abcdefgh\xc3"].map(<[u8]>::to_vec);
        assert_eq!(judge(&threads, std::iter::once(&jail))[&jail], Some(true));
    }
}
