//! Whom a configuration trusts, as a user meets it: examples used as secrets, what is exposed more than necessary, who is sent the token.

use super::tests::{TOKEN, environment, errors, flags, serve, worker};
use super::variables::Role;
use super::*;

#[test]
fn an_example_is_no_secret_and_neither_is_one_key_held_down() {
    let example = "replace-this-example-agent-token-of-32-or-more";
    let taken = |name: &str, value: &str| serve(&[(name, value)]).is_ok();
    for name in ["BANGUI_AGENT_TOKEN", "BANGUI_SETUP_TOKEN", "BANGUI_ADMIN_PASSWORD", "BANGUI_REDIS_PASSWORD"]
    {
        let said = errors(serve(&[(name, example)]));
        assert!(
            said.contains(&format!("\n  {name}: is an example")) && said.contains("1 configuration error"),
            "{said}"
        );
        assert!(!said.contains("or-more"), "{said}");
        assert!(!taken(name, "REPLACE-THIS with your own, which has thirty-two"), "{name}");
    }
    for url in [
        "redis://:replace-this-password@h",
        "redis+unix:///r?password=replace-this",
        "redis+sentinel://a/m?sentinel_password=replace-this",
    ] {
        let said = errors(serve(&[("BANGUI_REDIS_URL", url)]));
        assert!(said.contains("its password is an example"), "{said}");
    }
    let agent =
        |token: &str| roles::agent(&environment(&[("BANGUI_AGENT_TOKEN", token)]), &Flags::new()).map(|_| ());
    assert!(errors(agent(example)).contains("is an example"));
    for weak in [
        "a".repeat(64),
        "0123456".repeat(10),
        "abcdefghijklmno".repeat(3),
        "hunter2-hunter2-hunter2-hunter2-".to_owned(),
    ] {
        for said in [errors(agent(&weak)), errors(serve(&[("BANGUI_AGENT_TOKEN", &weak)]))] {
            assert!(said.contains("different characters or more") && !said.contains(&weak), "{said}");
        }
    }
    for good in ["01234567".repeat(8), "abcdefghijklmnop".repeat(2), TOKEN.to_owned()] {
        assert!(agent(&good).is_ok(), "{good}");
    }
}

#[test]
fn a_redis_url_with_a_password_is_no_argument() {
    for url in [
        "redis://:hunter2@h",
        "redis+unix:///r?password=hunter2",
        "redis+sentinel://a/m?sentinel_password=hunter2",
        "redis+cluster://:hunter2@a,b",
    ] {
        for role in [Role::Serve, Role::Check, Role::ResetPassword] {
            let flags = flags(&[("redis-url", url)]);
            let said = match role {
                Role::Serve => errors(roles::serve(&environment(&[]), &flags)),
                Role::Check => errors(roles::check(&environment(&[]), &flags)),
                _ => errors(roles::reset_password(&environment(&[]), &flags)),
            };
            assert!(said.contains("\n  --redis-url = ") && said.contains("1 configuration error"), "{said}");
            assert!(said.contains("--redis-password-file") && !said.contains("hunter2"), "{said}");
        }
        assert!(serve(&[("BANGUI_REDIS_URL", url)]).is_ok());
    }
    assert!(roles::serve(&environment(&[]), &flags(&[("redis-url", "redis://user@h")])).is_ok());
}

#[test]
fn an_agent_obeys_a_token_or_workers_with_a_certificate_and_never_anybody() {
    let tls = [
        ("BANGUI_AGENT_LISTEN", "0.0.0.0:8443"),
        ("BANGUI_AGENT_TLS_CERT", "/c"),
        ("BANGUI_AGENT_TLS_KEY", "/k"),
    ];
    let agent = |more: &[(&str, &str)], of_tls: &[(&str, &str)]| {
        roles::agent(&environment(&[of_tls, more].concat()), &Flags::new()).map(|loaded| loaded.config)
    };
    let ca = ("BANGUI_WORKER_CA", "/workers.crt");
    let config = agent(&[ca], &tls).unwrap();
    assert!(config.token.is_none() && config.worker_ca.is_some());
    let both = agent(&[ca, ("BANGUI_AGENT_TOKEN", TOKEN)], &tls).unwrap();
    assert!(both.token.is_some() && both.worker_ca.is_some());
    // On a unix socket, and without TLS, nobody would be asked for a certificate.
    assert!(errors(agent(&[ca], &[])).contains("BANGUI_WORKER_CA = \"/workers.crt\""));
    assert!(agent(&[ca], &tls[1..]).is_err());
    assert!(agent(&[ca], &[("BANGUI_AGENT_LISTEN", "127.0.0.1:1")]).is_err());
    assert!(agent(&[("BANGUI_WORKER_CA", "")], &tls).is_err(), "empty counts as unset");
}

#[test]
fn who_is_sent_the_token_is_for_the_configuration_to_say() {
    let cert = [("BANGUI_WORKER_CERT", "/c"), ("BANGUI_WORKER_KEY", "/k")];
    let with = |servers: &str, more: &[(&str, &str)]| serve(&[&[("BANGUI_SERVERS", servers)], more].concat());
    // With a certificate the token is for those that are marked, and for this machine.
    assert!(with("a=https://a:1", &cert).unwrap().agents.token.is_none());
    for marked in ["a=https://a:1?token=shared", "a=http+unix:///a", "a=http://localhost:1"] {
        assert!(errors(with(marked, &cert)).contains("BANGUI_AGENT_TOKEN: is not set"), "{marked}");
    }
    assert!(errors(with("a=https://a:1", &cert[..1])).contains("BANGUI_WORKER_KEY: is not set"));
    assert!(
        errors(with("a=https://a:1", &[cert[1], ("BANGUI_AGENT_TOKEN", TOKEN)]))
            .contains("BANGUI_WORKER_CERT")
    );
    // It is never sent to an agent that is trusted on first use.
    let first = "n=https://a?discover=dns&trust=first-use";
    let group = &with(first, &cert).unwrap().groups[0];
    assert!(group.first_use && !group.shared_token);
    let token = ("BANGUI_AGENT_TOKEN", TOKEN);
    assert!(errors(with(first, &[token])).contains("BANGUI_WORKER_CERT: is not set"));
    assert!(with(&format!("{first}&token=shared"), &[cert[0], cert[1], token]).is_err());
    assert!(errors(with("n=https://a?discover=dns", &cert)).contains("BANGUI_AGENT_CA: is not set"));
}

#[test]
fn proxies_are_known_by_address_or_by_number() {
    let config = serve(&[("BANGUI_TRUSTED_PROXY_HOPS", "2")]).unwrap();
    assert_eq!(config.trusted_proxy_hops.map(std::num::NonZeroU8::get), Some(2));
    let both = [("BANGUI_TRUSTED_PROXY_HOPS", "2"), ("BANGUI_TRUSTED_PROXIES", "10.0.0.1")];
    assert!(errors(serve(&both)).contains("cannot be combined with BANGUI_TRUSTED_PROXIES"));
}

#[test]
fn unnecessary_exposure_causes_a_warning_and_is_shown_by_check() {
    let open = [
        ("BANGUI_LISTEN", "0.0.0.0:8080"),
        ("BANGUI_PUBLIC_URL", "http://bangui.example"),
        ("BANGUI_REDIS_URL", "redis://redis:6379"),
        ("BANGUI_TRUSTED_PROXIES", "10.0.0.0/8"),
        ("BANGUI_SERVERS", "a=https://a:1,b=https://b:1"),
        ("BANGUI_AGENT_TOKEN", TOKEN),
    ];
    let warnings = roles::serve(&environment(&open), &Flags::new()).ok().unwrap().warnings;
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    let check = roles::check(&environment(&open), &Flags::new()).ok().unwrap().config;
    let whats: Vec<_> = check.exposures.iter().map(|exposure| exposure.what).collect();
    assert_eq!(whats, ["listen", "public URL", "redis", "proxies", "agents"]);
    assert!(roles::serve(&worker(&[]), &Flags::new()).ok().unwrap().warnings.is_empty());
    let up = environment(&[("HOME", "/home/x"), ("BANGUI_LISTEN", "0.0.0.0:8080")]);
    assert_eq!(roles::up(&up, &Flags::new()).ok().unwrap().warnings.len(), 1);
}

#[test]
fn the_metrics_of_up_have_an_address_for_each_worker() {
    let up = |set: &[(&str, &str)]| {
        let set = [&[("HOME", "/home/x"), ("BANGUI_WORKERS", "3")], set].concat();
        roles::up(&environment(&set), &Flags::new()).map(|loaded| loaded.config.metrics_listen.to_string())
    };
    assert_eq!(up(&[]).unwrap(), "127.0.0.1:0");
    assert_eq!(up(&[("BANGUI_METRICS_LISTEN", "0.0.0.0:9100")]).unwrap(), "0.0.0.0:9100");
    assert!(up(&[("BANGUI_METRICS_LISTEN", "0.0.0.0:65533")]).is_ok());
    assert!(
        errors(up(&[("BANGUI_METRICS_LISTEN", "0.0.0.0:65534")])).contains("no port for the last worker")
    );
}
