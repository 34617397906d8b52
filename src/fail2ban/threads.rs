//! Which of the listed jails really run: fail2ban lists a jail from `add` on, even if it was never started.
//!
//! A reload that fails on a new jail leaves it like that: listed, with counts, watching nothing; a failed start in the background
//! does that to every jail. No command of 1.0.2 shows it (nor of 1.1: `get JAIL idle` is about something else). But fail2ban names
//! its threads (`server/jailthread.py`): a jail runs while there is a thread `f2b/f.JAIL` (its filter) and a thread `f2b/a.JAIL`
//! (its actions). The kernel keeps 15 bytes of a name, so for jails whose names begin alike the number of threads decides: all of
//! them run, or none does; otherwise it is not known.

use std::collections::BTreeMap;
use std::path::Path;

use crate::domain::JailName;

/// How many bytes of a thread's name the kernel keeps.
const KEPT: usize = 15;
/// The most threads that are read; no fail2ban has more.
const MAX_THREADS: usize = 20_000;

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
    threads.iter().any(|name| name == b"f2b/observer")
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
    fn a_name_that_is_cut_in_the_middle_of_a_character_is_found() {
        let jail = JailName::parse("abcdefghß").unwrap();
        let threads =
            [&b"f2b/observer"[..], b"f2b/f.abcdefgh\xc3", b"f2b/a.abcdefgh\xc3"].map(<[u8]>::to_vec);
        assert_eq!(judge(&threads, std::iter::once(&jail))[&jail], Some(true));
    }
}
