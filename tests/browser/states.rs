//! The states of pages that only steps lead to: a login with a second factor, a passkey or the single sign-on, an invitation, what is
//! shown once. axe and the screenshots visit each; a new state gets a step in [`Doors::walk`].

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::json;

use crate::chrome::Chrome;
use crate::passkeys::with_authenticator;
use crate::support::factors::{App, with_app};
use crate::support::people::{USERS_PASSWORD, create_user, invite, logged_in_as, try_log_in};
use crate::support::provider::Provider;
use crate::support::sentinel::free_port;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};

/// The pages on the way that are in no list.
pub const PATHS: [&str; 3] = ["/setup", "/login/callback", "/invitation/x"];

/// A cluster with every way to log in: a password, an app, a passkey, a provider. Operators need a second factor.
pub struct Doors {
    cluster: Cluster,
    provider: Provider,
    admin: Client,
    /// Of `vera`, a viewer.
    app: App,
    next: AtomicUsize,
}

impl Doors {
    pub async fn open() -> Self {
        let (port, provider) = (free_port(), Provider::start().await);
        let cluster = provider
            .for_workers(Cluster::bare(1))
            .env("BANGUI_LISTEN", format!("127.0.0.1:{port}"))
            .env("BANGUI_PUBLIC_URL", format!("http://localhost:{port}"))
            .env("BANGUI_ALLOWED_HOSTS", "127.0.0.1")
            .set_up()
            .await;
        let admin = cluster.client(0).logged_in().await.confirmed().await;
        create_user(&admin, "vera", "viewer").await;
        let vera = logged_in_as(&cluster.client(0), "vera").await;
        vera.confirm(USERS_PASSWORD).await.expect(204);
        let (app, _) = with_app(&cluster, &vera, "vera").await;
        let patch = json!({ "second_factor_roles": "operator" });
        admin.patch("/api/v1/settings", "*", patch).await.expect(200);
        create_user(&admin, "otto", "operator").await;
        eventually("the setting to be in force", SOON, || async {
            let login = try_log_in(&admin, "otto", USERS_PASSWORD).await;
            (login.status == 401).then_some(())
        })
        .await;
        Self { cluster, provider, admin, app, next: AtomicUsize::new(0) }
    }

    fn url(&self, path: &str) -> String {
        // A passkey is for a name.
        format!("http://localhost:{}{path}", self.cluster.workers[0].address.port())
    }

    async fn goto(&self, chrome: &Chrome, path: &str) {
        chrome.goto(&self.url(path)).await;
    }

    async fn log_in(&self, chrome: &Chrome, name: &str, password: &str, then: &str) {
        self.goto(chrome, "/login").await;
        chrome.type_into("username", name).await;
        chrome.type_into("password", password).await;
        chrome.press_in("form[action='/login']", "Log in").await;
        chrome.until("h1", then).await;
    }

    /// Goes through all states, and calls `at` with a short name in each.
    pub async fn walk(&self, chrome: &Chrome, at: impl AsyncFn(&'static str)) {
        with_authenticator(chrome).await;
        self.logins(chrome, &at).await;
        self.invitations(chrome, &at).await;
        self.factors(chrome, &at).await;
        self.once(chrome, &at).await;
    }

    async fn logins(&self, chrome: &Chrome, at: &impl AsyncFn(&'static str)) {
        assert!(self.provider.issuer.starts_with("http://127.0.0.1:"));
        self.goto(chrome, "/login").await;
        chrome.until("main", "Log in with Example ID").await;
        chrome.until("main", "Log in with a passkey").await;
        at("login-ways").await;
        self.goto(chrome, "/login/callback?state=x&code=y").await;
        chrome.until("main", "Back to the login").await;
        at("login-provider-refused").await;

        self.log_in(chrome, "vera", USERS_PASSWORD, "Second factor").await;
        at("login-code").await;
        chrome.type_into("code", &self.app.wrong_code()).await;
        chrome.press_in("form[action='/login/factor']", "Log in").await;
        chrome.until("#code-error", "wrong").await;
        at("login-code-wrong").await;

        let name = format!("olga{}", self.next.fetch_add(1, Relaxed));
        create_user(&self.admin, &name, "operator").await;
        self.log_in(chrome, &name, USERS_PASSWORD, "Set up a second factor").await;
        let app = App::of(&chrome.text("code.command").await);
        at("login-set-up").await;
        chrome.type_into("code", &app.wrong_code()).await;
        chrome.press_in("main", "Set up the app").await;
        chrome.until("#code-error", "code").await;
        at("login-set-up-wrong").await;
        chrome.type_into("code", &app.code()).await;
        chrome.press_in("main", "Set up the app").await;
        chrome.until("h1", "Recovery codes").await;
        at("login-recovery-codes").await;
        chrome.client.delete_all_cookies().await.unwrap();
    }

    async fn invitations(&self, chrome: &Chrome, at: &impl AsyncFn(&'static str)) {
        let name = format!("ivan{}", self.next.fetch_add(1, Relaxed));
        let code = invite(&self.admin, &name, "viewer", &["web-*"]).await;
        self.goto(chrome, &format!("/invitation/{code}")).await;
        chrome.until("h1", "Welcome").await;
        at("invitation").await;
        chrome.type_into("password", "short").await;
        chrome.press_in("main", "Set password").await;
        chrome.until("#password-error", "12 characters").await;
        at("invitation-refused").await;
        self.goto(chrome, "/invitation/x").await;
        at("invitation-over").await;
    }

    async fn factors(&self, chrome: &Chrome, at: &impl AsyncFn(&'static str)) {
        self.log_in(chrome, "admin", PASSWORD, "Servers").await;
        self.goto(chrome, "/account/factors").await;
        at("factors-none").await;
        chrome.press_in("main", "Set up an app").await;
        chrome.until("h1", "Confirm with your password").await;
        at("factors-confirm").await;
        chrome.type_into("password", PASSWORD).await;
        chrome.press_in("main", "Confirm password").await;
        chrome.until("#messages", "The password is correct").await;
        chrome.press_in("#messages", "Set up an authenticator app").await;
        chrome.until("main", "Scan this with the app").await;
        let app = App::of(&chrome.text("code.command").await);
        at("factors-app").await;
        chrome.type_into("code", &app.wrong_code()).await;
        chrome.press_in("main", "Set up the app").await;
        chrome.until("#code-error", "code").await;
        at("factors-app-wrong").await;
        chrome.type_into("code", &app.code()).await;
        chrome.press_in("main", "Set up the app").await;
        chrome.until("main", "Each of them logs you in once").await;
        at("factors-codes").await;
        chrome.type_into("name", "laptop").await;
        chrome.press_in("main", "Add a passkey").await;
        chrome.until("main", "laptop").await;
        self.goto(chrome, "/account/factors").await;
        chrome.press_in("main", "Remove the app…").await;
        at("factors-all").await;
    }

    /// What is shown once, and what is refused before it.
    async fn once(&self, chrome: &Chrome, at: &impl AsyncFn(&'static str)) {
        self.goto(chrome, "/account").await;
        chrome.type_into("name", "backup").await;
        chrome.press_in("main", "Make a token").await;
        chrome.until("#secret-title", "Secret of the token").await;
        at("token-secret").await;
        let name = format!("ivo{}", self.next.fetch_add(1, Relaxed));
        self.goto(chrome, "/users").await;
        chrome.type_into("username", &name).await;
        chrome.press_in("main", "Make an invitation").await;
        chrome.until("#link-title", "Link of the invitation").await;
        at("users-link").await;
        self.goto(chrome, "/users").await;
        chrome.run("for (const form of document.forms) form.noValidate = true").await;
        chrome.type_into("username", "A B").await;
        chrome.type_into("user-servers", "web 1").await;
        chrome.press_in("main", "Make an invitation").await;
        chrome.until("#username-error", "name").await;
        at("users-refused").await;
        self.goto(chrome, "/users").await;
        chrome.press_in("#list", "Change…").await;
        at("users-change").await;
    }
}
