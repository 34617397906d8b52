//! Every change leaves an entry in the audit, with user, place and outcome: the routes of the OpenAPI document are compared
//! with those that are tried here.

use std::collections::BTreeSet;

use bangui::domain::transition::record_activation;
use bangui::domain::{JailName, ServerName};
use bangui::store::{AuditEntry, BEGUN, Owner, Store, WaitingLogin};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::authenticator::Passkey;
use crate::support::cluster::{SERVER, server_is};
use crate::support::process::{Child, bangui};
use crate::support::{Answer, Client, Cluster, PASSWORD, SOON, eventually, factors};

/// Routes that change nothing, although they are not GET.
// A secret that is proposed is no factor yet.
const NO_CHANGES: &[&str] = &[
    "POST /api/v1/servers/{server}/probe",
    "POST /api/v1/factors/app",
    "POST /api/v1/factors/passkeys",
    "POST /api/v1/session/passkey",
    "POST /api/v1/session/factor/app",
    "POST /api/v1/session/factor/passkey",
];
const URL: &str = "https://bangui.example";
const NEW_PASSWORD: &str = "another correct horse battery staple";

/// The routes that were tried, with the entries that each caused.
struct Tried {
    cluster: Cluster,
    store: Store,
    routes: BTreeSet<String>,
}

impl Tried {
    async fn entries(&self) -> Vec<AuditEntry> {
        self.store.audit_page(None, 200).await.unwrap().items
    }

    async fn generation(&self) -> u64 {
        self.store.account(&Owner::admin().username).await.unwrap().unwrap().generation
    }

    /// Makes the change and returns its entry; a change on a host also has one for its beginning.
    async fn change(
        &mut self,
        route: &str,
        what: &str,
        request: reqwest::RequestBuilder,
    ) -> (Answer, AuditEntry) {
        self.routes.insert(route.to_owned());
        let before: BTreeSet<String> = self.entries().await.into_iter().map(|entry| entry.id).collect();
        let answer = self.cluster.client(0).send(request).await;
        assert!(answer.status.is_success(), "{route}: {}", answer.text);
        let new: Vec<AuditEntry> =
            self.entries().await.into_iter().filter(|entry| !before.contains(&entry.id)).collect();
        let [entry, begun @ ..] = &new[..] else { panic!("{route} left no entry") };
        assert_eq!((entry.what.as_str(), entry.outcome.as_str()), (what, "done"), "{route}: {new:?}");
        assert_eq!(
            entry.username,
            if what == "user.accept" { "anna" } else { "admin" },
            "{route}: {entry:?}"
        );
        assert_eq!(entry.address.as_deref(), Some("127.0.0.1"), "{route}: {entry:?}");
        assert_eq!(entry.worker.as_deref(), answer.headers["x-bangui-worker"].to_str().ok(), "{route}");
        match begun {
            [] => assert_eq!(entry.begun, None, "{route}: {entry:?}"),
            [begun] => {
                assert_eq!((begun.what.as_str(), begun.outcome.as_str()), (what, BEGUN), "{route}: {new:?}");
                assert_eq!(entry.begun.as_ref(), Some(&begun.id), "{route}: {new:?}");
                assert!(!begun.after.is_null(), "{route} does not say what it was to do: {begun:?}");
            }
            more => panic!("{route} left more entries than two: {more:?}"),
        }
        (answer, entry.clone())
    }
}

/// As a probe would find it after a crash.
async fn crashed(cluster: &Cluster, jail: &str) {
    let (name, jail) = (ServerName::parse(SERVER).unwrap(), JailName::parse(jail).unwrap());
    let store = cluster.store();
    eventually("a pending recovery", SOON, || async {
        let change = |state, now| {
            let (mut state, events) = record_activation(state, jail.clone(), now);
            state.pending_recovery = state.last_activation.as_ref().map(|activation| activation.crashed(now));
            Ok::<_, std::convert::Infallible>(Some((state, events)))
        };
        store.change_server(&name, change).await.ok()
    })
    .await;
}

#[tokio::test]
async fn every_route_that_changes_something_leaves_an_entry() {
    let mut cluster = Cluster::with_fail2ban(1)
        .jails(&["web"])
        .env("BANGUI_PUBLIC_URL", URL)
        .env("BANGUI_ALLOWED_HOSTS", "127.0.0.1")
        .start()
        .await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, ""));
    let anonymous = cluster.client(0);
    let store = cluster.connected_store().await;
    let mut tried = Tried { cluster, store, routes: BTreeSet::new() };
    let send = |client: &Client, method: Method, path: &str, body: Value| {
        client.request(method, path).header("if-match", "*").json(&body)
    };
    let setup = json!({ "password": PASSWORD, "token": crate::support::SETUP_TOKEN });
    let request = send(&anonymous, Method::POST, "/api/v1/setup", setup);
    let (_, entry) = tried.change("POST /api/v1/setup", "setup.complete", request).await;
    assert_eq!(entry.session, None);
    let login = |password| send(&anonymous, Method::POST, "/api/v1/session", json!({ "password": password }));
    let (answer, entry) = tried.change("POST /api/v1/session", "session.begin", login(PASSWORD)).await;
    assert_eq!(entry.session.as_deref(), answer.body["session"]["id"].as_str());
    let client = anonymous.with_bearer(answer.body["token"].as_str().unwrap());
    let request = send(&client, Method::POST, "/api/v1/session/confirm", json!({ "password": PASSWORD }));
    tried.change("POST /api/v1/session/confirm", "session.confirm", request).await;
    server_is(&client, "up").await;

    let jails = format!("/api/v1/servers/{SERVER}/jails");
    for (method, below, route, what, body) in [
        (Method::POST, "/app/activate", "/{jail}/activate", "jail.activate", Value::Null),
        (Method::POST, "/app/deactivate", "/{jail}/deactivate", "jail.deactivate", Value::Null),
        (Method::PATCH, "/web", "/{jail}", "jail.settings", json!({ "maxretry": 7 })),
        (Method::POST, "/web/ignore", "/{jail}/ignore", "jail.ignore", json!({ "network": "203.0.113.9" })),
        (Method::POST, "/web/bans", "/{jail}/bans", "ban.add", json!({ "ips": ["203.0.113.7"] })),
        (Method::POST, "/web/unban", "/{jail}/unban", "ban.remove", json!({ "ips": ["203.0.113.7"] })),
        (Method::DELETE, "/web/bans/203.0.113.7", "/{jail}/bans/{ip}", "ban.remove", Value::Null),
        (Method::DELETE, "/web/bans", "/{jail}/bans", "ban.remove_all", Value::Null),
    ] {
        let route = format!("{method} /api/v1/servers/{{server}}/jails{route}");
        let request = send(&client, method, &format!("{jails}{below}"), body);
        let (_, entry) = tried.change(&route, what, request).await;
        assert_eq!(entry.target, Some(format!("{SERVER}/{}", &below[1..4])), "{entry:?}");
        assert!(entry.session.is_some());
    }

    // A job has an entry when it is enqueued, when it is cancelled, and when it ends. With a fail2ban that answers nothing the
    // first job does not end, and the second waits.
    tried.cluster.fail2ban().pause();
    let ips: Vec<String> = (0..1200_u32).map(|n| format!("2001:db8::{n:x}")).collect();
    let put = json!({ "ips": ips });
    let first = client.post(&format!("{jails}/web/bans"), put.clone()).await;
    let first = first.expect(202).body["id"].as_str().unwrap().to_owned();
    let second = client.post(&format!("{jails}/web/bans"), put).await;
    let id = second.expect(202).body["id"].as_str().unwrap().to_owned();
    client.post(&format!("/api/v1/ban-jobs/{id}/cancel"), Value::Null).await.expect(200);
    tried.routes.insert("POST /api/v1/ban-jobs/{id}/cancel".to_owned());
    for what in ["ban_job.begin", "ban_job.cancel", "ban_job.end"] {
        let entries = tried.entries().await;
        let of_job = |entry: &&AuditEntry| format!("{entry:?}").contains(&id) && entry.what == what;
        let entry = entries.iter().find(of_job).unwrap_or_else(|| panic!("{what}: {entries:?}"));
        assert_eq!(entry.target, Some(format!("{SERVER}/web")), "{entry:?}");
        assert!(entry.session.is_some() && entry.address.is_some() && entry.worker.is_some(), "{entry:?}");
    }
    tried.cluster.fail2ban().resume();
    // Cancel the first one, so that it does not keep fail2ban busy; it may have ended by now.
    client.post(&format!("/api/v1/ban-jobs/{first}/cancel"), Value::Null).await;

    let recovery = format!("/api/v1/servers/{SERVER}/recovery");
    client.delete(&recovery).await.expect(204);
    assert_ne!(tried.entries().await[0].what, "recovery.clear", "there was nothing to clear");
    crashed(&tried.cluster, "app").await;
    let request = client.request(Method::DELETE, &recovery);
    let (_, entry) =
        tried.change("DELETE /api/v1/servers/{server}/recovery", "recovery.clear", request).await;
    assert_eq!(entry.before["jail_name"], "app", "{entry:?}");
    crashed(&tried.cluster, "app").await;
    let request = client.request(Method::POST, &format!("{recovery}/rollback"));
    let route = "POST /api/v1/servers/{server}/recovery/rollback";
    let (_, entry) = tried.change(route, "recovery.roll_back", request).await;
    assert_eq!((&entry.before["jail_name"], &entry.after["running"]), (&json!("app"), &json!(["web"])));

    let request = send(&client, Method::PATCH, "/api/v1/settings", json!({ "session_idle_seconds": 900 }));
    tried.change("PATCH /api/v1/settings", "settings.change", request).await;
    let body = json!({ "username": "anna", "role": "viewer", "servers": ["web-*"] });
    let request = send(&client, Method::POST, "/api/v1/invitations", body.clone());
    let (answer, entry) = tried.change("POST /api/v1/invitations", "user.invite", request).await;
    assert_eq!(entry.target.as_deref(), Some("anna"), "{entry:?}");
    let id = answer.body["invitation"]["id"].as_str().unwrap();
    let request = client.request(Method::DELETE, &format!("/api/v1/invitations/{id}"));
    tried.change("DELETE /api/v1/invitations/{id}", "invitation.revoke", request).await;
    let code = client.post("/api/v1/invitations", body).await.body["code"].as_str().unwrap().to_owned();
    let acceptance = json!({ "code": code, "password": NEW_PASSWORD });
    let request = send(&anonymous, Method::POST, "/api/v1/invitations/accept", acceptance);
    let (_, entry) = tried.change("POST /api/v1/invitations/accept", "user.accept", request).await;
    assert_eq!(entry.after, json!({ "role": "viewer", "servers": ["web-*"] }), "{entry:?}");
    let request = send(&client, Method::PATCH, "/api/v1/users/anna", json!({ "role": "operator" }));
    let (_, entry) = tried.change("PATCH /api/v1/users/{name}", "user.change", request).await;
    assert_eq!((&entry.before["role"], &entry.after["role"]), (&json!("viewer"), &json!("operator")));
    let request = client.request(Method::DELETE, "/api/v1/users/anna");
    let (_, entry) = tried.change("DELETE /api/v1/users/{name}", "user.delete", request).await;
    assert_eq!((entry.target.as_deref(), &entry.before["role"]), (Some("anna"), &json!("operator")));
    let request = send(&client, Method::POST, "/api/v1/tokens", json!({ "name": "backup" }));
    let (answer, entry) = tried.change("POST /api/v1/tokens", "token.create", request).await;
    assert_eq!((&entry.after["name"], &entry.after["days"]), (&json!("backup"), &json!(90)));
    let id = answer.body["token"]["id"].as_str().unwrap().to_owned();
    let request = client.request(Method::DELETE, &format!("/api/v1/tokens/{id}"));
    let (_, entry) = tried.change("DELETE /api/v1/tokens/{id}", "token.revoke", request).await;
    assert_eq!(entry.target, Some(id));

    let app = factors::proposed(&client).await;
    let request = send(&client, Method::POST, "/api/v1/factors/app/confirm", json!({ "code": app.code() }));
    tried.change("POST /api/v1/factors/app/confirm", "factor.set_app", request).await;
    let request = client.request(Method::POST, "/api/v1/factors/recovery-codes");
    let route = "POST /api/v1/factors/recovery-codes";
    tried.change(route, "factor.renew_recovery_codes", request).await;
    let waiting = factors::waits(&anonymous, "admin", PASSWORD).await;
    let step = json!({ "login": waiting, "code": app.code_after(1) });
    let request = send(&anonymous, Method::POST, "/api/v1/session/factor", step);
    let (_, entry) = tried.change("POST /api/v1/session/factor", "session.begin", request).await;
    assert_eq!(entry.after["second_factor"], "app", "{entry:?}");
    let request = client.request(Method::DELETE, "/api/v1/factors/app");
    tried.change("DELETE /api/v1/factors/app", "factor.remove_app", request).await;

    let waiting = WaitingLogin::of(&Owner::admin(), tried.generation().await);
    let secret = tried.store.keep_waiting_login(&waiting).await.unwrap();
    let proposed = json!({ "login": secret.reveal() });
    let proposed = anonymous.post("/api/v1/session/factor/app", proposed).await;
    let app = factors::App::of(proposed.expect(201).body["secret"].as_str().unwrap());
    let body = json!({ "login": secret.reveal(), "code": app.code() });
    let request = send(&anonymous, Method::POST, "/api/v1/session/factor/app/confirm", body);
    tried.routes.insert("POST /api/v1/session/factor/app/confirm".to_owned());
    tried.cluster.client(0).send(request).await.expect(201);
    let latest: Vec<String> = tried.entries().await.into_iter().take(2).map(|entry| entry.what).collect();
    assert_eq!(latest, ["session.begin", "factor.set_app"]);
    client.delete("/api/v1/factors/app").await.expect(204);

    let waiting = WaitingLogin::of(&Owner::admin(), tried.generation().await);
    let secret = tried.store.keep_waiting_login(&waiting).await.unwrap();
    let begun = json!({ "login": secret.reveal() });
    let options = anonymous.post("/api/v1/session/factor/passkey", begun).await;
    let (_, credential) = Passkey::create(&options.expect(200).body["options"], URL);
    let body = json!({ "login": secret.reveal(), "name": "phone", "credential": credential });
    let request = send(&anonymous, Method::POST, "/api/v1/session/factor/passkey/finish", body);
    tried.routes.insert("POST /api/v1/session/factor/passkey/finish".to_owned());
    tried.cluster.client(0).send(request).await.expect(201);
    let latest: Vec<_> = tried.entries().await.into_iter().take(2).collect();
    assert_eq!((&*latest[0].what, &*latest[1].what), ("session.begin", "factor.add_passkey"));
    assert_eq!(latest[1].after["name"], "phone", "{latest:?}");
    let id = latest[1].target.clone().unwrap();
    client.delete(&format!("/api/v1/factors/passkeys/{id}")).await.expect(204);

    let options = client.post("/api/v1/factors/passkeys", json!({})).await;
    let (mut passkey, credential) = Passkey::create(&options.expect(200).body["options"], URL);
    let body = json!({ "name": "yubikey", "credential": credential });
    let request = send(&client, Method::POST, "/api/v1/factors/passkeys/finish", body);
    let route = "POST /api/v1/factors/passkeys/finish";
    let (answer, entry) = tried.change(route, "factor.add_passkey", request).await;
    assert_eq!(entry.after["name"], "yubikey", "{entry:?}");
    let challenge = anonymous.post("/api/v1/session/passkey", json!({})).await;
    let signed = passkey.sign(&challenge.expect(200).body["options"]);
    let body = json!({ "ceremony": challenge.body["ceremony"], "credential": signed });
    let request = send(&anonymous, Method::POST, "/api/v1/session/passkey/finish", body);
    let (_, entry) = tried.change("POST /api/v1/session/passkey/finish", "session.begin", request).await;
    assert_eq!(entry.after["second_factor"], "passkey", "{entry:?}");
    let id = answer.body["passkey"]["id"].as_str().unwrap();
    let request = client.request(Method::DELETE, &format!("/api/v1/factors/passkeys/{id}"));
    tried.change("DELETE /api/v1/factors/passkeys/{id}", "factor.remove_passkey", request).await;

    let other = anonymous.log_in().await;
    let shown = anonymous.with_bearer(&other).get("/api/v1/session").await;
    let id = shown.body["id"].as_str().unwrap().to_owned();
    let request = client.request(Method::DELETE, &format!("/api/v1/sessions/{id}"));
    let (_, entry) = tried.change("DELETE /api/v1/sessions/{id}", "session.revoke", request).await;
    assert_eq!(entry.target, Some(id));
    let request = client.request(Method::DELETE, "/api/v1/sessions?keep_current=true");
    tried.change("DELETE /api/v1/sessions", "session.revoke_others", request).await;
    let body = json!({ "current": PASSWORD, "new": NEW_PASSWORD });
    let request = send(&client, Method::PUT, "/api/v1/password", body);
    let (answer, _) = tried.change("PUT /api/v1/password", "password.change", request).await;
    let client = anonymous.with_bearer(&answer.session_cookie());
    client.confirm(NEW_PASSWORD).await.expect(204);
    let request = client.request(Method::DELETE, "/api/v1/sessions");
    tried.change("DELETE /api/v1/sessions", "session.revoke_all", request).await;
    let (answer, _) = tried.change("POST /api/v1/session", "session.begin", login(NEW_PASSWORD)).await;
    let client = anonymous.with_bearer(answer.body["token"].as_str().unwrap());
    let request = client.request(Method::DELETE, "/api/v1/session");
    tried.change("DELETE /api/v1/session", "session.end", request).await;

    // No password is in it.
    for entry in tried.entries().await {
        let text = format!("{entry:?}");
        assert!(!text.contains(PASSWORD) && !text.contains(NEW_PASSWORD), "{text}");
    }
    let document = anonymous.get("/openapi.json").await.body;
    let changing: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method, path)))
        .filter(|(method, _)| ["post", "put", "patch", "delete"].contains(&method.as_str()))
        .map(|(method, path)| format!("{} {path}", method.to_uppercase()))
        .filter(|route| !NO_CHANGES.contains(&route.as_str()))
        .collect();
    assert_eq!(tried.routes, changing, "each route that changes something must be tried here");
}

#[tokio::test]
async fn what_is_done_past_the_workers_is_recorded_too() {
    let cluster = Cluster::bare(1).env("BANGUI_ADMIN_PASSWORD", PASSWORD).start().await;
    let mut command = bangui("reset-password");
    command.env("BANGUI_REDIS_URL", cluster.redis.url()).env("BANGUI_REDIS_PREFIX", "it");
    command.env("BANGUI_ADMIN_PASSWORD", NEW_PASSWORD);
    let (code, printed) = Child::run("bangui reset-password", command, SOON).await;
    assert_eq!(code, Some(0), "{printed}");
    let entries = cluster.connected_store().await.audit_page(None, 10).await.unwrap().items;
    let whats: Vec<&str> = entries.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(whats, ["password.reset", "setup.complete"]);
    assert!(entries.iter().all(|entry| entry.session.is_none() && entry.address.is_none()));
}
