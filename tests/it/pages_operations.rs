//! Pages for running bangui, in a browser without JavaScript, on two workers: jobs, cluster, settings, diagnosis.

use serde_json::json;

use crate::support::browser::{Browser, Page};
use crate::support::cluster::server_is;
use crate::support::{Cluster, SOON, eventually};

/// Markup, marks that turn the direction of text, and more than any field takes.
pub const HOSTILE: [&str; 4] = ["<script>alert(1)</script>", "\"><b>x", "\u{202e}0081\u{202c}", "٣٠"];

pub fn browser(cluster: &Cluster, n: usize) -> Browser {
    Browser::new(cluster.workers[n].address)
}

/// A browser that is logged in and has proven its password again, which settings of logins and sessions ask for.
pub async fn confirmed(cluster: &Cluster, n: usize) -> Browser {
    let mut user = browser(cluster, n);
    user.log_in().await;
    let cookie = user.cookie("bangui").unwrap();
    cluster.client(n).with_cookie(cookie).confirmed().await;
    user
}

/// Follows a form's answer on another worker.
async fn next(user: &Browser, cluster: &Cluster, n: usize, seen: &Page) -> Page {
    user.at(cluster.workers[n].address).get(&seen.expect(303).to().unwrap()).await
}

#[tokio::test]
async fn a_setting_is_saved_for_all_workers_and_set_back_from_the_message() {
    let cluster = Cluster::bare(2).set_up().await;
    let mut user = confirmed(&cluster, 0).await;
    let page = user.get("/settings").await;
    assert_eq!(page.expect(200).texts("li.setting").len(), 9, "{}", page.html);
    assert_eq!(page.attribute("#session_idle_seconds", "value").as_deref(), Some("1800"));
    let of = |page: &Page, name: &str| page.text(&format!("[data-k='{name}.origin']"));
    assert_eq!(of(&page, "session_idle_seconds"), "default");
    assert_eq!(of(&page, "login_limit"), "environment of the worker");
    assert!(
        page.texts("button").iter().all(|button| button != "Remove what is set here"),
        "nothing was set here"
    );

    let saved = user.submit(&page, "#settings", &[("session_idle_seconds", "600")], "Save").await;
    let shown = next(&user, &cluster, 1, &saved).await;
    let message = shown.text("[role=status]");
    assert!(message.contains("1 setting saved, for all workers."), "{message}");
    assert!(message.contains("10 min, was 30 min."), "{message}");
    assert_eq!(of(&shown, "session_idle_seconds"), "set here");
    assert_eq!(
        of(&shown, "session_absolute_seconds"),
        "default",
        "what was left as it is stays where it came from"
    );

    let mut other = user.at(cluster.workers[1].address);
    let undone = other.submit(&shown, ".message form", &[], "Set back to 30 min").await;
    let shown = next(&other, &cluster, 0, &undone).await;
    assert_eq!(shown.attribute("#session_idle_seconds", "value").as_deref(), Some("1800"), "{}", shown.html);
    assert_eq!(of(&shown, "session_idle_seconds"), "default", "it comes from where it came from before");

    // A switch, and back to the default by its button.
    let revision = shown.attribute("#revision", "value").unwrap();
    let on = user.post("/settings", &[("revision", &revision), ("session_cache_enabled", "true")]).await;
    let shown = next(&user, &cluster, 1, &on).await;
    assert_eq!(shown.text("[data-k='session_cache_enabled.now']"), "on");
    let revision = shown.attribute("#revision", "value").unwrap();
    let back = user.post("/settings", &[("revision", &revision), ("back", "session_cache_enabled")]).await;
    let shown = next(&user, &cluster, 1, &back).await;
    assert!(shown.text("[role=status]").contains("off, was on."), "{}", shown.html);
    let undo = user.submit(&shown, ".message form", &[], "Set back to on").await;
    let shown = next(&user, &cluster, 1, &undo).await;
    assert_eq!(shown.text("[data-k='session_cache_enabled.now']"), "on");
    let same = user.submit(&shown, "#settings", &[], "Save").await;
    assert!(next(&user, &cluster, 1, &same).await.text("[role=status]").contains("nothing was changed"));
}

#[tokio::test]
async fn of_two_people_who_change_settings_at_once_the_second_looks_again_with_their_values_kept() {
    let cluster = Cluster::bare(2).set_up().await;
    let (mut one, mut two) = (confirmed(&cluster, 0).await, confirmed(&cluster, 1).await);
    let (first, second) = (one.get("/settings").await, two.get("/settings").await);
    one.submit(&first, "#settings", &[("probe_interval_seconds", "5")], "Save").await.expect(303);
    let stale = two.submit(&second, "#settings", &[("session_idle_seconds", "900")], "Save").await;
    let why = stale.expect(409).error_at("revision").unwrap();
    assert!(why.contains("The settings were changed since you opened this page"), "{why}");
    assert_eq!(
        stale.attribute("#session_idle_seconds", "value").as_deref(),
        Some("900"),
        "what was typed is kept"
    );
    assert_eq!(
        stale.text("[data-k='probe_interval_seconds.now']"),
        "5 s",
        "what is in force is shown beside it"
    );
    assert_eq!(
        two.get("/settings").await.attribute("#session_idle_seconds", "value").as_deref(),
        Some("1800")
    );
    // Saving again, based on what is shown now, is allowed.
    let again = two.submit(&stale, "#settings", &[("probe_interval_seconds", "5")], "Save").await;
    let shown = next(&two, &cluster, 0, &again).await;
    assert_eq!(shown.text("[data-k='session_idle_seconds.now']"), "15 min");
    assert_eq!(shown.text("[data-k='probe_interval_seconds.now']"), "5 s");
}

#[tokio::test]
async fn what_is_no_setting_is_refused_beside_its_field_and_shown_as_text() {
    let cluster = Cluster::bare(1).set_up().await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let page = user.get("/settings").await;
    let long = "9".repeat(5_000);
    let typed = HOSTILE.into_iter().chain([long.as_str(), "-1", "0", "1.5", ""]);
    for typed in typed {
        for field in
            ["session_idle_seconds", "session_cache_ttl_seconds", "probe_interval_seconds", "login_limit"]
        {
            if (field, typed) == ("session_cache_ttl_seconds", "0") {
                continue;
            }
            let refused = user.submit(&page, "#settings", &[(field, typed)], "Save").await;
            let error = refused.expect(422).error_at(field).unwrap();
            assert!(error.contains("must"), "{field}: {error}");
            assert!(error.chars().count() < 250, "{field}: an error repeats no more than the beginning");
            assert_eq!(refused.attribute(&format!("#{field}"), "value").unwrap_or_default(), typed);
            assert!(!refused.html.contains("<script>alert") && !refused.html.contains("<b>x"), "{field}");
        }
    }
    let several = [("session_idle_seconds", "x"), ("login_limit", "0/0")];
    let refused = user.submit(&page, "#settings", &several, "Save").await;
    assert_eq!(refused.expect(422).texts("ul.error a").len(), 2, "{}", refused.html);
    let quarrel = user.submit(&page, "#settings", &[("session_idle_seconds", "99999999")], "Save").await;
    assert!(quarrel.expect(422).error_at("session_idle_seconds").unwrap().contains("must not be longer"));
    let revision = page.attribute("#revision", "value").unwrap();
    let switch = [("revision", revision.as_str()), ("session_cache_enabled", "<b>on")];
    let refused = user.post("/settings", &switch).await;
    assert!(refused.expect(422).error_at("session_cache_enabled").unwrap().contains("must be on or off"));
    user.post("/settings", &[("revision", "<i>"), ("session_idle_seconds", "60")]).await.expect(400);
    let none = user.post("/settings", &[("revision", &revision), ("back", "<b>none")]).await;
    assert!(
        user.get(&none.expect(303).to().unwrap())
            .await
            .text("[role=status]")
            .contains("Nothing was different")
    );
}

#[tokio::test]
async fn a_job_shows_its_progress_is_cancelled_on_another_worker_and_lists_what_failed_by_reason() {
    let mut cluster =
        Cluster::with_fail2ban(2).jails(&["web"]).env("BANGUI_PROBE_INTERVAL_SECONDS", 300).set_up().await;
    cluster.fail2ban().start_slow_jail(0.1).await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let (mut user, mut other) = (browser(&cluster, 0), browser(&cluster, 1));
    user.log_in().await;
    other.log_in().await;
    let empty = user.get("/jobs").await;
    assert!(empty.expect(200).text(".empty").contains("There are no jobs."), "{}", empty.html);

    let ips: Vec<String> = (0..3_000).map(|n| format!("198.51.{}.{}", 100 + n / 250, n % 250)).collect();
    let put = client.post("/api/v1/servers/web-1/jails/slow/bans", json!({ "ips": ips })).await;
    let id = put.expect(202).body["id"].as_str().unwrap().to_owned();
    let page = eventually("the job to be under way", SOON, || {
        let mut user = user.clone();
        async move {
            let page = user.get("/jobs").await;
            let begun = page.expect(200).attribute("progress", "value").is_some_and(|done| done != "0");
            begun.then_some(page)
        }
    })
    .await;
    let job = page.text("section[aria-labelledby=running] li.job");
    assert!(job.contains("running Ban 3,000 addresses web-1 / slow by admin"), "{job}");
    assert!(job.contains(" of 3,000 tried, "), "{job}");
    assert_eq!(page.text(".places a[href='/jobs'] .count"), "1", "counted in the menu");
    let cancelled = other.submit(&page, "li.job form", &[], "Cancel the rest").await;
    let shown = next(&other, &cluster, 0, &cancelled).await;
    let message = shown.text("[role=status]");
    assert!(message.contains("Cancelled at ") && message.contains(" of 3,000."), "{message}");
    assert!(shown.text("section[aria-labelledby=ended] li.job").contains("cancelled Ban"), "{}", shown.html);
    assert!(shown.texts("section[aria-labelledby=running]").is_empty());

    // Once more, as from an old page; and with an id that is not a job's.
    let twice = other.post(&format!("/jobs/{id}/cancel"), &[]).await;
    next(&other, &cluster, 1, &twice).await.expect(200);
    for none in ["0123456789abcdef0123456789abcdef", "%3Cb%3E", "x"] {
        let none = user.post(&format!("/jobs/{none}/cancel"), &[]).await;
        assert!(!none.expect(404).html.contains("<b>"));
    }
    user.get("/jobs?cursor=%3Cscript%3E").await.expect(400);
}

#[tokio::test]
async fn the_cluster_shows_its_workers_who_leads_and_a_worker_that_went_silent() {
    let cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    let page = user.get("/cluster").await;
    assert!(page.expect(200).text(".facts").starts_with("2 of 2 workers serve"), "{}", page.html);
    assert!(page.text(".facts").contains(" has led since "), "{}", page.text(".facts"));
    let workers = page.texts("section[aria-labelledby=workers] tbody tr");
    assert_eq!(workers.len(), 2);
    assert_eq!(workers.iter().filter(|row| row.contains(" leads ")).count(), 1, "{workers:?}");
    assert_eq!(workers.iter().filter(|row| row.contains("serves this page")).count(), 1, "{workers:?}");
    assert!(page.texts("section[aria-labelledby=schedule] th[scope=row]").contains(&"probe".to_owned()));
    let agents = page.text("section[aria-labelledby=agents]");
    assert!(agents.contains(&format!("1 × {}", env!("CARGO_PKG_VERSION"))), "{agents}");
    assert!(page.text("section[aria-labelledby=redis]").contains("Memory"), "{}", page.html);

    cluster.workers[1].process.kill();
    let page = eventually("the worker to be called silent", 3 * SOON, || {
        let mut user = user.clone();
        async move {
            let page = user.get("/cluster").await;
            (!page.expect(200).texts(".message.warn").is_empty()).then_some(page)
        }
    })
    .await;
    let silent = page.text(".message.warn");
    assert!(silent.contains("has been silent for") && silent.contains("continue its jobs"), "{silent}");
    assert!(page.text(".facts").starts_with("1 of 2 workers serve"), "{}", page.text(".facts"));
}

#[tokio::test]
async fn the_diagnosis_says_what_is_not_protected_first_and_is_counted_in_the_menu() {
    let mut cluster = Cluster::with_fail2ban(2).set_up().await;
    let client = cluster.client(0).logged_in().await;
    server_is(&client, "up").await;
    let mut user = browser(&cluster, 0);
    user.log_in().await;
    user.get("/diagnosis").await.expect(200);
    cluster.fail2ban().kill();
    server_is(&client, "down").await;
    let mut other = user.at(cluster.workers[1].address);
    let page = other.get("/diagnosis").await;
    let first = page.expect(200).text("section[aria-labelledby=error-title] li");
    assert!(first.starts_with("web-1 since ") && first.contains("fail2ban is down"), "{first}");
    assert!(!page.texts("code.command").is_empty(), "a command mends it: {}", page.html);
    let chips = page.texts(".chip");
    assert!(chips.iter().any(|chip| chip.starts_with("not protected")), "{chips:?}");
    let shown: usize = page.text("[data-k=found]").parse().unwrap();
    assert_eq!(page.texts("li[data-row]").len(), shown);
    let own = page.text(".places a[href='/diagnosis'] .count");
    assert_eq!(
        own.parse::<usize>().unwrap(),
        shown,
        "the menu of the page itself counts what was just found"
    );
    // The menu of every page, on every worker, has the same count.
    let menu = user.get("/account").await.text(".places a[href='/diagnosis'] .count");
    assert_eq!(menu.parse::<usize>().unwrap(), shown);
    let only = other.get("/diagnosis?severity=error").await;
    assert!(only.texts("section[aria-labelledby=warning-title]").is_empty(), "{}", only.html);
    let hostile = other.get("/diagnosis?severity=%3Cscript%3Ealert(1)").await;
    assert!(!hostile.expect(400).html.contains("<script>alert"));
    // The button asks for a check and leads back.
    let checked =
        other.submit(&page, "section[aria-labelledby=error-title] form", &[], "Check web-1 now").await;
    assert!(checked.expect(303).to().unwrap().starts_with("/diagnosis?m="), "{checked:?}");
    for (back, to) in [("/diagnosis", "/diagnosis?m="), ("https://elsewhere.example/", "/setup/next?m=")] {
        let put = other.post("/setup/never-ban", &[("back", back)]).await;
        assert!(put.expect(303).to().unwrap().starts_with(to), "{put:?}");
    }
}
