//! Whether the user who asks could be banned, and so locked out.

use std::net::IpAddr;

use ipnet::IpNet;

use super::jails::JailFacts;
use super::{Finding, Kind, Remedy, Severity};
use crate::domain::ServerName;
use crate::domain::address::{host_behind, overlaps};

/// The outcome of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A list has the address.
    Fine,
    /// No list has it.
    Found(Box<Finding>),
    /// A list holds names or files, which only fail2ban can read; or there is no jail, or the address is of this machine.
    NotKnown,
}

/// Whether any never-banned list of this server's jails has the address.
#[must_use]
pub fn judge(server: &ServerName, jails: &[JailFacts], address: IpAddr) -> Verdict {
    let address = host_behind(address);
    if jails.is_empty() || address.is_loopback() {
        return Verdict::NotKnown;
    }
    let mut readable = true;
    for entry in jails.iter().flat_map(|jail| &jail.ignoreip) {
        match network(entry) {
            Some(net) if overlaps(address.into(), net) => return Verdict::Fine,
            Some(_) => {}
            None => readable = false,
        }
    }
    if !readable {
        return Verdict::NotKnown;
    }
    let detail = format!("A few wrong passwords from {address} would lock you out of {server}.");
    let remedy = Remedy::text(format!(
        "Add {address} to `ignoreip` under [DEFAULT] in /etc/fail2ban/jail.local and reload, or have an admin add \
         it in each jail (POST /api/v1/servers/{server}/jails/JAIL/ignore)."
    ))
    .command("fail2ban-client -t && fail2ban-client reload");
    let title = "Nothing keeps your own address from being banned";
    let finding = Finding::new(Kind::OwnAddress, Severity::Warning, title, detail, remedy);
    Verdict::Found(Box::new(finding.on(server).about(address.to_string())))
}

fn network(entry: &str) -> Option<IpNet> {
    entry.parse().ok().or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JailName;

    fn verdict(lists: &[&[&str]], address: &str) -> &'static str {
        let jail = |list: &&[&str]| JailFacts {
            name: JailName::parse("sshd").unwrap(),
            bantime: None,
            findtime: None,
            ignoreip: list.iter().map(|&entry| entry.to_owned()).collect(),
            logs: None,
            reads_journal: false,
        };
        let jails: Vec<JailFacts> = lists.iter().map(jail).collect();
        match judge(&ServerName::parse("web-1").unwrap(), &jails, address.parse().unwrap()) {
            Verdict::Fine => "fine",
            Verdict::Found(_) => "found",
            Verdict::NotKnown => "not known",
        }
    }

    #[test]
    fn an_address_is_safe_if_one_list_has_it_or_a_network_around_it() {
        assert_eq!(verdict(&[&["127.0.0.0/8"], &["198.51.100.0/24"]], "198.51.100.255"), "fine");
        assert_eq!(verdict(&[&["127.0.0.0/8"], &["198.51.100.0/24"]], "198.51.101.0"), "found");
        assert_eq!(verdict(&[&["198.51.100.23"]], "::ffff:198.51.100.23"), "fine");
        assert_eq!(verdict(&[&[]], "2001:db8::1"), "found");
    }

    #[test]
    fn what_cannot_be_read_here_is_not_known_unless_another_entry_has_it() {
        assert_eq!(verdict(&[&["home.example.org"]], "198.51.100.23"), "not known");
        assert_eq!(verdict(&[&["home.example.org", "198.51.100.23"]], "198.51.100.23"), "fine");
        assert_eq!(verdict(&[], "198.51.100.23"), "not known");
        assert_eq!(verdict(&[&[]], "127.0.0.1"), "not known");
    }
}
