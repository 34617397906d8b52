//! What the benches of scale share: session checks of many sessions at several workers at once, and what has been spent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bangui::store::{Owner, SessionToken, Store, Username};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use rustix::process::Pid;

use crate::footprint::begin;
use crate::peers::{Load, TICKS, ticks};
use crate::quantile;
use crate::support::redis::Redis;
use crate::support::worker::Worker;

/// Sessions that are begun at once.
const TOGETHER: usize = 128;
/// Copies that are written in one round trip.
const COPIES_AT_ONCE: usize = 1_000;

/// Begins sessions with these numbers, as logins do once the password was checked; their tokens.
pub async fn sessions(store: &Store, numbers: std::ops::Range<u32>) -> Vec<String> {
    let generation = store.account(&Username::admin()).await.unwrap().unwrap().generation;
    let begun = futures_util::stream::iter(numbers).map(|n| begin(store.clone(), generation, n));
    begun.buffer_unordered(TOGETHER).collect().await
}

/// Writes more sessions of that account under new tokens: copies of one that was begun, byte for byte, that live as long. A login writes its
/// audit in the same step, a hash of it included, and a million of them take minutes. The tokens.
pub async fn copied_sessions(redis: &Redis, of: &str, owner: &Owner, count: usize) -> Vec<String> {
    let mut connection = redis.connection().await;
    let original = SessionToken::parse(of).unwrap();
    let read = redis::pipe().get(session_key(&original)).cmd("PTTL").arg(session_key(&original)).to_owned();
    let (record, left): (Vec<u8>, i64) = read.query_async(&mut connection).await.unwrap();
    let tokens: Vec<SessionToken> = (0..count).map(|_| SessionToken::fresh(owner.id).unwrap()).collect();
    for some in tokens.chunks(COPIES_AT_ONCE) {
        let mut pipeline = redis::pipe();
        for token in some {
            pipeline.cmd("SET").arg(session_key(token)).arg(&record).arg("PX").arg(left).ignore();
        }
        pipeline
            .sadd(
                format!("{{it}}:sessions:{}", owner.username),
                some.iter().map(id_bytes).collect::<Vec<_>>(),
            )
            .ignore();
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    }
    tokens.iter().map(SessionToken::reveal).collect()
}

/// Makes these sessions look as if they were used in ten minutes: no check extends them before that.
pub async fn used_later(redis: &Redis, tokens: &[String]) {
    let mut connection = redis.connection().await;
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(600);
    // The first 8 bytes of a session: when it was used last, in microseconds.
    let seen = u64::try_from(then.as_micros()).unwrap().to_be_bytes();
    for some in tokens.chunks(COPIES_AT_ONCE) {
        let mut pipeline = redis::pipe();
        for token in some {
            let key = session_key(&SessionToken::parse(token).unwrap());
            pipeline.cmd("SETRANGE").arg(key).arg(0).arg(&seen).ignore();
        }
        pipeline.query_async::<()>(&mut connection).await.unwrap();
    }
}

fn session_key(token: &SessionToken) -> Vec<u8> {
    [&b"{it}:session:"[..], &id_bytes(token)].concat()
}

fn id_bytes(token: &SessionToken) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.id().to_string()).unwrap()
}

/// Requests of these sessions, one after the other, for the load generator.
pub struct Requests {
    script: PathBuf,
    _folder: tempfile::TempDir,
}

impl Requests {
    pub fn of<'a>(tokens: impl Iterator<Item = &'a String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (list, script) = (folder.path().join("tokens"), folder.path().join("checks.lua"));
        std::fs::write(&list, tokens.map(|token| format!("{token}\n")).collect::<String>()).unwrap();
        let text = format!(
            "local requests, at = {{}}, 0\n\
             function init()\n\
               for token in io.lines('{}') do\n\
                 requests[#requests + 1] = wrk.format(nil, nil, {{ ['Authorization'] = 'Bearer ' .. token }})\n\
               end\n\
             end\n\
             function request() at = at % #requests + 1; return requests[at] end\n",
            list.display()
        );
        std::fs::write(&script, text).unwrap();
        Self { script, _folder: folder }
    }
}

/// What a check costs.
#[derive(Default)]
pub struct CheckCost {
    pub a_second: f64,
    pub p50: f64,
    pub p99: f64,
    /// Microseconds of processor time of the workers, and of Redis.
    pub worker: f64,
    pub redis: f64,
    /// Commands at Redis.
    pub commands: f64,
}

/// Has each of the workers checked over so many connections, for so long.
pub async fn checks(
    redis: &Redis,
    workers: &[&Worker],
    requests: &Requests,
    connections: usize,
    seconds: u64,
) -> CheckCost {
    let pids: Vec<Pid> = workers.iter().map(|worker| worker.process.pid()).collect();
    let before = Spent::so_far(redis, &pids).await;
    let generators: Vec<_> = workers
        .iter()
        .map(|worker| {
            let mut wrk = Command::new("wrk");
            wrk.args(["-t1", "--latency"]).arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
            wrk.arg("-s").arg(&requests.script).arg(format!("http://{}/api/v1/session", worker.address));
            wrk.stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("wrk is installed by `make bench`")
        })
        .collect();
    let loads: Vec<Load> =
        generators.into_iter().map(|wrk| Load::read(&wrk.wait_with_output().unwrap())).collect();
    let spent = Spent::so_far(redis, &pids).await.since(&before);
    let all: f64 = loads.iter().map(|load| load.requests).sum();
    let of =
        |value: fn(&Load) -> f64, share| quantile(&mut loads.iter().map(value).collect::<Vec<_>>(), share);
    CheckCost {
        a_second: loads.iter().map(|load| load.a_second).sum(),
        p50: of(|load| load.p50, 0.5),
        p99: of(|load| load.p99, 1.0),
        worker: spent.processor / all * 1e6,
        redis: spent.redis_processor / all * 1e6,
        commands: spent.commands / all,
    }
}

/// The median of each, over several rounds.
pub fn medians(rounds: &[CheckCost]) -> CheckCost {
    let of = |value: fn(&CheckCost) -> f64| quantile(&mut rounds.iter().map(value).collect::<Vec<_>>(), 0.5);
    CheckCost {
        a_second: of(|cost| cost.a_second),
        p50: of(|cost| cost.p50),
        p99: of(|cost| cost.p99),
        worker: of(|cost| cost.worker),
        redis: of(|cost| cost.redis),
        commands: of(|cost| cost.commands),
    }
}

/// What was spent until a moment, or between two.
pub struct Spent {
    at: Instant,
    pub seconds: f64,
    /// Processor seconds of the processes in question.
    pub processor: f64,
    pub redis_processor: f64,
    pub commands: f64,
    /// Bytes that Redis has received and sent.
    pub received: f64,
    pub sent: f64,
}

impl Spent {
    /// By Redis, and by these processes.
    pub async fn so_far(redis: &Redis, processes: &[Pid]) -> Self {
        let info = info(redis).await;
        #[expect(clippy::cast_precision_loss, reason = "a count of commands")]
        let commands = redis.command_counts().await.values().sum::<u64>() as f64;
        Self {
            at: Instant::now(),
            seconds: 0.0,
            processor: processes.iter().map(|pid| ticks(*pid) / TICKS).sum(),
            redis_processor: info["used_cpu_user"] + info["used_cpu_sys"],
            commands,
            received: info["total_net_input_bytes"],
            sent: info["total_net_output_bytes"],
        }
    }

    pub fn since(&self, before: &Self) -> Self {
        Self {
            at: self.at,
            seconds: (self.at - before.at).as_secs_f64(),
            processor: self.processor - before.processor,
            redis_processor: self.redis_processor - before.redis_processor,
            commands: self.commands - before.commands,
            received: self.received - before.received,
            sent: self.sent - before.sent,
        }
    }
}

/// All that Redis says in numbers.
pub async fn info(redis: &Redis) -> BTreeMap<String, f64> {
    let text: String = redis.command(&["INFO"]).await;
    let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}
