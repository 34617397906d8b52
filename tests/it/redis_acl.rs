//! The rule of the Redis user, under which the workers of every test run: it is what docs/redis.md shows, it has no command
//! that the source does not send, and a missing right is reported by name.

use std::collections::BTreeSet;
use std::path::Path;

use bangui::config::RedisConfig;
use bangui::store::connection::acl::{CLUSTER_RIGHTS, RULE};
use bangui::store::connection::checks;
use bangui::store::connection::checks::Level;

use crate::support::SOON;
use crate::support::cluster::{PREFIX, default_environment};
use crate::support::process::{Child, bangui};
use crate::support::redis::{Redis, USER, rule};
use crate::support::worker::Worker;

/// Calls in the source, and the command that redis-rs sends for each.
const IMPLIED: [(&str, &str); 2] = [(".subscribe(", "subscribe"), ("invoke_async(", "evalsha")];
/// Commands that workers use if they are allowed, and do not need.
const OPTIONAL: [&str; 1] = ["config|get"];

fn files(folder: &Path, texts: &mut Vec<(bool, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let lua = path.extension().is_some_and(|extension| extension == "lua");
        if path.is_dir() {
            files(&path, texts);
        } else if lua || path.extension().is_some_and(|extension| extension == "rs") {
            texts.push((lua, std::fs::read_to_string(path).unwrap()));
        }
    }
}

/// The words that stand between `before` and the next quote.
fn words<'a>(text: &'a str, before: &'a str, quote: char) -> impl Iterator<Item = (String, &'a str)> {
    text.match_indices(before).filter_map(move |(at, _)| {
        let rest = &text[at + before.len()..];
        let (word, rest) = rest.split_once(quote)?;
        Some((word.to_ascii_lowercase(), rest))
    })
}

/// Every command that the store's source sends, and what those need that redis-rs adds.
fn commands_of_the_source() -> BTreeSet<String> {
    let mut texts = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store"), &mut texts);
    let mut found = BTreeSet::new();
    for (lua, text) in &texts {
        if *lua {
            for (word, rest) in words(text, "redis.call('", '\'') {
                let sub = || words(rest, ", '", '\'').next().unwrap().0;
                found.insert(if word == "pubsub" { format!("{word}|{}", sub()) } else { word });
            }
            continue;
        }
        for start in ["redis::cmd(\"", ".cmd(\""] {
            for (word, rest) in words(text, start, '"') {
                let subcommand = ["script", "config", "pubsub", "cluster"].contains(&word.as_str());
                let sub = || words(rest, ".arg(\"", '"').next().unwrap().0;
                found.insert(if subcommand { format!("{word}|{}", sub()) } else { word });
            }
        }
        let implied = IMPLIED.iter().filter(|(sign, _)| text.contains(sign));
        found.extend(implied.map(|(_, command)| (*command).to_owned()));
    }
    // `acl.rs` asks for the rights in a transaction.
    found.extend(["multi", "exec", "discard"].map(str::to_owned));
    found
}

#[test]
fn the_rule_has_the_commands_that_the_source_sends_and_no_other() {
    let mut sent = commands_of_the_source();
    for optional in OPTIONAL {
        assert!(sent.remove(optional), "{optional} is not sent any more");
    }
    sent.remove("sentinel"); // That is asked of a Sentinel.
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md")).unwrap();
    for right in CLUSTER_RIGHTS {
        assert!(sent.remove(right.trim_start_matches('+')), "{right} is not needed any more");
        assert!(document.contains(&format!("'{right}'")), "docs/redis.md does not have {right}");
    }
    let allowed: BTreeSet<String> =
        RULE.split_whitespace().filter_map(|word| word.strip_prefix('+')).map(str::to_owned).collect();
    assert_eq!(allowed, sent);
}

#[test]
fn the_documents_show_the_rule() {
    let document =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md")).unwrap();
    let (_, shown) = document.split_once("redis-cli ACL SETUSER ").expect("the rule is in docs/redis.md");
    let (shown, _) = shown.split_once("```").unwrap();
    let shown: Vec<&str> =
        shown.split_whitespace().filter(|word| *word != "\\").map(|word| word.trim_matches('\'')).collect();
    let rule: Vec<&str> = RULE.split_whitespace().skip(1).collect();
    assert_eq!(shown, rule);
}

/// All problems that `bangui check` would report about this Redis.
async fn complaints(redis: &Redis) -> String {
    let config = RedisConfig {
        url: redis.url().into(),
        prefix: PREFIX.to_owned(),
        ca: None,
        min_replicas: 0,
        pool_size: 8,
    };
    match checks::inspect(&config).await {
        Ok(findings) => {
            let bad = findings.into_iter().filter(|finding| finding.level == Level::Away);
            bad.map(|finding| finding.message).collect::<Vec<_>>().join("\n")
        }
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn each_right_that_is_taken_away_is_missed_by_name() {
    let redis = Redis::start().await;
    assert_eq!(complaints(&redis).await, "");
    let whole = rule(PREFIX);
    for taken in whole.iter().filter(|word| word.starts_with(['+', '~', '&'])) {
        let rest: Vec<&str> = ["ACL", "SETUSER"]
            .into_iter()
            .chain(whole.iter().filter(|word| *word != taken).map(String::as_str))
            .collect();
        redis.command::<()>(&["ACL", "DELUSER", USER]).await;
        redis.command::<()>(&rest).await;
        let complaint = complaints(&redis).await;
        let name = taken.trim_start_matches('+');
        assert!(complaint.contains(name), "without {taken}: {complaint}");
        assert!(complaint.contains("docs/redis.md"), "without {taken}: {complaint}");
    }
}

#[tokio::test]
async fn a_worker_that_lacks_a_right_says_which_and_works_once_it_has_it() {
    let redis = Redis::start().await;
    redis.command::<()>(&["ACL", "SETUSER", USER, "-xadd"]).await;
    let environment = default_environment(redis.url());
    let mut check = bangui("check");
    check.envs(&environment);
    let (code, printed) = Child::run("bangui check", check, SOON).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("FAIL") && printed.contains("+xadd"), "{printed}");

    let worker = Worker::start("worker A", &environment).await;
    let said = |line: &str| (line.contains("WARN") && line.contains("+xadd")).then_some(());
    worker.process.line("what is missing in the log", SOON, said).await;
    let answer = worker.client().get("/readyz").await;
    assert_eq!((answer.status.as_u16(), &answer.body["reason"]), (503, &"redis".into()), "{answer:?}");
    redis.command::<()>(&["ACL", "SETUSER", USER, "+xadd"]).await;
    worker.ready(SOON).await;
}
