//! Every jail that fail2ban's package comes with can be switched on and off, with an empty log and an action that does nothing.
//!
//! All of them take minutes: `make test-stock-jails`. Some of them are in every run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::agent_jails::{BANNED, beside, jail};
use crate::support::agent::Agent;
use crate::support::fail2ban::Fail2ban;

/// Where the package has its configuration.
fn stock() -> PathBuf {
    match std::env::var_os("BANGUI_TEST_FAIL2BAN") {
        Some(folder) => Path::new(&folder).join("etc/fail2ban"),
        None => PathBuf::from("/etc/fail2ban"),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// A fail2ban that runs `web` beside the stock configuration, its agent, and the names of the stock jails.
async fn with_stock_jails() -> (Fail2ban, Agent, Vec<String>) {
    let jails = std::fs::read_to_string(stock().join("jail.conf")).unwrap();
    let name = |line: &str| Some(line.strip_prefix('[')?.split_once(']')?.0.to_owned());
    let mut names: Vec<String> = jails.lines().filter_map(name).collect();
    names.retain(|name| name != "INCLUDES" && name != "DEFAULT");
    let (fail2ban, agent) = beside(|f| {
        let own = std::fs::read_to_string(f.config().join("jail.conf")).unwrap();
        for folder in ["action.d", "filter.d"] {
            copy(&stock().join(folder), &f.config().join(folder));
        }
        for file in ["jail.conf", "paths-common.conf", "paths-debian.conf"] {
            std::fs::copy(stock().join(file), f.config().join(file)).unwrap();
        }
        let no_action = "\n[DEFAULT]\nbanaction = note\nbanaction_allports = note\n";
        f.write("jail.local", &format!("{own}{no_action}"));
        let mut logs = String::new();
        for name in &names {
            let log = f.config().parent().unwrap().join(format!("stock-{name}.log"));
            std::fs::write(&log, "").unwrap();
            // Newer packages read the journal, for which a private fail2ban has no Python module.
            writeln!(logs, "[{name}]\nbackend = auto\nlogpath = {}", log.display()).unwrap();
        }
        f.write("jail.d/logs.local", &logs);
    })
    .await;
    (fail2ban, agent, names)
}

/// Switches each on and off.
async fn on_and_off(fail2ban: &Fail2ban, agent: &Agent, names: &[String]) {
    let client = agent.client();
    let (mut refused, files) = (Vec::new(), fail2ban.jail_d());
    for name in names {
        match client.activate(&jail(name)).await {
            Ok(on) => assert!(on.active && on.changed, "{on:?}"),
            Err(reason) => {
                refused.push(format!("{name}: {reason}"));
                continue;
            }
        }
        let off = client.deactivate(&jail(name)).await.unwrap();
        assert!(!off.active && off.changed, "{off:?}");
    }
    assert!(refused.is_empty(), "{refused:#?}");
    assert_eq!(fail2ban.jails().await, ["web"]);
    assert!(fail2ban.bans("web", BANNED).await && !fail2ban.log().contains("Jail 'web' stopped"));
    let ours = fail2ban.jail_d().into_keys().filter(|file| !files.contains_key(file)).count();
    assert_eq!(ours, names.len(), "one drop-in each");
}

#[tokio::test]
async fn stock_jails_of_each_kind_can_be_switched_on_and_off() {
    let (fail2ban, agent, names) = with_stock_jails().await;
    let some: Vec<String> = names.into_iter().step_by(15).collect();
    on_and_off(&fail2ban, &agent, &some).await;
}

#[tokio::test]
#[ignore = "takes minutes: make test-stock-jails"]
async fn every_stock_jail_can_be_switched_on_and_off() {
    let (fail2ban, agent, names) = with_stock_jails().await;
    assert!(names.len() > 80, "{names:?}");
    on_and_off(&fail2ban, &agent, &names).await;
    println!("{} stock jails were switched on and off", names.len());
}
