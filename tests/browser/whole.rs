//! One walk through everything that a person does, on three workers behind the load balancer of `docker-compose.yml`: whichever
//! worker answers, each step follows from the one before; also while workers are killed, and while they are replaced by those of
//! the neighbouring version. The forms of jails, addresses and the account are in `forms.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::balanced::Balanced;
use crate::chrome::{Chrome, Look, PHONE, WIDE};
use crate::support::cluster::server_is;
use crate::support::{PASSWORD, SETUP_TOKEN, SOON, eventually};

pub const SERVER: &str = "/servers/web-1";
pub const SSHD: &str = "/servers/web-1/jails/sshd";
pub const SLOW: &str = "/servers/web-1/jails/slow";
pub const MESSAGE: &str = "#messages .message";
const MANY: usize = 500;
const LONGEST: Duration = Duration::from_secs(180);

/// A person at a browser.
pub struct Walk {
    pub site: Balanced,
    pub chrome: Chrome,
    pub look: Look,
}

/// What happens to the workers between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    Nothing,
    /// The next worker is killed, and the one before is started again.
    Kills,
    /// One worker at a time is replaced by one of the neighbouring version, until all are.
    Update,
}

impl Walk {
    pub async fn start(look: Look) -> Self {
        let (site, chrome) = tokio::join!(Balanced::start(), Chrome::start(look));
        Self { site, chrome, look }
    }

    pub async fn goto(&self, path: &str) {
        self.chrome.goto(&self.site.url(path)).await;
        self.chrome.fits().await;
    }

    /// Presses a button, and waits until the page says this.
    pub async fn press(&self, place: &str, button: &str, says: &str) {
        self.chrome.press_in(place, button).await;
        self.chrome.until(MESSAGE, says).await;
        self.chrome.fits().await;
    }

    pub async fn first_run(&self) {
        let code = if self.look.scripts { '#' } else { '?' };
        self.goto(&format!("/setup{code}code={SETUP_TOKEN}")).await;
        self.chrome.type_into("password", PASSWORD).await;
        self.chrome.press("Set password and log in").await;
        self.chrome.until("h1", "Do these next").await;
        server_is(&self.site.client().logged_in().await, "up").await;
        self.goto("/").await;
        self.chrome.until(".servers", "web-1").await;
    }

    /// The binary of the neighbouring version, if one is needed.
    async fn neighbour(&self, disturbance: Disturbance) -> PathBuf {
        if disturbance != Disturbance::Update {
            return PathBuf::new();
        }
        self.chrome.goto(&self.site.url("/setup")).await;
        let assets = self.chrome.run("return document.documentElement.dataset.assets").await;
        // The link to the same page would load nothing.
        self.chrome.goto("about:blank").await;
        self.site.neighbour(assets.as_str().unwrap())
    }

    async fn log_out_and_in(&self) {
        let menu = if self.look.width < 500 { [".tabs", "More"] } else { [".account", "admin"] };
        self.chrome.press_in(menu[0], menu[1]).await;
        self.chrome.press("Log out").await;
        self.chrome.until("main", "You are logged out.").await;
        self.goto(&format!("{SSHD}?part=ban")).await;
        self.chrome.until("h1", "Log in").await;
        self.chrome.type_into("password", "wrong").await;
        self.chrome.press("Log in").await;
        self.chrome.until("#password-error", "The name or the password is wrong.").await;
        self.chrome.type_into("password", PASSWORD).await;
        self.chrome.press("Log in").await;
        self.chrome.until("h1", "sshd on web-1").await;
        let live = if self.look.scripts { "Live" } else { "Not live" };
        self.chrome.until("#live", live).await;
    }

    async fn ban_and_unban(&self) {
        self.chrome.type_into("ips", "203.0.113.7").await;
        self.press("#ban", "Ban", "Banned 203.0.113.7 in sshd on web-1.").await;
        self.press(MESSAGE, "Unban it", "Unbanned 203.0.113.7 in sshd").await;
        self.press(MESSAGE, "Ban it again", "Banned 203.0.113.7 in sshd").await;
        self.chrome.goto_until(&self.site.url(SSHD), ".bans", "203.0.113.7").await;
        self.press(".bans", "Unban", "Unbanned 203.0.113.7 in sshd").await;
        self.press(MESSAGE, "Ban it again", "Banned 203.0.113.7 in sshd").await;
        self.goto("/?q=203.0.113.7").await;
        self.chrome.until("h1", "203.0.113.7 is banned in 1 jail on 1 server").await;
        self.press(".answers", "Unban everywhere (1 jail)", "203.0.113.7 is unbanned").await;
    }

    async fn jail_off_and_on(&self) {
        self.goto(SERVER).await;
        self.chrome.press_in("tr[data-row='sshd']", "Switch off…").await;
        self.press("tr[data-row='sshd']", "Switch sshd off", "sshd on web-1 was switched off.").await;
        self.chrome.until("tr[data-row='sshd']", "off").await;
        self.press(MESSAGE, "Switch on again", "sshd on web-1 was switched on.").await;
        self.chrome.until("tr[data-row='sshd']", "running").await;
    }

    async fn refused_activation(&self) {
        self.press("tr[data-row='bad']", "Switch on", "bad on web-1 was not switched on").await;
        self.chrome.until(MESSAGE, "and nothing was changed.").await;
        self.chrome.until(MESSAGE, "unterminated").await;
        self.goto(SERVER).await;
        self.chrome.until(".refusal", "unterminated").await;
        self.chrome.until("tr[data-row='sshd']", "running").await;
    }

    async fn many_addresses(&self) {
        self.goto(&format!("{SLOW}?part=ban")).await;
        let ips: Vec<String> = (0..MANY).map(|n| format!("198.51.{}.{}", 100 + n / 250, n % 250)).collect();
        self.chrome.paste("ips", &ips.join("\n")).await;
        self.press("#ban", "Ban", "Banning 500 addresses in slow on web-1.").await;
        // Without scripts the page loads itself again.
        eventually("progress", SOON, || async {
            let words = self.chrome.text("[data-k='job.says']").await;
            let tried: usize = words.split(' ').next()?.parse().ok()?;
            (tried > 0 && tried < MANY).then_some(())
        })
        .await;
        self.press("main", "Cancel the rest", "Cancelled at").await;
        self.chrome.until("#job-title", "cancelled").await;
        self.goto("/jobs").await;
        self.chrome.until("main", "cancelled").await;
    }

    async fn settings(&self) {
        self.goto("/settings").await;
        self.chrome.type_into("login_limit", "0").await;
        self.chrome.press("Save settings").await;
        self.chrome.until("#login_limit-error", "must").await;
        self.goto("/settings").await;
        self.chrome.type_into("session_idle_seconds", "1200").await;
        self.chrome.press("Save settings").await;
        self.chrome.until("h1", "Confirm with your password").await;
        self.chrome.type_into("password", PASSWORD).await;
        self.press("main", "Confirm password", "One step is left").await;
        self.press(MESSAGE, "Save the settings", "1 setting saved, for all workers.").await;
        self.press(MESSAGE, "Set back to 30 min", "30 min, was 20 min.").await;
    }

    async fn sessions(&self) {
        self.site.client().log_in().await;
        self.goto("/account").await;
        self.chrome.type_into("current", PASSWORD).await;
        self.chrome.type_into("new", "short").await;
        self.chrome.press("Change password").await;
        self.chrome.until("#new-error", "A password must have 12 characters or more, this one has 5.").await;
        self.goto("/account").await;
        self.press(".sessions", "End session", "The session has ended.").await;
        self.chrome.press("End all sessions…").await;
        self.chrome.press("End all sessions, log out here").await;
        self.chrome.until("main", "You are logged out.").await;
        self.goto(SERVER).await;
        self.chrome.until("h1", "Log in").await;
    }
}

/// What happens before step `n` of the walk.
async fn before(walk: &mut Walk, n: usize, disturbance: Disturbance, neighbour: &Path) {
    let workers = &mut walk.site.cluster.workers;
    match disturbance {
        Disturbance::Kills => {
            let (now, last) = (n % workers.len(), (n + 2) % workers.len());
            if !workers[last].process.runs() {
                walk.site.revive(last).await;
            }
            walk.site.cluster.workers[now].process.kill();
        }
        Disturbance::Update if n % 2 == 1 && n / 2 < workers.len() => {
            let old = workers.remove(0);
            walk.site.add(neighbour).await;
            old.terminate();
            // It drains while the walk continues.
            walk.site.leaving.push(old);
        }
        _ => {}
    }
}

/// The steps in turn; a browser that hangs says why when the test fails.
async fn walk(look: Look, disturbance: Disturbance) {
    let mut walk = Walk::start(look).await;
    let neighbour = walk.neighbour(disturbance).await;
    tokio::time::timeout(LONGEST, async {
        macro_rules! steps {
            ($($step:ident),*) => {
                let mut n = 0;
                $(before(&mut walk, n, disturbance, &neighbour).await; walk.$step().await; n += 1;)*
                assert!(n > 2 * 3, "each worker has its turn");
            };
        }
        steps!(
            first_run,
            log_out_and_in,
            ban_and_unban,
            jail_off_and_on,
            refused_activation,
            many_addresses,
            settings,
            sessions
        );
    })
    .await
    .expect("the walk takes too long");
    let mut complaints = walk.chrome.complaints().await;
    // The stream of a worker that is gone ends, and the browser complains about it.
    complaints.retain(|text| disturbance == Disturbance::Nothing || !text.contains("net::ERR_"));
    assert_eq!(complaints, Vec::<String>::new());
    walk.chrome.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_on_three_workers_behind_the_load_balancer() {
    walk(WIDE, Disturbance::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_javascript_on_a_phone() {
    walk(PHONE.without_scripts(), Disturbance::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_while_each_worker_in_turn_is_killed() {
    walk(WIDE, Disturbance::Kills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_across_a_rolling_update() {
    walk(WIDE, Disturbance::Update).await;
}
