//! The programs that an agent starts, as the kernel sees them: fail2ban's own with checked arguments, the configured start command,
//! and no shell, whatever a request contains. (The list itself: `src/fail2ban/tools/mod.rs`; of commands on fail2ban's socket:
//! `src/fail2ban/command.rs`.)

use serde_json::json;

use crate::agent_jails::{BANNED, beside, jail};
use crate::support::fail2ban::Fail2ban;
use crate::support::process::search_path;

/// One `execve` of the trace: the process, the program's path, its arguments as strace writes them.
#[derive(Debug)]
struct Started {
    pid: String,
    program: String,
    arguments: Vec<String>,
}

/// Lines such as `12 execve("/usr/bin/x", ["x", "a \"b\""], 0x7f /* 3 vars */) = 0`; only those that succeeded.
fn started(trace: &str) -> Vec<Started> {
    let line = |line: &str| {
        let (pid, rest) = line.split_once(" execve(")?;
        let (call, _) = rest.rsplit_once(") = 0")?;
        let (program, arguments) = call.split_once(", [")?;
        let (arguments, _) = arguments.rsplit_once("], 0x")?;
        let arguments = arguments.split("\", \"").map(|word| word.trim_matches('"').to_owned()).collect();
        Some(Started { pid: pid.trim().to_owned(), program: program.trim_matches('"').to_owned(), arguments })
    };
    trace.lines().filter_map(line).collect()
}

/// Words that a shell, a configuration file or a command line could misread, each with a mark that is found again.
const HOSTILE: &[&str] = &[
    "$(touch MARK)",
    "`touch MARK`",
    "; touch MARK",
    "| MARK",
    "&& MARK",
    "\nMARK",
    "\u{2028}MARK",
    "%(MARK)s",
    "[MARK]",
    "--MARK",
    "MARK\u{0}x",
    "../MARK",
    "MARK = 1",
];

#[tokio::test]
async fn the_agent_starts_fail2bans_programs_alone_and_never_a_shell_whatever_is_asked_of_it() {
    let (mut fail2ban, mut agent) = beside(|f| f.write("jail.d/app.conf", &f.jail("app", false, ""))).await;
    let (trace, ran) = (fail2ban.config().join("trace"), fail2ban.config().join("ran"));
    let options = ["strace", "-f", "-qq", "-s", "20000", "-e", "signal=none", "-e", "trace=execve", "-o"];
    agent.under = options.map(str::to_owned).into();
    agent.under.push(trace.display().to_string());
    agent.more = vec![("BANGUI_FAIL2BAN_START", format!("touch {}", ran.display()))];
    agent.start_again().await;
    let client = agent.client();

    for word in HOSTILE {
        let name: String = word.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for (path, body) in [
            (format!("/v1/jails/{name}/activate"), json!(null)),
            (format!("/v1/jails/{name}/deactivate"), json!(null)),
            ("/v1/rollback".to_owned(), json!({ "jail": word })),
            ("/v1/jails/web/ignore".to_owned(), json!({ "network": word, "persistent": true })),
            ("/v1/jails/web/bans".to_owned(), json!({ "ips": [word] })),
            ("/v1/banned".to_owned(), json!({ "ips": [word] })),
        ] {
            let (status, body) = agent.post(&path, body).await;
            assert!((400..500).contains(&status), "{path}: {status} {body}");
        }
        for settings in [json!({ "bantime": word }), json!({ "ignoreip": [word] }), json!({ *word: 1 })] {
            let settings = json!({ "settings": settings, "persistent": true });
            let (status, body) = agent.send("PATCH", "/v1/jails/web/settings", settings).await;
            assert!((400..500).contains(&status), "{status} {body}");
        }
    }
    // And every kind of request.
    client.activate(&jail("app")).await.unwrap();
    client.deactivate(&jail("app")).await.unwrap();
    client.jail_views().await.unwrap();
    let settings = json!({ "settings": { "maxretry": 4 }, "persistent": true });
    assert_eq!(agent.send("PATCH", "/v1/jails/web/settings", settings).await.0, 200);
    client
        .ignore(&jail("web"), bangui::domain::Network::parse("198.51.100.0/24").unwrap(), true)
        .await
        .unwrap();
    assert!(client.roll_back(&jail("app")).await.unwrap().running == [jail("web")]);
    fail2ban.kill();
    assert!(client.activate(&jail("app")).await.is_err(), "fail2ban is down");
    let rolling = tokio::spawn(async move { client.roll_back(&jail("app")).await });
    crate::support::eventually("the start command", crate::support::SOON, || async {
        ran.exists().then_some(())
    })
    .await;
    fail2ban.start_again().await;
    rolling.await.unwrap().unwrap();
    fail2ban.bans_again("web", BANNED).await;
    agent.kill();

    let all = started(&std::fs::read_to_string(&trace).unwrap());
    check(&fail2ban, &all);
}

fn check(fail2ban: &Fail2ban, all: &[Started]) {
    let config = fail2ban.config().display().to_string();
    let socket = fail2ban.socket().display().to_string();
    let path = search_path();
    let mut own = std::env::split_paths(&path).map(|folder| folder.join("fail2ban-client"));
    let own = own.find(|file| file.is_file()).unwrap().display().to_string();
    let mut seen = std::collections::BTreeSet::new();
    let agents_pid = &all[0].pid;
    for start in &all[1..] {
        assert_ne!(&start.pid, agents_pid, "the agent does not become another program: {start:?}");
        let words: Vec<&str> = start.arguments.iter().map(String::as_str).collect();
        let kind = match &words[..] {
            ["fail2ban-client", "-c", c, "-s", s, rest @ ..]
                if *c == config && *s == socket && start.program == own =>
            {
                match rest {
                    ["-t"] => "test",
                    ["reload", "--if-exists", "app" | "web"] => "reload",
                    _ => panic!("{start:?}"),
                }
            }
            [python, "-I", "-c", script, rest @ ..]
                if python.contains("python")
                    && script.starts_with("# fail2ban's configuration as it would be") =>
            {
                match rest {
                    ["survey", c] if *c == config => "survey",
                    ["rehearse", c, "app" | "web"] if *c == config => "rehearse",
                    ["rehearse", c, jail @ ("app" | "web"), drop_in, instead]
                        if *c == config
                            && *drop_in == format!("{config}/jail.d/zz-bangui-{jail}.local")
                            && (instead.is_empty()
                                || *instead == format!("{config}/jail.d/.bangui-candidate")) =>
                    {
                        "rehearse"
                    }
                    _ => panic!("{start:?}"),
                }
            }
            // As configured; `config` makes sure that it contains no shell syntax.
            ["touch", _] => "start",
            _ => panic!("not on the list: {start:?}"),
        };
        seen.insert(kind);
    }
    assert_eq!(Vec::from_iter(seen), ["rehearse", "reload", "start", "survey", "test"]);
    assert!(
        !format!("{all:?}").contains("MARK"),
        "nothing of a request that was refused reaches a command line"
    );
}
