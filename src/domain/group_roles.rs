//! Which groups of an identity provider may do what: `bangui-admins=admin,web-team=operator@web-*+db-1`.
//!
//! The greatest role among somebody's groups counts, and of all entries with that role the servers together; one without servers is for
//! all of them. Whoever is in no group of the list may do nothing.

use super::access::{Access, Role, ServerPattern};

/// The most servers and patterns of an account.
const MAX_SERVERS: usize = 50;

/// Groups, and what each may do. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRoles(Vec<(String, Access)>);

impl GroupRoles {
    /// Reads a list of `GROUP=ROLE` or `GROUP=ROLE@SERVER+SERVER`, separated by commas. In the name of a group a comma is `%2C` and a
    /// percent sign `%25`.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let entries = entries.map(entry).collect::<Result<Vec<_>, _>>()?;
        if entries.is_empty() {
            return Err("must name at least one group, such as bangui-admins=admin".to_owned());
        }
        Ok(Self(entries))
    }

    /// What somebody in these groups may do; none if nothing.
    #[must_use]
    pub fn access_of(&self, groups: &[String]) -> Option<Access> {
        let theirs = || self.0.iter().filter(|(group, _)| groups.contains(group)).map(|(_, access)| access);
        let role = theirs().map(|access| access.role).max()?;
        let mut servers = Vec::new();
        for access in theirs().filter(|access| access.role == role) {
            if access.is_for_all_servers() {
                return Some(Access { role, servers: Vec::new() });
            }
            servers.extend_from_slice(&access.servers);
        }
        servers.sort_unstable();
        servers.dedup();
        Some(Access { role, servers })
    }
}

fn entry(entry: &str) -> Result<(String, Access), String> {
    // A group may have `=` in its name, as those of LDAP have; a role and a server have none.
    let (group, access) = entry
        .rsplit_once('=')
        .ok_or_else(|| format!("{entry:?} has no `=`: write GROUP=ROLE, such as bangui-admins=admin"))?;
    let group = group.trim().replace("%2C", ",").replace("%2c", ",").replace("%25", "%");
    if group.is_empty() {
        return Err(format!("{entry:?} has no name of a group before `=`"));
    }
    let (role, servers) = match access.split_once('@') {
        Some((role, servers)) => (role.trim(), Some(servers)),
        None => (access.trim(), None),
    };
    let role = Role::ALL.into_iter().find(|known| known.as_str() == role).ok_or_else(|| {
        format!("{role:?} in {entry:?} is not a role: it must be viewer, operator or admin, with @SERVER+SERVER after it for some servers only")
    })?;
    let mut patterns: Vec<ServerPattern> = match servers {
        Some(servers) => servers
            .split('+')
            .map(|server| ServerPattern::parse(server.trim()).map_err(|error| format!("{entry:?}: {error}")))
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    patterns.sort_unstable();
    patterns.dedup();
    if patterns.len() > MAX_SERVERS {
        return Err(format!("a group may have {MAX_SERVERS} servers and patterns at most: use `*`"));
    }
    Ok((group, Access { role, servers: patterns }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(list: &str, groups: &[&str]) -> Option<(Role, String)> {
        let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        let access = GroupRoles::parse(list).unwrap().access_of(&groups)?;
        let servers: Vec<&str> = access.servers.iter().map(ServerPattern::as_str).collect();
        Some((access.role, servers.join(" ")))
    }

    #[test]
    fn who_is_in_no_group_of_the_list_may_do_nothing() {
        let list = "bangui-admins=admin, web-team=operator@web-*";
        assert_eq!(access(list, &[]), None);
        assert_eq!(access(list, &["bangui", "bangui-admins2", "BANGUI-ADMINS", ""]), None);
        assert_eq!(access(list, &["x", "web-team"]), Some((Role::Operator, "web-*".to_owned())));
    }

    #[test]
    fn the_greatest_role_counts_and_its_servers_add_up() {
        let list = "all=viewer,web=operator@web-*,db=operator@db-1+db-2,root=admin@lab,boss=admin";
        assert_eq!(access(list, &["all", "web", "db"]), Some((Role::Operator, "db-1 db-2 web-*".to_owned())));
        assert_eq!(access(list, &["web", "root"]), Some((Role::Admin, "lab".to_owned())));
        assert_eq!(access(list, &["root", "boss"]), Some((Role::Admin, String::new())));
    }

    #[test]
    fn names_of_groups_may_have_any_characters() {
        let list = "cn=web%2Cou=teams=viewer, /a b/ü=operator, 100%25=admin";
        assert_eq!(access(list, &["cn=web,ou=teams"]), Some((Role::Viewer, String::new())));
        assert_eq!(access(list, &["/a b/ü"]), Some((Role::Operator, String::new())));
        assert_eq!(access(list, &["100%"]), Some((Role::Admin, String::new())));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_refused_with_the_entry() {
        for (list, says) in [
            ("", "must name at least one group"),
            ("admins", "has no `=`"),
            ("=admin", "no name of a group"),
            ("a=owner", "is not a role"),
            ("a=Admin", "is not a role"),
            ("a=viewer@", "a server or pattern"),
            ("a=viewer@web 1", "a server or pattern"),
        ] {
            let error = GroupRoles::parse(list).unwrap_err();
            assert!(error.contains(says), "{list:?}: {error}");
        }
    }
}
