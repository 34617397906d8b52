//! Bans and settings beside a real fail2ban: each is verified after it was made.

use std::time::{Duration, Instant};

use bangui::agent::client::{AgentError, RefusedKind};
use bangui::agent::wire::{BanRequest, ChangeSettings, JobEpoch, JobKey};
use bangui::domain::{JailSettings, Network};
use serde_json::json;

use crate::agent_jails::{BANNED, beside, jail, refused};
use crate::support::{SOON, eventually};

fn net(text: &str) -> Network {
    Network::parse(text).unwrap()
}

fn of(ips: &[&str]) -> BanRequest {
    BanRequest { ips: ips.iter().map(|ip| net(ip)).collect(), job: None, partial: false }
}

fn job(epoch: u64) -> JobEpoch {
    JobEpoch { key: JobKey::parse("ban-1").unwrap(), epoch, incarnation: None, owner: None }
}

fn settings(value: serde_json::Value) -> JailSettings {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn addresses_are_banned_found_listed_and_unbanned() {
    let (fail2ban, agent) = beside(|_| ()).await;
    let (client, web) = (agent.client(), jail("web"));
    let ips = ["203.0.113.9", "2001:db8::9", "198.51.100.0/28", "203.0.113.9", BANNED];
    let banned = client.ban(&web, &of(&ips)).await.unwrap();
    let outcomes: Vec<_> = banned.iter().map(|one| (one.ip.to_string(), one.banned, one.changed)).collect();
    let expected = [("198.51.100.0/28", true), ("203.0.113.9", true), (BANNED, false), ("2001:db8::9", true)];
    assert_eq!(outcomes, expected.map(|(ip, changed)| (ip.to_owned(), true, changed)));
    assert!(fail2ban.bans("web", "2001:db8::9").await);

    let now = chrono::Local::now().timestamp();
    let list = client.bans(&web).await.unwrap();
    assert_eq!(list.bans.len(), 4, "{list:?}");
    for ban in &list.bans {
        let (since, until) = (ban.1.unwrap(), ban.2.unwrap());
        assert!((now - since).abs() < 60 && (600..=660).contains(&(until - since)), "{ban:?} at {now}");
    }
    let found = client.banned(&[net("2001:db8::9"), net("203.0.113.200")]).await.unwrap();
    assert_eq!((found[0].jails.as_slice(), found[1].jails.len()), ([web.clone()].as_slice(), 0));

    let unbanned = client.unban(&web, &of(&["203.0.113.9", "203.0.113.200"])).await.unwrap();
    let outcomes: Vec<_> = unbanned.iter().map(|one| (one.banned, one.changed)).collect();
    assert_eq!(outcomes, [(false, true), (false, false)]);
    let rest = client.unban_all(&web, None).await.unwrap();
    assert_eq!((rest.unbanned, rest.remaining), (3, 0));
    assert!(!fail2ban.bans("web", BANNED).await);
}

#[tokio::test]
async fn what_is_no_address_no_jail_or_too_much_is_refused_and_nothing_is_done() {
    let (fail2ban, agent) = beside(|_| ()).await;
    let many: Vec<String> = (0..26).map(|n| format!("203.0.113.{n}")).collect();
    for body in [
        json!({}),
        json!({ "ips": [] }),
        json!({ "ips": many }),
        json!({ "ips": ["localhost"] }),
        json!({ "ips": ["203.0.113.1\nstop"] }),
        json!({ "ips": ["203.0.113.1 203.0.113.2"] }),
        json!({ "ips": ["<F2B_END_COMMAND>"] }),
        json!({ "ips": ["203.0.113.1/33"] }),
        json!({ "ips": ["203.0.113.1"], "job": { "key": "a b", "epoch": 1 } }),
        json!("203.0.113.1"),
    ] {
        let (status, answer) = agent.post("/v1/jails/web/bans", body.clone()).await;
        assert_eq!((status, &answer["kind"]), (400, &json!("request")), "{body}: {answer}");
    }
    refused(agent.client().ban(&jail("nothing"), &of(&["203.0.113.1"])).await, RefusedKind::Jail);
    refused(agent.client().bans(&jail("nothing")).await, RefusedKind::Jail);
    assert_eq!(agent.client().bans(&jail("web")).await.unwrap().bans.len(), 1);
    assert!(!fail2ban.log().contains("has failed. Received SyntaxError"));
}

#[tokio::test]
async fn what_is_banned_and_is_no_address_is_listed_and_lifted_with_all_others() {
    let (fail2ban, agent) = beside(|_| ()).await;
    let (client, web) = (agent.client(), jail("web"));
    // `--all` cannot be sent back as an address.
    for odd in ["mallory", "a user", "größe", "--all"] {
        fail2ban.command(&["set", "web", "banip", odd]).await;
    }
    let list = client.bans(&web).await.unwrap();
    let marks: Vec<_> = list.marks.iter().map(|ban| ban.0.as_str()).collect();
    assert_eq!((marks, list.others, list.bans.len()), (vec!["a user", "größe", "mallory"], 4, 1), "{list:?}");
    assert!(list.marks.iter().all(|ban| ban.1.is_some() && ban.2.is_some()), "{list:?}");
    let lifted = client.unban_all(&web, None).await.unwrap();
    assert_eq!((lifted.unbanned, lifted.remaining), (4, 1));
    assert!(!fail2ban.bans("web", "mallory").await && fail2ban.bans("web", "--all").await);
}

#[tokio::test]
async fn an_older_epoch_of_a_job_does_nothing_any_more() {
    let (_fail2ban, agent) = beside(|_| ()).await;
    let (client, web) = (agent.client(), jail("web"));
    let under = |ip: &str, epoch| BanRequest { job: Some(job(epoch)), ..of(&[ip]) };
    assert!(client.ban(&web, &under("203.0.113.1", 5)).await.unwrap()[0].banned);
    assert!(client.ban(&web, &under("203.0.113.2", 5)).await.unwrap()[0].banned);
    client.fence(&job(6)).await.unwrap();
    let said =
        refused(client.ban(&web, &under("203.0.113.3", 5)).await, RefusedKind::Stale { known: Some(6) });
    assert!(said.contains("epoch 6"), "{said}");
    refused(client.unban(&web, &under("203.0.113.1", 5)).await, RefusedKind::Stale { known: Some(6) });
    refused(client.unban_all(&web, Some(job(5))).await, RefusedKind::Stale { known: Some(6) });
    refused(client.fence(&job(5)).await, RefusedKind::Stale { known: Some(6) });
    let found = client.banned(&[net("203.0.113.1"), net("203.0.113.3")]).await.unwrap();
    assert_eq!((found[0].jails.len(), found[1].jails.len()), (1, 0));
    assert!(client.unban(&web, &under("203.0.113.1", 7)).await.unwrap()[0].changed);
}

#[tokio::test]
async fn the_same_epoch_of_another_worker_does_nothing_and_is_answered_with_the_known_one() {
    let (_fail2ban, agent) = beside(|_| ()).await;
    let (client, web) = (agent.client(), jail("web"));
    let of_worker = |owner: &str, epoch| JobEpoch { owner: Some(owner.to_owned()), ..job(epoch) };
    let under =
        |owner: &str, epoch| BanRequest { job: Some(of_worker(owner, epoch)), ..of(&["203.0.113.1"]) };
    client.fence(&of_worker("a", 5)).await.unwrap();
    refused(client.fence(&of_worker("b", 5)).await, RefusedKind::Stale { known: Some(5) });
    refused(client.ban(&web, &under("b", 5)).await, RefusedKind::Stale { known: Some(5) });
    assert!(client.banned(&[net("203.0.113.1")]).await.unwrap()[0].jails.is_empty());
    assert!(client.ban(&web, &under("a", 5)).await.unwrap()[0].banned);
    client.fence(&of_worker("b", 6)).await.unwrap();
    refused(client.unban(&web, &under("a", 5)).await, RefusedKind::Stale { known: Some(6) });
}

#[tokio::test]
async fn an_agent_that_was_restarted_does_nothing_for_a_job_until_it_is_fenced_again() {
    let (_fail2ban, mut agent) = beside(|_| ()).await;
    let web = jail("web");
    let first = agent.client().fence(&job(6)).await.unwrap().incarnation;
    let under = |epoch, incarnation: &Option<String>| BanRequest {
        job: Some(JobEpoch { incarnation: incarnation.clone(), ..job(epoch) }),
        ..of(&["203.0.113.1"])
    };
    assert!(agent.client().ban(&web, &under(6, &first)).await.unwrap()[0].banned);
    agent.start_again().await;
    // The agent has forgotten that 6 was the latest epoch: a late command of 6, cancelled under 7, could come now.
    refused(agent.client().ban(&web, &under(6, &first)).await, RefusedKind::Stale { known: None });
    let second = agent.client().fence(&job(7)).await.unwrap().incarnation;
    assert_ne!(first, second);
    refused(agent.client().ban(&web, &under(6, &second)).await, RefusedKind::Stale { known: Some(7) });
    assert!(agent.client().ban(&web, &under(7, &second)).await.unwrap()[0].banned);
}

#[tokio::test]
async fn a_long_list_arrives_whole() {
    let (_fail2ban, agent) = beside(|_| ()).await;
    let (client, web) = (agent.client(), jail("web"));
    for chunk in 0..40u32 {
        let ips: Vec<String> = (0..25).map(|n| format!("2001:db8::{:x}:{n:x}", chunk + 1)).collect();
        client.ban(&web, &of(&ips.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    }
    let began = Instant::now();
    let list = client.bans(&web).await.unwrap();
    assert_eq!(list.bans.len(), 1001);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(client.unban_all(&web, None).await.unwrap().remaining, 0);
}

#[tokio::test]
async fn jails_are_listed_with_their_settings_also_those_that_are_off() {
    let (fail2ban, agent) =
        beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, "bantime = 1h"))).await;
    let client = agent.client();
    let views = client.jail_views().await.unwrap();
    let [app, web] = &views.jails[..] else { panic!("{views:?}") };
    assert!(!app.enabled && !app.running && web.enabled && web.running, "{views:?}");
    assert_eq!((app.bantime, app.findtime, app.maxretry), (Some(3600), Some(600), Some(1)));
    assert_eq!((web.bantime, web.findtime, web.maxretry), (Some(600), Some(600), Some(1)));
    assert_eq!((web.filter.as_str(), web.backend.as_str()), ("app", "polling"));
    assert!(web.log_files.len() == 1 && web.log_files[0].ends_with("web-app.log"), "{web:?}");
    // A file that changes is read again.
    fail2ban.write("jail.d/app.conf", &fail2ban.jail("app", false, "bantime = 2h"));
    let app = client.jail_view(&jail("app")).await.unwrap().unwrap();
    assert_eq!(app.bantime, Some(7200));
    refused(client.jail_view(&jail("nothing")).await, RefusedKind::Jail);
}

#[tokio::test]
async fn settings_change_until_the_next_reload_or_for_good() {
    let (fail2ban, agent) = beside(|_| ()).await;
    let (client, web) = (agent.client(), jail("web"));
    let change = |value, persistent| ChangeSettings { settings: settings(value), persistent };
    let now = change(
        json!({ "bantime": -1, "findtime": 30, "maxretry": 9, "ignoreip": ["203.0.113.0/24", "::1"] }),
        false,
    );
    let view = client.change_settings(&web, &now).await.unwrap().unwrap();
    assert_eq!((view.bantime, view.findtime, view.maxretry), (Some(-1), Some(30), Some(9)));
    assert_eq!(view.ignoreip, ["203.0.113.0/24", "::1"]);
    let less = change(json!({ "ignoreip": ["::1"] }), false);
    assert_eq!(client.change_settings(&web, &less).await.unwrap().unwrap().ignoreip, ["::1"]);
    fail2ban.command(&["reload", "web"]).await;
    let view = client.jail_view(&web).await.unwrap().unwrap();
    assert_eq!((view.bantime, view.ignoreip.len()), (Some(600), 0), "only until the next reload");

    let good = change(json!({ "bantime": 7200, "maxretry": 3, "ignoreip": ["198.51.100.7"] }), true);
    let view = client.change_settings(&web, &good).await.unwrap().unwrap();
    assert_eq!(
        (view.bantime, view.maxretry, view.ignoreip),
        (Some(7200), Some(3), vec!["198.51.100.7".to_owned()])
    );
    fail2ban.command(&["reload", "web"]).await;
    let view = client.jail_view(&web).await.unwrap().unwrap();
    assert_eq!((view.bantime, view.findtime, view.maxretry), (Some(7200), Some(600), Some(3)));
    assert!(fail2ban.bans("web", BANNED).await);
    let (status, body) = agent.post("/v1/jails/web/ignore", json!({ "network": "%(x)s" })).await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn a_setting_whose_reload_would_lose_the_running_jail_is_refused_before_it() {
    let (fail2ban, agent) = beside(|f| f.write("action.d/bad.py", "raise ValueError('boom')\n")).await;
    let (client, web) = (agent.client(), jail("web"));
    // Since it started, its files have become invalid in a way that `fail2ban-client -t` does not find.
    fail2ban.write("jail.local", "[web]\naction = bad.py\n");
    let change = ChangeSettings { settings: settings(json!({ "maxretry": 3 })), persistent: true };
    let answer = client.change_settings(&web, &change).await;
    let Err(AgentError::Refused { kind: RefusedKind::Configuration, reason }) = answer else {
        panic!("{answer:?}")
    };
    assert!(reason.contains("bad.py") && reason.contains("boom"), "{reason}");
    assert!(!fail2ban.jail_d().contains_key("zz-bangui-web.local"));
    assert!(fail2ban.jails().await.contains(&"web".to_owned()), "it still runs");
    assert!(fail2ban.bans("web", BANNED).await, "with its bans");
    std::fs::remove_file(fail2ban.config().join("jail.local")).unwrap();
    let view = client.change_settings(&web, &change).await.unwrap().unwrap();
    assert_eq!(view.maxretry, Some(3));
}

#[tokio::test]
async fn unbanned_and_ignored_from_now_on_in_one_step() {
    let (fail2ban, agent) = beside(|f| f.write("jail.local", "[DEFAULT]\nignoreip = 127.0.0.1/8\n")).await;
    let (client, web) = (agent.client(), jail("web"));
    for persistent in [false, true] {
        client.ban(&web, &of(&[BANNED])).await.unwrap();
        let view = client.ignore(&web, net(BANNED), persistent).await.unwrap().unwrap();
        assert!(view.ignoreip.contains(&BANNED.to_owned()), "{view:?}");
        assert!(!fail2ban.bans("web", BANNED).await);
        fail2ban.log_failure("web", BANNED);
        fail2ban.log_failure("web", "203.0.113.78");
        eventually("another's ban", SOON, || async {
            fail2ban.bans("web", "203.0.113.78").await.then_some(())
        })
        .await;
        assert!(!fail2ban.bans("web", BANNED).await, "it is ignored");
        client.unban(&web, &of(&["203.0.113.78"])).await.unwrap();
    }
    fail2ban.command(&["reload", "web"]).await;
    let view = client.jail_view(&web).await.unwrap().unwrap();
    assert_eq!(view.ignoreip, ["127.0.0.0/8", BANNED], "beside what the other files say");
}
