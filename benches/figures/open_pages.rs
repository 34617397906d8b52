//! What open pages cost: the time until one is painted and live in a browser, its frames under many events, and a worker's memory
//! for a thousand of them.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::json;

use crate::chrome::{Chrome, WIDE};
use crate::support::event_stream::EventStream;
use crate::support::{Client, Cluster, PASSWORD, SOON, eventually};
use crate::sweep::{allow_open_files, resident_mib};
use crate::{Figure, quantile};

const JAIL: &str = "/servers/web-1/jails/web";
/// Loads of the page in the browser.
const LOADS: usize = 20;
/// The flood: events a second, its length, and the interval at which they are written.
const EVENTS: u64 = 1_000;
const FLOOD: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(20);
/// Pages that are open at once, and how many of them share a session: as many as a worker allows.
const PAGES: usize = 1_000;
const OF_SESSION: usize = 20;
/// How long each of them is watched while it asks for its parts, as pages do.
const WATCHED: Duration = Duration::from_secs(30);

pub async fn measure(cluster: &Cluster, say: impl Fn(Vec<Figure>)) {
    let resident = memory(cluster).await;
    say(vec![Figure {
        what: "resident memory of a worker with 1,000 open pages",
        aim: "under 100 MB",
        measured: resident,
    }]);
    let (painted, frames) = match std::process::Command::new("chromedriver").arg("--version").output() {
        Ok(_) => in_browser(cluster).await,
        Err(_) => ["NOT RUN: chromium and chromedriver are not installed"; 2].map(str::to_owned).into(),
    };
    say(vec![
        Figure {
            what: "until the page of a jail of 100,000 bans is painted and live in Chromium",
            aim: "under 300 ms",
            measured: painted,
        },
        Figure {
            what: "the longest frame of an open page under 1,000 events a second for 30 s",
            aim: "under 100 ms",
            measured: frames,
        },
    ]);
}

/// When the page was painted for the first time, and when it was live.
const MOMENTS: &str = "return [performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null, window.liveAt ?? null]";

async fn in_browser(cluster: &Cluster) -> (String, String) {
    let chrome = Chrome::start(WIDE).await;
    let url = |path: &str| format!("http://{}{path}", cluster.workers[0].address);
    chrome.goto(&url("/login")).await;
    chrome.type_into("password", PASSWORD).await;
    chrome.press("Log in").await;
    chrome.until("h1", "Servers").await;
    // Records when the page shows that it is live.
    let watch = "new MutationObserver(() => { const mark = document.getElementById('live'); \
        if (mark?.textContent.includes('Live')) window.liveAt ??= performance.now(); }) \
        .observe(document, { subtree: true, childList: true, characterData: true });";
    chrome.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": watch })).await;
    let mut took = Vec::new();
    for _ in 0..LOADS {
        chrome.goto(&url(JAIL)).await;
        chrome.until("#live", "Live").await;
        // The browser records a paint some time after it.
        let moments = eventually("the page to be painted and live", SOON, || async {
            let moments = chrome.run(MOMENTS).await;
            Some([moments[0].as_f64()?, moments[1].as_f64()?])
        });
        let [painted, live] = moments.await;
        took.push(painted.max(live));
    }
    let (median, longest) = (quantile(&mut took, 0.5), quantile(&mut took, 1.0));
    let painted = format!("p50 {median:.0} ms, longest {longest:.0} ms ({LOADS} loads)");
    let mut frames = Vec::new();
    for (name, path) in [("jail", JAIL), ("activity", "/activity")] {
        chrome.goto(&url(path)).await;
        chrome.until("#live", "Live").await;
        frames.push(format!("{name} {}", flooded(cluster, &chrome).await));
    }
    chrome.end().await;
    (painted, frames.join("; "))
}

/// The frames of the open page while events come.
async fn flooded(cluster: &Cluster, chrome: &Chrome) -> String {
    chrome
        .run(
            "window.came = 0; window.frames = []; let last = performance.now(); \
             document.addEventListener('bangui:event', () => came++); \
             const frame = (now) => { frames.push(now - last); last = now; requestAnimationFrame(frame); }; \
             requestAnimationFrame(frame);",
        )
        .await;
    let begun = Instant::now();
    let mut connection = cluster.redis.connection().await;
    let mut written = 0;
    while begun.elapsed() < FLOOD {
        let due = u64::try_from(begun.elapsed().as_millis()).unwrap() * EVENTS / 1_000;
        let mut pipeline = redis::pipe();
        for n in written..due {
            let facts = format!(r#"{{"jail":"web","ip":"203.0.{}.{}"}}"#, n / 250 % 250, n % 250);
            let words = [
                "XADD",
                "{it}:events",
                "MAXLEN",
                "~",
                "10000",
                "*",
                "type",
                "ban.added",
                "server",
                "web-1",
                "facts",
                &facts,
            ];
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            pipeline.add_command(command).ignore();
        }
        // On a fast machine the first round comes before an event is due.
        if written < due {
            pipeline.query_async::<()>(&mut connection).await.unwrap();
        }
        written = due;
        tokio::time::sleep(TICK).await;
    }
    let seen = chrome.run("return [came, frames.length, Math.max(...frames)]").await;
    format!("{:.0} ms ({} events of {written} came, {} frames)", seen[2].as_f64().unwrap(), seen[0], seen[1])
}

/// Every page has its stream of events, and asks for its parts every ten seconds.
async fn memory(cluster: &Cluster) -> String {
    allow_open_files();
    let worker = &cluster.workers[0];
    let before = resident_mib(worker);
    let mut streams = Vec::new();
    let mut users = Vec::new();
    for _ in 0..PAGES / OF_SESSION {
        let user = worker.client().logged_in().await;
        for _ in 0..OF_SESSION {
            // A separate browser, with separate connections.
            let page = user.renewed(worker.address);
            page.get(JAIL).await.expect(200);
            streams.push(EventStream::open(&page, None).await);
            users.push(page);
        }
    }
    let (begun, mut most) = (Instant::now(), resident_mib(worker));
    while begun.elapsed() < WATCHED {
        let round = Instant::now();
        futures_util::stream::iter(&users).for_each_concurrent(50, ask).await;
        most = most.max(resident_mib(worker));
        tokio::time::sleep(Duration::from_secs(10).saturating_sub(round.elapsed())).await;
    }
    format!("{most:.0} MiB (before {before:.0} MiB; {} streams, each page asks every 10 s)", streams.len())
}

/// Asks for the parts of a page.
async fn ask(page: &Client) {
    let asked =
        page.request(Method::GET, JAIL).header("x-bangui-live", "1").header("accept", "application/json");
    page.send(asked).await.expect(200);
}
