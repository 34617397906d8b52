//! Each row of the table of `discovery.rs`.

use super::*;

fn at(n: u8) -> SocketAddr {
    ([198, 51, 100, n], 8443).into()
}

fn name(text: &str) -> ServerName {
    ServerName::parse(text).unwrap()
}

fn minute(n: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(1_700_000_000 + n * 60, 0).unwrap()
}

/// DNS answers these addresses; of those that were asked, `answers` says who answered: nobody, or a name.
fn look(addresses: Option<&[u8]>, answers: &[(u8, Option<&str>)]) -> Look {
    let addresses = addresses.map(|all| all.iter().map(|n| at(*n)).collect());
    let answering = |(n, answer): &(u8, Option<&str>)| {
        let instance = answer.map(|name| format!("run of {name} at {n}"));
        (at(*n), Answering { group: name("nodes"), name: answer.map(name), instance, fingerprint: None })
    };
    Look {
        groups: [(name("nodes"), Resolved { addresses, tls: true })].into(),
        asked: answers.iter().map(answering).collect(),
    }
}

/// Who is where after a look, and since which minute it has been missing.
fn shown(servers: &Discoveries) -> Vec<(&str, u8, Option<i64>)> {
    let last = |address: &SocketAddr| match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    let since = |server: &Discovered| server.missing_since.map(|since| (since - minute(0)).num_minutes());
    servers.iter().map(|(name, server)| (name.as_str(), last(&server.address), since(server))).collect()
}

fn two() -> Discoveries {
    let found = look(Some(&[1, 2]), &[(1, Some("a")), (2, Some("b"))]);
    let done = reconcile(Discoveries::new(), &found, &[], minute(0));
    assert_eq!(shown(&done.servers), [("a", 1, None), ("b", 2, None)]);
    assert_eq!(done.events.iter().map(|(_, event)| event.kind()).collect::<Vec<_>>(), ["server.added"; 2]);
    done.servers
}

#[test]
fn dns_that_does_not_answer_changes_nothing() {
    let done = reconcile(two(), &look(None, &[]), &[], minute(60));
    assert_eq!(done.servers, two());
    assert!(done.events.is_empty() && done.conflicts.is_empty());
}

#[test]
fn a_server_whose_address_is_gone_stays_for_ten_minutes_and_then_is_forgotten() {
    let done = reconcile(two(), &look(Some(&[1]), &[]), &[], minute(1));
    assert_eq!(shown(&done.servers), [("a", 1, None), ("b", 2, Some(1))]);
    let back = reconcile(done.servers.clone(), &look(Some(&[1, 2]), &[]), &[], minute(5));
    assert_eq!(back.servers, two());
    let later = reconcile(done.servers.clone(), &look(Some(&[1]), &[]), &[], minute(10));
    assert_eq!(later.servers.len(), 2);
    let gone = reconcile(done.servers, &look(Some(&[1]), &[]), &[], minute(11));
    assert_eq!(shown(&gone.servers), [("a", 1, None)]);
    assert_eq!((gone.forgotten, gone.events), (vec![name("b")], vec![(name("b"), Event::ServerRemoved)]));
    // A group that is configured no more goes the same way.
    let none = reconcile(two(), &Look::default(), &[], minute(0));
    assert!(none.servers.values().all(|server| server.missing_since == Some(minute(0))));
}

#[test]
fn a_server_that_comes_back_elsewhere_is_the_same_one() {
    // Its address is gone, or is there and silent, or is another's by now.
    for found in [
        look(Some(&[1, 3]), &[(3, Some("b"))]),
        look(Some(&[1, 2, 3]), &[(2, None), (3, Some("b"))]),
        look(Some(&[1, 2, 3]), &[(2, Some("c")), (3, Some("b"))]),
    ] {
        let done = reconcile(two(), &found, &[], minute(1));
        assert_eq!(done.servers[&name("b")].address, at(3), "{found:?}");
        assert_eq!(done.servers[&name("b")].missing_since, None);
        assert!(done.conflicts.is_empty() && done.forgotten.is_empty(), "{done:?}");
    }
    // Two that have changed places.
    let done = reconcile(two(), &look(Some(&[1, 2]), &[(1, Some("b")), (2, Some("a"))]), &[], minute(1));
    assert_eq!(shown(&done.servers), [("a", 2, None), ("b", 1, None)]);
    assert!(done.conflicts.is_empty());
}

#[test]
fn of_two_agents_with_one_name_the_first_stays() {
    let claim = look(Some(&[1, 2, 3]), &[(3, Some("b"))]);
    assert_eq!(contested(&two(), &claim), [at(2)].into());
    for answers in [&[(2, Some("b")), (3, Some("b"))][..], &[(3, Some("b"))]] {
        let done = reconcile(two(), &look(Some(&[1, 2, 3]), answers), &[], minute(1));
        assert_eq!(shown(&done.servers), [("a", 1, None), ("b", 2, None)]);
        let conflict =
            Conflict { name: name("b"), address: at(3), holder: Some(at(2)), other_certificate: false };
        assert_eq!(done.conflicts, [conflict]);
    }
    // Both new: the lower address.
    let both = look(Some(&[4, 3]), &[(3, Some("c")), (4, Some("c"))]);
    let done = reconcile(Discoveries::new(), &both, &[], minute(0));
    assert_eq!((shown(&done.servers), done.conflicts.len()), (vec![("c", 3, None)], 1));
    // Gone from DNS is enough, nobody need be asked there.
    assert!(contested(&two(), &look(Some(&[1, 3]), &[(3, Some("b"))])).is_empty());
}

#[test]
fn a_listed_name_is_nobody_elses() {
    let done = reconcile(two(), &look(Some(&[1, 2, 3]), &[(3, Some("c"))]), &[name("C")], minute(1));
    assert_eq!(
        done.conflicts,
        [Conflict { name: name("c"), address: at(3), holder: None, other_certificate: false }]
    );
    assert_eq!(done.servers, two());
    // One that is listed by now takes its state along.
    let done = reconcile(two(), &look(Some(&[1, 2]), &[]), &[name("b")], minute(1));
    assert_eq!(shown(&done.servers), [("a", 1, None)]);
    assert!(done.forgotten.is_empty() && done.events.is_empty());
}

#[test]
fn one_agent_behind_two_addresses_is_one_server() {
    let mut both = look(Some(&[1, 2]), &[(1, Some("a")), (2, Some("a"))]);
    for answering in both.asked.values_mut() {
        answering.instance = Some("the same run".to_owned());
    }
    let done = reconcile(Discoveries::new(), &both, &[], minute(0));
    assert_eq!((shown(&done.servers), done.conflicts), (vec![("a", 1, None)], vec![]));
    let again = reconcile(done.servers.clone(), &both, &[], minute(1));
    assert_eq!((again.servers, again.conflicts), (done.servers, vec![]));
}

#[test]
fn what_a_newer_version_remembers_of_a_server_is_kept_through_a_move() {
    #[derive(Serialize)]
    struct Newer {
        group: &'static str,
        address: &'static str,
        tls: bool,
        colour: &'static str,
    }
    let newer = Newer { group: "nodes", address: "[2001:db8::1]:8443", tls: true, colour: "green" };
    let bytes = rmp_serde::to_vec_named(&newer).unwrap();
    let server: Discovered = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(server.address, "[2001:db8::1]:8443".parse().unwrap());
    let moved = reconcile([(name("b"), server)].into(), &look(Some(&[3]), &[(3, Some("b"))]), &[], minute(1));
    let again = rmp_serde::to_vec_named(&moved.servers[&name("b")]).unwrap();
    let again: Discovered = rmp_serde::from_slice(&again).unwrap();
    assert_eq!((again.address, again.unknown["colour"].as_str()), (at(3), Some("green")));
}

/// The same, each showing this certificate.
fn showing(addresses: &[u8], reported: &[(u8, Option<&str>)], certificate: &str) -> Look {
    let mut look = look(Some(addresses), reported);
    look.asked.values_mut().for_each(|answering| answering.fingerprint = Some(certificate.to_owned()));
    look
}

#[test]
fn a_server_is_known_by_the_certificate_that_it_showed_first_and_nobody_takes_its_name_with_another() {
    let first = reconcile(two(), &showing(&[1, 2], &[(1, Some("a"))], "first"), &[], minute(0));
    assert_eq!(first.servers[&name("a")].fingerprint.as_deref(), Some("first"));
    assert_eq!(first.servers[&name("b")].fingerprint, None, "it was not asked");

    // At another address beside it, after it has gone, and in its very place.
    for (addresses, reported, missing) in [
        (&[1, 2, 3][..], (3, Some("a")), None),
        (&[2, 3], (3, Some("a")), Some(1)),
        (&[1, 2], (1, Some("a")), Some(1)),
    ] {
        let done =
            reconcile(first.servers.clone(), &showing(addresses, &[reported], "second"), &[], minute(1));
        assert_eq!(shown(&done.servers), [("a", 1, missing), ("b", 2, None)], "{reported:?}");
        assert_eq!(done.servers[&name("a")].fingerprint.as_deref(), Some("first"));
        let [conflict] = &done.conflicts[..] else { panic!("{:?}", done.conflicts) };
        assert!(
            conflict.other_certificate && conflict.to_string().contains("another certificate"),
            "{conflict}"
        );
    }

    // With its own it moves as any server does.
    let moved =
        reconcile(first.servers.clone(), &showing(&[2, 3], &[(3, Some("a"))], "first"), &[], minute(1));
    assert_eq!(shown(&moved.servers), [("a", 3, None), ("b", 2, None)]);
    assert!(moved.conflicts.is_empty());

    // One that has been gone for long is forgotten, and its certificate with it.
    let gone = reconcile(first.servers, &showing(&[2, 3], &[(3, Some("a"))], "second"), &[], minute(1));
    let gone = reconcile(gone.servers, &showing(&[2, 3], &[(3, Some("a"))], "second"), &[], minute(11));
    assert_eq!(gone.forgotten, [name("a")]);
    let later = reconcile(gone.servers, &showing(&[2, 3], &[(3, Some("a"))], "second"), &[], minute(11));
    assert_eq!(later.servers[&name("a")].fingerprint.as_deref(), Some("second"));
}
