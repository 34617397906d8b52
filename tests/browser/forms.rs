//! The forms of a jail, an address, the account and the activity: each is sent, and its effect is undone.

use crate::chrome::{Look, PHONE, WIDE};
use crate::support::cluster::server_is;
use crate::support::{PASSWORD, SOON, eventually};
use crate::whole::{MESSAGE, SERVER, SLOW, SSHD, Walk};

const ANOTHER: &str = "another horse battery staple";

impl Walk {
    async fn settings_of_a_jail(&self) {
        let page = format!("{SSHD}?part=settings");
        self.goto(&page).await;
        self.chrome.type_into("bantime", "0").await;
        self.chrome.press_in("#settings", "Save for good").await;
        self.chrome.until("#bantime-error", "0").await;
        self.goto(&page).await;
        self.chrome.type_into("bantime", "1200").await;
        self.press("#settings", "Set until the next reload", "20 min, until the next reload.").await;
        self.press(MESSAGE, "Set back to 10 min", "10 min, as before.").await;
        self.goto(&page).await;
        self.chrome.type_into("maxretry", "4").await;
        self.press("#settings", "Save for good", "for good.").await;
        self.press(MESSAGE, "Set back", "as before.").await;
    }

    async fn never_banned_list(&self) {
        self.goto(&format!("{SSHD}?part=settings")).await;
        self.chrome.type_into("network", "a.host").await;
        self.chrome.press_in("main", "Add for good").await;
        self.chrome.until("#network-error", "is not an address or network").await;
        self.chrome.type_into("network", "198.51.100.64/27").await;
        self.press("main", "Add for good", "198.51.100.64/27 is never banned in sshd on web-1, for good.")
            .await;
        self.press(MESSAGE, "Take it off the list", "may be banned in sshd on web-1 again.").await;
        self.press(MESSAGE, "Put it back on the list", "sshd on web-1: its never-banned list is as before.")
            .await;
        self.goto(&format!("{SSHD}?part=settings")).await;
        self.press(".rows", "Remove", "198.51.100.64/27 may be banned in sshd on web-1 again.").await;
    }

    async fn an_address_in_chosen_jails(&self) {
        self.goto("/addresses/203.0.113.70").await;
        self.press(".answers", "Ban 203.0.113.70", "No jail was chosen").await;
        self.chrome.run("document.querySelector('[value=\"web-1/sshd\"]').click()").await;
        self.press(".answers", "Ban 203.0.113.70", "203.0.113.70 is banned in sshd on web-1.").await;
        self.chrome.until("h1", "is banned in 1 jail").await;
        self.press(MESSAGE, "Unban it", "203.0.113.70 is unbanned").await;
        self.press(MESSAGE, "Ban it again", "203.0.113.70 is banned").await;
        self.chrome.press_in(".answers", "Unban and never ban…").await;
        self.press(".answers", "Until the next reload", "is never banned, until the next reload").await;
        self.chrome.until("h1", "203.0.113.70 is not banned").await;
        self.chrome.until("main", "set by a command").await;
    }

    async fn all_bans_of_a_jail(&self) {
        self.goto(&format!("{SSHD}?part=ban")).await;
        self.chrome.type_into("ips", "203.0.113.81 203.0.113.82").await;
        self.press("#ban", "Ban", "Banned 2 addresses in sshd on web-1.").await;
        let page = self.site.url(&format!("{SSHD}?part=all"));
        self.chrome.goto_until(&page, "#all", "Unban all 2…").await;
        self.chrome.press_in("#all", "Unban all 2…").await;
        self.press("#all", "Unban 2 addresses", "in sshd on web-1").await;
        self.press(MESSAGE, "Ban 2 addresses again", "Banned 2 addresses in sshd on web-1.").await;
    }

    async fn what_happened(&self) {
        self.goto("/activity?kind=people").await;
        self.press("tr.deed", "Unban 2 addresses", "Unbanned 2 addresses in sshd on web-1.").await;
        self.goto("/activity").await;
        self.chrome.until("tr.event", "web-1").await;
        self.goto("/activity?kind=people&jail=none").await;
        self.chrome.until(".empty", "Nothing is listed here.").await;
    }

    async fn a_job(&self) {
        self.goto("/jobs").await;
        self.chrome.until(".empty", "There are no jobs.").await;
        self.goto(&format!("{SLOW}?part=ban")).await;
        let ips: Vec<String> = (0..250).map(|n| format!("198.51.101.{n}")).collect();
        self.chrome.paste("ips", &ips.join("\n")).await;
        self.press("#ban", "Ban", "Banning 250 addresses in slow on web-1.").await;
        self.goto("/jobs").await;
        self.chrome.press_in(".job", "Cancel the rest…").await;
        self.press(".job .ask", "Cancel the rest", "Cancelled at").await;
    }

    async fn a_decision(&mut self) {
        self.goto(SERVER).await;
        self.press("main", "Check now", "web-1 is being checked.").await;
        self.press("tr[data-row='late']", "Switch on", "late on web-1 was switched on.").await;
        self.site.cluster.fail2ban().command(&["stop", "sshd"]).await;
        self.chrome.goto_until(&self.site.url(SERVER), ".attention", "Dismiss").await;
        self.chrome.goto_until(&self.site.url("/diagnosis"), "main", "Decide").await;
        self.goto(SERVER).await;
        self.press(".attention", "Switch late off, restore", "late off on web-1").await;
        server_is(&self.site.client().logged_in().await, "up").await;
        self.goto(SERVER).await;
        self.chrome.until("tr[data-row='late']", "off").await;
        self.chrome.until("tr[data-row='sshd']", "running").await;
    }

    async fn account(&self) {
        for [current, new] in [[PASSWORD, ANOTHER], [ANOTHER, PASSWORD]] {
            self.goto("/account").await;
            self.chrome.type_into("current", current).await;
            self.chrome.type_into("new", new).await;
            self.press("main", "Change password", "The password was changed.").await;
        }
        self.chrome.press_in("main", "Switch single-key shortcuts off").await;
        self.chrome.until("main", "Single-key shortcuts are off in this browser.").await;
        self.chrome.press_in("main", "Switch single-key shortcuts on").await;
        self.chrome.until("main", "are on in this browser").await;
        // The theme holds at every worker, and after the browser has been closed for a while.
        self.chrome.press_in("main", "Dark").await;
        for page in ["/cluster", "/diagnosis", "/help", "/setup/next"] {
            self.goto(page).await;
            let ground = "return [document.documentElement.dataset.theme, getComputedStyle(document.documentElement).backgroundColor]";
            assert_eq!(
                self.chrome.run(ground).await,
                serde_json::json!(["dark", "rgb(14, 17, 20)"]),
                "{page}"
            );
        }
    }
}

async fn walk(look: Look) {
    let mut walk = Walk::start(look).await;
    walk.first_run().await;
    walk.settings_of_a_jail().await;
    walk.never_banned_list().await;
    walk.an_address_in_chosen_jails().await;
    walk.all_bans_of_a_jail().await;
    walk.what_happened().await;
    walk.a_job().await;
    walk.account().await;
    walk.a_decision().await;
    assert_eq!(walk.chrome.complaints().await, Vec::<String>::new());
    walk.chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_does_what_it_says_and_takes_it_back() {
    walk(WIDE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_does_what_it_says_and_takes_it_back_without_javascript_on_a_phone() {
    walk(PHONE.without_scripts()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_the_interface_is_shown_and_a_request_is_tried_in_the_session() {
    let cluster = crate::site::cluster().await;
    let chrome = crate::site::logged_in(&cluster, WIDE).await;
    chrome.goto(&crate::site::url(&cluster, 0, "/docs")).await;
    chrome.until("#swagger-ui", "/api/v1/servers").await;
    let tried = "#operations-servers-list_servers";
    chrome
        .client
        .find(fantoccini::Locator::Css(&format!("{tried} button")))
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    eventually("the button that sends it", SOON, || async {
        let send = chrome.client.find(fantoccini::Locator::Css(&format!("{tried} .execute"))).await.ok()?;
        send.click().await.ok()
    })
    .await;
    chrome.until(&format!("{tried} .live-responses-table"), "db-2").await;
    assert_eq!(chrome.complaints().await, Vec::<String>::new());
    chrome.end().await;
}
