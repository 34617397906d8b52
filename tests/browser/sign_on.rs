//! The way to the provider of single sign-on from a form that is kept, which the policy of pages must let through: a form may lead to pages of
//! ours only, and not be redirected elsewhere.

use crate::chrome::{Chrome, PHONE, WIDE};
use crate::support::provider::{Provider, User};
use crate::support::sentinel::free_port;
use crate::support::{Cluster, PASSWORD, SOON, eventually};

async fn kept_over_the_way_there(chrome: Chrome) {
    let provider = Provider::start().await;
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let cluster = provider
        .for_workers(Cluster::bare(1))
        .env("BANGUI_LISTEN", &address)
        .env("BANGUI_PUBLIC_URL", format!("http://{address}"))
        .set_up()
        .await;
    let url = |path: &str| format!("http://{}{path}", cluster.workers[0].address);
    chrome.goto(&url("/login?next=%2Fusers")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press_in("main form:not([data-passkey])", "Log in").await;
    chrome.until("h1", "Users").await;
    let other = cluster.client(0).logged_in().await.confirmed().await;
    chrome.type_into("username", "bert").await;
    other.delete("/api/v1/sessions").await.expect(204);
    // As where there is no script: sent by the browser itself.
    let send = "const form = document.querySelector(\"form[action='/users/invite']\"); form.submit();";
    chrome.run(send).await;
    chrome.until(".lead", "What you typed is kept").await;
    chrome.press_in("main", "Log in with Example ID").await;
    let there = eventually("the browser at the provider", SOON, || async {
        let url = chrome.client.current_url().await.ok()?.to_string();
        url.starts_with(&provider.issuer).then_some(url)
    })
    .await;
    let back = provider.approve(&there, &User::new("anna", &["admins"]));
    chrome.goto(&url(&back)).await;
    chrome.until("#messages", "What you typed is kept, and nothing was done yet.").await;
    chrome.press_in("#messages", "Send it now").await;
    chrome.until("h1", "Confirm with your password").await;
    chrome.press_in("main", "Confirm with Example ID").await;
    let there = eventually("the browser at the provider", SOON, || async {
        let url = chrome.client.current_url().await.ok()?.to_string();
        url.starts_with(&provider.issuer).then_some(url)
    })
    .await;
    chrome.goto(&url(&provider.approve(&there, &User::new("anna", &["admins"])))).await;
    chrome.until("#messages", "One step is left").await;
    chrome.press_in("#messages", "Invite a user").await;
    chrome.until("#messages", "bert is invited.").await;
    chrome.fits().await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_kept_on_the_way_to_the_provider_and_back() {
    kept_over_the_way_there(Chrome::start(WIDE).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_kept_on_the_way_to_the_provider_and_back_without_javascript_on_a_phone() {
    kept_over_the_way_there(Chrome::start(PHONE.without_scripts()).await).await;
}
