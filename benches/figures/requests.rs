//! What an authenticated request costs: commands at Redis, and throughput beside `/healthz`.

use std::process::Command;

use crate::Figure;
use crate::support::Cluster;

/// Requests whose commands are counted.
const COUNTED: u64 = 5_000;
/// Rounds of throughput; each measures both, so that a noisy machine is noisy for both.
const ROUNDS: usize = 5;

pub async fn measure() -> Vec<Figure> {
    let cluster = Cluster::bare(1).env("RUST_LOG", "warn,bangui::serve=info").set_up().await;
    let client = cluster.client(0);
    let token = client.log_in().await;
    let caller = client.with_bearer(&token);
    caller.get("/api/v1/session").await.expect(200);

    let before = checks(&cluster).await;
    for _ in 0..COUNTED {
        caller.get("/api/v1/session").await.expect(200);
    }
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let per_request = (checks(&cluster).await - before) as f64 / COUNTED as f64;

    let base = format!("http://{}", cluster.workers[0].address);
    let (mut ratios, mut fastest) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plain = wrk(&format!("{base}/healthz"), None);
        let authenticated = wrk(&format!("{base}/api/v1/session"), Some(&token));
        ratios.push(authenticated / plain);
        fastest.push(authenticated);
    }
    vec![
        Figure {
            what: "Redis commands per authenticated request",
            aim: "1 or less",
            measured: format!("{per_request:.3} (over {COUNTED} requests, commands in scripts included)"),
        },
        Figure {
            what: "authenticated requests a second, as a ratio to `/healthz` in the same run",
            aim: "0.6 or better",
            measured: format!(
                "{:.2} (median of {ROUNDS}; {:.0} a second)",
                crate::quantile(&mut ratios, 0.5),
                crate::quantile(&mut fastest, 0.5)
            ),
        },
    ]
}

/// Every command that Redis has run but those of the watchdog, the lease, the schedule and the heartbeat, which go on
/// beside the requests: what is left is what requests caused.
async fn checks(cluster: &Cluster) -> u64 {
    let counts = cluster.redis.command_counts().await;
    let aside = [
        "time",
        "evalsha",
        "pttl",
        "hset",
        "info",
        "hgetall",
        "spop",
        "hello",
        "client|setinfo",
        "hmget",
        "hdel",
    ];
    counts.iter().filter(|(name, _)| !aside.contains(&name.as_str())).map(|(_, count)| count).sum()
}

/// Requests a second.
fn wrk(url: &str, token: Option<&str>) -> f64 {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "-d3s"]);
    if let Some(token) = token {
        command.arg("-H").arg(format!("Authorization: Bearer {token}"));
    }
    let output = command.arg(url).output().expect("wrk is installed by `make bench`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).expect("wrk tells a rate");
    line.trim().parse().unwrap()
}
