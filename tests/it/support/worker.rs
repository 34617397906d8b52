//! One `bangui serve` process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::process::{Child, bangui};
use super::{Client, SOON, eventually};

/// A running worker.
pub struct Worker {
    pub process: Child,
    pub address: SocketAddr,
}

impl Worker {
    /// Starts a worker; it listens, but may not be ready yet.
    pub async fn start(name: &str, environment: &BTreeMap<String, String>) -> Self {
        let process = Self::spawn(name, environment);
        Self::listening(process).await
    }

    /// Starts the process without waiting for anything.
    pub fn spawn(name: &str, environment: &BTreeMap<String, String>) -> Child {
        let mut command = bangui("serve");
        command.envs(environment);
        Child::start(name, command)
    }

    /// Waits for the log line with the address.
    pub async fn listening(process: Child) -> Self {
        let address = process
            .line("its address in the log", SOON, |line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (field(&line, "message")? == "listening").then_some(())?;
                field(&line, "http.addr")?.as_str()?.parse().ok()
            })
            .await;
        Self { process, address }
    }

    /// A client of this worker.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Waits until `/readyz` says 200.
    pub async fn ready(&self, deadline: Duration) {
        let client = self.client();
        eventually("a worker to be ready", deadline, || async {
            let answer = client.try_send(client.request(reqwest::Method::GET, "/readyz")).await.ok()?;
            answer.status.is_success().then_some(())
        })
        .await;
    }

    /// Its log as JSON.
    pub fn log(&self) -> Vec<Value> {
        self.process.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }
}

/// A field of a log line, at the top level or under `fields`.
pub fn field<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line.get(name).or_else(|| line.get("fields")?.get(name))
}
