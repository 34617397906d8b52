//! Arbitrary texts as the parts of requests that change what the agent writes into fail2ban's configuration: they are refused, or
//! they make a file in which a parser finds one section, of that jail, with known keys and values of the right type.
//!
//! The parts are separated by a byte that is in no text. The parser here is the most lenient one: whatever any parser might
//! take for the end of a line ends one.
#![no_main]

use bangui::agent::host::dropin::written;
use serde_json::{Value, json};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|byte| *byte == 0xff).map(|part| String::from_utf8_lossy(part).into_owned());
    let mut next = || parts.next().unwrap_or_default();
    let jail = next();
    let mut settings = serde_json::Map::new();
    for key in ["bantime", "findtime", "maxretry"] {
        let text = next();
        // Left out, a number, or a text where a number should be.
        if !text.is_empty() {
            settings.insert(key.to_owned(), text.parse::<i64>().map_or(Value::String(text), Value::from));
        }
    }
    let (key, ignore) = (next(), next());
    if !key.is_empty() {
        settings.insert(key, json!(1));
    }
    let networks: Vec<String> = parts.collect();
    if !networks.is_empty() {
        settings.insert("ignoreip".to_owned(), json!(networks));
    }
    let change = json!({ "settings": settings, "persistent": true });
    let ignore = json!({ "network": ignore, "persistent": true });
    if let Some(text) = written(&jail, change, ignore) {
        check(&jail, &text);
    }
});

fn check(jail: &str, text: &str) {
    let ends = |c: char| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut sections = Vec::new();
    let mut keys = Vec::new();
    for line in text.split(ends).filter(|line| !line.is_empty()) {
        assert_eq!(line, line.trim(), "a line that continues another, or ends in blanks");
        if line.starts_with('#') {
            assert!(sections.is_empty(), "a comment in the section");
        } else if let Some(name) = line.strip_prefix('[') {
            sections.push(name.strip_suffix(']').expect("a section's name ends"));
        } else {
            let (key, value) = line.split_once(" = ").expect("a key and its value");
            assert!(!value.contains(['#', ';', '[', '\\', '$', '`']), "{line}");
            match key {
                "enabled" => assert_eq!(value, "true"),
                "bantime" | "findtime" | "maxretry" => assert!(value.parse::<i64>().is_ok(), "{line}"),
                "ignoreip" => {
                    let networks = value.strip_prefix("%(known/ignoreip)s ").unwrap_or(value);
                    for network in networks.split(' ') {
                        let address = network.split('/').next().unwrap_or_default();
                        assert!(address.parse::<std::net::IpAddr>().is_ok(), "{line}");
                    }
                }
                _ => panic!("an unknown key: {line}"),
            }
            assert!(!keys.contains(&key), "twice: {line}");
            keys.push(key);
        }
    }
    assert_eq!(sections, [jail]);
}
