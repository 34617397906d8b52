//! The times of bans, in UTC whatever the zones of fail2ban and of its agent are.

use std::fmt::Write as _;

use bangui::agent::wire::{Ban, BanRequest};
use bangui::domain::Network;
use chrono::{Datelike as _, Local, TimeDelta};

use crate::agent_jails::jail;
use crate::support::agent::Agent;
use crate::support::fail2ban::Fail2ban;
use crate::support::{SOON, eventually};

/// Bans an address now, and returns since when and until when it is listed as banned, both as seconds from now.
async fn ban_now(agent: &Agent) -> (i64, i64) {
    let (client, web) = (agent.client(), jail("web"));
    let request = BanRequest { ips: vec![Network::parse("203.0.113.9").unwrap()], job: None, partial: false };
    client.ban(&web, &request).await.unwrap();
    let now = Local::now().timestamp();
    let list = client.bans(&web).await.unwrap();
    let [Ban(_, Some(since), Some(until))] = list.bans[..] else { panic!("{list:?}") };
    (since - now, until - now)
}

#[track_caller]
fn is_now((since, until): (i64, i64)) {
    assert!((-60..=2).contains(&since) && (540..=660).contains(&until), "{since} s to {until} s from now");
}

#[tokio::test]
async fn a_ban_has_its_time_in_utc_whatever_both_zones_are() {
    for zone in ["America/New_York", "Asia/Kathmandu", "XYZ11"] {
        let fail2ban = Fail2ban::start_in_zone(&["web"], Some(zone)).await;
        let mut agent = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
        is_now(ban_now(&agent).await);
        agent.more = vec![("TZ", "Asia/Tokyo".to_owned())];
        agent.start_again().await;
        is_now(ban_now(&agent).await);
    }
}

#[tokio::test]
async fn an_agent_in_a_separate_container_finds_the_zone_in_the_log() {
    let fail2ban = Fail2ban::start_in_zone(&["web"], Some("America/New_York")).await;
    let mut agent = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
    agent.under = ["unshare", "--pid", "--fork", "--kill-child", "--"].map(str::to_owned).into();
    agent.start_again().await;
    is_now(ban_now(&agent).await);
}

/// A zone whose summer time ended 20 minutes ago: its clock has been put back by an hour to UTC.
fn autumn() -> String {
    let put_back = Local::now().to_utc() - TimeDelta::minutes(20) + TimeDelta::hours(1);
    // `Jn` does not count 29 February.
    let leap = put_back.date_naive().leap_year() && put_back.ordinal() > 59;
    let day = put_back.ordinal() - u32::from(leap);
    let spring = (day + 264) % 365 + 1;
    format!("XWT0XST-1,J{spring},J{day}/{}", put_back.format("%H:%M:%S"))
}

#[tokio::test]
async fn the_hour_that_autumn_repeats_is_resolved() {
    let mut fail2ban = Fail2ban::start_in_zone(&["web"], Some(&autumn())).await;
    fail2ban.write("jail.local", "[web]\nbantime = 55m\n");
    fail2ban.command(&["reload", "web"]).await;
    // Before and after the clock was put back, when it showed the same hour twice.
    let now = Local::now().timestamp();
    let mut statements = String::new();
    for (ip, minutes) in [("203.0.113.50", 50), ("203.0.113.5", 5)] {
        fail2ban.command(&["set", "web", "banip", ip]).await;
        for table in ["bans", "bips"] {
            let since = now - minutes * 60;
            writeln!(statements, "update {table} set timeofban = {since} where ip = '{ip}';").unwrap();
        }
    }
    fail2ban.kill();
    fail2ban.change_database(&statements).await;
    fail2ban.start_again().await;
    for ip in ["203.0.113.50", "203.0.113.5"] {
        eventually("the restored ban", SOON, || async { fail2ban.bans("web", ip).await.then_some(()) }).await;
    }
    let agent = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
    let list = agent.client().bans(&jail("web")).await.unwrap();
    for Ban(ip, since, until) in &list.bans {
        let minutes = if ip.to_string() == "203.0.113.50" { 50 } else { 5 };
        let (since, until) = (since.unwrap() - now, until.unwrap() - now);
        assert_eq!((since, until), (-minutes * 60, (55 - minutes) * 60), "{ip} in {list:?}");
    }
    assert_eq!(list.bans.len(), 2);
}
