//! Passwords that attackers try first are refused everywhere, with the reason.

use serde_json::json;

use crate::support::process::{Child, bangui};
use crate::support::worker::Worker;
use crate::support::{Cluster, PASSWORD, SETUP_TOKEN, SOON};

/// A password, the problem it is refused with, and a word of the reason.
const WEAK: [(&str, &str, &str); 6] = [
    ("tr0ub4dor&3", "password-length", "12 characters"),
    ("1qaz2wsx3edc", "weak-password", "most common"),
    ("Bangui-admin1", "weak-password", "name"),
    ("((((((((((((((", "weak-password", "one character"),
    ("mnopqrstuvwx98765", "weak-password", "sequences"),
    ("P@ssw0rd123456", "weak-password", "common word"),
];

#[tokio::test]
async fn nobody_sets_up_with_or_changes_to_a_password_that_is_tried_first() {
    let cluster = Cluster::bare(1).start().await;
    let anonymous = cluster.client(0);
    for (weak, problem, reason) in WEAK {
        let claim = json!({ "password": weak, "token": SETUP_TOKEN });
        let answer = anonymous.post("/api/v1/setup", claim).await;
        assert_eq!(answer.problem(422), problem, "{weak}");
        assert!(answer.body["detail"].as_str().unwrap().contains(reason), "{}", answer.text);
    }
    cluster.post_setup(0).await.expect(201);
    let client = cluster.client(0).logged_in().await;
    for (weak, problem, reason) in WEAK {
        let answer = client.put("/api/v1/password", json!({ "current": PASSWORD, "new": weak })).await;
        assert_eq!(answer.problem(422), problem, "{weak}");
        assert!(answer.body["detail"].as_str().unwrap().contains(reason), "{}", answer.text);
    }
    let same = client.put("/api/v1/password", json!({ "current": PASSWORD, "new": PASSWORD })).await;
    assert_eq!(same.problem(422), "weak-password");
    assert!(same.text.contains("the current one"), "{}", same.text);
    client.get("/api/v1/session").await.expect(200);
    client.logged_in().await;
}

#[tokio::test]
async fn no_operator_provisions_or_resets_to_one_either_and_a_stored_one_stays_in_force() {
    let mut cluster = Cluster::bare(1).start().await;
    for (weak, _, reason) in WEAK {
        let mut environment = cluster.environment.clone();
        environment.insert("BANGUI_ADMIN_PASSWORD".to_owned(), weak.to_owned());
        let mut reset = bangui("reset-password");
        reset.envs(&environment);
        let (code, printed) = Child::run("bangui reset-password", reset, SOON).await;
        assert_eq!(code, Some(2), "{weak}: {printed}");
        assert!(printed.contains(reason) && !printed.contains(weak), "{printed}");
        let mut serve = bangui("serve");
        serve.envs(&environment);
        let (code, printed) = Child::run("bangui serve", serve, SOON).await;
        assert_eq!(code, Some(2), "{weak}: {printed}");
        assert!(printed.contains(reason) && !printed.contains(weak), "{printed}");
    }
    // Stored by a version with other rules: the worker starts, and warns that it should be changed.
    let earlier = "ten letters";
    let hash = bangui::password::hash(earlier).unwrap();
    let store = cluster.connected_store().await;
    let record = bangui::actions::Actor::operator().record("setup.complete");
    assert!(store.create_admin(&hash, &record).await.unwrap());
    cluster.environment.insert("BANGUI_ADMIN_PASSWORD".to_owned(), earlier.to_owned());
    let late = Worker::start("worker with an earlier password", &cluster.environment).await;
    late.ready(SOON).await;
    let warned =
        |line: &str| (line.contains("WARN") && line.contains("would be refused today")).then_some(());
    late.process.line("a warning about the password", SOON, warned).await;
    late.client().post("/api/v1/session", json!({ "password": earlier })).await.expect(201);
    assert!(!late.process.printed().contains(earlier), "the password is in the log");
}
