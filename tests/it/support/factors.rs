//! Second factors: an authenticator app, and logins that wait for it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use totp_rs::{Builder, Secret, Totp};

use super::people::try_log_in;
use super::{Answer, Client, Cluster};

/// Seconds of a step.
const STEP: u64 = 30;

/// An authenticator app.
pub struct App(Totp);

impl App {
    /// With this secret typed into it.
    pub fn of(secret: &str) -> Self {
        let secret = Secret::try_from_base32(secret).unwrap();
        Self(Builder::new().with_secret(secret).build().unwrap())
    }

    /// What it shows now.
    pub fn code(&self) -> String {
        self.code_after(0)
    }

    /// What it shows so many steps from now. One step ahead is still accepted.
    pub fn code_after(&self, steps: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.0.generate(now + steps * STEP).to_string()
    }

    /// A code that is none of those around now.
    pub fn wrong_code(&self) -> String {
        let right: Vec<String> =
            (0..4).map(|n| self.0.generate(now() + n * STEP - STEP).to_string()).collect();
        (0..10).map(|n| format!("00000{n}")).find(|code| !right.contains(code)).unwrap()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Proposes an app to this user, who must be confirmed.
pub async fn proposed(user: &Client) -> App {
    let answer = user.post("/api/v1/factors/app", json!({})).await;
    App::of(answer.expect(201).body["secret"].as_str().unwrap())
}

/// Sets up an app for this user, who must be confirmed; the app and the recovery codes. Codes of now are accepted again after it.
pub async fn with_app(cluster: &Cluster, user: &Client, name: &str) -> (App, Vec<String>) {
    let app = proposed(user).await;
    let answer = user.post("/api/v1/factors/app/confirm", json!({ "code": app.code() })).await;
    let codes = answer.expect(200).body["recovery_codes"].as_array().unwrap().clone();
    forget_steps(cluster, name).await;
    (app, codes.into_iter().map(|code| code.as_str().unwrap().to_owned()).collect())
}

/// As if all codes of the app lay half a minute back.
pub async fn forget_steps(cluster: &Cluster, name: &str) {
    let key = format!("{{it}}:account:{name}");
    cluster.redis.command::<u64>(&["HSET", &key, "factor_app_step", "0"]).await;
}

/// The secret of a login that waits for the second factor.
pub async fn waits(client: &Client, name: &str, password: &str) -> String {
    let answer = try_log_in(client, name, password).await;
    assert_eq!(answer.problem(401), "second-factor-required");
    answer.body["login"].as_str().unwrap().to_owned()
}

/// Finishes a login.
pub async fn finish(client: &Client, login: &str, code: &str) -> Answer {
    client.anonymous().post("/api/v1/session/factor", json!({ "login": login, "code": code })).await
}
