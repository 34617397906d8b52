//! The page of an address, without JavaScript, on two workers, and what it says about servers that cannot be asked.

use crate::jails::{BANNED, beside_web};
use crate::pages_user::{SERVER_PAGE, User, WEB, says, web_listed};
use crate::support::{SOON, eventually};

#[tokio::test]
async fn an_address_is_answered_as_a_sentence_unbanned_everywhere_and_banned_again() {
    let (mut cluster, _client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    web_listed(&user).await;
    let path = format!("/addresses/{BANNED}");
    let page = user.get(&path).await;
    assert_eq!(page.text("h1"), "203.0.113.77 is banned in 1 jail on 1 server");
    assert_eq!(page.texts(".bans th"), ["Server / jail", "Since", "Until", "Left", "Action", "web-1 / web"]);
    assert!(page.text(".bans .d").contains("min"), "the time that is left: {}", page.text(".bans .d"));
    let free = user.press(&page, "form", &[], "Unban everywhere (1 jail)").await;
    says(&free, "203.0.113.77 is unbanned in web on web-1.");
    assert_eq!(free.text("h1"), "203.0.113.77 is not banned");
    assert!(!cluster.fail2ban().bans("web", BANNED).await);
    let again = user.press(&free, "#messages form", &[], "Ban it again").await;
    says(&again, "203.0.113.77 is banned in web on web-1.");
    assert_eq!(again.text("h1"), "203.0.113.77 is banned in 1 jail on 1 server");
    let row = user.press(&again, ".bans form", &[], "Unban").await;
    assert!(row.asked.contains("/addresses/"), "it leads back here: {}", row.asked);
    let chosen = user.here.post(&format!("{path}/ban"), &[("place", "web-1/web")]).await;
    let banned = user.get(&chosen.expect(303).to().unwrap()).await;
    says(&banned, "is banned in web on web-1.");
    let never = user.press(&banned, "form", &[], "Never ban it, for good").await;
    says(&never, "203.0.113.77 is never banned in web on web-1.");
    assert!(!cluster.fail2ban().bans("web", BANNED).await);
    let nothing = user.here.post(&format!("{path}/ban"), &[]).await;
    says(&user.get(&nothing.expect(303).to().unwrap()).await, "No jail was chosen");
    user.here.post(&format!("{path}/ban"), &[("place", "none/web")]).await.expect(404);
    user.here.post(&format!("{path}/ban"), &[("place", "<b>")]).await.expect(400);
    user.get("/addresses/203.0.113.0%2F24").await;
}

#[tokio::test]
async fn an_address_in_a_banned_network_is_unbanned_with_the_network_and_that_is_said_before_and_undone() {
    let (mut cluster, client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    web_listed(&user).await;
    let around = "203.0.113.64/27";
    let ban =
        client.post("/api/v1/servers/web-1/jails/web/bans", serde_json::json!({ "ips": [around] })).await;
    ban.expect(200);
    let path = format!("/addresses/{BANNED}");
    let page = eventually("the network to be listed", SOON, || {
        let mut there = user.there.clone();
        let path = path.clone();
        async move {
            let page = there.get(&path).await;
            (page.texts(".bans tbody tr").len() == 2).then_some(page)
        }
    })
    .await;
    assert_eq!(page.text("h1"), "203.0.113.77 is banned in 1 jail on 1 server", "two bans of one jail");
    assert!(page.text(".bans").contains("by 203.0.113.64/27"), "{}", page.text(".bans"));
    let hint = page.text("main p.hint");
    assert!(hint.contains("lifts that ban as a whole, for every address in it"), "{hint}");
    let free = user.press(&page, "form", &[], "Unban everywhere (1 jail, with 203.0.113.64/27)").await;
    says(&free, "203.0.113.77 is unbanned in web on web-1.");
    says(&free, "203.0.113.64/27, which contains it, is unbanned as a whole.");
    assert_eq!(free.text("h1"), "203.0.113.77 is not banned");
    for whom in [BANNED, around] {
        assert!(!cluster.fail2ban().bans("web", whom).await, "{whom}");
    }
    let again = user.press(&free, "#messages form", &[], "Ban it again").await;
    says(&again, "203.0.113.64/27, which contains it, is banned as a whole.");
    for whom in [BANNED, around] {
        assert!(cluster.fail2ban().bans("web", whom).await, "{whom}");
    }
    // A form may name networks that contain the address, and no others.
    let other = user.here.post(&format!("{path}/unban"), &[("by", "198.51.100.0/24 web-1/web")]).await;
    other.expect(400);
    let (one, two) = (format!("{around} web-1/web"), format!("{BANNED} web-1/web"));
    let fields = [("by", one.as_str()), ("by", two.as_str()), ("persistent", "yes")];
    let never = user.here.post(&format!("{path}/never-ban"), &fields).await;
    let never = user.get(&never.expect(303).to().unwrap()).await;
    says(&never, "203.0.113.77 is never banned in web on web-1.");
    for whom in [BANNED, around] {
        assert!(!cluster.fail2ban().bans("web", whom).await, "{whom}");
    }
    let entry = never.text("section[aria-labelledby=never-title]");
    assert!(
        entry.contains("203.0.113.77") && entry.contains("keeps it from being banned on web-1 in web."),
        "{entry}"
    );
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_shown_as_unknown_and_never_counted_as_a_no() {
    let (mut cluster, _client) = beside_web().await;
    let mut user = User::of(&cluster).await;
    web_listed(&user).await;
    cluster.agent().kill();
    let page = user.get(&format!("/addresses/{BANNED}")).await;
    assert_eq!(page.text("h1"), "It is not known whether 203.0.113.77 is banned: no server answered");
    assert!(page.text("main").contains("web-1 could not be asked"), "{}", page.text("main"));
    assert!(page.text("main").contains("it was banned in web."), "what the list had: {}", page.text("main"));
    let jail = user.get(WEB).await;
    assert!(
        jail.text("main").contains("The agent of web-1 could not be asked now."),
        "{}",
        jail.text("main")
    );
    assert_eq!(jail.texts(".bans th a"), [BANNED], "what was read last is shown");
    let server = user.get(SERVER_PAGE).await;
    assert!(server.text("main").contains("could not be asked now"), "{}", server.text("main"));
    assert_eq!(server.texts(".jails th a"), ["web"]);
    let refused = user.press(&jail, "#ban form", &[("ips", "198.51.100.9")], "Ban").await;
    says(&refused, "The outcome is not known: perhaps nothing was banned in web-1/web.");
}
