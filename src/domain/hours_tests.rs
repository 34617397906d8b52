use super::*;

fn at(hour: i64, second: i64) -> Timestamp {
    chrono::DateTime::from_timestamp((500_000 + hour) * HOUR + second, 0).unwrap()
}

fn name(text: &str) -> JailName {
    JailName::parse(text).unwrap()
}

fn counts(total_banned: u64, total_failed: u64, currently_banned: u64) -> JailCounts {
    JailCounts { currently_failed: 0, total_failed, currently_banned, total_banned }
}

/// After these answers about one jail: total of bans, total of failures, banned then.
fn after(probes: &[(Timestamp, (u64, u64, u64))]) -> ServerHours {
    probes.iter().fold(ServerHours::default(), |before, (now, (bans, failures, banned))| {
        count(before, &[(name("sshd"), counts(*bans, *failures, *banned))].into(), *now)
    })
}

/// The last of the hours shown.
fn last(shown: &[Option<u64>], most: usize) -> Vec<Option<u64>> {
    shown[shown.len() - most..].to_vec()
}

fn bans(hours: &ServerHours, now: Timestamp, most: usize) -> Vec<Option<u64>> {
    let of_jail = hours.jails[&name("sshd")].hours.shown(now);
    let of_server = hours.all.hours.shown(now);
    assert_eq!(of_jail, of_server, "there is one jail");
    assert_eq!((of_jail.bans.len(), of_jail.failures.len()), (SHOWN, SHOWN));
    last(&of_jail.bans, most)
}

#[test]
fn what_a_total_rose_by_counts_for_the_hour_of_the_answer_up_to_its_last_second() {
    let hours = after(&[
        (at(0, 0), (100, 1000, 9)),
        (at(0, 3599), (103, 1010, 9)),
        (at(1, 0), (104, 1011, 9)),
        (at(1, 3599), (110, 1020, 9)),
    ]);
    assert_eq!(bans(&hours, at(1, 3599), 3), [None, Some(3), Some(7)]);
    assert_eq!(last(&hours.all.hours.shown(at(1, 0)).failures, 2), [Some(10), Some(10)]);
    assert_eq!(bans(&hours, at(2, 0), 3), [Some(3), Some(7), None], "no answer yet in this hour");
    assert_eq!(hours.all.hours.shown(at(2, 59)).latest, at(2, 0));
}

#[test]
fn the_totals_of_the_first_answer_are_of_no_hour() {
    let hours = after(&[(at(0, 9), (500, 9000, 77))]);
    assert_eq!(bans(&hours, at(0, 9), 2), [None, Some(0)]);
}

#[test]
fn hours_without_an_answer_are_unknown_and_what_happened_in_them_is_counted_nowhere() {
    let hours = after(&[(at(0, 0), (0, 0, 0)), (at(2, 0), (50, 60, 0)), (at(2, 10), (51, 61, 0))]);
    assert_eq!(bans(&hours, at(2, 10), 4), [None, Some(0), None, Some(1)]);
    let hours = after(&[(at(0, 0), (0, 0, 0)), (at(1, 3599), (50, 60, 0))]);
    assert_eq!(bans(&hours, at(1, 3599), 2), [Some(0), Some(50)], "no whole hour is missing");
}

#[test]
fn after_a_restart_of_fail2ban_what_it_counts_since_is_new_but_for_the_bans_it_restored() {
    // 1,000 bans since its start, 400 of them in force: it restores those, and bans 5 more.
    let hours = after(&[(at(0, 0), (1000, 5000, 400)), (at(0, 10), (405, 12, 405))]);
    assert_eq!(bans(&hours, at(0, 10), 1), [Some(5)]);
    assert_eq!(last(&hours.all.hours.shown(at(0, 10)).failures, 1), [Some(12)]);
    let hours = after(&[(at(0, 0), (1000, 5000, 400)), (at(0, 10), (3, 5000, 3))]);
    assert_eq!(bans(&hours, at(0, 10), 1), [Some(0)], "without its database: fewer than there were");
    // Bans by hand have no failures: the failures alone may show it.
    let hours = after(&[(at(0, 0), (10, 7, 10)), (at(0, 10), (12, 1, 12))]);
    assert_eq!(bans(&hours, at(0, 10), 1), [Some(2)]);
}

#[test]
fn bans_that_are_restored_bit_by_bit_are_not_new_and_what_was_not_restored_hides_nothing_for_long() {
    let begun = [
        (at(0, 0), (1000, 0, 400)),
        (at(0, 10), (0, 0, 0)),
        (at(0, 20), (0, 0, 0)),
        (at(0, 30), (150, 0, 150)),
    ];
    let sum =
        |more: &[(Timestamp, (u64, u64, u64))]| bans(&after(&[&begun[..], more].concat()), at(0, 60), 1);
    assert_eq!(sum(&[]), [Some(0)]);
    assert_eq!(sum(&[(at(0, 40), (403, 0, 403))]), [Some(3)]);
    // The other 250 had ended; two answers with the same total say that no more are to come.
    assert_eq!(sum(&[(at(0, 40), (150, 0, 150)), (at(0, 50), (157, 0, 157))]), [Some(7)]);
}

#[test]
fn a_clock_that_goes_back_an_hour_counts_for_the_latest_hour_and_further_back_starts_afresh() {
    let hours = after(&[(at(5, 0), (0, 0, 0)), (at(5, 10), (4, 0, 0)), (at(4, 0), (6, 0, 0))]);
    assert_eq!(bans(&hours, at(4, 0), 1), [Some(6)], "the hour that was begun stays the latest");
    assert_eq!(bans(&hours, at(5, 20), 1), [Some(6)]);
    let hours = after(&[(at(5, 0), (0, 0, 0)), (at(5, 10), (4, 0, 0)), (at(3, 3599), (6, 0, 0))]);
    assert_eq!(bans(&hours, at(3, 3599), 3), [None, None, Some(0)]);
    let hours = after(&[(at(5, 0), (0, 0, 0)), (at(3, 0), (6, 0, 0)), (at(3, 9), (8, 0, 0))]);
    assert_eq!(bans(&hours, at(3, 9), 1), [Some(2)]);
}

#[test]
fn a_reader_whose_clock_is_behind_sees_no_hour_that_is_to_come() {
    let hours =
        after(&[(at(5, 0), (0, 0, 0)), (at(5, 9), (3, 0, 0)), (at(6, 0), (4, 0, 0)), (at(7, 0), (5, 0, 0))]);
    assert_eq!(bans(&hours, at(5, 0), 2), [None, Some(3)]);
}

#[test]
fn the_last_24_hours_are_kept_and_no_more() {
    let all: Vec<_> = (0..30).map(|hour| (at(hour, 0), (u64::try_from(hour).unwrap(), 0, 0))).collect();
    let hours = after(&all);
    assert_eq!(bans(&hours, at(29, 0), 24), [Some(1); 24]);
    assert_eq!(bans(&hours, at(52, 0), 24)[..1], [Some(1)], "the last of them, 23 hours later");
    assert_eq!(bans(&hours, at(53, 0), 24), [None; 24]);
    let far = count(hours, &[(name("sshd"), counts(90, 0, 0))].into(), at(1_000_000, 0));
    assert_eq!(bans(&far, at(1_000_000, 0), 2), [None, Some(0)]);
    assert!(far.all.hours.counts.len() <= SHOWN);
}

#[test]
fn usual_is_the_median_of_the_hours_that_are_known() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[None, None]), None);
    assert_eq!(median(&[None, Some(7)]), Some(7));
    assert_eq!(median(&[Some(9), None, Some(1), Some(2)]), Some(2));
    assert_eq!(median(&[Some(1), Some(4), Some(100), Some(2)]), Some(3));
    assert_eq!(median(&[Some(u64::MAX), Some(u64::MAX)]), Some(u64::MAX));
}

#[test]
fn a_server_is_the_sum_of_its_jails_and_names_the_busiest_of_this_hour() {
    let jails = |sshd: u64, nginx: u64| {
        BTreeMap::from([(name("sshd"), counts(sshd, 0, 0)), (name("nginx"), counts(nginx, 0, 0))])
    };
    let hours = count(ServerHours::default(), &jails(0, 0), at(0, 0));
    assert_eq!(hours.all.busiest_at(at(0, 0)), None, "nobody was banned");
    let hours = count(hours, &jails(2, 5), at(0, 1));
    assert_eq!(hours.all.busiest_at(at(0, 9)), Some(&(name("nginx"), 5)));
    assert_eq!(hours.all.busiest_at(at(1, 0)), None, "of another hour");
    let hours = count(hours, &jails(3, 6), at(1, 0));
    assert_eq!(hours.all.busiest_at(at(1, 0)), Some(&(name("nginx"), 1)), "the first by name");
    assert_eq!(last(&hours.all.hours.shown(at(1, 0)).bans, 2), [Some(7), Some(2)]);
}

#[test]
fn a_jail_that_is_gone_keeps_its_hours_for_a_day_and_counts_in_the_sum() {
    let hours = after(&[(at(0, 0), (0, 0, 0)), (at(0, 1), (8, 0, 0))]);
    let gone = |hours, hour| count(hours, &BTreeMap::new(), at(hour, 0));
    let hours = gone(hours, 23);
    assert_eq!(hours.jails[&name("sshd")].hours.shown(at(23, 0)).bans[0], Some(8));
    assert_eq!(hours.all.hours.shown(at(23, 0)).bans[0], Some(8));
    assert!(gone(hours, 24).jails.is_empty());
}

#[test]
fn a_jail_takes_a_few_hundred_bytes_and_what_a_newer_version_added_is_kept() {
    let probes: Vec<_> =
        (0..24).map(|hour| (at(hour, 0), (40_000 * u64::try_from(hour).unwrap(), 0, 100_000))).collect();
    let hours = after(&probes);
    let bytes = rmp_serde::to_vec_named(&hours.jails[&name("sshd")]).unwrap();
    assert!(bytes.len() < 250, "{}", bytes.len());
    let read: JailHours = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(read, hours.jails[&name("sshd")]);

    let newer = serde_json::json!({ "hour": 500_000, "counts": [[1, 2], null], "seen": [3, 4, 5], "owed": 6, "shade": 7 });
    let read: JailHours = rmp_serde::from_slice(&rmp_serde::to_vec_named(&newer).unwrap()).unwrap();
    let again: serde_json::Value = rmp_serde::from_slice(&rmp_serde::to_vec_named(&read).unwrap()).unwrap();
    assert_eq!(again, newer);
}
