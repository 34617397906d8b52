//! The tables of permissions agree with themselves and with the documentation. `routes_tests.rs` compares them with the router, and
//! `tests/it/permissions.rs` sends a request for each row as each role.

use std::collections::BTreeSet;

use super::*;
use crate::domain::access::ServerPattern;
use crate::domain::undo::SettingsDeed;

const ACCOUNTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", "docs/accounts.md"));

fn access(role: Role) -> Access {
    Access { role, servers: Vec::new() }
}

#[test]
fn every_right_has_one_row_and_every_row_of_the_routes_one_method_and_path() {
    let rights: Vec<Right> = RIGHTS.iter().map(|(right, ..)| *right).collect();
    for route in ROUTES {
        assert!(rights.contains(&route.right), "{:?} has no row", route.right);
    }
    for (at, right) in rights.iter().enumerate() {
        assert!(!rights[..at].contains(right), "{right:?} is there twice");
    }
    let mut seen = BTreeSet::new();
    for row in all() {
        assert!(seen.insert((row.method, row.path)), "{} {} is there twice", row.method, row.path);
    }
}

#[test]
fn a_route_is_about_one_server_if_its_path_names_one_and_what_concerns_all_is_for_admins_of_all() {
    for Route { method, path, right, about, form: _ } in ROUTES {
        assert_eq!(path.contains("{server}"), *about == About::Server, "{method} {path}");
        let whole = right.who() == Who::AdminOfAll;
        assert!(!whole || *about == About::Bangui, "{method} {path} would be for no account that is bound");
    }
}

#[test]
fn a_role_has_the_rights_of_the_roles_below_it_and_an_admin_of_some_servers_none_that_concern_all() {
    let bound = Access { role: Role::Admin, servers: vec![ServerPattern::parse("web-*").unwrap()] };
    for (right, who, _) in RIGHTS {
        let of = Role::ALL.map(|role| right.of(&access(role)));
        let expected = match who {
            Who::Everybody | Who::LoggedIn => [true; 3],
            Who::Role(needed) => Role::ALL.map(|role| role >= *needed),
            Who::AdminOfAll => [false, false, true],
        };
        assert_eq!(of, expected, "{right:?}");
        assert_eq!(right.of(&bound), *who != Who::AdminOfAll, "{right:?}");
    }
}

#[test]
fn undoing_needs_the_right_to_do_it() {
    let to_undo =
        |deed| Right::to_undo(&Undoable { username: "x".to_owned(), server: None, jail: None, deed });
    let network = "203.0.113.7".parse::<std::net::IpAddr>().unwrap().into();
    assert_eq!(to_undo(Deed::Bans { banned: true, ips: Vec::new(), changed: 1 }), Right::Ban);
    assert_eq!(to_undo(Deed::Ignored { network, persistent: false }), Right::NeverBan);
    assert_eq!(to_undo(Deed::Ignored { network, persistent: true }), Right::NeverBanForGood);
    assert_eq!(to_undo(Deed::Switched { on: true }), Right::SwitchJail);
    assert_eq!(to_undo(Deed::Settings(SettingsDeed::default())), Right::ChangeJail);
    assert_eq!(to_undo(Deed::Unknown), Right::Settings, "what only a newer version knows");
}

#[test]
fn a_route_is_found_by_its_pattern_and_head_is_a_get() {
    assert_eq!(find("HEAD", "/servers/{server}").unwrap().right, Right::Look);
    assert_eq!(find("GET", "/servers/{server}/probe").unwrap().right, Right::Open, "it leads to the page");
    assert_eq!(find("POST", "/servers/{server}/probe").unwrap().right, Right::Probe);
    assert!(find("GET", "/servers/web-1").is_none() && find("PUT", "/servers/{server}").is_none());
}

#[test]
fn the_documentation_has_the_table_of_rights() {
    let lines: Vec<&str> = ACCOUNTS.lines().filter(|line| line.starts_with("| ")).collect();
    let rows: Vec<String> = RIGHTS.iter().map(|(_, who, words)| format!("| {words} | {who} |")).collect();
    for row in &rows {
        assert!(lines.contains(&&**row), "docs/accounts.md lacks this line:\n{row}");
    }
    let begins = ACCOUNTS.lines().skip_while(|line| *line != "| to | who |").skip(2);
    let listed: Vec<&str> = begins.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(listed, rows, "the table of docs/accounts.md has a line that is none of the program's");
}
