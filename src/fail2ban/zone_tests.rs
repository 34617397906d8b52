use std::io::Write as _;

use super::*;

const HOUR: i64 = 3600;

fn at(utc: &str) -> i64 {
    wall(utc.parse().unwrap())
}

/// New York, as a POSIX rule: no tzdata is needed. In 2026 summer time ends on 1 November at 06:00 UTC.
fn new_york() -> Zone {
    Zone::Rules(TimeZone::from_posix_tz("EST5EDT,M3.2.0,M11.1.0").unwrap())
}

fn times(since: &str, seconds: i64, end: &str) -> Times {
    Times { since: since.parse().unwrap(), seconds, end: end.parse().unwrap() }
}

const FOR_EVER: &str = "9999-12-31T23:59:59";

#[test]
fn a_ban_is_shown_in_utc_whatever_the_zone() {
    let ban = times("2026-07-01T08:00:00", 600, "2026-07-01T08:10:00");
    let now = at("2026-07-01T12:05:00");
    for zone in [new_york(), Zone::Offset(-4 * HOUR)] {
        assert_eq!(zone.resolve(&ban, now), (at("2026-07-01T12:00:00"), Some(at("2026-07-01T12:10:00"))));
    }
    let ban = times("2026-07-01T08:00:00", -1, FOR_EVER);
    assert_eq!(new_york().resolve(&ban, now), (at("2026-07-01T12:00:00"), None));
}

#[test]
fn the_hour_that_autumn_repeats_is_resolved() {
    // 01:30 in summer time is 05:30 UTC, an hour later it is 01:30 again.
    for (seconds, end, now, since) in [
        (600, "2026-11-01T01:40:00", "2026-11-01T05:35:00", "2026-11-01T05:30:00"),
        (600, "2026-11-01T01:40:00", "2026-11-01T06:35:00", "2026-11-01T06:30:00"),
        // Its end says which one it was.
        (7200, "2026-11-01T02:30:00", "2026-11-01T06:35:00", "2026-11-01T05:30:00"),
        (7200, "2026-11-01T03:30:00", "2026-11-01T06:35:00", "2026-11-01T06:30:00"),
        (2700, "2026-11-01T01:15:00", "2026-11-01T05:35:00", "2026-11-01T05:30:00"),
        (DAY, "2026-11-02T00:30:00", "2026-11-01T20:00:00", "2026-11-01T05:30:00"),
        (-1, FOR_EVER, "2026-11-01T05:35:00", "2026-11-01T05:30:00"),
    ] {
        let ban = times("2026-11-01T01:30:00", seconds, end);
        let resolved = new_york().resolve(&ban, at(now));
        assert_eq!(resolved.0, at(since), "{ban:?} at {now}");
        assert_eq!(resolved.1, (seconds >= 0).then(|| at(since) + seconds));
    }
    // If only the present offset is known, before and after the end of summer time: a ban that would have begun in the future began an
    // hour earlier.
    let ban = times("2026-11-01T01:30:00", 7200, "2026-11-01T02:30:00");
    assert_eq!(Zone::Offset(-5 * HOUR).resolve(&ban, at("2026-11-01T06:10:00")).0, at("2026-11-01T05:30:00"));
    assert_eq!(Zone::Offset(-4 * HOUR).resolve(&ban, at("2026-11-01T05:40:00")).0, at("2026-11-01T05:30:00"));
    // And in spring: what would be over began an hour later.
    let ban = times("2026-03-08T01:55:00", 600, "2026-03-08T03:05:00");
    assert_eq!(Zone::Offset(-4 * HOUR).resolve(&ban, at("2026-03-08T07:03:00")).0, at("2026-03-08T06:55:00"));
}

/// Every ten minutes around both changes of the clock, for several durations, asked for at every seventh minute of the ban: where
/// only one moment fits the line that fail2ban prints, it is that one.
#[test]
fn a_ban_around_a_change_of_the_clock_has_its_moment_wherever_the_line_and_now_leave_only_one() {
    let zone = new_york();
    let shown = |at: i64| chrono::DateTime::from_timestamp(at + zone.offset(at), 0).unwrap().naive_utc();
    let line = |since: i64, seconds: i64| Times { since: shown(since), seconds, end: shown(since + seconds) };
    let (mut repeated, mut ambiguous) = ([0, 0], 0);
    // The clock is put forward and back at these moments.
    for change in ["2026-03-08T07:00:00", "2026-11-01T06:00:00"].map(at) {
        for since in (-18..=18).map(|tens| change + tens * 600) {
            for seconds in [600, 2700, HOUR, 5400, 2 * HOUR, DAY] {
                for now in (since..=since + seconds).step_by(420) {
                    let fits = |other: &i64| {
                        line(*other, seconds) == line(since, seconds)
                            && (other - SLACK..=other + seconds + SLACK).contains(&now)
                    };
                    if [since - HOUR, since + HOUR].iter().any(fits) {
                        ambiguous += 1;
                        continue;
                    }
                    let found = zone.resolve(&line(since, seconds), now);
                    assert_eq!(found, (since, Some(since + seconds)), "{since} for {seconds} s at {now}");
                    if shown(since) == shown(since - HOUR) {
                        repeated[1] += 1;
                    } else if shown(since) == shown(since + HOUR) {
                        repeated[0] += 1;
                    }
                }
            }
        }
    }
    assert!(repeated.iter().all(|count| *count > 100), "{repeated:?}: not sharp, {ambiguous} ambiguous");
}

#[test]
fn a_time_that_spring_skips_is_still_resolved() {
    let ban = times("2026-03-08T02:30:00", 600, "2026-03-08T02:40:00");
    let (since, _) = new_york().resolve(&ban, at("2026-03-08T07:35:00"));
    assert!((since - at("2026-03-08T07:00:00")).abs() <= HOUR, "{since}");
}

#[test]
fn the_zone_of_a_process_is_seen() {
    let mut child = std::process::Command::new("sleep").arg("60").env("TZ", "XYZ-5:45").spawn().unwrap();
    // Between the fork and the exec it has this process's environment.
    let zone = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let zone = Zone::of_process(child.id().cast_signed())?;
        (zone.offset(0) == 5 * HOUR + 45 * 60).then_some(zone)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(zone, Some(Zone::Rules(_))), "{zone:?}");
    assert_eq!(Zone::of_process(i32::MAX), None);
}

#[test]
fn the_c_librarys_ways_to_name_a_zone_are_followed_within_the_root_of_the_process() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("usr/share/zoneinfo/Here");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(root.path().join("etc")).unwrap();
    std::fs::write(folder.join("There"), tzif(-3 * 3600)).unwrap();
    std::os::unix::fs::symlink("/usr/share/zoneinfo/Here/There", root.path().join("etc/localtime")).unwrap();
    let offset = |tz: Option<&str>| Zone::Rules(rules(root.path(), tz).unwrap()).offset(0);
    for tz in [None, Some("Here/There"), Some(":Here/There"), Some("/usr/share/zoneinfo/Here/There")] {
        assert_eq!(offset(tz), -3 * HOUR, "{tz:?}");
    }
    for (tz, hours) in [("", 0), ("UTC0", 0), ("CET-1", 1), ("No/Where", 0)] {
        assert_eq!(offset(Some(tz)), hours * HOUR, "{tz}");
    }
}

/// A zone file (RFC 8536, version 1) with one offset.
fn tzif(offset: i32) -> Vec<u8> {
    let counts = [0u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
    [b"TZif\0".as_slice(), &[0; 15], &counts, &offset.to_be_bytes(), &[0, 0], b"XYZ\0"].concat()
}

#[test]
fn the_last_line_of_the_log_gives_the_offset() {
    let mut log = tempfile::NamedTempFile::new().unwrap();
    let zone = |log: &tempfile::NamedTempFile| Zone::of_log(log.path());
    assert_eq!(zone(&log), None);
    let now = chrono::Local::now().naive_utc() - chrono::TimeDelta::minutes(210);
    let line = now.format("%Y-%m-%d %H:%M:%S,123");
    writeln!(log, "{line} fail2ban.actions        [1]: NOTICE  [web] Ban 203.0.113.7\nTraceback\n").unwrap();
    assert_eq!(zone(&log), Some(Zone::Offset(-210 * 60)));
    writeln!(log, "2020-01-01 00:00:00,000 fail2ban.actions        [1]: NOTICE  of another time").unwrap();
    assert_eq!(zone(&log), None, "the file was written at another time");
    assert_eq!(log_file("/var/log/fail2ban.log"), Some(PathBuf::from("/var/log/fail2ban.log")));
    assert_eq!(log_file("SYSTEMD-JOURNAL"), None);
}

#[test]
fn the_times_of_bans_give_the_offset_or_bound_it() {
    let now = at("2026-07-01T12:00:00");
    let fresh = times("2026-07-01T07:59:50", 600, "2026-07-01T08:09:50");
    let long = times("2026-06-30T20:00:00", 7 * DAY, "2026-07-07T20:00:00");
    let of = |bans: &[&Times], own| Zone::of_bans(bans.iter().copied(), now, own);
    assert_eq!(of(&[&long, &fresh], 0), Some(Zone::Offset(-4 * HOUR)));
    assert_eq!(of(&[&long], 2 * HOUR), Some(Zone::Offset(2 * HOUR)), "the agent's own is possible");
    let at_odds = times("2026-07-01T03:00:00", 60, "2026-07-01T03:01:00");
    assert_eq!(of(&[&at_odds, &fresh], 0), None, "no offset fits both");
    assert_eq!(of(&[], 0), Some(Zone::Offset(0)));
}
