//! Other users than the admin: invited, and logged in.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Client};

/// The password of every user but the admin.
pub const USERS_PASSWORD: &str = "seven quiet lanterns at dusk";

/// Invites a user; the code. `admin` must be confirmed.
pub async fn invite(admin: &Client, name: &str, role: &str, servers: &[&str]) -> String {
    let body = json!({ "username": name, "role": role, "servers": servers });
    let answer = admin.post("/api/v1/invitations", body).await;
    answer.expect(201).body["code"].as_str().unwrap().to_owned()
}

/// Accepts an invitation. Tries again when too many passwords are being checked (503).
pub async fn accept(client: &Client, code: &str, password: &str) -> Answer {
    loop {
        let body = json!({ "code": code, "password": password });
        let answer = client.anonymous().post("/api/v1/invitations/accept", body).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            return answer;
        }
    }
}

/// How many rounds a test of who may still do what makes: as many as usual, or as many as `BANGUI_TEST_ROUNDS` says.
pub fn rounds(usual: usize) -> usize {
    std::env::var("BANGUI_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// Creates a user of all servers.
pub async fn create_user(admin: &Client, name: &str, role: &str) {
    let code = invite(admin, name, role, &[]).await;
    accept(admin, &code, USERS_PASSWORD).await.expect(201);
}

/// Tries to log in. Tries again when too many passwords are being checked (503).
pub async fn try_log_in(client: &Client, name: &str, password: &str) -> Answer {
    loop {
        let body = json!({ "username": name, "password": password });
        let answer = client.anonymous().post("/api/v1/session", body).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            return answer;
        }
    }
}

/// The user, logged in.
pub async fn logged_in_as(client: &Client, name: &str) -> Client {
    let answer = try_log_in(client, name, USERS_PASSWORD).await;
    client.with_bearer(answer.expect(201).body["token"].as_str().unwrap())
}

/// Changes a user.
pub async fn change_user(admin: &Client, name: &str, change: Value) -> Answer {
    admin.patch(&format!("/api/v1/users/{name}"), "*", change).await
}

/// Makes a token for programs; its secret and its id. `client` must be confirmed.
pub async fn create_token(client: &Client, body: Value) -> (String, String) {
    let answer = client.post("/api/v1/tokens", body).await;
    let made = &answer.expect(201).body;
    (made["secret"].as_str().unwrap().to_owned(), made["token"]["id"].as_str().unwrap().to_owned())
}
