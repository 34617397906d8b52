//! Asks the nodes of a Redis Cluster who owns the slot that all keys lie in.
//!
//! No connection is one "to the cluster": bangui needs a single node at a time, the owner, and this finds it. The nodes in
//! `BANGUI_REDIS_URL` are asked at first, and whenever too few of the known masters have answered; of the nodes that they list,
//! the masters are asked, again and again (`follow.rs`). `slot_owner.rs` decides whose word counts how much. The owner itself must
//! show that it takes writes for the slot: the checks of each connection write there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, timeout_at};

use super::connect::{RESPONSE_TIMEOUT, client, connect};
use super::named::{Primary, plain};
use super::slot_owner::{Asked, Owner, View, owner};
use crate::config::ClusterUrl;

/// How long the remaining masters have to answer once enough have named an owner.
const GRACE: Duration = Duration::from_millis(100);
/// Who names the owner, in messages.
const NAMED_BY: &str = "the masters of the Redis Cluster";

/// The nodes of the cluster, as far as they are known.
pub(in crate::store) struct RedisCluster {
    url: ClusterUrl,
    slot: u16,
    root_cert: Option<Vec<u8>>,
    known: Mutex<Known>,
    members: Mutex<HashMap<String, Arc<Member>>>,
}

/// What the last answers said.
#[derive(Default)]
struct Known {
    /// Whom to ask.
    ask: BTreeSet<String>,
    /// Whether too few of them answered, so that the seeds must be asked too.
    lost: bool,
    /// The ids of all nodes.
    nodes: BTreeSet<String>,
}

/// The connection that a node answered on last: it is asked several times a second.
type Member = tokio::sync::Mutex<Option<MultiplexedConnection>>;

/// The answers of asking all nodes once.
#[derive(Default)]
struct Round {
    views: BTreeMap<String, View>,
    errors: BTreeMap<String, String>,
    asked: BTreeSet<String>,
}

impl RedisCluster {
    pub fn new(url: ClusterUrl, slot: u16, root_cert: Option<Vec<u8>>) -> Self {
        Self { url, slot, root_cert, known: Mutex::default(), members: Mutex::default() }
    }

    /// The URL of the owner.
    pub fn url_of(&self, primary: &Primary) -> String {
        self.url.node(&primary.address)
    }

    /// Asks; an error says why nobody is named. `settled` is the owner in use.
    pub async fn owner(&self, settled: Option<&Primary>) -> Result<Primary, String> {
        let (mut asked, nodes, lost) = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            (known.ask.clone(), known.nodes.clone(), known.lost)
        };
        if lost || asked.is_empty() {
            asked.extend(self.url.seeds().iter().cloned());
        }
        let mut round = Round { asked, ..Round::default() };
        let settled = settled.map(|primary| (primary.id.as_str(), primary.epoch));
        let mut asks: FuturesUnordered<_> =
            round.asked.iter().map(|address| self.ask(address.clone())).collect();
        let mut deadline = Instant::now() + RESPONSE_TIMEOUT;
        let mut found_more = false;
        while let Ok(Some((address, answer))) = timeout_at(deadline, asks.next()).await {
            match answer {
                Err(error) => drop(round.errors.insert(address, error)),
                Ok(view) => {
                    for more in voices(&view) {
                        if round.asked.insert(more.clone()) {
                            asks.push(self.ask(more));
                            if !std::mem::replace(&mut found_more, true) {
                                deadline = Instant::now() + RESPONSE_TIMEOUT;
                            }
                        }
                    }
                    round.views.insert(address, view);
                }
            }
            if round.owner(settled, &nodes).is_ok() {
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        drop(asks);
        let named = round.owner(settled, &nodes);
        self.remember(&round, named.as_ref().ok());
        match named {
            Ok(owner) => Ok(Primary {
                id: owner.id,
                address: owner.address,
                epoch: owner.epoch,
                silent: round.silent(),
                by: NAMED_BY,
            }),
            Err(why) => Err(format!("{why} (slot {}: {})", self.slot, round.words().join("; "))),
        }
    }

    fn remember(&self, round: &Round, owner: Option<&Owner>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.lost = owner.is_none();
        let Some(owner) = owner else { return };
        // Leaves out the nodes of another cluster, which a seed may lead to, and what an owner that was superseded says.
        let agrees = |view: &&View| view.owner.as_ref().is_some_and(|named| named.id == owner.id);
        let views = || round.views.values().filter(agrees);
        known.ask = views().flat_map(voices).collect();
        known.nodes = views().flat_map(|view| view.nodes.keys().cloned()).collect();
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|address, _| known.ask.contains(address));
    }

    async fn ask(&self, address: String) -> (String, Result<View, String>) {
        let member = {
            let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(members.entry(address.clone()).or_default())
        };
        let answer = self.view(&member, &address).await;
        (address, answer)
    }

    async fn view(&self, member: &Member, address: &str) -> Result<View, String> {
        // Concurrent callers wait for this one, at most as long as they would wait for an answer themselves.
        let mut kept = member.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let client = client(&self.url.node(address), self.root_cert.as_ref()).map_err(plain)?;
                connect(&client).await.map_err(plain)?
            }
        };
        let mut both = redis::pipe();
        both.cmd("CLUSTER").arg("NODES").cmd("CLUSTER").arg("SLOTS");
        let (nodes, slots): (String, Vec<Vec<Value>>) = match both.query_async(&mut connection).await {
            Ok(answer) => answer,
            Err(error) if error.to_string().contains("cluster support disabled") => {
                return Err("it is not a node of a Redis Cluster: BANGUI_REDIS_URL must begin with redis:// or rediss://".to_owned());
            }
            Err(error) => return Err(plain(error)),
        };
        // Only a connection that has just answered is kept.
        *kept = Some(connection);
        View::read(&nodes, &slots, &Asked { address, slot: self.slot, tls: self.url.has_tls() })
    }
}

/// The nodes whose word counts: the masters, or all if there is only one.
fn voices(view: &View) -> Vec<String> {
    let all = view.masters.len() < 2;
    let counts = view.nodes.iter().filter(|(id, _)| all || view.masters.contains(*id));
    counts.map(|(_, address)| address.clone()).collect()
}

impl Round {
    fn owner(&self, settled: Option<(&str, u64)>, known: &BTreeSet<String>) -> Result<Owner, &'static str> {
        let views: Vec<View> = self.views.values().cloned().collect();
        owner(&views, settled, known)
    }

    /// Those that did not answer, each with the reason.
    fn silent(&self) -> Vec<String> {
        let silent = self.asked.iter().filter(|address| !self.views.contains_key(*address));
        let why = |address| self.errors.get(address).map_or("it did not answer in time", String::as_str);
        silent.map(|address| format!("{address}: {}", why(address))).collect()
    }

    /// What each node answered.
    fn words(&self) -> Vec<String> {
        let said = self.views.iter().map(|(address, view)| match &view.owner {
            Some(owner) => format!("{address} names {}", owner.address),
            None => format!("{address} knows no owner"),
        });
        said.chain(self.silent()).collect()
    }
}
