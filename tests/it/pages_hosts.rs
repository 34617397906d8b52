//! The pages of a server and of a jail, without JavaScript, on two workers: a form is posted at one, and the other shows the outcome.

use crate::jails::{BANNED, beside_web, beside_web_with};
use crate::pages_user::{APP, SERVER_PAGE, User, WEB, banned_now, says, web_listed};
use crate::support::cluster::{SERVER, server_is};
use crate::support::{Client, Cluster, SOON, eventually};

#[tokio::test]
async fn a_server_shows_its_jails_and_one_is_switched_on_and_back_from_the_message() {
    let (mut cluster, _client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let page = user.get(SERVER_PAGE).await;
    assert!(page.text("h1").starts_with("web-1 up"), "{}", page.text("h1"));
    assert_eq!(page.texts(".jails th a"), ["app", "web"]);
    assert_eq!(page.texts(".jails .word"), ["off", "running"]);
    assert!(page.text(".facts").starts_with("1 jail running 1 banned now"), "{}", page.text(".facts"));
    let hours = page.text(".facts.hours");
    assert!(hours.starts_with("Bans by the hour ") && hours.contains(" of 24 hours (the others "), "{hours}");
    let row = user.get("/").await;
    assert!(row.text(".servers .h").ends_with(" is usual"), "{}", row.text(".servers .h"));
    assert!(row.attribute(".servers .h path", "d").is_some_and(|bars| bars.starts_with('M')), "{}", row.html);
    let on = user.press(&page, ".jails form", &[], "Switch on").await;
    says(&on, "app on web-1 was switched on.");
    assert_eq!(on.texts(".jails .word"), ["running", "running"]);
    assert_eq!(cluster.fail2ban().jails().await, ["app", "web"]);
    let off = user.press(&on, "#messages form", &[], "Switch off again").await;
    says(&off, "app on web-1 was switched off.");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    assert!(off.text("main").contains("admin switched off app"), "its events: {}", off.text("main"));
    let probe = user.press(&off, "form", &[], "Check now").await;
    says(&probe, "web-1 is being checked.");
    assert!(probe.asked.contains("/servers/web-1?m="), "{}", probe.asked);
    user.there.get("/servers/none").await.expect(404);
    let gone = user.there.get("/servers/web-1/jails/none").await;
    gone.expect(404);
}

#[tokio::test]
async fn a_refused_switch_stays_in_its_row_in_fail2bans_own_words_at_every_worker() {
    let (mut cluster, _client) = beside_web().await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write("filter.d/open.conf", "[Definition]\nfailregex = ^login (failed <b>from <ADDR>$\n");
    let text = fail2ban.jail("bad", false, "").replace("filter = app", "filter = open");
    fail2ban.write("jail.d/bad.conf", &text);
    let files = fail2ban.jail_d();
    let mut user = User::of(&cluster).await;
    let page = user.get("/servers/web-1/jails/bad").await;
    let refused = user.press(&page, "#all form", &[], "Switch bad on").await;
    says(&refused, "bad on web-1 was not switched on, and nothing was changed.");
    says(&refused, "unterminated");
    let page = user.get(SERVER_PAGE).await;
    let row = page.text(".refusal");
    assert!(row.contains("Not switched on") && row.contains("unterminated"), "{row}");
    assert!(!page.html.contains("<b>from"), "fail2ban's words are text");
    assert_eq!(cluster.fail2ban().jail_d(), files);
    // Once it is switched on successfully, the refusal is gone.
    let text = cluster.fail2ban().jail("bad", false, "");
    cluster.fail2ban().write("jail.d/bad.conf", &text);
    let page = user.get("/servers/web-1/jails/bad").await;
    says(&user.press(&page, "#all form", &[], "Switch bad on").await, "bad on web-1 was switched on");
    assert!(user.get(SERVER_PAGE).await.texts(".refusal").is_empty());
}

#[tokio::test]
async fn an_address_is_banned_unbanned_and_each_undone_from_the_message_of_the_other_worker() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let page = web_listed(&user).await;
    assert_eq!(page.texts(".bans th a"), [BANNED]);
    let banned = user.press(&page, "#ban form", &[("ips", "198.51.100.9")], "Ban").await;
    says(&banned, "Banned 198.51.100.9 in web on web-1.");
    assert!(cluster.fail2ban().bans("web", "198.51.100.9").await);
    let undone = user.press(&banned, "#messages form", &[], "Unban it").await;
    says(&undone, "Unbanned 198.51.100.9 in web on web-1.");
    assert!(!cluster.fail2ban().bans("web", "198.51.100.9").await);
    let again = user.press(&undone, "#messages form", &[], "Ban it again").await;
    says(&again, "Banned 198.51.100.9");
    says(&user.press(&page, "#ban form", &[("ips", "198.51.100.9")], "Ban").await, "was banned already");
    banned_now(&client, 2).await;
    let page = eventually("both in the list", SOON, || {
        let mut there = user.there.clone();
        async move {
            let page = there.get(WEB).await;
            (page.texts(".bans th a").len() == 2).then_some(page)
        }
    })
    .await;
    let found = user.get(&format!("{WEB}?q=198.51")).await;
    assert_eq!(found.texts(".bans th a"), ["198.51.100.9"]);
    let none = user.get(&format!("{WEB}?q=%3Cb%3E")).await;
    assert!(none.text("#bans").contains("No ban of web begins with <b>."), "{}", none.text("#bans"));
    says(&user.press(&page, "#bans form", &[], "Unban").await, "Unbanned 198.51.100.9");
    let page = user.get(WEB).await;
    let all = user.press(&page, "#all form", &[], "Unban").await;
    says(&all, "Unbanned 1 address in web");
    assert!(!cluster.fail2ban().bans("web", BANNED).await);
}

#[tokio::test]
async fn a_pasted_list_says_what_is_wrong_on_which_line_and_bans_the_good_ones_when_that_is_ticked() {
    let (mut cluster, _client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let page = user.get(WEB).await;
    let pasted = "203.0.113.18\n203.0.113.300\n<script>x\n2001:db8::7";
    let wrong = user.here.submit(&page, "#ban form", &[("ips", pasted)], "Ban").await;
    let error = wrong.expect(422).error_at("ips").unwrap();
    for sentence in [
        "Line 2: 203.0.113.300 is not an address.",
        "Line 3: <script>x is not an address.",
        "2 are addresses",
    ] {
        assert!(error.contains(sentence), "{sentence} in {error}");
    }
    assert!(wrong.html.contains("Ban 2 addresses"), "the good ones are counted");
    assert_eq!(wrong.text("#ips").matches("203.0.113.18").count(), 1, "what was typed is kept");
    assert!(!cluster.fail2ban().bans("web", "203.0.113.18").await, "nothing was banned yet");
    let fields = [("ips", pasted), ("good", "yes")];
    let sent = user.here.post(&format!("{WEB}/bans"), &fields).await;
    let done = user.get(&sent.expect(303).to().unwrap()).await;
    says(&done, "Banned 2 addresses in web on web-1.");
    says(&done, "Left out: Line 2: 203.0.113.300");
    assert!(cluster.fail2ban().bans("web", "2001:db8::7").await);
    // A ban of the user's own address needs a tick.
    let own = user.here.post(&format!("{WEB}/bans"), &[("ips", "127.0.0.0/8")]).await;
    assert!(own.expect(422).error_at("ips").unwrap().contains("Nothing was banned"), "{}", own.html);
}

#[tokio::test]
async fn more_than_a_hundred_are_a_job_with_progress_that_is_cancelled_from_the_page() {
    let mut cluster = Cluster::with_fail2ban(2).jails(&["web"]).set_up().await;
    cluster.fail2ban().start_slow_jail(0.1).await;
    let mut user = User::of(&cluster).await;
    let ips: Vec<String> = (0..500).map(|n| format!("198.51.{}.{}", 100 + n / 250, n % 250)).collect();
    let slow = "/servers/web-1/jails/slow";
    let sent = user.here.post(&format!("{slow}/bans"), &[("ips", &ips.join("\n"))]).await;
    let to = sent.expect(303).to().unwrap();
    let page = user.get(&to).await;
    says(&page, "Banning 500 addresses in slow on web-1.");
    assert!(page.text("#job-title").contains("Banning"), "{}", page.text("#job-title"));
    let page = eventually("progress", SOON, || {
        let (mut there, to) = (user.there.clone(), to.clone());
        async move {
            let page = there.get(&to).await;
            let done = page.attribute("progress", "value")?;
            (done != "0").then_some(page)
        }
    })
    .await;
    assert_eq!(page.attribute("progress", "max").as_deref(), Some("500"));
    let job = page.attribute("form [name=job]", "value").unwrap();
    user.here.post(&format!("{WEB}/cancel"), &[("job", &job)]).await.expect(404);
    user.here.post(&format!("{slow}/cancel"), &[("job", "<b>")]).await.expect(404);
    let cancelled = user.press(&page, "form", &[], "Cancel the rest").await;
    says(&cancelled, "Cancelled at");
    assert!(cancelled.text("#job-title").contains("cancelled"), "{}", cancelled.text("#job-title"));
    assert!(!cancelled.html.contains("Cancel the rest"), "{}", cancelled.html);
}

#[tokio::test]
async fn settings_are_set_until_the_next_reload_or_for_good_and_set_back_from_the_message() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let jail =
        async |client: &Client| client.get(&format!("/api/v1/servers/{SERVER}/jails/web")).await.body.clone();
    let page = user.get(WEB).await;
    let typed = [("bantime", "3600")];
    let now = user.press(&page, "#settings form", &typed, "Set until the next reload").await;
    says(&now, "bans for 1 h, until the next reload.");
    assert_eq!(jail(&client).await["bantime"], 3600);
    assert!(!cluster.fail2ban().jail_d().contains_key("zz-bangui-web.local"));
    let back = user.press(&now, "#messages form", &[], "Set back to 10 min").await;
    says(&back, "bans for 10 min");
    assert_eq!(jail(&client).await["bantime"], 600);
    let good = user.press(&back, "#settings form", &[("maxretry", "7")], "Save for good").await;
    says(&good, "after 7 failures, for good.");
    assert!(cluster.fail2ban().jail_d()["zz-bangui-web.local"].contains("maxretry = 7"));
    let same = user.press(&good, "#settings form", &[], "Save for good").await;
    says(&same, "Nothing was changed.");

    let page = user.get(WEB).await;
    let never = user.press(&page, "form", &[("network", BANNED)], "Add until").await;
    says(&never, "203.0.113.77 is never banned in web on web-1, until the next reload.");
    assert!(!cluster.fail2ban().bans("web", BANNED).await, "it is unbanned too");
    let off = user.press(&never, "#messages form", &[], "Take it off the list").await;
    says(&off, "203.0.113.77 may be banned in web on web-1 again.");
    assert!(!jail(&client).await["ignoreip"].to_string().contains(BANNED));
}

#[tokio::test]
async fn markup_other_directions_and_what_is_too_long_are_refused_beside_their_field_and_kept_as_text() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let before = client.get(&format!("/api/v1/servers/{SERVER}/jails/web")).await.body.clone();
    let files = cluster.fail2ban().jail_d();
    let long = "9".repeat(5000);
    let bad = ["<script>alert(1)</script>", "\u{202e}txt.exe\u{200f}", "\"><img src=x>", "-2", "0", &long];
    for value in bad {
        for (path, field) in [
            ("settings", "bantime"),
            ("settings", "maxretry"),
            ("settings", "findtime"),
            ("never-ban", "network"),
            ("bans", "ips"),
        ] {
            // 0 and -2 are out of range as settings, and no addresses.
            let seen = user.here.post(&format!("{WEB}/{path}"), &[(field, value)]).await;
            let error =
                seen.expect(422).error_at(field).unwrap_or_else(|| panic!("{field} {value}: {}", seen.html));
            assert!(error.chars().count() < 400, "{field}: {error}");
            assert!(
                !seen.html.contains("<script>alert") && !seen.html.contains("<img"),
                "{field}: {}",
                seen.html
            );
            let kept = if field == "ips" {
                seen.document()
                    .select(&scraper::Selector::parse("#ips").unwrap())
                    .next()
                    .unwrap()
                    .text()
                    .collect()
            } else {
                seen.attribute(&format!("#{field}"), "value").unwrap()
            };
            assert_eq!(kept.trim(), value, "{field} keeps what was typed");
        }
        let asked = url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
        let found = user.there.get(&format!("{WEB}?q={asked}&cursor={asked}&job={asked}")).await;
        assert!(!found.expect(200).html.contains("<script>alert"), "{}", found.html);
        let part = user.there.get(&format!("{WEB}?part={asked}")).await;
        assert!(!part.expect(400).html.contains("<script>alert"), "{}", part.html);
        let address = value.replace('/', "%2F").replace('<', "%3C").replace('>', "%3E").replace('"', "%22");
        let address = address.replace(['\u{202e}', '\u{200f}'], "%E2%80%AE");
        let none = user.there.get(&format!("/addresses/{address}")).await;
        assert!(!none.expect(404).html.contains("<script>alert"), "{}", none.html);
    }
    let after = client.get(&format!("/api/v1/servers/{SERVER}/jails/web")).await.body.clone();
    assert_eq!(
        ["bantime", "maxretry", "findtime", "ignoreip"].map(|name| &after[name]),
        ["bantime", "maxretry", "findtime", "ignoreip"].map(|name| &before[name])
    );
    assert_eq!(cluster.fail2ban().jail_d(), files);
}

#[tokio::test]
async fn a_switch_that_takes_long_is_shown_as_running_at_the_other_worker_until_it_is_done() {
    let (mut cluster, _client) = beside_web_with("BANGUI_TEST_ANSWER_WITHIN_MS", 1000).await;
    let fail2ban = cluster.fail2ban();
    fail2ban.write_slow_action(0.0, 1.0);
    fail2ban.write_slow_jail("app", true);
    fail2ban.command(&["reload", "--if-exists", "app"]).await;
    let ips: Vec<String> = (0..6).map(|n| format!("198.51.100.{n}")).collect();
    let words: Vec<&str> =
        ["set", "app", "banip"].into_iter().chain(ips.iter().map(String::as_str)).collect();
    fail2ban.command(&words).await;
    let mut user = User::of(&cluster).await;
    let sent = user.here.post(&format!("{APP}/switch"), &[("do", "off")]).await;
    let change = sent.expect(303).to().unwrap();
    assert!(change.starts_with(&format!("{APP}/changes/")), "{change}");
    let page = user.get(&change).await;
    assert_eq!(page.text("h1"), "app on web-1 is being switched off");
    assert!(page.html.contains("http-equiv=\"refresh\""), "it loads itself again");
    assert!(user.get(SERVER_PAGE).await.text(".jails").contains("being switched off"));
    let done = eventually("the end of the change", SOON * 4, || {
        let (mut there, change) = (user.there.clone(), change.clone());
        async move {
            let page = there.get(&change).await;
            page.text("h1").contains("was switched off").then_some(page)
        }
    })
    .await;
    assert!(!done.html.contains("http-equiv=\"refresh\""), "{}", done.html);
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    user.there.get(&change.replace("/app/", "/web/")).await.expect(404);
}

#[tokio::test]
async fn bans_are_paged_by_cursor_and_a_page_of_fifty_stays_small() {
    let (mut cluster, client) = beside_web().await;
    let ips: Vec<String> = (0..230).map(|n| format!("2001:db8:0:4f::{n:x}")).collect();
    let words: Vec<&str> =
        ["set", "web", "banip"].into_iter().chain(ips.iter().map(String::as_str)).collect();
    cluster.fail2ban().command(&words).await;
    banned_now(&client, 231).await;
    let mut user = User::of(&cluster).await;
    let mut page = eventually("the list to be read", SOON, || {
        let mut there = user.there.clone();
        async move {
            let page = there.get(WEB).await;
            (page.texts(".bans th a").len() == 50).then_some(page)
        }
    })
    .await;
    let mut seen = page.texts(".bans th a");
    assert!(page.html.len() < 60_000, "{} bytes", page.html.len());
    assert!(page.texts(".bans [type=hidden]").is_empty(), "one form for all rows");
    while let Some(next) = page.attribute("a[rel=next]", "href") {
        page = user.get(next.split('#').next().unwrap()).await;
        seen.extend(page.texts(".bans th a"));
    }
    assert_eq!(seen.len(), 231);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 231, "none is shown twice");
    assert!(page.attribute("a[rel=prev]", "href").is_some());
}

#[tokio::test]
async fn a_pending_recovery_is_the_first_of_its_server_and_is_rolled_back_or_dismissed_there() {
    let (mut cluster, client) = beside_web().await;
    let started = cluster.fail2ban().config().join("started");
    let agent = cluster.agent();
    agent.more = vec![("BANGUI_FAIL2BAN_START", format!("touch {}", started.display()))];
    agent.start_again().await;
    server_is(&client, "up").await;
    let mut user = User::of(&cluster).await;
    let page = user.get(APP).await;
    says(&user.press(&page, "#all form", &[], "Switch app on").await, "app on web-1 was switched on");
    cluster.fail2ban().kill();
    server_is(&client, "down").await;
    let page = user.get(SERVER_PAGE).await;
    let first = page.text(".attention");
    assert!(first.contains("went down") && first.contains("Expect no new bans on web-1"), "{first}");
    let found = user.get("/diagnosis").await;
    assert_eq!(found.texts("a.button[href='/servers/web-1']"), ["Decide"], "{}", found.html);
    // Another recovery than the one that was seen is left alone.
    let fields = [("detected_at", "2020-01-01T00:00:00Z"), ("do", "dismiss"), ("back", SERVER_PAGE)];
    let other = user.here.post("/servers/web-1/recovery", &fields).await;
    says(&user.get(&other.expect(303).to().unwrap()).await, "Nothing was dismissed.");
    let rolling = tokio::spawn({
        let (mut here, page) = (user.here.clone(), page.clone());
        async move { here.submit(&page, ".attention form", &[], "Switch app off, start fail2ban").await }
    });
    eventually("the start command", SOON, || async { started.exists().then_some(()) }).await;
    cluster.fail2ban().start_again().await;
    let to = rolling.await.unwrap().expect(303).to().unwrap();
    assert!(to.starts_with("/servers/web-1?m="), "{to}");
    says(&user.get(&to).await, "Switched app off on web-1 and started fail2ban.");
    assert_eq!(cluster.fail2ban().jails().await, ["web"]);
    server_is(&client, "up").await;
    assert!(user.get(SERVER_PAGE).await.texts(".attention").is_empty());
}
