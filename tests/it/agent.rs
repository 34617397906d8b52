//! The agent: talks to a real fail2ban, and only to clients that know the token.

use std::os::unix::fs::PermissionsExt;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::agent::{AGENT_TOKEN, Agent};
use crate::support::fail2ban::Fail2ban;
use crate::support::process::{Child, bangui};
use crate::support::{SOON, eventually, folder, http};

async fn beside(jails: &[&str]) -> (Fail2ban, Agent) {
    let fail2ban = Fail2ban::start(jails).await;
    let agent = Agent::start(&fail2ban.socket(), &fail2ban.config()).await;
    (fail2ban, agent)
}

async fn ask(agent: &Agent, path: &str) -> Value {
    let (status, body) = agent.get(path, AGENT_TOKEN).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

/// Waits until the agent's probe has this result.
async fn state(agent: &Agent, state: &str) -> Value {
    eventually(&format!("the state {state}"), SOON, || async {
        let status = ask(agent, "/v1/status").await;
        (status["state"] == state).then_some(status)
    })
    .await
}

#[tokio::test]
async fn the_agent_reports_what_fail2ban_says() {
    let (fail2ban, agent) = beside(&["app", "web"]).await;
    let up = state(&agent, "up").await;
    assert_eq!(up["jails"].as_object().unwrap().len(), 2, "{up}");
    for n in 1..=5 {
        fail2ban.log_failure("app", &format!("203.0.113.{n}"));
    }
    eventually("five bans", SOON, || async {
        let status = ask(&agent, "/v1/status").await;
        (status["jails"]["app"]["currently_banned"] == 5).then_some(())
    })
    .await;
    let jails = ask(&agent, "/v1/jails?backend=false").await;
    let names: Vec<&str> =
        jails["jails"].as_array().unwrap().iter().map(|jail| jail["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app", "web"]);
    assert_eq!(jails["jails"][0]["total_banned"], 5);
    assert!(ask(&agent, "/v1/backend-commands").await["supported"].is_boolean());
    let info = agent.info().await;
    assert_eq!(info.agent_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.fail2ban_version.as_deref(), up["version"].as_str());
    // With another fail2ban than the system's (BANGUI_TEST_FAIL2BAN), client, server and agent use the same one.
    assert_eq!(fail2ban.try_command(&["-V"]).await.1.trim(), up["version"]);
    assert!(info.probes >= 2 && info.backend_detections == 1, "{info:?}");
}

#[tokio::test]
async fn a_probe_never_asks_for_a_list_of_addresses() {
    // fail2ban does not log reads, so count bytes: with many bans a probe's answer stays small.
    let (fail2ban, agent) = beside(&["app"]).await;
    for n in 0..200 {
        fail2ban.log_failure("app", &format!("203.0.113.{n}"));
    }
    eventually("two hundred bans", SOON, || async {
        (ask(&agent, "/v1/status").await["jails"]["app"]["currently_banned"] == 200).then_some(())
    })
    .await;
    let status = ask(&agent, "/v1/status").await;
    assert!(status.to_string().len() < 500 && !status.to_string().contains("203.0.113"), "{status}");
}

#[tokio::test]
async fn from_1_1_on_a_probe_counts_all_jails_by_one_command() {
    let (fail2ban, mut agent) = beside(&["app", "web", "db"]).await;
    let trace = fail2ban.config().join("trace");
    let options = [
        "strace",
        "-f",
        "-qq",
        "-s",
        "200",
        "-e",
        "signal=none",
        "-e",
        "trace=write,writev,sendto,sendmsg",
        "-o",
    ];
    agent.under = options.map(str::to_owned).into();
    agent.under.push(trace.display().to_string());
    agent.start_again().await;
    let status = state(&agent, "up").await;
    let probes = agent.info().await.probes as usize;
    agent.kill();
    let trace = std::fs::read_to_string(&trace).unwrap();
    let asked =
        |word: &str| trace.lines().filter(|line| line.contains("F2B_END") && line.contains(word)).count();
    let counted = (asked("statse."), asked("statuse."), asked("short"));
    let version = status["version"].as_str().unwrap();
    if version.starts_with("1.0") {
        assert_eq!((counted.0, counted.2), (0, 3 * probes), "{version}: {counted:?}");
    } else {
        assert_eq!(counted, (probes, 0, 0), "{version}");
    }
}

#[tokio::test]
async fn a_killed_fail2ban_is_down_a_stopped_one_busy_and_both_come_back() {
    let (mut fail2ban, agent) = beside(&["app"]).await;
    state(&agent, "up").await;
    for _ in 0..2 {
        fail2ban.kill();
        let down = state(&agent, "down").await;
        assert!(down["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{down}");
        fail2ban.start_again().await;
        state(&agent, "up").await;
        fail2ban.pause();
        let busy = state(&agent, "busy").await;
        assert!(busy["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{busy}");
        fail2ban.resume();
        state(&agent, "up").await;
    }
}

#[tokio::test]
async fn nobody_learns_anything_without_the_token() {
    let (_fail2ban, agent) = beside(&["app"]).await;
    for path in ["/v1/info", "/v1/status", "/v1/jails?backend=false", "/v1/backend-commands", "/v1/nothing"] {
        for token in ["", "x", &AGENT_TOKEN[1..], &format!("{AGENT_TOKEN}x"), &AGENT_TOKEN.to_uppercase()] {
            let (status, body) = agent.get(path, token).await.unwrap();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} with {token:?}: {body}");
            assert_eq!(body["kind"], "token", "{body}");
            assert!(!body.to_string().contains(AGENT_TOKEN), "{body}");
        }
        let http = http().unix_socket(agent.socket()).build().unwrap();
        let bare = http.get(format!("http://agent{path}")).send().await.unwrap();
        assert_eq!(bare.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let (status, _) = agent.get("/v1/nothing", AGENT_TOKEN).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = agent.get("/v1/jails?backend=perhaps", AGENT_TOKEN).await.unwrap();
    assert!(status.is_client_error(), "{status}");
    let mode = std::fs::metadata(agent.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "everybody may open the socket: {mode:o}");
}

#[tokio::test]
async fn two_tokens_are_good_while_one_is_being_replaced_and_the_file_is_read_again() {
    let fail2ban = Fail2ban::start(&["app"]).await;
    let folder = folder();
    let (file, socket) = (folder.path().join("token"), folder.path().join("agent.sock"));
    let [old, new] = ["the-old-token-of-32-characters-xyz", "the-new-token-of-32-characters-xyz"];
    std::fs::write(&file, format!("{old}\n")).unwrap();
    let mut command = bangui("agent");
    command
        .env("BANGUI_AGENT_LISTEN", format!("unix:{}", socket.display()))
        .env("BANGUI_AGENT_TOKEN_FILE", &file);
    command.env("BANGUI_FAIL2BAN_SOCKET", fail2ban.socket()).env("BANGUI_FAIL2BAN_CONFIG", fail2ban.config());
    let _agent = Child::start("bangui agent", command);
    let accepts = async |token: &str| {
        let http = http().unix_socket(socket.clone()).build().unwrap();
        let answer = http.get("http://agent/v1/info").bearer_auth(token).send().await.ok()?;
        Some(answer.status().is_success())
    };
    let becomes = async |what: &str, old_good: bool, new_good: bool| {
        eventually(what, SOON, || async {
            let found = (accepts(old).await?, accepts(new).await?);
            (found == (old_good, new_good)).then_some(())
        })
        .await;
    };
    becomes("the old token alone", true, false).await;
    std::fs::write(&file, format!("{new},{old}\n")).unwrap();
    becomes("both tokens", true, true).await;
    std::fs::write(&file, new).unwrap();
    becomes("the new token alone", false, true).await;
    // A half-written token file neither lets anybody in nor keeps anybody out.
    std::fs::write(&file, "short").unwrap();
    for _ in 0..20 {
        assert_eq!((accepts(old).await, accepts(new).await), (Some(false), Some(true)));
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_agent_ends_on_sigterm_and_takes_its_socket_with_it() {
    let (_fail2ban, mut agent) = beside(&["app"]).await;
    let process = agent.process.as_mut().unwrap();
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.ended(SOON).await.code(), Some(0));
    assert!(!agent.socket().exists());
    // After a kill the socket stays behind, and the next agent still starts.
    agent.start_again().await;
    agent.kill();
    assert!(agent.socket().exists());
    agent.start_again().await;
}

#[tokio::test]
async fn an_agent_does_not_speak_plain_tcp_to_the_world() {
    for listen in ["0.0.0.0:0", "192.0.2.7:9000", "[::]:0"] {
        let mut command = bangui("agent");
        command.env("BANGUI_AGENT_LISTEN", listen).env("BANGUI_AGENT_TOKEN", AGENT_TOKEN);
        let (code, printed) = Child::run("bangui agent", command, SOON).await;
        assert_eq!(code, Some(2), "{listen}: {printed}");
        assert!(printed.contains("BANGUI_AGENT_LISTEN"), "{printed}");
    }
}

#[tokio::test]
async fn an_agent_answers_many_at_once_over_its_one_connection() {
    let (_fail2ban, agent) = beside(&["app", "web"]).await;
    state(&agent, "up").await;
    let answers = futures_util::future::join_all((0..40).map(|n| {
        let agent = &agent;
        async move { ask(agent, if n % 2 == 0 { "/v1/status" } else { "/v1/jails?backend=false" }).await }
    }))
    .await;
    for answer in answers {
        let jails = &answer["jails"];
        let count =
            jails.as_array().map_or_else(|| jails.as_object().map_or(0, serde_json::Map::len), Vec::len);
        assert_eq!(count, 2, "{answer}");
    }
    assert_ne!(agent.info().await.probes, json!(0));
}

#[tokio::test]
async fn a_stranger_cannot_fill_the_log_of_an_agent() {
    let nothing = crate::support::folder();
    let agent = Agent::start(&nothing.path().join("f2b.sock"), nothing.path()).await;
    for n in 0..200 {
        let path = format!("/v1/{n}/{}", "x".repeat(20_000));
        assert_eq!(agent.get(&path, "wrong").await.unwrap().0.as_u16(), 401);
    }
    let log = agent.process.as_ref().unwrap().printed();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("refused a request")).collect();
    // A minute may end in between.
    assert!((1..=20).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines.iter().all(|line| line.len() < 1_000), "{}", lines[0]);
    assert!(lines[0].contains("/v1/0/xxx"), "{}", lines[0]);
}
