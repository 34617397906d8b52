//! Asks Sentinels which Redis is the primary.
//!
//! All are asked at once, and only what a majority of those in `BANGUI_REDIS_URL` names counts: a minority that was cut off
//! keeps naming the old primary until it is reconnected. Sentinel raises the configuration epoch with every failover, so a stale
//! majority (some Sentinels were restored from an old disk, say) is recognized by an epoch lower than that of the primary in use
//! ([`Primary::supersedes`]).
//!
//! Addresses are used as the Sentinels give them: where addresses are translated, set `announce-ip` or `announce-hostnames` in
//! Sentinel's configuration.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::Client;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::connect::{RESPONSE_TIMEOUT, connect};
use super::named::{Primary, plain};
use crate::config::SentinelUrl;

/// How long the remaining Sentinels have to answer once a majority has named a primary.
const GRACE: Duration = Duration::from_millis(100);

/// Who names the primary, in messages.
const NAMED_BY: &str = "the Sentinels";

/// The Sentinels of `BANGUI_REDIS_URL`.
pub(in crate::store) struct Sentinels {
    url: SentinelUrl,
    members: Vec<Member>,
}

/// One of them, with the connection that it answered on last: they are asked several times a second.
struct Member {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What one of them says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    address: String,
    epoch: u64,
}

/// The address that a majority of `of` Sentinels names, with the greatest epoch named with it.
fn majority(answers: &[Answer], of: usize) -> Option<Answer> {
    let votes = |address: &str| answers.iter().filter(|answer| answer.address == address).count();
    let named = answers.iter().filter(|answer| votes(&answer.address) * 2 > of);
    named.max_by_key(|answer| answer.epoch).cloned()
}

impl Sentinels {
    /// `client` makes a client of a URL.
    pub fn new<E>(url: SentinelUrl, client: impl Fn(&str) -> Result<Client, E>) -> Result<Self, E> {
        let member = |address: &String| {
            let client = client(&url.sentinel(address))?;
            Ok(Member { client, connection: Mutex::default() })
        };
        let members = url.sentinels().iter().map(member).collect::<Result<_, _>>()?;
        Ok(Self { url, members })
    }

    /// The URL of the primary at this address.
    pub fn url_of(&self, primary: &Primary) -> String {
        self.url.primary(&primary.address)
    }

    /// Asks; an error says why no majority names one.
    pub async fn primary(&self) -> Result<Primary, String> {
        let asked = self.members.iter().zip(self.url.sentinels());
        let mut asks: FuturesUnordered<_> =
            asked.map(async |(member, address)| (address, self.ask(member).await)).collect();
        let mut deadline = Instant::now() + RESPONSE_TIMEOUT;
        let (mut answers, mut answered, mut errors) = (Vec::new(), Vec::new(), HashMap::new());
        while let Ok(Some((address, answer))) = timeout_at(deadline, asks.next()).await {
            match answer {
                Ok(answer) => {
                    answers.push(answer);
                    answered.push(address);
                }
                Err(error) => drop(errors.insert(address, error)),
            }
            if majority(&answers, self.members.len()).is_some() {
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
        let silent: Vec<String> = self
            .url
            .sentinels()
            .iter()
            .filter(|address| !answered.contains(address))
            .map(|address| {
                let error = errors.get(address).map_or("it did not answer in time", String::as_str);
                format!("{address}: {error}")
            })
            .collect();
        if let Some(Answer { address, epoch }) = majority(&answers, self.members.len()) {
            return Ok(Primary { id: address.clone(), address, epoch, silent, by: NAMED_BY });
        }
        let named: Vec<String> = answered
            .iter()
            .zip(&answers)
            .map(|(by, answer)| format!("{by} names {}", answer.address))
            .collect();
        let why = named.into_iter().chain(silent).collect::<Vec<_>>().join("; ");
        Err(format!("no majority of the Sentinels names a primary ({why})"))
    }

    async fn ask(&self, member: &Member) -> Result<Answer, String> {
        // Concurrent callers wait for this one, at most as long as they would wait for an answer themselves.
        let mut kept = member.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => connect(&member.client).await.map_err(plain)?,
        };
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
        // Only a connection that has just answered is kept.
        *kept = Some(connection);
        let epoch = facts.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Ok(Answer { address, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(address: &str, epoch: u64) -> Answer {
        Answer { address: address.to_owned(), epoch }
    }

    #[test]
    fn a_primary_is_what_a_majority_of_the_configured_sentinels_names() {
        let (old, new) = (answer("old:1", 1), answer("new:1", 2));
        assert_eq!(majority(std::slice::from_ref(&old), 3), None, "a minority is all that answers");
        assert_eq!(majority(&[old.clone(), new.clone()], 3), None);
        assert_eq!(majority(&[old.clone(), new.clone(), old.clone()], 3), Some(old.clone()));
        assert_eq!(majority(&[old.clone(), new.clone(), new.clone()], 3), Some(new.clone()));
        assert_eq!(majority(&[old.clone(), new.clone()], 2), None, "half is no majority");
        assert_eq!(majority(&[answer("new:1", 2), answer("new:1", 3)], 2), Some(answer("new:1", 3)));
        assert_eq!(majority(&[], 1), None);
    }
}
