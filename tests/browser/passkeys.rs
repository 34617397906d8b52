//! Passkeys with the browser's own authenticator: made and used by a script of the pages, alone and as the second factor.

use serde_json::json;

use crate::chrome::{Chrome, WIDE};
use crate::support::sentinel::free_port;
use crate::support::{Cluster, PASSWORD};

/// An authenticator that asks nobody.
pub async fn with_authenticator(chrome: &Chrome) {
    chrome.devtools("WebAuthn.enable", json!({})).await;
    let options = json!({
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
        "isUserVerified": true, "automaticPresenceSimulation": true,
    });
    chrome.devtools("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await;
}

/// A worker that is called localhost, with this in its environment.
async fn named(variables: &[(&str, &str)]) -> Cluster {
    let port = free_port();
    let mut builder = Cluster::bare(1)
        .env("BANGUI_LISTEN", format!("127.0.0.1:{port}"))
        .env("BANGUI_PUBLIC_URL", format!("http://localhost:{port}"))
        .env("BANGUI_ALLOWED_HOSTS", "127.0.0.1");
    for (name, value) in variables {
        builder = builder.env(name, *value);
    }
    builder.set_up().await
}

fn url(cluster: &Cluster, path: &str) -> String {
    format!("http://localhost:{}{path}", cluster.workers[0].address.port())
}

async fn log_out(chrome: &Chrome) {
    chrome.run("document.querySelector(\"form[action='/logout']\").submit()").await;
    chrome.until(".lead", "You are logged out.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_on_the_page_of_the_account_and_logs_in_alone_and_after_the_password() {
    let cluster = named(&[]).await;
    let url = |path: &str| url(&cluster, path);
    let chrome = Chrome::start(WIDE).await;
    with_authenticator(&chrome).await;
    chrome.goto(&url("/login?next=%2Faccount%2Ffactors")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("#passkeys-title", "Passkeys").await;

    // The password comes first; then the browser makes one.
    chrome.type_into("name", "laptop").await;
    chrome.press_in("main", "Add a passkey").await;
    chrome.until("h1", "Confirm with your password").await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Confirm password").await;
    chrome.until("#messages", "The password is correct").await;
    chrome.press_in("#messages", "Add a passkey").await;
    chrome.until("#messages", "once more").await;
    chrome.type_into("name", "laptop").await;
    chrome.press_in("main", "Add a passkey").await;
    chrome.until("#codes-title", "Recovery codes").await;
    chrome.until("main", "laptop").await;
    chrome.fits().await;

    // Alone.
    log_out(&chrome).await;
    chrome.goto(&url("/login?next=%2Faccount%2Ffactors")).await;
    chrome.press_in("main", "Log in with a passkey").await;
    chrome.until("main", "laptop").await;

    // After the password.
    log_out(&chrome).await;
    chrome.goto(&url("/login?next=%2Faccount%2Ffactors")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("h1", "Second factor").await;
    chrome.press_in("main", "Use a passkey").await;
    chrome.until("main", "laptop").await;

    // Once it is removed the browser still has it, and the page says that it cannot log in.
    chrome.press_in("main", "Remove").await;
    chrome.until("h1", "Confirm with your password").await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Confirm password").await;
    chrome.until("#messages", "The password is correct").await;
    chrome.press_in("#messages", "Remove a passkey").await;
    chrome.until("#messages", "The passkey is removed.").await;
    log_out(&chrome).await;
    chrome.goto(&url("/login")).await;
    chrome.press_in("main", "Log in with a passkey").await;
    chrome.until("form[data-passkey] .error", "cannot log in here").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_set_up_at_the_login_and_then_stands_in_for_the_code_where_a_session_has_ended() {
    let cluster = named(&[("BANGUI_SECOND_FACTOR_ROLES", "admin")]).await;
    let url = |path: &str| url(&cluster, path);
    let chrome = Chrome::start(WIDE).await;
    with_authenticator(&chrome).await;
    chrome.goto(&url("/login?next=%2Faccount%2Ffactors")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("h1", "Set up a second factor").await;
    chrome.until("form[data-passkey]", "Or a passkey").await;
    chrome.fits().await;
    chrome.type_into("name", "laptop").await;
    chrome.press_in("main", "Add a passkey").await;
    chrome.until("h1", "Recovery codes").await;
    chrome.until(".lead", "The passkey is set up").await;
    chrome.fits().await;
    chrome.goto(&url("/account/factors")).await;
    chrome.until("main", "laptop").await;

    // In place, where a session has ended: the password, then the passkey.
    chrome.goto(&url("/account")).await;
    chrome.type_into("current", "what was typed").await;
    let store = cluster.connected_store().await;
    let admin = store.account(&bangui::store::Username::admin()).await.unwrap().unwrap();
    let record = bangui::actions::Actor::operator().record("test");
    store.end_all_sessions(&admin.owner, None, &record).await.unwrap();
    chrome.until("#session-ended", "Your session has ended").await;
    chrome.type_into("ended-password", PASSWORD).await;
    chrome.press("Log in here").await;
    chrome.until("#session-ended", "Use a passkey").await;
    chrome.press("Use a passkey").await;
    chrome.until(".dock", "Logged in again. Nothing was done yet.").await;
    assert_eq!(chrome.run("return document.getElementById('current').value").await, "what was typed");
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}
