//! Secrets come from a variable or a file, are checked, and are never shown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use secrecy::ExposeSecret as _;

use super::tests::{TOKEN, environment, errors, flags, serve, worker};
use super::*;

#[test]
fn no_secret_is_ever_shown() {
    let secret = "hunter2-hunter2-hunter2";
    let said =
        errors(serve(&[("BANGUI_AGENT_TOKEN", secret), ("BANGUI_ADMIN_PASSWORD", &"hunter2".repeat(200))]));
    assert!(
        said.contains("BANGUI_AGENT_TOKEN: each token") && said.contains("BANGUI_ADMIN_PASSWORD: "),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    for url in
        ["redis://:hunter2@h/x", "redis://u:hunter2", "hunter2@h", "redis+unix:///r?password=hunter2&x=1"]
    {
        let said = errors(serve(&[("BANGUI_REDIS_URL", url)]));
        assert!(said.contains("***") && !said.contains("hunter2"), "{url}: {said}");
    }
    let config = serve(&[("BANGUI_AGENT_TOKEN", TOKEN), ("BANGUI_REDIS_URL", "redis://:hunter2@h")]).unwrap();
    let debug = format!("{:?} {:?}", config.agents.token, config.redis.url);
    assert!(!debug.contains(TOKEN) && !debug.contains("hunter2"), "{debug}");
}

#[test]
fn bytes_that_are_not_text_are_an_error_and_not_a_panic() {
    for name in ["BANGUI_LISTEN", "BANGUI_SERVERS", "BANGUI_AGENT_TOKEN", "BANGUI_AGENT_TOKEN_FILE"] {
        let mut set = worker(&[]);
        set.variables.insert(name.to_owned(), OsStr::from_bytes(b"a\xff").to_owned());
        let said = errors(roles::serve(&set, &Flags::new()));
        assert!(said.contains(&format!("\n  {name}")), "{said}");
    }
}

#[test]
fn a_secret_comes_from_its_file_without_the_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\r\n")).unwrap();
    let path = path.to_str().unwrap();
    for (set, given) in
        [(vec![("BANGUI_AGENT_TOKEN_FILE", path)], vec![]), (vec![], vec![("agent-token-file", path)])]
    {
        let token = roles::agent(&environment(&set), &flags(&given)).ok().unwrap().config.token.unwrap();
        assert_eq!(token.tokens[0].expose_secret(), TOKEN);
        assert_eq!(token.file.unwrap().to_str().unwrap(), path);
    }
    let both = [("BANGUI_AGENT_TOKEN", TOKEN), ("BANGUI_AGENT_TOKEN_FILE", path)];
    let said = errors(roles::agent(&environment(&both), &Flags::new()));
    assert!(
        said.starts_with("1 configuration error;") && said.contains("BANGUI_AGENT_TOKEN_FILE is set too"),
        "{said}"
    );
}

#[test]
fn a_secret_file_that_cannot_be_used_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("empty"), "\n").unwrap();
    std::fs::write(path("bytes"), b"\xff\xfe").unwrap();
    std::fs::write(path("short"), "hunter2").unwrap();
    std::fs::write(path("large"), "x".repeat(70_000)).unwrap();
    let cases = [
        ("empty", "is empty"),
        ("bytes", "is not valid UTF-8"),
        ("short", "must have 32 characters or more"),
        ("large", "is larger than"),
        ("none", ": No such file"),
        ("", ": Is a directory"),
    ];
    for (name, why) in cases {
        let set = environment(&[("BANGUI_AGENT_TOKEN_FILE", &path(name))]);
        let said = errors(roles::agent(&set, &Flags::new()));
        assert!(
            said.starts_with("1 configuration error;") && said.contains(why) && said.contains(&path(name)),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn an_empty_list_is_unset_and_an_empty_secret_is_an_error() {
    let config =
        serve(&[("BANGUI_SERVERS", ""), ("BANGUI_TRUSTED_PROXIES", ""), ("BANGUI_PUBLIC_URL", "")]).unwrap();
    assert!(config.servers.is_empty() && config.public_url.is_none());
    assert!(errors(serve(&[("BANGUI_SETUP_TOKEN", "")])).contains("BANGUI_SETUP_TOKEN: is empty"));
}

#[test]
fn a_setup_token_that_can_be_guessed_is_a_mistake_and_is_not_printed() {
    let said = errors(serve(&[("BANGUI_SETUP_TOKEN", "4711-is-no-secret-token")]));
    assert!(said.contains("BANGUI_SETUP_TOKEN: must have 24 characters or more"), "{said}");
    assert!(!said.contains("4711"), "{said}");
    assert!(serve(&[("BANGUI_SETUP_TOKEN", "4711-is-no-secret-token!")]).is_ok());
}
