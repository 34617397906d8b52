//! Thousands of agents, each beside a fail2ban with 50 jails under an attack, and a worker that leads.
//!
//! The agents are this process's, as in `sweep.rs`. Bans come evenly: each at the next agent, and there in its next jail, so that
//! every ban, and every end of one, changes another list. Nothing costs the leader more than bans that come so.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bangui::agent::wire::{Ban, BanList, Info, Status};
use bangui::domain::{Condition, JailCounts, JailName, Network, ServerName, ServerState};
use bangui::store::{BanCounts, BanPlace, Store};
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::names::Names;
use crate::support::tls::Ca;
use crate::support::worker::Worker;
use crate::support::{Client, Cluster, PASSWORD, SETUP_TOKEN, eventually, folder};
use crate::sweep;

pub const JAILS: u64 = 50;
/// Bans that an agent has at any time: two or three in each jail.
const KEPT: u64 = 125;
/// Bans that each agent has had before the first probe.
const BEFORE: u32 = 1_000;
/// Servers that bangui discovers at most, and addresses that it takes of one name: the others are listed.
const DISCOVERED: u16 = 5_000;
const OF_A_NAME: u16 = 2_000;
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// Servers that are read at once, so that Redis answers others between.
const READ_AT_ONCE: usize = 50;
/// Servers whose lists are compared with their counts.
const COMPARED: usize = 1_000;

/// Bans that come at a pace.
pub struct Attack {
    agents: u64,
    pace: Mutex<Pace>,
}

struct Pace {
    since: Instant,
    before: f64,
    a_second: f64,
}

impl Attack {
    fn new(agents: u16) -> Self {
        let pace =
            Pace { since: Instant::now(), before: f64::from(agents) * f64::from(BEFORE), a_second: 0.0 };
        Self { agents: agents.into(), pace: Mutex::new(pace) }
    }

    /// So many bans a minute from now on, at all agents together.
    pub fn pace(&self, a_minute: f64) {
        let mut pace = self.pace.lock().unwrap();
        *pace = Pace { since: Instant::now(), before: pace.so_far(), a_second: a_minute / 60.0 };
    }

    /// Bans that this agent has had, and how many of them were lifted: the oldest.
    fn at(&self, agent: u64) -> (u64, u64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let all = self.pace.lock().unwrap().so_far() as u64;
        let had = (all + self.agents - 1 - agent) / self.agents;
        (had, had.saturating_sub(KEPT))
    }

    /// What agent `n` (from 1) answers.
    fn answer(&self, n: u16, path: &str) -> String {
        let (had, lifted) = self.at(u64::from(n) - 1);
        match path.strip_prefix("/v1/jails/").and_then(|rest| rest.strip_suffix("/bans")) {
            Some(jail) => {
                let jail: u64 = jail.trim_start_matches("app-").parse().unwrap();
                let bans = (lifted..had).filter(|ban| ban % JAILS == jail);
                let bans = bans.map(|ban| self.ban(u64::from(n) - 1, ban)).collect();
                serde_json::to_string(&BanList { bans, marks: vec![], others: 0 }).unwrap()
            }
            None if path == "/v1/info" => serde_json::to_string(&info(n)).unwrap(),
            None => {
                let counts = |jail| {
                    let of_jail = |bans: u64| (bans + JAILS - 1 - jail) / JAILS;
                    JailCounts {
                        currently_failed: 1,
                        total_failed: 5 * of_jail(had),
                        currently_banned: of_jail(had) - of_jail(lifted),
                        total_banned: of_jail(had),
                    }
                };
                let jails: BTreeMap<JailName, JailCounts> =
                    (0..JAILS).map(|jail| (jail_name(jail), counts(jail))).collect();
                let up = Status::Up { version: "1.0.2".to_owned(), jails, stalled: Default::default() };
                serde_json::to_string(&up).unwrap()
            }
        }
    }

    fn ban(&self, agent: u64, ban: u64) -> Ban {
        let number = u32::try_from((ban * self.agents + agent) % (1 << 24)).unwrap();
        let since = 1_700_000_000 + i64::try_from(ban).unwrap() * 6;
        let ip = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
        Ban(Network::from(ip), Some(since), Some(since + 750))
    }
}

impl Pace {
    fn so_far(&self) -> f64 {
        self.before + self.since.elapsed().as_secs_f64() * self.a_second
    }
}

fn jail_name(jail: u64) -> JailName {
    JailName::parse(&format!("app-{jail:02}")).unwrap()
}

fn info(n: u16) -> Info {
    Info {
        name: Some(host(n)),
        instance: Some(format!("{n:032x}")),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        fail2ban_version: Some("1.0.2".to_owned()),
        probes: 0,
        backend_detections: 0,
        interrupted_change: None,
        clock: None,
        certificate_not_after: None,
    }
}

fn host(n: u16) -> String {
    format!("n{n}.nodes.test")
}

/// Agents, Redis, and the worker that leads.
pub struct Fleet {
    // In the order in which they are to end.
    pub worker: Worker,
    pub cluster: Cluster,
    pub attack: Arc<Attack>,
    pub store: Store,
    /// A user of the worker.
    pub client: Client,
    pub begun: Instant,
    servers: Vec<ServerName>,
    _names: Names,
    _folder: tempfile::TempDir,
}

impl Fleet {
    /// Starts it, with so many bans a minute, and waits until every agent was probed.
    pub async fn start(agents: u16, a_minute: f64) -> Self {
        sweep::allow_open_files();
        let (ca, folder, names) = (Ca::new(), folder(), Names::new());
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let attack = Arc::new(Attack::new(agents));
        attack.pace(a_minute);
        let answering = Arc::clone(&attack);
        let answers = move |n: u16, path: &str| Some(answering.answer(n, path));
        tokio::spawn(sweep::agents(listener, ca.server(&["*.nodes.test"]), answers));

        let group = |n: u16| format!("agents-{}.test", n.div_ceil(OF_A_NAME));
        let name = |n: u16| if n <= DISCOVERED { group(n) } else { host(n) };
        names.set_all((1..=agents).map(|n| (name(n), sweep::address(n))));
        let mut listed: Vec<String> = (1..=agents)
            .map(|n| match n <= DISCOVERED {
                true => format!("{}=https://{}:{port}?discover=dns", &group(n)[..8], group(n)),
                false => format!("n{n}=https://{}:{port}", host(n)),
            })
            .collect();
        listed.dedup();
        let (mut cluster, _) = Cluster::bare(0).start_surroundings().await;
        cluster.environment.extend(sweep::environment(listed.join(","), folder.path()));
        let store = cluster.store();
        store.ready().await.unwrap();
        let begun = Instant::now();
        let worker = sweep::start(&cluster, &names).await;
        let setup = json!({ "password": PASSWORD, "token": SETUP_TOKEN });
        worker.client().post("/api/v1/setup", setup).await.expect(201);
        let client = worker.client().logged_in().await;
        let servers = (1..=agents)
            .map(|n| if n <= DISCOVERED { host(n) } else { format!("n{n}") })
            .map(|name| ServerName::parse(&name).unwrap())
            .collect();
        let fleet =
            Self { worker, cluster, attack, store, client, begun, servers, _names: names, _folder: folder };
        eventually("every agent to be probed", START_TIMEOUT, || async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let up = |state: &ServerState| state.status.condition == Condition::Up;
            fleet.states(&fleet.servers).await.iter().all(up).then_some(())
        })
        .await;
        fleet
    }

    pub fn lists(&self) -> usize {
        self.servers.len() * usize::try_from(JAILS).unwrap()
    }

    async fn states(&self, servers: &[ServerName]) -> Vec<ServerState> {
        let mut states = Vec::with_capacity(servers.len());
        for some in servers.chunks(READ_AT_ONCE) {
            let read = eventually("states", START_TIMEOUT, || async { self.store.servers(some).await.ok() });
            states.extend(read.await.into_iter().map(|server| ServerState::clone(&server.unwrap().state)));
        }
        states
    }

    /// The share of lists that are not those of the counts which the last probes found: of a thousand servers, spread evenly, so
    /// that the next sweep does not come between.
    pub async fn behind(&self) -> f64 {
        let step = self.servers.len().div_ceil(COMPARED);
        let servers: Vec<ServerName> = self.servers.iter().step_by(step).cloned().collect();
        let (mut places, mut counted): (Vec<BanPlace>, Vec<Option<BanCounts>>) = Default::default();
        for (server, state) in servers.iter().zip(self.states(&servers).await) {
            for (jail, counts) in state.status.jails {
                places.push((server.clone(), jail));
                counted.push(Some((counts.currently_banned, counts.total_banned)));
            }
        }
        let mut behind = 0;
        let at_once = READ_AT_ONCE * usize::try_from(JAILS).unwrap();
        for (places, counted) in places.chunks(at_once).zip(counted.chunks(at_once)) {
            let read =
                eventually("counts", START_TIMEOUT, || async { self.store.ban_counts(places).await.ok() });
            let stored = read.await.into_iter().map(|list| list.map(|list| list.counts));
            behind += stored.zip(counted).filter(|(stored, counted)| stored != *counted).count();
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of lists")]
        let share = behind as f64 / places.len() as f64;
        share
    }
}
