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

async fn log_out(chrome: &Chrome) {
    chrome.run("document.querySelector(\"form[action='/logout']\").submit()").await;
    chrome.until(".lead", "You are logged out.").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_added_on_the_page_of_the_account_and_logs_in_alone_and_after_the_password() {
    let port = free_port();
    let cluster = Cluster::bare(1)
        .env("BANGUI_LISTEN", format!("127.0.0.1:{port}"))
        .env("BANGUI_PUBLIC_URL", format!("http://localhost:{port}"))
        .env("BANGUI_ALLOWED_HOSTS", "127.0.0.1")
        .set_up()
        .await;
    let url = |path: &str| format!("http://localhost:{}{path}", cluster.workers[0].address.port());
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

    // Once it is removed the browser still has it, and the page says that it logs nobody in.
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
    chrome.until("form[data-passkey] .error", "logs nobody in").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}
