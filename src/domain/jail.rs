//! The settings of a jail that can be changed. Each value has a type that admits only valid values, so that it can do no harm in a
//! configuration file or a command.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::canonical_network;

/// Ten years: longer times are meant to be permanent.
const MAX_SECONDS: i64 = 315_576_000;
const MAX_RETRIES: i64 = 1_000_000;
/// The most networks in one list.
pub const MAX_IGNORED: usize = 1000;

/// Why a value cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {allowed}, and is {value}")]
pub struct SettingError {
    what: &'static str,
    allowed: &'static str,
    value: i64,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name(i64);

        impl TryFrom<i64> for $name {
            type Error = SettingError;
            fn try_from(value: i64) -> Result<Self, SettingError> {
                let ok: fn(i64) -> bool = $ok;
                if ok(value) { Ok(Self(value)) } else { Err(SettingError { what: $what, allowed: $allowed, value }) }
            }
        }

        impl From<$name> for i64 {
            fn from(number: $name) -> Self {
                number.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// How long an address is banned, in seconds; -1 is permanent.
    BanTime, "bantime", "a number of seconds from 1 to 315576000, or -1 for a permanent ban",
    |seconds| seconds == -1 || (1..=MAX_SECONDS).contains(&seconds)
);
number!(
    /// The time within which failures add up, in seconds.
    FindTime, "findtime", "a number of seconds from 1 to 315576000",
    |seconds| (1..=MAX_SECONDS).contains(&seconds)
);
number!(
    /// How many failures make a ban.
    MaxRetry, "maxretry", "a number from 1 to 1000000",
    |count| (1..=MAX_RETRIES).contains(&count)
);

/// An address or a network in its one spelling (`address.rs`). An address is written without a prefix length, as fail2ban does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    /// Reads `203.0.113.7`, `203.0.113.0/24` or the like; bits after the prefix are cleared.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
        Some(Self(canonical_network(network)))
    }

    /// As a network, an address being a small one.
    #[must_use]
    pub fn net(self) -> IpNet {
        self.0
    }

    /// Itself and every network that contains it, the narrowest first: 33 for an IPv4 address, 129 for an IPv6 one.
    pub fn around(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |network| network.0.supernet().map(Self))
    }

    /// Whether all of `other` lies in it.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_single(self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(canonical_network(address.into()))
    }
}

impl From<IpNet> for Network {
    fn from(network: IpNet) -> Self {
        Self(canonical_network(network))
    }
}

impl TryFrom<String> for Network {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let shown = || text.chars().take(60).collect::<String>();
        Self::parse(&text).ok_or_else(|| {
            format!("{:?} is neither an address nor a network such as 203.0.113.0/24", shown())
        })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// Which settings of a jail to change; `None` keeps a setting as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JailSettings {
    /// How long an address is banned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bantime: Option<BanTime>,
    /// The time within which failures add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findtime: Option<FindTime>,
    /// How many failures make a ban.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxretry: Option<MaxRetry>,
    /// The whole never-banned list, which replaces the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignoreip: Option<Vec<Network>>,
}

impl JailSettings {
    /// Whether it sets nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_its_name_says_or_refused() {
        let read = |text: &str| serde_json::from_str::<JailSettings>(text);
        for good in [
            r#"{}"#,
            r#"{"bantime":-1}"#,
            r#"{"bantime":3600,"findtime":1,"maxretry":5}"#,
            r#"{"ignoreip":["10.0.0.1/8","2001:db8::1","::ffff:203.0.113.7"]}"#,
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"bantime":0}"#,
            r#"{"bantime":-2}"#,
            r#"{"bantime":"1h"}"#,
            r#"{"bantime":1e9}"#,
            r#"{"findtime":-1}"#,
            r#"{"maxretry":0}"#,
            r#"{"ignoreip":["10.0.0.1\n[DEFAULT]"]}"#,
            r#"{"ignoreip":["%(ban)s"]}"#,
            r#"{"ignoreip":["localhost"]}"#,
            r#"{"ignoreip":"10.0.0.1"}"#,
            r#"{"action":"x"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad} was taken");
        }
        assert!(
            read(r#"{"maxretry":0}"#).unwrap_err().to_string().contains("maxretry must be a number from 1")
        );
        assert_eq!(Network::parse("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Network::parse("10.1.2.3/32").unwrap().to_string(), "10.1.2.3");
    }

    #[test]
    fn one_address_has_one_spelling() {
        for (written, is) in [
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("::FFFF:7f00:1", "127.0.0.1"),
            ("::ffff:127.0.0.1/128", "127.0.0.1"),
            ("::ffff:127.9.9.9/104", "127.0.0.0/8"),
            ("2001:DB8:0:0::0009", "2001:db8::9"),
        ] {
            assert_eq!(Network::parse(written).unwrap().to_string(), is, "{written}");
            assert_eq!(Network::parse(written), Network::parse(is));
        }
        let mapped: IpAddr = "::ffff:203.0.113.7".parse().unwrap();
        assert_eq!(Network::from(mapped).to_string(), "203.0.113.7");
    }
}
