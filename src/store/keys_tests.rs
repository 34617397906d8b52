//! In which slot keys lie, and that no two keys are the same.

use std::net::IpAddr;

use super::*;
use crate::store::auth::invitations::InvitationCode;
use crate::store::{
    AccountId, OnceHash, OnceKind, PasskeyId, ProviderSession, ProviderUser, SessionToken, Username,
};

#[test]
fn every_key_that_a_script_combines_with_another_lies_in_one_slot() {
    let keys = Keys::new("bangui");
    let name = ServerName::parse("web{x}1".replace(['{', '}'], "").as_str()).unwrap();
    let user = Username::admin();
    let jail = JailName::parse("sshd").unwrap();
    let session = SessionToken::fresh(AccountId::ADMIN).unwrap().id();
    let account = AccountId::fresh().unwrap();
    let stranger = ProviderUser { issuer: "https://id.example".to_owned(), subject: "{7}".to_owned() };
    let all: Vec<Vec<u8>> = [
        keys.layout(),
        keys.primary(),
        keys.account(&user),
        keys.generation(account),
        keys.token_generation(account),
        keys.accounts(),
        keys.admins(),
        keys.invitation(&InvitationCode::fresh().unwrap().id()),
        keys.invitations(),
        keys.api_tokens(&user),
        keys.setup_code(),
        keys.passkey(&PasskeyId::of(b"credential")),
        keys.once(OnceKind::AppSetup, &OnceHash::from_bytes([7; 32])),
        keys.sessions(&user),
        keys.provider_account(&stranger),
        keys.provider_sessions(&ProviderSession::User(stranger.clone())),
        keys.provider_logout(&ProviderSession::Sid { issuer: "i".to_owned(), sid: "s".to_owned() }),
        keys.provider_logout_token("i", "t"),
        keys.user_agent(7),
        keys.message(&session, "0123456789abcdef"),
        keys.server(&name),
        keys.hours(&name),
        keys.detecting(&name),
        keys.bans(&name, &jail),
        keys.bans_beside(&name, &jail, 7),
        keys.bans_known(&name, &jail),
        keys.ban_notes(&name, &jail),
        keys.discovered(),
        keys.findings(),
        keys.refused_logins(7),
        keys.ban_lists(),
        keys.ban_jobs(),
        keys.ban_jobs_open(),
        keys.ban_jobs_line(&name, &jail),
        keys.ban_job(&BanJobId::of(7)),
        keys.ban_job_ips(&BanJobId::of(7)),
        keys.ban_job_failures(&BanJobId::of(7)),
        keys.jail_change(&JailChangeId::of(7)),
        keys.changing(&name),
        keys.refused(&name),
        keys.undo(&UndoId::of(7)),
        keys.undo_ips(&UndoId::of(7)),
        keys.undos(),
        keys.probe_requests(),
        keys.events(),
        keys.settings(),
        keys.audit(Trail::Security),
        keys.audit_chain(Trail::Changes),
        keys.lease(),
        keys.epoch(),
        keys.watcher(),
        keys.job("probe"),
        keys.workers(),
        keys.holders(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .chain([keys.session(&session), keys.confirmed(&session), keys.api_token(&session)])
    .collect();
    let expected = slot(b"bangui");
    for key in all {
        assert_eq!(slot(&key), expected, "{}", String::from_utf8_lossy(&key));
    }
}

#[test]
fn no_jail_has_the_key_of_another() {
    let keys = Keys::new("bangui");
    let name = ServerName::parse("web").unwrap();
    let jail = |text: &str| JailName::parse(text).unwrap();
    assert_eq!(keys.bans(&name, &jail("sshd")), "{bangui}:bans:web/sshd");
    assert_ne!(keys.bans_beside(&name, &jail("x"), 7), keys.bans(&name, &jail("x/7")));
    assert_ne!(keys.bans(&name, &jail("x/7")), keys.bans(&name, &jail("x%2F7")));
}

#[test]
fn limits_spread_but_for_an_address_and_the_site_around_it() {
    let keys = Keys::new("bangui");
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let (one, other) = (ip("2001:db8::1"), ip("2001:db8:0:7::1"));
    assert_eq!(slot(keys.attempts(one).as_bytes()), slot(keys.attempts_of_site(other).as_bytes()));
    let four = ["198.51.100.1", "198.51.100.2", "198.51.100.3"].map(ip);
    let slots = four.map(|ip| slot(keys.attempts(ip).as_bytes()));
    assert!(slots[0] != slots[1] && slots[1] != slots[2], "{slots:?}");
    assert_ne!(slot(keys.failures("admin").as_bytes()), slot(b"bangui"));
}

#[test]
fn no_name_that_was_typed_stands_in_a_key() {
    let keys = Keys::new("bangui");
    let ip = "::1".parse().unwrap();
    let of = |name| [keys.known(name, ip), keys.failures(name), keys.emptied(name), keys.failed(name, ip)];
    let keys = of("hunter2");
    assert!(keys.iter().all(|key| !key.contains("hunter2")), "{keys:?}");
    // A script takes the last three together.
    let slots: Vec<u16> = keys.iter().map(|key| slot(key.as_bytes())).collect();
    assert!(slots.iter().all(|one| *one == slots[0]), "{slots:?}");
    assert_eq!(keys[0], "bangui:known:{f52fbd32b2b3b86ff88ef6c490628285}:::/64");
}

#[test]
fn in_a_cluster_no_key_spreads_and_none_is_that_of_another() {
    let keys = Keys::in_one_slot("bangui");
    let ip = "198.51.100.1".parse().unwrap();
    let spread = [
        keys.attempts(ip),
        keys.attempts_of_site(ip),
        keys.failures("admin"),
        keys.emptied("admin"),
        keys.failed("admin", ip),
        keys.known("admin", ip),
        keys.idempotent(AccountId::ADMIN, "key"),
    ];
    for key in &spread {
        assert_eq!(slot(key.as_bytes()), keys.slot(), "{key}");
    }
    assert_eq!(keys.slot(), slot(b"bangui"));
    assert_eq!(spread[1], "{bangui}:attempts:{198.51.100.1/32}");
    let names: std::collections::BTreeSet<&String> = spread.iter().collect();
    assert_eq!(names.len(), spread.len());
    assert!(keys.are_in_one_slot() && !Keys::new("bangui").are_in_one_slot());
    assert_eq!(Keys::new("bangui").layout(), keys.layout(), "the others are as everywhere");
}

#[test]
fn the_admins_generation_has_the_key_of_version_0_2() {
    let keys = Keys::new("bangui");
    assert_eq!(keys.generation(AccountId::ADMIN), "{bangui}:generation:admin");
    assert_eq!(keys.account(&Username::admin()), "{bangui}:account:admin");
}
