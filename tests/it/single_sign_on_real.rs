//! Single sign-on with a provider that others have written: oidc-provider of npm. `make test-oidc` installs it; without it, this test says that it
//! was not run.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use crate::single_sign_on::{browser, client, refused_everywhere, session};
use crate::support::browser::{Browser, Page};
use crate::support::process::Child;
use crate::support::provider::{CLIENT, CLIENT_SECRET};
use crate::support::{Cluster, SOON, eventually};

/// Asks the provider as a browser does, until it leads away from it; where to.
async fn follow(user: &mut Browser, issuer: &str, mut seen: Page) -> Result<String, Page> {
    for _ in 0..10 {
        // Its forms have whole addresses.
        seen.html = seen.html.replace(issuer, "");
        let Some(to) = seen.to() else { return Err(seen) };
        let Some(path) = to.strip_prefix(issuer).or_else(|| to.starts_with('/').then_some(&*to)) else {
            return Ok(to);
        };
        seen = user.get(path).await;
    }
    panic!("the provider leads from page to page: {seen:?}");
}

/// Logs in at the provider, and consents; path and query that lead back.
async fn approve(user: &mut Browser, issuer: &str, there: &str, name: &str) -> String {
    let first = user.get(there.strip_prefix(issuer).expect("the provider")).await;
    let asked = match follow(user, issuer, first).await {
        Ok(back) => return own(&back),
        Err(page) => page,
    };
    let sent = user.submit(&asked, "form", &[("login", name), ("password", "x")], "Sign-in").await;
    let back = match follow(user, issuer, sent).await {
        Ok(back) => back,
        Err(consent) => {
            let sent = user.submit(&consent, "form", &[], "Continue").await;
            follow(user, issuer, sent).await.expect("the way back")
        }
    };
    own(&back)
}

fn own(back: &str) -> String {
    back.strip_prefix("http://127.0.0.1:8080").expect(back).to_owned()
}

#[tokio::test]
async fn a_provider_of_others_logs_in_confirms_and_logs_out_on_every_worker() {
    let Some(folder) = std::env::var_os("BANGUI_TEST_OIDC") else {
        eprintln!("NOT RUN: BANGUI_TEST_OIDC is not set: `make test-oidc` installs the provider and sets it");
        return;
    };
    let at: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let issuer = format!("http://{at}");
    // The workers first: the provider must know where to send its logouts.
    let cluster = Cluster::bare(3)
        .env("BANGUI_PUBLIC_URL", "http://127.0.0.1:8080")
        .env("BANGUI_OIDC_ISSUER", &issuer)
        .env("BANGUI_OIDC_CLIENT_ID", CLIENT)
        .env("BANGUI_OIDC_CLIENT_SECRET", CLIENT_SECRET)
        .env("BANGUI_OIDC_ROLES", "looks=viewer")
        .set_up()
        .await;
    let mut command = Command::new("node");
    command.current_dir(folder).arg("provider.mjs").arg(at.port().to_string());
    command.arg("http://127.0.0.1:8080/login/callback");
    command.arg(format!("http://{}/login/backchannel-logout", cluster.workers[2].address));
    let provider = Child::start("provider", command);
    provider.line("the provider to listen", SOON, |line| line.contains("listening").then_some(())).await;
    let mut user = browser(&cluster, 0);
    let there = eventually("the provider to be found", SOON, || {
        let mut user = user.clone();
        async move {
            let there = user.get("/login/sso").await.to()?;
            Some((user, there))
        }
    })
    .await;
    user = there.0;
    let mut at_provider = Browser::new(at);
    let back = approve(&mut at_provider, &issuer, &there.1, "anna").await;
    let mut user = user.at(cluster.workers[1].address);
    user.get(&back).await.expect(303);
    let anna = client(&cluster, &user, 0);
    let shown = session(&anna).await;
    assert_eq!((&shown["username"], &shown["role"]), (&"anna".into(), &"viewer".into()), "{shown}");
    user.get(&back).await.expect(400);

    // Confirmed at the provider, which asks for the password though there is a session.
    let there = user.get("/login/sso/confirm?next=%2Faccount").await.to().unwrap();
    let back = approve(&mut at_provider, &issuer, &there, "anna").await;
    let confirmed = user.get(&back).await;
    assert!(confirmed.expect(303).to().unwrap().starts_with("/account?m="), "{:?}", confirmed.to());
    anna.delete("/api/v1/sessions?keep_current=true").await.expect(204);

    // Logged out there, so logged out here.
    let page = at_provider.get("/session/end").await;
    let secret = page.attribute("input[name=xsrf]", "value").unwrap();
    at_provider.post("/session/end/confirm", &[("xsrf", &secret), ("logout", "yes")]).await.expect(303);
    eventually("the logout of the provider", SOON, || async {
        (anna.get("/api/v1/session").await.status.as_u16() == 401).then_some(())
    })
    .await;
    refused_everywhere(&cluster, &anna).await;
    // Somebody without a group that is listed.
    let mut other = browser(&cluster, 1);
    let there = other.get("/login/sso").await.to().unwrap();
    let back = approve(&mut Browser::new(at), &issuer, &there, "bert").await;
    other.get(&back).await.expect(403);
}
