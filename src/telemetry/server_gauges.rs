//! The gauges of servers and jails, which only the leader exports. The recorder cannot remove its gauges, so a former leader
//! would keep exporting its last values.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The gauges of one server.
#[derive(Default)]
struct Server {
    online: bool,
    /// Banned addresses of each jail that has run during this term.
    banned: BTreeMap<String, u64>,
}

static SERVERS: Mutex<BTreeMap<String, Server>> = Mutex::new(BTreeMap::new());

fn servers() -> MutexGuard<'static, BTreeMap<String, Server>> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the gauges of a server. A jail that no longer runs is exported as 0.
pub fn set(server: &str, online: bool, banned: impl Iterator<Item = (String, u64)>) {
    let mut servers = servers();
    let gauges = servers.entry(server.to_owned()).or_default();
    gauges.online = online;
    gauges.banned.values_mut().for_each(|banned| *banned = 0);
    gauges.banned.extend(banned);
}

/// Removes the gauges of a server that no longer exists.
pub fn forget(server: &str) {
    servers().remove(server);
}

/// Removes all gauges: this worker is no longer the leader.
pub fn forget_all() {
    servers().clear();
}

/// Appends the gauges to a page for Prometheus. Names of servers and jails need no escaping.
pub(super) fn render(page: &mut String) {
    let servers = servers();
    let online =
        servers.iter().map(|(server, gauges)| (format!("server=\"{server}\""), u64::from(gauges.online)));
    family(page, "bangui_server_online", online);
    let banned = servers.iter().flat_map(|(server, gauges)| {
        let jails = gauges.banned.iter();
        jails.map(move |(jail, banned)| (format!("server=\"{server}\",jail=\"{jail}\""), *banned))
    });
    family(page, "bangui_jail_banned", banned);
}

fn family(page: &mut String, name: &str, series: impl Iterator<Item = (String, u64)>) {
    let about =
        super::catalogue::METRICS.iter().find(|(known, ..)| *known == name).map_or("", |(.., about)| *about);
    // Writing to a String cannot fail.
    let _ = writeln!(page, "# HELP {name} {about}\n# TYPE {name} gauge");
    for (labels, value) in series {
        let _ = writeln!(page, "{name}{{{labels}}} {value}");
    }
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jail_that_stopped_is_exported_as_0_and_a_removed_server_not_at_all() {
        let page = || {
            let mut page = String::new();
            render(&mut page);
            page.lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty())
                .collect::<Vec<_>>()
                .join("\n")
        };
        set("a", true, [("sshd".to_owned(), 3), ("web".to_owned(), 1)].into_iter());
        set("b", false, std::iter::empty());
        set("a", true, [("sshd".to_owned(), 4)].into_iter());
        let expected = "bangui_server_online{server=\"a\"} 1\nbangui_server_online{server=\"b\"} 0\n\
            bangui_jail_banned{server=\"a\",jail=\"sshd\"} 4\nbangui_jail_banned{server=\"a\",jail=\"web\"} 0";
        assert_eq!(page(), expected);
        forget("a");
        assert_eq!(page(), "bangui_server_online{server=\"b\"} 0");
        forget_all();
        assert_eq!(page(), "");
    }
}
