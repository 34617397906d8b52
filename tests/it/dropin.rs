//! The agent's drop-ins, read by fail2ban itself: whatever a request contains, either it is refused, or fail2ban finds exactly
//! the expected values, in that jail, and nothing else anywhere. (`make fuzz` and proptests beside the code search further;
//! here the reader is the real one.)

use std::collections::BTreeMap;

use bangui::agent::host::dropin::written;
use bangui::domain::{JailSettings, Network};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::fail2ban::Fail2ban;

/// Words of the file format and its interpolation, and characters that some parser might take for the end of a line.
const BITS: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\u{b}",
    "\u{c}",
    "\u{1c}",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "[",
    "]",
    "[DEFAULT]",
    "%(",
    ")s",
    "%%",
    "=",
    ":",
    ";",
    " ;",
    "#",
    " #",
    "\t",
    " ",
    "\\\n ",
    "action = MARK",
    "MARK",
    "10.0.0.1",
    "/8",
    "/33",
    "::1",
    "::ffff:",
    "-1",
    "600",
    "1h",
    "enabled = true",
    "before = MARK",
    "$(MARK)",
    "`MARK`",
    "\u{feff}",
    "é",
];

fn word(dice: &mut SmallRng) -> String {
    (0..dice.random_range(1..4)).map(|_| BITS[dice.random_range(0..BITS.len())]).collect()
}

/// A valid value, two times of three, or a hostile one.
fn value(dice: &mut SmallRng, good: Value) -> Value {
    if dice.random_range(0..6) > 0 { good } else { json!(word(dice)) }
}

fn network(dice: &mut SmallRng) -> String {
    match dice.random_range(0..3) {
        0 => format!("203.0.113.{}", dice.random_range(0..=255_u8)),
        1 => format!("10.{}.0.0/{}", dice.random_range(0..=255_u8), dice.random_range(8..=32_u8)),
        _ => format!("2001:db8::{:x}/{}", dice.random_range(1..=0xffff_u16), dice.random_range(32..=128_u8)),
    }
}

fn settings(dice: &mut SmallRng) -> Value {
    let mut settings = serde_json::Map::new();
    for (key, good) in [("bantime", -1), ("findtime", 77), ("maxretry", 9)] {
        if dice.random_range(0..3) > 0 {
            settings.insert(key.to_owned(), value(dice, json!(good)));
        }
    }
    if dice.random_range(0..3) == 0 {
        let networks: Vec<Value> = (0..dice.random_range(0..4)).map(|_| json!(network(dice))).collect();
        let networks = networks.into_iter().map(|network| value(dice, network)).collect();
        settings.insert("ignoreip".to_owned(), Value::Array(networks));
    }
    if dice.random_range(0..12) == 0 {
        settings.insert(word(dice), json!(word(dice)));
    }
    Value::Object(settings)
}

#[tokio::test]
async fn whatever_is_asked_fail2ban_reads_exactly_the_typed_values_of_that_jail_or_nothing_was_written() {
    let seed = std::env::var("BANGUI_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("BANGUI_TEST_SEED={seed}");
    let mut dice = SmallRng::seed_from_u64(seed);
    let fail2ban = Fail2ban::start(&["web"]).await;
    let mut jails = String::from("[DEFAULT]\nignoreip = 192.0.2.0/30\n");
    let mut expected: BTreeMap<String, (JailSettings, String)> = BTreeMap::new();
    let mut refused = 0;
    while expected.len() < 60 {
        let name = match dice.random_range(0..4) {
            0 => word(&mut dice),
            _ => format!("jail.{}-x_{}", expected.len(), dice.random_range(0..10)),
        };
        // The words may happen to make a valid name, in which the mark is harmless; or the mark is already there.
        let harmless = bangui::domain::JailName::parse(&name)
            .is_ok_and(|jail| jail.changeable().is_ok() && (name.contains("MARK") || !jail.is_plain()));
        if harmless || expected.contains_key(&name) {
            continue;
        }
        let spelled = ["198.51.100.0/24", "10.0.0.1/8", "::ffff:10.0.0.1", "::1/33"][dice.random_range(0..4)];
        let (settings, ignore) = (settings(&mut dice), value(&mut dice, json!(spelled)));
        let change = json!({ "settings": settings, "persistent": true });
        let Some(text) = written(&name, change, json!({ "network": ignore })) else {
            refused += 1;
            continue;
        };
        assert!(!text.contains("MARK"), "seed {seed}: {text}");
        jails.push_str(&fail2ban.jail(&name, false, ""));
        fail2ban.write(&format!("jail.d/zz-bangui-{name}.local"), &text);
        let settings = serde_json::from_value(settings).unwrap();
        // Written in its one spelling, however it was given.
        let ignore: Network = serde_json::from_value(ignore).unwrap();
        expected.insert(name, (settings, ignore.to_string()));
    }
    assert!(refused > 10, "seed {seed}: nothing hostile was tried");
    fail2ban.write("jail.d/all.conf", &jails);

    let agent = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
    let views = agent.client().jail_views().await.unwrap();
    let names: Vec<&str> =
        views.jails.iter().map(|view| view.name.as_str()).filter(|name| *name != "web").collect();
    assert_eq!(names, expected.keys().map(String::as_str).collect::<Vec<_>>(), "seed {seed}");
    for view in views.jails.iter().filter(|view| view.name.as_str() != "web") {
        let (settings, ignore) = &expected[view.name.as_str()];
        let what = format!("seed {seed}: {settings:?} {ignore}: {view:?}");
        assert!(view.enabled && view.errors.is_empty() && view.filter == "app", "{what}");
        let number = |set: Option<i64>, otherwise| Some(set.unwrap_or(otherwise));
        assert_eq!(view.bantime, number(settings.bantime.map(i64::from), 600), "{what}");
        assert_eq!(view.findtime, number(settings.findtime.map(i64::from), 600), "{what}");
        assert_eq!(view.maxretry, number(settings.maxretry.map(i64::from), 1), "{what}");
        let mut networks: Vec<String> = match &settings.ignoreip {
            Some(networks) => networks.iter().map(ToString::to_string).collect(),
            None => vec!["192.0.2.0/30".to_owned()],
        };
        if !networks.contains(ignore) {
            networks.push(ignore.clone());
        }
        assert_eq!(view.ignoreip, networks, "{what}");
    }
    let web = views.jails.iter().find(|view| view.name.as_str() == "web").unwrap();
    assert_eq!(
        (web.bantime, web.maxretry, web.filter.as_str()),
        (Some(600), Some(1), "app"),
        "seed {seed}: {web:?}"
    );
    // The commands that fail2ban would get for all jails.
    let (well, commands) = fail2ban.try_command(&["-d"]).await;
    assert!(well && !commands.contains("MARK"), "seed {seed}: {commands}");
}
