//! Bans that are undone, without JavaScript, at any worker: a few at once, many as a job, and all lifted ones. No address is banned
//! again that must not be banned by now.

use serde_json::{Value, json};

use crate::jails::{BANNED, beside_web, path, post};
use crate::pages_user::{User, WEB, banned_now, says, web_listed};
use crate::support::browser::Page;
use crate::support::{Client, Cluster, SOON, eventually};

async fn bans(client: &Client, verb: &str, ips: Value) {
    client.post(&path(&format!("jails/web/{verb}")), json!({ "ips": ips })).await.expect(200);
}

/// The page of a job's jail once the job is over.
async fn ended(user: &User, page: &Page) -> Page {
    let to = page.asked.trim_start_matches("GET ").split("&m=").next().unwrap().to_owned();
    eventually("the end of the job", SOON * 4, || {
        let (mut there, to) = (user.there.clone(), to.clone());
        async move {
            let page = there.get(&to).await;
            page.text("#job-title").contains(": done").then_some(page)
        }
    })
    .await
}

#[tokio::test]
async fn a_ban_is_lifted_from_its_entry_in_the_audit_and_banned_again_unless_that_was_done_since() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let page = web_listed(&user).await;
    let banned = user.press(&page, "#ban form", &[("ips", "198.51.100.9 198.51.100.10")], "Ban").await;
    says(&banned, "Banned 2 addresses in web on web-1.");
    let activity = user.get("/activity?kind=people").await;
    assert_eq!(activity.texts("tr.deed form button")[0], "Unban 2 addresses");
    // One of them was unbanned since: the other is undone, and that is said.
    bans(&client, "unban", json!(["198.51.100.10"])).await;
    let undone = user.press(&activity, "tr.deed form", &[], "Unban 2 addresses").await;
    says(&undone, "Unbanned 198.51.100.9 in web on web-1.");
    says(&undone, "Left out: 1 address (unbanned already).");
    assert!(!cluster.fail2ban().bans("web", "198.51.100.9").await);
    let again = user.press(&undone, "#messages form", &[], "Ban it again").await;
    says(&again, "Banned 198.51.100.9 in web on web-1.");
    bans(&client, "unban", json!(["198.51.100.9"])).await;
    let late = user.press(&again, "#messages form", &[], "Unban it").await;
    says(&late, "It cannot be undone.");
    says(&late, "have been unbanned in web-1/web since; nothing was changed.");
    // An address that has been put on the never-banned list since is not banned again.
    let sent = user.here.post(&format!("{WEB}/unban"), &[("ips", BANNED)]).await;
    let lifted = user.get(&sent.expect(303).to().unwrap()).await;
    says(&lifted, "Unbanned 203.0.113.77 in web on web-1.");
    let ignore = json!({ "network": "203.0.113.0/24" });
    client.post(&path("jails/web/ignore"), ignore).await.expect(200);
    let late = user.press(&lifted, "#messages form", &[], "Ban it again").await;
    says(&late, "never-banned list");
    assert!(!cluster.fail2ban().bans("web", BANNED).await);
}

#[tokio::test]
async fn what_must_not_be_banned_by_a_slip_is_left_out_of_an_undo_and_the_rest_is_banned_again() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    let own = json!({ "ips": ["127.0.0.9", "198.51.100.9"], "force": true });
    client.post(&path("jails/web/bans"), own).await.expect(200);
    // No host has it, but fail2ban bans it nevertheless.
    cluster.fail2ban().command(&["set", "web", "banip", "0.0.0.0"]).await;
    let ips = "127.0.0.9 198.51.100.9 0.0.0.0";
    let sent = user.here.post(&format!("{WEB}/unban"), &[("ips", ips)]).await;
    let lifted = user.get(&sent.expect(303).to().unwrap()).await;
    says(&lifted, "Unbanned 3 addresses in web on web-1.");
    let again = user.press(&lifted, "#messages form", &[], "Ban 3 addresses").await;
    says(&again, "Banned 198.51.100.9 in web on web-1.");
    says(&again, "Left out: 2 addresses (");
    for ip in ["127.0.0.9", "0.0.0.0"] {
        assert!(!cluster.fail2ban().bans("web", ip).await, "{ip}");
    }
    // Nor is anybody unbanned where nobody is banned any more.
    post(&client, "jails/web/deactivate").await.expect(200);
    let late = user.press(&again, "#messages form", &[], "Unban it").await;
    says(&late, "no longer runs, so it bans nobody; nothing was changed.");
}

#[tokio::test]
async fn all_bans_of_a_jail_that_were_lifted_by_a_job_are_banned_again_by_another_but_for_those_that_must_not()
 {
    let (mut cluster, client) = beside_web().await;
    let ips: Vec<String> = (0..229).map(|n| format!("2001:db8:0:4f::{n:x}")).collect();
    let words: Vec<&str> =
        ["set", "web", "banip"].into_iter().chain(ips.iter().map(String::as_str)).collect();
    cluster.fail2ban().command(&words).await;
    banned_now(&client, 230).await;
    let mut user = User::of(&cluster).await;
    let page = user.get(WEB).await;
    let question = page.text("#all .ask");
    assert!(
        question.contains(
            "A job does it. You can undo this for 10 minutes: that bans all of them again, each for the jail's full ban time."
        ),
        "{question}"
    );
    let begun = user.press(&page, "#all form", &[], "Unban 230 addresses").await;
    says(&begun, "Once it has ended, it can be undone here.");
    let over = ended(&user, &begun).await;
    banned_now(&client, 0).await;
    let ignore = json!({ "network": "203.0.113.77" });
    client.post(&path("jails/web/ignore"), ignore).await.expect(200);
    let activity = user.get("/activity?kind=people").await;
    assert_eq!(
        activity
            .texts("tr.deed form button")
            .iter()
            .filter(|label| *label == "Ban 230 addresses again")
            .count(),
        1
    );
    let undone =
        user.press(&over, "section[aria-labelledby=job-title] form", &[], "Ban 230 addresses again").await;
    says(&undone, "Banning 229 addresses again in web on web-1.");
    says(&undone, "Left out: 1 address (banned again already, on the never-banned list, or your own).");
    ended(&user, &undone).await;
    banned_now(&client, 229).await;
    assert!(cluster.fail2ban().bans("web", &ips[228]).await);
    assert!(!cluster.fail2ban().bans("web", BANNED).await);
    let twice =
        user.press(&over, "section[aria-labelledby=job-title] form", &[], "Ban 230 addresses again").await;
    says(&twice, "admin already undid it at ");
}

#[tokio::test]
async fn a_large_ban_that_was_cancelled_is_undone_for_what_it_says_that_it_had_done() {
    let mut cluster = Cluster::with_fail2ban(2).jails(&["web"]).set_up().await;
    cluster.fail2ban().start_slow_jail(0.05).await;
    let mut user = User::of(&cluster).await;
    let ips: Vec<String> = (0..500).map(|n| format!("198.51.{}.{}", 100 + n / 250, n % 250)).collect();
    let slow = "/servers/web-1/jails/slow";
    let sent = user.here.post(&format!("{slow}/bans"), &[("ips", &ips.join("\n"))]).await;
    let to = sent.expect(303).to().unwrap();
    let page = eventually("progress", SOON, || {
        let (mut there, to) = (user.there.clone(), to.clone());
        async move {
            let page = there.get(&to).await;
            (page.attribute("progress", "value")? != "0").then_some(page)
        }
    })
    .await;
    let cancelled = user.press(&page, "form", &[], "Cancel the rest").await;
    says(&cancelled, "Cancelled at");
    let banned: usize = {
        let says = cancelled.text("[data-k='job.says']");
        says.split(" tried, ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    assert!(banned > 0 && banned < 500, "{banned}");
    let undo = cancelled.text("section[aria-labelledby=job-title] form button");
    assert_eq!(undo, if banned == 1 { "Unban it".to_owned() } else { format!("Unban {banned} addresses") });
    let undone = user.press(&cancelled, "section[aria-labelledby=job-title] form", &[], "Unban").await;
    assert!(undone.text("#messages").starts_with("Unban"), "{}", undone.text("#messages"));
    // A command that was on its way when the job was cancelled is counted nowhere.
    for ip in &ips[..banned] {
        assert!(!cluster.fail2ban().bans("slow", ip).await, "{ip} of {banned}");
    }
}
