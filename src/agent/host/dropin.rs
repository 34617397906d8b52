//! The one file that bangui writes for a jail: `jail.d/zz-bangui-<jail>.local`, which fail2ban reads last.
//!
//! Anyone who can write a fail2ban configuration file can run commands as root, so nothing is written here but a checked name,
//! numbers, addresses, networks and host names, and a few fixed words. The file is its own record: it is read back before it is
//! written again. A file that somebody edited is neither read nor overwritten.

use std::fmt::Write as _;

use crate::agent::wire;
use crate::domain::{BanTime, FindTime, JailName, JailSettings, MaxRetry, Network};

/// The first line of every such file.
const NOTE: &str =
    "# Written by bangui, which reads it back: to change this jail by hand, remove the file first.\n";
/// Refers to what the files before this one say.
const BEFORE: &str = "%(known/ignoreip)s";

/// The file that these requests would create from nothing: an activation, new `settings` and an ignored network, each as JSON.
/// `None` if any of them is refused when parsed.
///
/// This is what the agent's routes do, without a host: for the fuzz target and for tests.
#[must_use]
pub fn written(jail: &str, settings: serde_json::Value, ignore: serde_json::Value) -> Option<String> {
    let jail = JailName::parse(jail).ok().filter(|jail| jail.changeable().is_ok())?;
    let wire::ChangeSettings { settings, .. } = serde_json::from_value(settings).ok()?;
    let wire::Ignore { network, .. } = serde_json::from_value(ignore).ok()?;
    let drop_in = DropIn { enabled: Some(true), ..DropIn::default() };
    Some(drop_in.with(&settings).ignoring(network, Ignored::besides()).render(&jail))
}

/// bangui's own settings of one jail. `None` leaves a setting to the other files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::agent) struct DropIn {
    /// On or off.
    pub(in crate::agent) enabled: Option<bool>,
    pub(in crate::agent) bantime: Option<BanTime>,
    pub(in crate::agent) findtime: Option<FindTime>,
    pub(in crate::agent) maxretry: Option<MaxRetry>,
    pub(in crate::agent) ignored: Option<Ignored>,
}

/// What is never banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Ignored {
    /// Whether it adds to what the other files say, or replaces it.
    pub(in crate::agent) besides: bool,
    /// Host names from the other files, copied if those cannot be referred to.
    pub(in crate::agent) names: Vec<HostName>,
    pub(in crate::agent) networks: Vec<Network>,
}

impl Ignored {
    /// Nothing but what the other files say.
    pub(in crate::agent) fn besides() -> Self {
        Self { besides: true, names: Vec::new(), networks: Vec::new() }
    }

    /// A copy of what the other files say, word for word: if they refer to the files before them, a reference to them from here
    /// would be endless, and fail2ban would give up on it.
    ///
    /// # Errors
    /// The first word that is neither a network nor a name.
    pub(in crate::agent) fn kept(words: &[String]) -> Result<Self, &str> {
        let mut kept = Self { besides: false, names: Vec::new(), networks: Vec::new() };
        for word in words {
            match (Network::parse(word), HostName::parse(word)) {
                (Some(network), _) => kept.networks.push(network),
                (None, Some(name)) => kept.names.push(name),
                (None, None) => return Err(word),
            }
        }
        Ok(kept)
    }
}

/// A name that fail2ban looks up in DNS: letters, digits, dots, dashes and underscores, so that it cannot mean anything else in a
/// file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct HostName(String);

impl HostName {
    pub(in crate::agent) fn parse(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        (begins && text.len() <= 253 && text.chars().all(allowed)).then(|| Self(text.to_owned()))
    }
}

impl DropIn {
    /// With these settings, which replace the ones it had.
    pub(in crate::agent) fn with(mut self, settings: &JailSettings) -> Self {
        self.bantime = settings.bantime.or(self.bantime);
        self.findtime = settings.findtime.or(self.findtime);
        self.maxretry = settings.maxretry.or(self.maxretry);
        if let Some(networks) = &settings.ignoreip {
            self.ignored = Some(Ignored { besides: false, names: Vec::new(), networks: networks.clone() });
        }
        self
    }

    /// With one more network that is never banned, besides its own and `base`, which is what the other files say.
    pub(in crate::agent) fn ignoring(mut self, network: Network, base: Ignored) -> Self {
        let mut ignored = match self.ignored.take() {
            // Written when the other files could be referred to.
            Some(own) if own.besides && !base.besides => {
                let more = own.networks.into_iter().filter(|network| !base.networks.contains(network));
                let networks = base.networks.iter().copied().chain(more).collect();
                Ignored { networks, ..base }
            }
            Some(own) => own,
            None => base,
        };
        if !ignored.networks.contains(&network) {
            ignored.networks.push(network);
        }
        self.ignored = Some(ignored);
        self
    }

    /// The text of the file.
    pub(in crate::agent) fn render(&self, jail: &JailName) -> String {
        let mut text = format!("{NOTE}[{jail}]\n");
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{key} = {value}");
        };
        if let Some(enabled) = self.enabled {
            line("enabled", &enabled);
        }
        if let Some(bantime) = self.bantime {
            line("bantime", &bantime);
        }
        if let Some(findtime) = self.findtime {
            line("findtime", &findtime);
        }
        if let Some(maxretry) = self.maxretry {
            line("maxretry", &maxretry);
        }
        if let Some(ignored) = &self.ignored {
            let before = ignored.besides.then(|| BEFORE.to_owned());
            let names = ignored.names.iter().map(|name| name.0.clone());
            let networks = ignored.networks.iter().map(Network::to_string);
            let words: Vec<String> = before.into_iter().chain(names).chain(networks).collect();
            line("ignoreip", &words.join(" "));
        }
        text
    }

    /// What the file says; none unless it is what [`DropIn::render`] writes for this jail.
    pub(in crate::agent) fn parse(jail: &JailName, text: &str) -> Option<Self> {
        let lines = text.strip_prefix(&format!("{NOTE}[{jail}]\n"))?.lines();
        let mut read = Self::default();
        for line in lines {
            let (key, value) = line.split_once(" =")?;
            let value = value.trim_start();
            match key {
                "enabled" => read.enabled = Some(value.parse().ok()?),
                "bantime" => read.bantime = Some(value.parse::<i64>().ok()?.try_into().ok()?),
                "findtime" => read.findtime = Some(value.parse::<i64>().ok()?.try_into().ok()?),
                "maxretry" => read.maxretry = Some(value.parse::<i64>().ok()?.try_into().ok()?),
                "ignoreip" => {
                    let mut words = value.split(' ').filter(|word| !word.is_empty()).peekable();
                    let besides = words.next_if_eq(&BEFORE).is_some();
                    let words: Vec<String> = words.map(str::to_owned).collect();
                    read.ignored = Some(Ignored { besides, ..Ignored::kept(&words).ok()? });
                }
                _ => return None,
            }
        }
        // Byte for byte, except for mapped addresses as an earlier version wrote them, so that a file edited by hand is never taken for
        // ours.
        let rendered = read.render(jail);
        (rendered == text || rendered == respelled(text)).then_some(read)
    }
}

/// The text with every mapped address as the IPv4 address that it is.
fn respelled(text: &str) -> String {
    let respell = |word: &str| {
        let end = word.trim_end_matches([' ', '\n']).len();
        let (address, blank) = word.split_at(end);
        match Network::parse(address).filter(|_| address.starts_with("::ffff:")) {
            Some(network) => format!("{network}{blank}"),
            None => word.to_owned(),
        }
    };
    text.split_inclusive([' ', '\n']).map(respell).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network() -> impl Strategy<Value = Network> {
        let v4 = (any::<[u8; 4]>(), 0u8..=32)
            .prop_map(|(ip, prefix)| format!("{}/{prefix}", std::net::Ipv4Addr::from(ip)));
        let v6 = (any::<[u8; 16]>(), 0u8..=128)
            .prop_map(|(ip, prefix)| format!("{}/{prefix}", std::net::Ipv6Addr::from(ip)));
        prop_oneof![v4, v6].prop_map(|text| Network::parse(&text).unwrap())
    }

    fn drop_in() -> impl Strategy<Value = DropIn> {
        let number = |allowed: std::ops::Range<i64>| prop::option::of(allowed);
        let names = prop::collection::vec("[a-z][a-zA-Z0-9._-]{0,20}", 0..3);
        let ignored = prop::option::of((any::<bool>(), names, prop::collection::vec(network(), 0..5)));
        (prop::option::of(any::<bool>()), number(-1..1000), number(1..1000), number(1..1000), ignored)
            .prop_map(|(enabled, bantime, findtime, maxretry, ignored)| DropIn {
                enabled,
                bantime: bantime.and_then(|number| number.try_into().ok()),
                findtime: findtime.map(|number| number.try_into().unwrap()),
                maxretry: maxretry.map(|number| number.try_into().unwrap()),
                ignored: ignored.map(|(besides, names, networks)| Ignored {
                    besides,
                    names: names.iter().map(|name| HostName::parse(name).unwrap()).collect(),
                    networks,
                }),
            })
    }

    /// What an attacker would send: the words of the format and of the language around it, and anything.
    fn hostile() -> impl Strategy<Value = String> {
        let bits = prop::sample::select(vec![
            "\n",
            "\r",
            "\0",
            "[",
            "]",
            "%(",
            ")s",
            "=",
            ";",
            "#",
            " ",
            "action",
            "10.0.0.1",
            "/8",
            "::1",
            "\u{2028}",
            "\u{85}",
            "\\n",
            "[DEFAULT]",
            "enabled = true",
            "-1",
            "1h",
        ]);
        prop_oneof![prop::collection::vec(bits, 0..8).prop_map(|bits| bits.concat()), any::<String>()]
    }

    #[test]
    fn a_mapped_address_that_a_version_before_wrote_is_still_ours() {
        let jail = JailName::parse("app").unwrap();
        let text = format!("{NOTE}[app]\nignoreip = ::1 ::ffff:203.0.113.7 10.0.0.0/8\n");
        let networks = ["::1", "203.0.113.7", "10.0.0.0/8"].map(|text| Network::parse(text).unwrap());
        let ignored = Some(Ignored { besides: false, names: Vec::new(), networks: networks.into() });
        assert_eq!(DropIn::parse(&jail, &text), Some(DropIn { ignored, ..DropIn::default() }));
    }

    proptest! {
        #[test]
        fn whatever_is_set_is_read_back_as_it_was(drop_in in drop_in(), name in prop_oneof!["[A-Za-z0-9_.][A-Za-z0-9_.-]{0,63}", hostile()]) {
            let jail = JailName::parse(&name).ok().filter(|jail| jail.changeable().is_ok());
            prop_assume!(jail.is_some());
            let jail = jail.unwrap();
            prop_assert_eq!(drop_in.render(&jail).lines().filter(|line| line.starts_with('[')).count(), 1);
            prop_assert_eq!(DropIn::parse(&jail, &drop_in.render(&jail)), Some(drop_in));
        }

        #[test]
        fn nothing_of_a_request_but_typed_values_gets_into_the_file(texts in prop::collection::vec(hostile(), 4), list in any::<bool>()) {
            let [bantime, findtime, maxretry, ignored] = &texts[..] else { unreachable!() };
            let numbers = |text: &String| text.parse::<i64>().map_or_else(|_| text.clone().into(), serde_json::Value::from);
            let ignored = if list { serde_json::json!([ignored]) } else { serde_json::json!(ignored) };
            for request in [
                serde_json::json!({"bantime": numbers(bantime)}),
                serde_json::json!({"findtime": numbers(findtime), "maxretry": numbers(maxretry)}),
                serde_json::json!({"ignoreip": ignored}),
                serde_json::json!({(bantime.as_str()): 1}),
            ] {
                let Ok(settings) = serde_json::from_value::<JailSettings>(request) else { continue };
                let jail = JailName::parse("app").unwrap();
                let drop_in = DropIn { enabled: Some(true), ..DropIn::default() }.with(&settings);
                let text = drop_in.render(&jail);
                prop_assert_eq!(DropIn::parse(&jail, &text), Some(drop_in));
                let body = text.strip_prefix(NOTE).unwrap();
                prop_assert!(body.lines().count() <= 6 && body.matches('[').count() == 1, "{}", body);
                let plain = |c: char| c.is_ascii_alphanumeric() || " =.:/-[]\n".contains(c);
                prop_assert!(body.chars().all(plain), "{}", body);
            }
        }

        #[test]
        fn another_hands_file_is_not_taken_for_ours(text in hostile()) {
            let jail = JailName::parse("app").unwrap();
            let ours = DropIn { enabled: Some(true), ..DropIn::default() }.render(&jail);
            prop_assert_eq!(DropIn::parse(&jail, &text), None);
            if !text.is_empty() {
                prop_assert_eq!(DropIn::parse(&jail, &format!("{ours}{text}")), None);
            }
        }
    }
}
