//! Sessions with any role, begun past the workers.

use std::time::Duration;

use bangui::actions::Actor;
use bangui::domain::access::{Access, Role, ServerPattern};
use bangui::store::{LoginOrigin, Owner, SessionLife, Store};

/// A role, for servers of these patterns; for all of them if there are none.
pub fn access(role: Role, servers: &[&str]) -> Access {
    Access { role, servers: servers.iter().map(|text| ServerPattern::parse(text).unwrap()).collect() }
}

/// Begins a session with this access; returns its token.
pub async fn session_of(store: &Store, access: &Access) -> String {
    let life = SessionLife { idle: Duration::from_secs(1_800), absolute: Duration::from_secs(43_200) };
    let origin = LoginOrigin { ip: [198, 51, 100, 7].into(), user_agent: "roles".to_owned() };
    let admin = Owner::admin();
    let account = store.account(&admin.username).await.unwrap().unwrap();
    let begun = store.begin_session((&admin, access), account.generation, &origin, life, |_| {
        Actor::operator().record("session.begin")
    });
    begun.await.unwrap().expect("nobody revokes here").0.reveal()
}
