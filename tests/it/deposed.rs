//! What a leader found while it was being deposed is not written, and removes nothing that the new leader wrote.

use std::net::SocketAddr;
use std::time::Duration;

use bangui::domain::ServerName;
use bangui::domain::discovery::Conflict;
use bangui::domain::findings::seen::Changes;
use bangui::store::{Acquired, Fence, Lease, Store, StoreError, WorkerId};

use crate::support::Cluster;

fn lease(store: &Store) -> Lease {
    store.lease(WorkerId::fresh().unwrap(), Duration::from_secs(60))
}

async fn take(lease: &mut Lease) -> Fence {
    match lease.acquire().await.unwrap() {
        Acquired::Taken { fence, .. } => fence,
        Acquired::Held { remaining } => panic!("held by another for {remaining:?}"),
    }
}

/// A store, the fence of a former leader, and the fence of the new leader.
async fn deposed(cluster: &Cluster) -> (Store, Fence, Fence) {
    let store = cluster.connected_store().await;
    let mut first = lease(&store);
    let deposed = take(&mut first).await;
    assert!(first.release(&deposed).await.unwrap());
    let leads = take(&mut lease(&store)).await;
    (store, deposed, leads)
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

#[tokio::test]
async fn a_deposed_leader_neither_notes_findings_nor_forgets_those_of_the_new_one() {
    let (cluster, _) = Cluster::bare(0).start_surroundings().await;
    let (store, deposed, leads) = deposed(&cluster).await;
    store.note_probed_findings(&leads, &ids(&["server-down:web-1"]), &[]).await.unwrap();
    for (there, gone) in [(&["server-down:web-2"][..], &[][..]), (&[], &["server-down:web-1"])] {
        let late = store.note_probed_findings(&deposed, &ids(there), &ids(gone)).await;
        assert!(matches!(late, Err(StoreError::Fenced)), "{there:?} {gone:?}: {late:?}");
    }
    let noted = async || store.finding_notes().await.unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(noted().await, ["server-down:web-1"]);
    // Detection by a worker that is not the leader needs no lease.
    store.note_findings(&Changes { there: ids(&["redis-eviction"]), gone: Vec::new() }).await.unwrap();
    store.note_probed_findings(&leads, &[], &ids(&["server-down:web-1"])).await.unwrap();
    assert_eq!(noted().await, ["redis-eviction"]);
    // Nothing is written while there is no leader, either.
    let _: i64 = cluster.redis.command(&["DEL", "{it}:lease"]).await;
    let late = store.note_probed_findings(&leads, &ids(&["server-down:web-1"]), &[]).await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    assert_eq!(noted().await, ["redis-eviction"]);
}

#[tokio::test]
async fn a_deposed_leader_does_not_write_over_the_conflicts_that_the_new_one_found() {
    let (cluster, _) = Cluster::bare(0).start_surroundings().await;
    let (store, deposed, leads) = deposed(&cluster).await;
    let conflict = |name: &str| Conflict {
        name: ServerName::parse(name).unwrap(),
        address: SocketAddr::from(([192, 0, 2, 7], 8443)),
        holder: None,
        other_certificate: false,
    };
    store.write_conflicts(&leads, &[conflict("web-1")]).await.unwrap();
    for late in [&[conflict("web-2")][..], &[]] {
        let written = store.write_conflicts(&deposed, late).await;
        assert!(matches!(written, Err(StoreError::Fenced)), "{written:?}");
    }
    let names = async || {
        let conflicts = store.discovery_conflicts().await.unwrap();
        conflicts.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["web-1"]);
    store.write_conflicts(&leads, &[]).await.unwrap();
    assert!(names().await.is_empty());
}
