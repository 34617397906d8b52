//! A provider that lies, or whose answers somebody has forged, logs nobody in; one that changes its keys does.

use crate::single_sign_on::{client, refusals, sign_on};
use crate::support::provider::{Lie, Provider, User};
use crate::support::{Cluster, SOON, eventually};

async fn with_provider() -> (Cluster, Provider) {
    let provider = Provider::start().await;
    let cluster = provider.for_workers(Cluster::bare(2)).set_up().await;
    // Metadata and keys are known before anything is a lie.
    let anna = User::new("anna", &["looks"]);
    for n in 0..2 {
        sign_on(&cluster, &provider, &anna, n, n).await.1.expect(303);
    }
    (cluster, provider)
}

/// The lie logs nobody in at any worker, and the audit says what is wrong with it.
async fn is_refused(cluster: &Cluster, provider: &Provider, lie: Lie, status: u16, why: &str) {
    provider.lie(lie);
    let anna = User::new("anna", &["looks"]);
    for n in 0..2 {
        let (browser, page) = sign_on(cluster, provider, &anna, n, 1 - n).await;
        assert_eq!(page.status.as_u16(), status, "{lie:?}: {}", page.html);
        assert!(browser.cookie("bangui").is_none(), "{lie:?}");
    }
    provider.lie(Lie::None);
    if !why.is_empty() {
        let said = refusals(cluster).await;
        assert!(said.iter().any(|one| one.contains(why)), "{lie:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_token_of_another_provider_or_for_another_client_logs_nobody_in() {
    let (cluster, provider) = with_provider().await;
    for (lie, why) in [
        (Lie::Issuer, "expected `"),
        (Lie::Audience, "must contain `bangui`"),
        (Lie::NoAudience, "must contain `bangui`"),
        (Lie::AnotherAudienceToo, "not a trusted audience"),
        (Lie::AuthorizedParty, "(`azp`)"),
        (Lie::NoSubject, "its `sub`"),
    ] {
        is_refused(&cluster, &provider, lie, 403, why).await;
    }
}

#[tokio::test]
async fn a_token_of_another_login_or_another_time_logs_nobody_in() {
    let (cluster, provider) = with_provider().await;
    for (lie, why) in [
        (Lie::Nonce, "nonce mismatch"),
        (Lie::NoNonce, "missing nonce"),
        (Lie::Expired, "expired at"),
        (Lie::IssuedLongAgo, "it was issued at"),
        (Lie::IssuedInFuture, "it was issued at"),
        (Lie::AnotherAccessToken, "(`at_hash`)"),
        (Lie::NoIdToken, "lacks an ID token"),
    ] {
        is_refused(&cluster, &provider, lie, 403, why).await;
    }
    let anna = User::new("anna", &["looks"]);
    sign_on(&cluster, &provider, &anna, 0, 1).await.1.expect(303);
}

#[tokio::test]
async fn a_token_that_the_provider_has_not_signed_with_its_private_key_logs_nobody_in() {
    let (cluster, provider) = with_provider().await;
    let keys = provider.asked("keys");
    for (lie, why) in [
        (Lie::Signature, "ignature"),
        (Lie::NoSignature, "ignature"),
        (Lie::AlgorithmNone, "No signature"),
        (Lie::Hs256OfPublicKey, "algorithm `HS256`"),
        (Lie::Hs256OfSecret, "algorithm `HS256`"),
        (Lie::StrangersKey, "matching key"),
    ] {
        is_refused(&cluster, &provider, lie, 403, why).await;
    }
    // Unknown keys had each worker read them once more, and not once for each token.
    assert!(provider.asked("keys") <= keys + 2, "{} after {keys}", provider.asked("keys"));
}

#[tokio::test]
async fn answers_that_are_no_answers_log_nobody_in_and_have_bounds() {
    let (cluster, provider) = with_provider().await;
    for lie in [Lie::HugeAnswer, Lie::Redirects, Lie::NoJson] {
        is_refused(&cluster, &provider, lie, 503, "").await;
    }
    let anna = User::new("anna", &["looks"]);
    sign_on(&cluster, &provider, &anna, 0, 1).await.1.expect(303);
}

#[tokio::test]
async fn a_provider_that_changes_its_key_logs_in_with_the_new_one_and_not_with_the_old_one() {
    let (cluster, provider) = with_provider().await;
    let anna = User::new("anna", &["looks"]);
    let old = provider.logout_token(&anna, |_, _| {});
    provider.change_key("two");
    for n in 0..2 {
        let (browser, page) = sign_on(&cluster, &provider, &anna, n, 1 - n).await;
        page.expect(303);
        client(&cluster, &browser, n).get("/api/v1/session").await.expect(200);
    }
    // What the old key has signed counts for nothing from then on.
    let answer = crate::single_sign_on_logout::send(&cluster, 0, &old).await;
    assert_eq!(answer.problem(400), "invalid-logout-token");
}

#[tokio::test]
async fn a_provider_whose_metadata_are_anothers_is_not_used() {
    let provider = Provider::start().await;
    let issuer = format!("{}/", provider.issuer);
    let cluster = provider.for_workers(Cluster::bare(1)).env("BANGUI_OIDC_ISSUER", issuer).set_up().await;
    let refused = crate::single_sign_on::browser(&cluster, 0).get("/login/sso").await;
    refused.expect(503);
    eventually("the reason in the log", SOON, || async {
        let printed = cluster.workers[0].process.printed();
        printed.contains("unexpected issuer URI").then_some(())
    })
    .await;
}
