//! What a person should know about each setting: its name, and what goes wrong if it is very low or very high.

/// The words about one setting.
#[derive(Debug)]
pub struct Words {
    /// Its name in the API.
    pub name: &'static str,
    /// Its label on the page.
    pub label: &'static str,
    /// Its effect and its unit.
    pub decides: &'static str,
    /// What goes wrong if it is very low, or off.
    pub low: &'static str,
    /// What goes wrong if it is very high, or on.
    pub high: &'static str,
}

/// Every setting has its row.
pub const WORDS: [Words; 9] = [
    Words {
        name: "session_idle_seconds",
        label: "A session ends after this long without use",
        decides: "In seconds, not longer than the longest session. A page that is open and visible counts as use.",
        low: "Low: people are logged out while they read.",
        high: "High: a browser that was closed without a logout stays logged in for that long.",
    },
    Words {
        name: "session_absolute_seconds",
        label: "A session ends this long after its login",
        decides: "In seconds, however much it is used.",
        low: "Low: people log in again in the middle of their work.",
        high: "High: a stolen session can be used for that long.",
    },
    Words {
        name: "session_cache_enabled",
        label: "Near cache: each worker keeps checked sessions in memory",
        decides: "A logout still takes effect everywhere at once: it waits until every worker has dropped the session.",
        low: "Off: each request checks its session in Redis.",
        high: "On: a logout takes up to two seconds if a worker has just failed.",
    },
    Words {
        name: "session_cache_ttl_seconds",
        label: "A session in a near cache is checked again after",
        decides: "In seconds; it applies only while the near cache is on.",
        low: "Low: Redis is asked nearly as often as without the cache.",
        high: "High: the last use of a session is shown that much too late.",
    },
    Words {
        name: "probe_interval_seconds",
        label: "Every server is probed this often",
        decides: "In seconds.",
        low: "Low: more work for fail2ban, Redis and the leader, above all with many servers.",
        high: "High: bans and trouble are shown that much later.",
    },
    Words {
        name: "activation_crash_window_seconds",
        label: "A crash is attributed to a jail that was switched on at most this long before",
        decides: "In seconds.",
        low: "Low: if a jail takes longer to bring fail2ban down, no rollback is offered.",
        high: "High: a crash with another cause is attributed to the jail.",
    },
    Words {
        name: "login_limit",
        label: "Login attempts from one address",
        decides: "Attempts and seconds, such as 10/60: ten at once, and ten again within sixty seconds.",
        low: "Low: people behind one proxy lock each other out.",
        high: "High: passwords can be tried faster.",
    },
    Words {
        name: "login_failure_limit",
        label: "Failed logins with one account",
        decides: "Attempts and seconds, as above, from all addresses together.",
        low: "Low: while strangers guess, the owner may have to wait before logging in from a new address.",
        high: "High: many addresses together can try more passwords.",
    },
    Words {
        name: "second_factor_roles",
        label: "Roles that need a second factor",
        decides: "Roles separated by commas, such as operator,admin. Users without one must set one up at their next login. Single sign-on is not affected.",
        low: "None: whoever learns a password can log in, unless its user has set up a second factor.",
        high: "All: people need a device besides their password.",
    },
];

/// The label and description of a setting. One without an entry here is labelled with its name.
#[must_use]
pub fn of(name: &'static str) -> Words {
    let known = WORDS.iter().find(|words| words.name == name);
    let Words { label, decides, low, high, .. } =
        *known.unwrap_or(&Words { name, label: name, decides: "", low: "", high: "" });
    Words { name, label, decides, low, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_words() {
        let settings: Vec<_> = crate::settings::shapes().map(|(name, _)| name).collect();
        assert_eq!(settings, WORDS.each_ref().map(|words| words.name));
    }
}
