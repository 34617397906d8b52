//! What an authenticated request costs: commands at Redis, and throughput beside `/healthz`.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Figure;
use crate::support::Cluster;

/// Requests whose commands are counted.
const COUNTED: u32 = 5_000;
/// How long the commands of an idle worker are counted, to subtract them.
const WATCHED: Duration = Duration::from_secs(10);
/// Rounds of throughput; each measures both, so that a noisy machine is noisy for both. Many short ones, as two rounds on a
/// noisy machine differ by a tenth.
const ROUNDS: usize = 15;

pub async fn measure() -> Vec<Figure> {
    let cluster = Cluster::bare(1).env("RUST_LOG", "warn,bangui::worker=info").set_up().await;
    let cost = cost(&cluster).await;
    vec![
        Figure {
            what: "Redis commands per authenticated request, in one round trip: the read, and before it the proof that this is the primary",
            aim: "2 or less",
            measured: cost.commands(),
        },
        Figure {
            what: "authenticated requests a second, as a ratio to `/healthz` in the same run",
            aim: "0.6 or better",
            measured: cost.ratio(),
        },
    ]
}

/// What an authenticated request costs.
pub struct Cost {
    per_request: f64,
    ratios: Vec<f64>,
    a_second: Vec<f64>,
}

/// Measures the cost on the first worker.
pub async fn cost(cluster: &Cluster) -> Cost {
    let client = cluster.client(0);
    let token = client.log_in().await;
    let caller = client.with_bearer(&token);
    caller.get("/api/v1/session").await.expect(200);

    // The activity beside the requests (watchdog, lease, schedule) is measured alone first, and subtracted.
    let beside = commands_a_second(cluster, async || tokio::time::sleep(WATCHED).await).await.0;
    let (a_second, took) = commands_a_second(cluster, async || {
        for _ in 0..COUNTED {
            caller.get("/api/v1/session").await.expect(200);
        }
    })
    .await;
    let per_request = (a_second - beside) * took / f64::from(COUNTED);

    let base = format!("http://{}", cluster.workers[0].address);
    let (mut ratios, mut a_second) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let plain = wrk(&format!("{base}/healthz"), None);
        let authenticated = wrk(&format!("{base}/api/v1/session"), Some(&token));
        ratios.push(authenticated / plain);
        a_second.push(authenticated);
    }
    Cost { per_request, ratios, a_second }
}

impl Cost {
    /// Commands at Redis.
    pub fn commands(&self) -> String {
        // The background is an average, so the difference can come out slightly negative.
        let per_request = self.per_request.max(0.0);
        format!("{per_request:.3} (over {COUNTED} requests, commands in scripts included)")
    }

    /// Throughput beside `/healthz`.
    pub fn ratio(&self) -> String {
        let median = |values: &[f64]| crate::quantile(&mut values.to_vec(), 0.5);
        let (ratio, a_second) = (median(&self.ratios), median(&self.a_second));
        format!("{ratio:.2} (median of {ROUNDS}; {a_second:.0} a second)")
    }
}

/// Commands that Redis runs a second while `work` is done, those inside scripts included; and the seconds it took.
async fn commands_a_second(cluster: &Cluster, work: impl AsyncFnOnce()) -> (f64, f64) {
    let before: u64 = cluster.redis.command_counts().await.values().sum();
    let begun = Instant::now();
    work().await;
    let took = begun.elapsed().as_secs_f64();
    let after: u64 = cluster.redis.command_counts().await.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let count = (after - before) as f64;
    (count / took, took)
}

/// Requests a second.
fn wrk(url: &str, token: Option<&str>) -> f64 {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "-d1s"]);
    if let Some(token) = token {
        command.arg("-H").arg(format!("Authorization: Bearer {token}"));
    }
    let output = command.arg(url).output().expect("wrk is installed by `make bench`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).expect("wrk prints a rate");
    line.trim().parse().unwrap()
}
