//! Asks Sentinels which Redis is the primary.
//!
//! All are asked at once, and of the answers the one with the newest configuration epoch counts: Sentinel raises it with
//! every failover, so one that was cut off and still names the old primary is outvoted by any that knows better. Nobody
//! waits long for one that is silent once a majority has answered.
//!
//! What they say is taken as it is: where addresses are translated, `announce-ip` or `announce-hostnames` is Sentinel's
//! business.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{Client, RedisError};
use tokio::time::{Instant, timeout_at};

use super::connect::{RESPONSE_TIMEOUT, connect};
use crate::config::SentinelUrl;
use crate::store::StoreError;

/// After a majority has answered.
const GRACE: Duration = Duration::from_millis(100);

/// The Sentinels of `BANGUI_REDIS_URL`.
pub(in crate::store) struct Sentinels {
    url: SentinelUrl,
    clients: Vec<Client>,
}

/// What one of them says.
struct Answer {
    address: String,
    epoch: u64,
}

/// The primary by the newest answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Primary {
    /// `host:port`
    pub address: String,
    /// What is the matter with those that did not answer.
    pub silent: Vec<String>,
}

impl Sentinels {
    /// `client` makes a client of a URL.
    pub fn new<E>(url: SentinelUrl, client: impl Fn(&str) -> Result<Client, E>) -> Result<Self, E> {
        let clients =
            url.sentinels().iter().map(|address| client(&url.sentinel(address))).collect::<Result<_, _>>()?;
        Ok(Self { url, clients })
    }

    /// The URL of the primary at this address.
    pub fn url_of(&self, primary: &Primary) -> String {
        self.url.primary(&primary.address)
    }

    /// Asks; an error says why nobody could tell.
    pub async fn primary(&self) -> Result<Primary, String> {
        let asked = self.clients.iter().zip(self.url.sentinels());
        let mut asks: FuturesUnordered<_> =
            asked.map(async |(client, address)| (address, self.ask(client).await)).collect();
        let mut deadline = Instant::now() + RESPONSE_TIMEOUT;
        let (mut answers, mut errors) = (Vec::new(), HashMap::new());
        while let Ok(Some((address, answer))) = timeout_at(deadline, asks.next()).await {
            match answer {
                Ok(answer) => answers.push((address, answer)),
                Err(error) => drop(errors.insert(address, error)),
            }
            if answers.len() * 2 > self.clients.len() {
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        let silent: Vec<String> = self
            .url
            .sentinels()
            .iter()
            .filter(|address| !answers.iter().any(|(answered, _)| answered == address))
            .map(|address| {
                let error = errors.get(address).map_or("it did not answer in time", String::as_str);
                format!("{address}: {error}")
            })
            .collect();
        match answers.into_iter().max_by_key(|(_, answer)| answer.epoch) {
            Some((_, newest)) => Ok(Primary { address: newest.address, silent }),
            None => Err(format!("no Sentinel tells which Redis is the primary ({})", silent.join("; "))),
        }
    }

    async fn ask(&self, client: &Client) -> Result<Answer, String> {
        let mut connection = connect(client).await.map_err(plain)?;
        let name = self.url.name();
        let mut both = redis::pipe();
        both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).cmd("SENTINEL").arg("MASTER").arg(name);
        let ((host, port), facts): ((String, u16), HashMap<String, String>) = match both
            .query_async(&mut connection)
            .await
        {
            Ok(answer) => answer,
            Err(error) if error.to_string().contains("No such master") => {
                return Err(format!("it knows no primary named `{name}`, the last part of BANGUI_REDIS_URL"));
            }
            Err(error) => return Err(plain(error)),
        };
        let epoch = facts.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Ok(Answer { address, epoch })
    }
}

fn plain(error: RedisError) -> String {
    match StoreError::from(error) {
        StoreError::Unavailable(reason) => reason,
        other => other.to_string(),
    }
}
