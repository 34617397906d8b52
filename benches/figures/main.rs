//! Every figure of `docs/benchmarks.md`: `make bench` for all, `cargo bench -- takeover` for one group.
//!
//! Real processes, a real Redis and a real fail2ban, as in the integration tests, whose support this shares. Redis
//! counts its own commands. Times hold for this machine and this run only: compare the ratios.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot continue should panic"
)]

mod bans;
#[expect(dead_code, reason = "the browser tests use more of it")]
#[path = "../../tests/browser/chrome.rs"]
mod chrome;
mod footprint;
mod isolation;
mod near_cache;
mod open_pages;
mod pages;
mod peers;
mod requests;
mod scale_agents;
mod scale_fleet;
mod scale_load;
mod scale_sessions;
mod scale_table;
mod scale_users;
mod scale_watch;
mod scale_workers;
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod sweep;
mod takeover;

/// One line of the table.
struct Figure {
    what: &'static str,
    aim: &'static str,
    measured: String,
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("| figure | aim | measured |\n|---|---|---|");
    let say = |figures: Vec<Figure>| {
        for Figure { what, aim, measured } in figures {
            println!("| {what} | {aim} | {measured} |");
        }
    };
    if runs("requests") {
        say(runtime.block_on(requests::measure()));
    }
    if runs("peers") {
        say(runtime.block_on(peers::measure()));
    }
    if runs("near_cache") {
        say(runtime.block_on(near_cache::measure()));
    }
    if runs("near_cache_failovers") {
        say(runtime.block_on(near_cache::measure_failovers()));
    }
    if runs("isolation") {
        say(runtime.block_on(isolation::measure()));
    }
    if runs("takeover") {
        say(runtime.block_on(takeover::measure()));
    }
    if runs("sweep") {
        say(runtime.block_on(sweep::measure()));
    }
    if runs("bans") {
        say(runtime.block_on(bans::measure()));
    }
    if runs("pages") {
        say(runtime.block_on(pages::measure()));
    }
    if runs("pages_crowded") {
        runtime.block_on(pages::measure_crowded(say));
    }
    if runs("scale_workers") {
        say(runtime.block_on(scale_workers::measure()));
    }
    if runs("scale_sessions") {
        say(runtime.block_on(scale_sessions::measure()));
    }
    if runs("scale_users") {
        say(runtime.block_on(scale_users::measure()));
    }
    if runs("scale_agents") {
        say(runtime.block_on(scale_agents::measure()));
    }
    if runs("scale_bans") {
        say(runtime.block_on(scale_agents::measure_bans()));
    }
    if runs("footprint") {
        say(runtime.block_on(footprint::measure()));
    }
}

/// The value below which this share of the sorted `values` lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len()) - 1;
    values[index]
}
