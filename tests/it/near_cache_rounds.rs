//! A few of the rounds that `cargo bench -- near_cache_failovers` runs by the thousand: clients that hang up, and failovers.

use crate::support::rounds::failovers::{coordinated_failovers, sentinel_failovers};
use crate::support::rounds::hang_ups::hang_ups;

#[tokio::test]
async fn a_session_whose_revocation_lost_its_client_is_alive_everywhere_or_refused_everywhere() {
    let tally = hang_ups(120, 8).await;
    assert!(tally.split.is_empty() && tally.unaudited.is_empty() && tally.accepted.is_empty(), "{tally:?}");
    assert!(tally.rounds == 120 && tally.ended > 0, "nothing is proved by {tally:?}");
}

#[tokio::test]
async fn nothing_that_was_logged_out_after_a_coordinated_failover_is_accepted_where_workers_were_left_behind()
{
    let tally = coordinated_failovers(60, 30).await;
    assert!(tally.accepted.is_empty(), "{tally:?}");
    assert!(tally.failovers == 2 && tally.checks >= 60 * 6, "nothing is proved by {tally:?}");
}

#[tokio::test]
async fn nothing_that_was_logged_out_after_a_failover_by_sentinel_is_accepted_by_a_holder_that_was_stopped() {
    let tally = sentinel_failovers(60, 30).await;
    assert!(tally.accepted.is_empty(), "{tally:?}");
    assert!(tally.failovers == 2 && tally.checks >= 60 * 4, "nothing is proved by {tally:?}");
}
