use super::*;

#[test]
fn an_equal_epoch_of_another_worker_is_refused_and_the_known_one_is_named() {
    let mut epochs = Epochs::default();
    let job = |epoch, owner: Option<&str>| wire::JobEpoch {
        key: wire::JobKey::parse("ban-1").unwrap(),
        epoch,
        incarnation: None,
        owner: owner.map(str::to_owned),
    };
    epochs.admit(&job(7, Some("a"))).unwrap();
    epochs.admit(&job(7, Some("a"))).unwrap();
    let refused = epochs.admit(&job(7, Some("b"))).unwrap_err();
    assert!(matches!(refused, ChangeError::Stale { epoch: Some(7), .. }), "{refused}");
    assert!(epochs.admit(&job(7, None)).is_ok(), "a worker of a version that does not say who it is");
    epochs.admit(&job(8, Some("b"))).unwrap();
    let refused = epochs.admit(&job(7, Some("a"))).unwrap_err();
    assert!(matches!(refused, ChangeError::Stale { epoch: Some(8), .. }), "{refused}");
}

#[test]
fn a_command_unbans_as_many_addresses_as_their_actions_leave_time_for() {
    let of = |millis, count| affordable(Duration::from_millis(millis), count);
    assert_eq!([of(0, 1), of(5, 1), of(1000, 1), of(2000, 2), of(9000, 1)], [25, 25, 2, 2, 1]);
}

#[test]
fn an_epoch_that_was_forgotten_is_not_admitted_again() {
    let mut epochs = Epochs::default();
    let job = |n: usize, epoch| wire::JobEpoch {
        key: wire::JobKey::parse(&n.to_string()).unwrap(),
        epoch,
        incarnation: None,
        owner: None,
    };
    let last = u64::try_from(MAX_JOBS).unwrap() + 100;
    for n in 1..=last {
        epochs.admit(&job(usize::try_from(n).unwrap(), n)).unwrap();
    }
    assert_eq!(epochs.seen.len(), MAX_JOBS);
    assert!(
        epochs.admit(&job(1, 1)).is_err(),
        "its fence is forgotten, and with it whether it was cancelled"
    );
    assert!(epochs.admit(&job(1, last + 1)).is_ok());
    assert!(epochs.admit(&job(MAX_JOBS, u64::try_from(MAX_JOBS).unwrap())).is_ok(), "one that is remembered");
}
