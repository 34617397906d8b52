//! A whole cluster: private Redis, private fail2ban with its agent, and workers, each a process.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::agent::{AGENT_TOKEN, Agent};
use super::fail2ban::Fail2ban;
use super::proxy::{Mode, Proxy};
use super::redis::Redis;
use super::worker::Worker;
use super::{Answer, Client, SOON};

/// The admin's password.
pub const PASSWORD: &str = "correct horse battery staple";
/// The token that the setup needs.
pub const SETUP_TOKEN: &str = "the-setup-token-of-the-tests";
/// The fail2ban server's name.
pub const SERVER: &str = "web-1";
/// The prefix of every key.
pub const PREFIX: &str = "it";

/// What a cluster is made of.
#[derive(Default)]
pub struct Builder {
    workers: usize,
    jails: Option<Vec<String>>,
    proxied: bool,
    redis: Option<Redis>,
    environment: BTreeMap<String, Option<String>>,
}

/// A running cluster.
pub struct Cluster {
    // Declared in the order in which they must end.
    pub workers: Vec<Worker>,
    pub agent: Option<Agent>,
    pub fail2ban: Option<Fail2ban>,
    pub proxy: Option<Proxy>,
    pub redis: Redis,
    pub environment: BTreeMap<String, String>,
}

impl Cluster {
    /// `workers` workers on a Redis, without a fail2ban server.
    pub fn bare(workers: usize) -> Builder {
        Builder { workers, ..Builder::default() }
    }

    /// `workers` workers, and one fail2ban server with an agent and a jail `app`.
    pub fn with_fail2ban(workers: usize) -> Builder {
        Builder { workers, jails: Some(vec!["app".to_owned()]), ..Builder::default() }
    }
}

impl Builder {
    /// Sets a variable of every worker.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.insert(name.to_owned(), Some(value.to_string()));
        self
    }

    /// Removes a variable.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.insert(name.to_owned(), None);
        self
    }

    /// Other jails than `app`.
    pub fn jails(mut self, jails: &[&str]) -> Self {
        self.jails = Some(jails.iter().map(|&jail| jail.to_owned()).collect());
        self
    }

    /// Puts a proxy between the workers and Redis.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Uses this Redis.
    pub fn redis(mut self, redis: Redis) -> Self {
        self.redis = Some(redis);
        self
    }

    /// Starts everything but the workers.
    pub async fn start_surroundings(self) -> (Cluster, usize) {
        let redis = match self.redis {
            Some(redis) => redis,
            None => Redis::start().await,
        };
        let proxy = if self.proxied { Some(Proxy::start(redis.socket(), Mode::Pass).await) } else { None };
        let mut environment = default_environment(proxy.as_ref().map_or(redis.url(), Proxy::redis_url));
        let (mut fail2ban, mut agent) = (None, None);
        if let Some(jails) = &self.jails {
            let jails: Vec<&str> = jails.iter().map(String::as_str).collect();
            let started = Fail2ban::start(&jails).await;
            let beside = Agent::start(&started.socket(), &started.config()).await;
            environment.insert("BANGUI_SERVERS".to_owned(), format!("{SERVER}={}", beside.url()));
            environment.insert("BANGUI_AGENT_TOKEN".to_owned(), AGENT_TOKEN.to_owned());
            (fail2ban, agent) = (Some(started), Some(beside));
        }
        for (name, value) in self.environment {
            match value {
                Some(value) => environment.insert(name, value),
                None => environment.remove(&name),
            };
        }
        (Cluster { workers: Vec::new(), agent, fail2ban, proxy, redis, environment }, self.workers)
    }

    /// Starts everything, and waits until every worker is ready.
    pub async fn start(self) -> Cluster {
        let (mut cluster, workers) = self.start_surroundings().await;
        let names: Vec<String> =
            (0..workers).map(|n| format!("worker {}", (b'A' + n as u8) as char)).collect();
        let spawned: Vec<_> = names.iter().map(|name| Worker::spawn(name, &cluster.environment)).collect();
        for process in spawned {
            cluster.workers.push(Worker::listening(process).await);
        }
        for worker in &cluster.workers {
            worker.ready(SOON).await;
        }
        cluster
    }

    /// Starts everything, and does the setup.
    pub async fn set_up(self) -> Cluster {
        let cluster = self.start().await;
        cluster.post_setup(0).await.expect(201);
        cluster
    }
}

/// The variables of every worker. The login limits are high, so that only the tests of the limits meet them.
pub fn default_environment(redis_url: String) -> BTreeMap<String, String> {
    [
        ("BANGUI_LISTEN", "127.0.0.1:0".to_owned()),
        ("BANGUI_REDIS_URL", redis_url),
        ("BANGUI_REDIS_PREFIX", PREFIX.to_owned()),
        ("BANGUI_LOG_FORMAT", "json".to_owned()),
        ("BANGUI_SETUP_TOKEN", SETUP_TOKEN.to_owned()),
        ("BANGUI_LOGIN_LIMIT", "100000/1".to_owned()),
        ("BANGUI_LOGIN_FAILURE_LIMIT", "100000/1".to_owned()),
        ("BANGUI_PROBE_INTERVAL_SECONDS", "1".to_owned()),
        ("BANGUI_LEASE_TTL_MS", "2000".to_owned()),
        ("BANGUI_DRAIN_SECONDS", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

impl Cluster {
    /// A client of worker `n`.
    pub fn client(&self, n: usize) -> Client {
        self.workers[n].client()
    }

    /// `POST /api/v1/setup` at worker `n`, as it should be called.
    pub async fn post_setup(&self, n: usize) -> Answer {
        self.client(n).post("/api/v1/setup", json!({ "password": PASSWORD, "token": SETUP_TOKEN })).await
    }

    /// Adds a worker, ready.
    pub async fn add_worker(&mut self) -> usize {
        let worker = Worker::start(&format!("worker {}", self.workers.len() + 1), &self.environment).await;
        worker.ready(SOON).await;
        self.workers.push(worker);
        self.workers.len() - 1
    }

    pub fn agent(&mut self) -> &mut Agent {
        self.agent.as_mut().unwrap()
    }

    pub fn fail2ban(&mut self) -> &mut Fail2ban {
        self.fail2ban.as_mut().unwrap()
    }

    /// [`Self::store`], connected.
    pub async fn connected_store(&self) -> bangui::store::Store {
        let store = self.store();
        super::eventually("a connection to Redis", SOON, || async { store.available().ok() }).await;
        store
    }

    /// A store on the same Redis, past the workers.
    pub fn store(&self) -> bangui::store::Store {
        bangui::store::Store::open_unsupervised(&store_config(&self.redis)).unwrap()
    }
}

/// The configuration of a store on this Redis.
pub fn store_config(redis: &Redis) -> bangui::config::RedisConfig {
    bangui::config::RedisConfig {
        url: redis.url().into(),
        prefix: PREFIX.to_owned(),
        ca: None,
        min_replicas: 0,
        pool_size: 8,
    }
}

/// `GET /api/v1/servers/web-1`, which must answer 200.
pub async fn server(client: &Client) -> Value {
    let answer = client.get(&format!("/api/v1/servers/{SERVER}")).await;
    answer.expect(200);
    answer.body
}

/// Waits until the server has this condition; returns the server then.
pub async fn server_is(client: &Client, condition: &str) -> Value {
    super::eventually(&format!("the server to be {condition}"), SOON, || async {
        let server = server(client).await;
        (server["status"]["condition"] == condition).then_some(server)
    })
    .await
}
