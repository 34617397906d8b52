//! A user with a browser without JavaScript, at two workers: forms are posted at one, and pages are read at the other.

use crate::support::browser::{Browser, Page};
use crate::support::cluster::server;
use crate::support::{Client, Cluster, SOON, eventually};

pub const SERVER_PAGE: &str = "/servers/web-1";
pub const WEB: &str = "/servers/web-1/jails/web";
pub const APP: &str = "/servers/web-1/jails/app";

/// Two workers with one session: forms are posted at the one, and pages are read at the other.
pub struct User {
    pub here: Browser,
    pub there: Browser,
}

impl User {
    pub async fn of(cluster: &Cluster) -> Self {
        let mut here = Browser::new(cluster.workers[0].address);
        here.log_in().await;
        let there = here.at(cluster.workers[1].address);
        Self { here, there }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let seen = self.there.get(path).await;
        seen.expect(200);
        seen
    }

    /// Presses a button of a page at one worker; the page that comes next, at the other.
    pub async fn press(&mut self, page: &Page, form: &str, typed: &[(&str, &str)], button: &str) -> Page {
        let sent = self.here.submit(page, form, typed, button).await;
        let to = sent.expect(303).to().unwrap();
        self.get(&to).await
    }
}

/// The page of `web` once its list was read: a probe does that.
pub async fn web_listed(user: &User) -> Page {
    eventually("the list of bans to be read", SOON, || {
        let mut there = user.there.clone();
        async move {
            let page = there.get(WEB).await;
            (!page.texts(".bans th a").is_empty()).then_some(page)
        }
    })
    .await
}

#[track_caller]
pub fn says(seen: &Page, words: &str) {
    let message = seen.text("#messages .message");
    assert!(message.contains(words), "{words} in {message}");
}

pub async fn banned_now(client: &Client, many: u64) {
    eventually("the count of bans", SOON, || async {
        (server(client).await["status"]["currently_banned"] == many).then_some(())
    })
    .await;
}
