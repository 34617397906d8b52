//! From fail2ban's local time to UTC.
//!
//! fail2ban prints the times of a ban in the local time of its process, without saying which zone that is, and the agent
//! may be in another one. So the zone is found out from fail2ban itself, by the best source there is:
//!
//! | source | gives |
//! |---|---|
//! | its process: `TZ`, else `/etc/localtime` as that process sees it | all rules of the zone |
//! | its log file: the time in its last line beside the time at which the file was written | the offset now |
//! | the bans themselves: each has begun, and has not ended yet | bounds of the offset now, within which the agent's own zone is preferred |
//!
//! Local time has one hour twice in autumn. The rest of the line distinguishes the two: the end is so many seconds after
//! the beginning, and *now* lies between them. A permanent ban that began in that hour is assumed to have begun at the earlier one.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use chrono::NaiveDateTime;
use tz::TimeZone;

use super::reply::Times;

/// How far the time of the log's last line may differ from the file's own; and how late fail2ban may be to lift a ban.
const SLACK: i64 = 120;
/// Every offset in use is a multiple of this.
const QUARTER: i64 = 900;
/// The offsets in use, in seconds.
const OFFSETS: std::ops::RangeInclusive<i64> = -12 * 3600..=14 * 3600;
const DAY: i64 = 86_400;
/// The most that is read of a zone file or an environment.
const MAX_READ: u64 = 256 * 1024;
const LOG_END: u64 = 16 * 1024;

/// How fail2ban's local time relates to UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Zone {
    /// All rules of the zone.
    Rules(TimeZone),
    /// How far it is ahead of UTC now, in seconds.
    Offset(i64),
}

impl Zone {
    /// The zone of this process, as far as it can be seen.
    #[must_use]
    pub fn of_process(pid: i32) -> Option<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let environment = read(&process.join("environ"))?;
        let tz = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"TZ="));
        let tz = tz.map(|tz| String::from_utf8_lossy(tz).into_owned());
        rules(&process.join("root"), tz.as_deref()).map(Self::Rules)
    }

    /// The offset at which fail2ban writes its log.
    #[must_use]
    pub fn of_log(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let about = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let written = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        file.seek(SeekFrom::Start(about.len().saturating_sub(LOG_END))).ok()?;
        let mut end = Vec::new();
        file.take(LOG_END).read_to_end(&mut end).ok()?;
        let last = String::from_utf8_lossy(&end).lines().rev().find_map(stamp)?;
        rounded(last - i64::try_from(written.as_secs()).ok()?).map(Self::Offset)
    }

    /// An offset that these bans allow at `now`: `own`, the agent's, if that is one of them, or else the one under which the newest ban
    /// is most recent, since a list is read when its jail has just banned somebody.
    #[must_use]
    pub fn of_bans<'a>(bans: impl Iterator<Item = &'a Times>, now: i64, own: i64) -> Option<Self> {
        let (mut least, mut most) = (*OFFSETS.start(), *OFFSETS.end());
        for ban in bans {
            least = least.max(wall(ban.since) - now - SLACK);
            if ban.seconds >= 0 {
                most = most.min(wall(ban.end) - now + SLACK);
            }
        }
        let first = least + (-least).rem_euclid(QUARTER);
        let offset = if (least..=most).contains(&own) { own } else { first };
        (least..=most).contains(&offset).then_some(Self::Offset(offset))
    }

    /// When a ban began and when it ends, in seconds since 1970; no end if it has none.
    #[must_use]
    pub fn resolve(&self, ban: &Times, now: i64) -> (i64, Option<i64>) {
        let until = |since: i64| (ban.seconds >= 0).then(|| since.saturating_add(ban.seconds));
        let possible = |since: &i64| {
            *since <= now + SLACK
                && until(*since).is_none_or(|until| {
                    until >= now - SLACK && self.shows(until, ban.end, until - wall(ban.end))
                })
        };
        let moments = self.moments(ban.since);
        let since = moments.iter().copied().find(possible).or(moments.first().copied());
        let since = since.unwrap_or_else(|| wall(ban.since) - self.offset(wall(ban.since)));
        (since, until(since))
    }

    /// The moments at which the local time can have been `shown`, the likeliest first.
    fn moments(&self, shown: NaiveDateTime) -> Vec<i64> {
        let wall = wall(shown);
        let mut offsets = match self {
            Self::Rules(_) => vec![self.offset(wall - DAY), self.offset(wall), self.offset(wall + DAY)],
            // The clock may have been put forward or back since then.
            Self::Offset(now) => return vec![wall - now, wall - now - 3600, wall - now + 3600],
        };
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        offsets.dedup();
        offsets.iter().map(|offset| wall - offset).filter(|at| at + self.offset(*at) == wall).collect()
    }

    /// Whether the local time is `shown` at that moment. If only the offset is known, the clock may be put forward or back by an hour
    /// until then.
    fn shows(&self, at: i64, shown: NaiveDateTime, behind: i64) -> bool {
        match self {
            Self::Rules(_) => at + self.offset(at) == wall(shown),
            Self::Offset(now) => [0, 3600, -3600].contains(&(behind + now)),
        }
    }

    fn offset(&self, at: i64) -> i64 {
        match self {
            Self::Rules(rules) => {
                rules.find_local_time_type(at).map_or(0, |local| i64::from(local.ut_offset()))
            }
            Self::Offset(now) => *now,
        }
    }
}

/// The rules that a process with this root and this `TZ` follows, as the C library finds them.
fn rules(root: &Path, tz: Option<&str>) -> Option<TimeZone> {
    let Some(tz) = tz else {
        return zone_file(&within(root, Path::new("/etc/localtime"))).or(Some(TimeZone::utc()));
    };
    let tz = tz.strip_prefix(':').unwrap_or(tz);
    if tz.is_empty() {
        return Some(TimeZone::utc());
    }
    // If it is an absolute path, `join` keeps only that.
    let file = zone_file(&within(root, &Path::new("/usr/share/zoneinfo").join(tz)));
    file.or_else(|| TimeZone::from_posix_tz(tz).ok()).or(Some(TimeZone::utc()))
}

fn zone_file(path: &Path) -> Option<TimeZone> {
    TimeZone::from_tz_data(&read(path)?).ok()
}

/// A path as a process with another root sees it. The kernel would resolve an absolute link from this process's root.
fn within(root: &Path, path: &Path) -> PathBuf {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let seen = below(path);
    match std::fs::read_link(&seen) {
        Ok(target) if target.is_absolute() => below(&target),
        _ => seen,
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path).ok()?.take(MAX_READ).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The time in front of a line of fail2ban's log: `2026-11-22 22:32:46,129 fail2ban...`.
fn stamp(line: &str) -> Option<i64> {
    let time = line.get(..19).filter(|_| line.get(24..).is_some_and(|rest| rest.starts_with("fail2ban")))?;
    NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").ok().map(wall)
}

fn rounded(offset: i64) -> Option<i64> {
    let quarters = (offset + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    ((offset - quarters).abs() <= SLACK && OFFSETS.contains(&quarters)).then_some(quarters)
}

/// A local time as if it were UTC, in seconds since 1970.
fn wall(shown: NaiveDateTime) -> i64 {
    shown.and_utc().timestamp()
}

/// The file to which fail2ban writes its log, if it is a file.
#[must_use]
pub fn log_file(target: &str) -> Option<PathBuf> {
    target.starts_with('/').then(|| PathBuf::from(std::ffi::OsStr::from_bytes(target.as_bytes())))
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
