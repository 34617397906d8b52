//! Ten thousand users with ten sessions each, beside as many sessions of one account: what a check costs, and a session in Redis.
//!
//! A check reads the session and the generation of its account: with one account every check reads the same generation, with ten
//! thousand users another one each. The rounds take turns, so that both see the same machine.

use bangui::actions::Actor;
use bangui::domain::access::{Access, Role};
use bangui::store::{Accepted, Account, InvitationCode, Invited, NewInvitation, Owner, Store, Username};

use crate::footprint::begin_of;
use crate::scale_load::{CheckCost, Requests, checks, copied_sessions, medians, used_later};
use crate::scale_sessions::{settled, stored_bytes};
use crate::support::Cluster;
use crate::{Figure, quantile};

const USERS: u32 = 10_000;
const SESSIONS_OF_ONE: usize = 10;
const CONNECTIONS: usize = 16;
const ROUNDS: usize = 21;
const MEASURED_SECONDS: u64 = 2;
/// One pass through all sessions.
const WARM_SECONDS: u64 = 8;

pub async fn measure() -> Vec<Figure> {
    let cluster = Cluster::bare(1).env("RUST_LOG", "warn,bangui::worker=info").set_up().await;
    let (redis, worker) = (&cluster.redis, &cluster.workers[0]);
    let store = cluster.store();
    store.ready().await.unwrap();
    let everything = Access::everything();
    let admin = store.account(&Username::admin()).await.unwrap().unwrap();
    let first = begin_of(&store, (&admin.owner, &everything), admin.generation, 0).await;
    let count = usize::try_from(USERS).unwrap() * SESSIONS_OF_ONE;
    let of_one = copied_sessions(redis, &first, &Owner::admin(), count).await;
    let mut users = Vec::new();
    for n in 0..USERS {
        users.push(user(&store, n).await);
    }
    settled(redis).await;
    let before = stored_bytes(redis).await;
    let viewer = Access { role: Role::Viewer, servers: Vec::new() };
    let mut of_many = Vec::new();
    for (user, n) in users.iter().zip(0..) {
        let first = begin_of(&store, (&user.owner, &viewer), user.generation, n).await;
        of_many.extend(copied_sessions(redis, &first, &user.owner, SESSIONS_OF_ONE - 1).await);
        of_many.push(first);
    }
    settled(redis).await;
    #[expect(clippy::cast_precision_loss, reason = "a count of sessions")]
    let bytes = (stored_bytes(redis).await - before) / of_many.len() as f64;
    // A session that has not been used for a minute is extended by its next check: in some rounds here, and not in others.
    for tokens in [&of_one, &of_many] {
        used_later(redis, tokens).await;
    }
    // In an order in which no two checks in a row are of one user.
    let by_turns = (0..SESSIONS_OF_ONE).flat_map(|n| of_many.iter().skip(n).step_by(SESSIONS_OF_ONE));
    let requests = [Requests::of(of_one.iter()), Requests::of(by_turns)];
    let mut rounds: [Vec<CheckCost>; 2] = Default::default();
    for requests in &requests {
        checks(redis, &[worker], requests, CONNECTIONS, WARM_SECONDS).await;
    }
    for round in 0..ROUNDS {
        // Neither is always the first of the two.
        for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let round = checks(redis, &[worker], &requests[at], CONNECTIONS, MEASURED_SECONDS).await;
            rounds[at].push(round);
        }
    }
    let mut ratios: Vec<f64> =
        rounds[0].iter().zip(&rounds[1]).map(|(one, many)| many.worker / one.worker).collect();
    let ratio = quantile(&mut ratios, 0.5);
    let [one, many] = rounds.map(|rounds| medians(&rounds));
    let both = |cost: &CheckCost| {
        format!(
            "{:.0} a second, p99 {:.2} ms, {:.1} µs of the worker, {:.1} µs of Redis, {:.3} Redis commands",
            cost.a_second, cost.p99, cost.worker, cost.redis, cost.commands
        )
    };
    vec![
        Figure {
            what: "100,000 sessions of 10,000 users, strict: processor time of the worker for a check, as a ratio to that with 100,000 sessions of one account",
            aim: "1.03 or less",
            measured: format!("{ratio:.3} (median of {ROUNDS} rounds of both)"),
        },
        Figure { what: "the same: a check of one account's sessions", aim: "", measured: both(&one) },
        Figure { what: "the same: a check of many users' sessions", aim: "", measured: both(&many) },
        Figure {
            what: "bytes in Redis for each session of a user, index included",
            aim: "360 or less",
            measured: format!("{bytes:.0}"),
        },
    ]
}

/// A user who was invited and has set a password.
async fn user(store: &Store, n: u32) -> Account {
    let username = Username::parse(&format!("user-{n}")).unwrap();
    let code = InvitationCode::fresh().unwrap();
    let access = Access { role: Role::Viewer, servers: Vec::new() };
    let (by, record) = (Owner::admin(), |what| Actor::operator().record(what));
    let new = NewInvitation { username: &username, access: &access, by: &by };
    assert_eq!(store.invite(&code, new, &record("invitation.create")).await.unwrap(), Invited::Done);
    let invitation = store.invitation(&code.id()).await.unwrap().unwrap();
    let accepted = store.accept_invitation(&invitation, "nobody logs in", &record("invitation.accept")).await;
    assert_eq!(accepted.unwrap(), Accepted::Done);
    store.account(&username).await.unwrap().unwrap()
}
