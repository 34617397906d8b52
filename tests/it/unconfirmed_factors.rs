//! Second factors where replicas must confirm (`BANGUI_REDIS_MIN_REPLICAS`): a change that they have not confirmed is answered 503, as one of a
//! password is, and no login counts on it; a code that they do not know to be used logs nobody in, and one that is used stays so.

use serde_json::json;

use crate::passkeys::{URL, challenge};
use crate::second_factor_roles::{must_set_up, propose, set_up};
use crate::support::authenticator::Passkey;
use crate::support::factors::{App, finish, proposed, waits, with_app};
use crate::support::pair::follows;
use crate::support::redis::Redis;
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON, eventually, sentinel};
use crate::unconfirmed::{log_in, not_confirmed, start_with};

/// The answer to a login with the password once Redis answers and the replica confirms.
async fn answered(client: &Client) -> Answer {
    eventually("a login that is answered", SOON * 2, || async {
        let answer = log_in(client, PASSWORD).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// The answer to a login with this code once the replica confirms; each try is a login of its own.
async fn finished(begun: &Client, client: &Client, code: &str) -> Answer {
    eventually("the second step of a login that is answered", SOON * 2, || async {
        let waiting = answered(begun).await;
        assert_eq!(waiting.problem(401), "second-factor-required");
        let answer = finish(client, waiting.body["login"].as_str().unwrap(), code).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

async fn stored(redis: &Redis, field: &str) -> Option<String> {
    redis.command(&["HGET", "{it}:account:admin", field]).await
}

#[tokio::test]
async fn an_app_that_was_not_confirmed_is_not_counted_on_until_it_is_and_nor_is_its_end() {
    let (cluster, replica) = start_with(Cluster::bare(2), true).await;
    let (one, other) = (cluster.client(0), cluster.client(1));
    let admin = one.logged_in().await.confirmed().await;
    let app = proposed(&admin).await;
    replica.pause();
    let confirm = json!({ "code": app.code() });
    not_confirmed(&admin.post("/api/v1/factors/app/confirm", confirm).await);
    // Neither "the password is enough" nor "it is not": a failover decides.
    not_confirmed(&log_in(&one, PASSWORD).await);
    not_confirmed(&log_in(&other, PASSWORD).await);
    not_confirmed(&admin.get("/api/v1/factors").await);
    replica.resume();
    let begun = finished(&one, &other, &app.code_after(1)).await;
    begun.expect(201);
    assert!(stored(&replica, "factor_app").await.is_some());

    // Other recovery codes, and then none.
    replica.pause();
    not_confirmed(&admin.post("/api/v1/factors/recovery-codes", json!({})).await);
    not_confirmed(&log_in(&other, PASSWORD).await);
    replica.resume();
    assert_eq!(answered(&one).await.problem(401), "second-factor-required");
    replica.pause();
    not_confirmed(&admin.delete("/api/v1/factors/app").await);
    not_confirmed(&log_in(&one, PASSWORD).await);
    not_confirmed(&log_in(&other, PASSWORD).await);
    replica.resume();
    answered(&other).await.expect(201);
    assert_eq!(stored(&replica, "factor_app").await, None);
}

#[tokio::test]
async fn an_app_that_was_set_up_at_the_login_logs_nobody_in_before_it_is_confirmed() {
    let builder = Cluster::bare(2).env("BANGUI_SECOND_FACTOR_ROLES", "admin");
    let (cluster, replica) = start_with(builder, true).await;
    let login = must_set_up(&cluster.client(0), "admin", PASSWORD).await;
    let app = propose(&cluster.client(1), &login).await;
    let app = App::of(app.expect(201).body["secret"].as_str().unwrap());
    replica.pause();
    let unconfirmed = set_up(&cluster.client(1), &login, &app.code()).await;
    not_confirmed(&unconfirmed);
    assert!(unconfirmed.cookies().is_empty(), "{unconfirmed:?}");
    not_confirmed(&log_in(&cluster.client(0), PASSWORD).await);
    replica.resume();
    finished(&cluster.client(0), &cluster.client(1), &app.code_after(1)).await.expect(201);
}

#[tokio::test]
async fn a_code_whose_use_was_not_confirmed_logs_nobody_in_and_is_used_up() {
    let (cluster, replica) = start_with(Cluster::bare(2), true).await;
    let (one, other) = (cluster.client(0), cluster.client(1));
    let admin = one.logged_in().await.confirmed().await;
    let (app, codes) = with_app(&cluster, &admin, "admin").await;
    for code in [app.code(), codes[0].clone()] {
        let (first, second) = (waits(&one, "admin", PASSWORD).await, waits(&one, "admin", PASSWORD).await);
        replica.pause();
        for (client, login) in [(&one, &first), (&other, &second)] {
            let answer = finish(client, login, &code).await;
            not_confirmed(&answer);
            assert!(answer.cookies().is_empty(), "{answer:?}");
        }
        assert_eq!(finish(&other, &first, &code).await.problem(401), "login-over");
        replica.resume();
        assert_eq!(finished(&other, &one, &code).await.problem(401), "wrong-code");
    }
    let sessions = admin.get("/api/v1/sessions").await;
    assert_eq!(sessions.expect(200).body["items"].as_array().unwrap().len(), 1, "{}", sessions.text);
    finished(&other, &one, &codes[1]).await.expect(201);
}

#[tokio::test]
async fn a_passkey_is_neither_added_nor_used_while_its_challenge_cannot_be_taken_for_good() {
    let builder = Cluster::bare(2).env("BANGUI_PUBLIC_URL", URL).env("BANGUI_ALLOWED_HOSTS", "127.0.0.1");
    let (cluster, replica) = start_with(builder, true).await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let path = "/api/v1/factors/passkeys";
    let begun = admin.post(path, json!({})).await;
    let (_, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    let body = json!({ "name": "key", "credential": credential });
    replica.pause();
    not_confirmed(&admin.post(&format!("{path}/finish"), body.clone()).await);
    replica.resume();
    answered(&cluster.client(1)).await.expect(201);
    let again = eventually("an answer", SOON, || async {
        let answer = admin.post(&format!("{path}/finish"), body.clone()).await;
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(again.await.problem(409), "no-passkey-begun");
    let begun = admin.post(path, json!({})).await;
    let (mut passkey, credential) = Passkey::create(&begun.expect(200).body["options"], URL);
    let body = json!({ "name": "key", "credential": credential });
    admin.post(&format!("{path}/finish"), body).await.expect(201);

    let given = challenge(&cluster, 0, None).await;
    let credential = passkey.sign(&given["options"]);
    let body = json!({ "ceremony": given["ceremony"], "credential": credential });
    let path = "/api/v1/session/passkey/finish";
    replica.pause();
    not_confirmed(&cluster.client(1).post(path, body.clone()).await);
    replica.resume();
    let again = eventually("an answer", SOON, || async {
        let answer = cluster.client(0).post(path, body.clone()).await;
        (answer.status != 503).then_some(answer)
    });
    assert_eq!(again.await.problem(401), "login-over");
}

#[tokio::test]
async fn codes_that_were_used_stay_used_when_the_primary_is_killed() {
    let (primary, sentinels) = sentinel::start().await;
    let mut cluster = Cluster::bare(2)
        .redis(primary)
        .env("BANGUI_REDIS_URL", sentinels.url())
        .env("BANGUI_REDIS_MIN_REPLICAS", 1)
        .set_up()
        .await;
    let admin = cluster.client(0).logged_in().await.confirmed().await;
    let (app, codes) = with_app(&cluster, &admin, "admin").await;
    let used = [app.code(), codes[0].clone()];
    for code in &used {
        finished(&cluster.client(0), &cluster.client(1), code).await.expect(201);
    }
    cluster.redis.kill();
    sentinels.failed_over().await;
    // It comes back as a replica, since the new primary needs one that confirms.
    cluster.redis.restart().await;
    let port = sentinels.replica_port.to_string();
    cluster.redis.command::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    follows(&cluster.redis).await;
    for n in 0..2 {
        for code in &used {
            let refused = finished(&cluster.client(n), &cluster.client(1 - n), code).await;
            assert_eq!(refused.problem(401), "wrong-code");
        }
    }
    finished(&cluster.client(0), &cluster.client(1), &codes[1]).await.expect(201);
    assert_eq!(admin.get("/api/v1/factors").await.expect(200).body["recovery_codes"], 8);
}
