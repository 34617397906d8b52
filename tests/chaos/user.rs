//! A user who changes jails through the API.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cluster::SERVER;
use crate::support::{Answer, Client, SOON};

/// How many times the outcome of a long change is polled.
const FOLLOWED: u32 = 240;
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// One change of the jail of that name.
#[derive(Debug, Clone)]
pub struct JailRequest {
    pub verb: Verb,
    pub jail: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    Activate,
    Deactivate,
    Set(Value),
    Ignore(String, bool),
    Ban(Vec<String>),
    Unban(String),
    UnbanAll,
    RollBack,
    Clear,
    Look,
}

/// What an answer says about the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Done,
    /// Nothing was changed.
    Refused,
    /// Something was changed, or may have been.
    Unknown,
}

impl Verb {
    /// A random change; `runs` is whether the jail runs.
    pub fn roll(dice: &mut SmallRng, runs: bool) -> Self {
        let address = |dice: &mut SmallRng| match dice.random_range(0..3) {
            0 => format!("198.51.100.{}", dice.random_range(1..60)),
            1 => format!("203.0.113.{}", dice.random_range(1..60)),
            _ => format!("2001:db8::{:x}", dice.random_range(1..60)),
        };
        match dice.random_range(0..100) {
            0..75 if !runs => Self::Activate,
            0..12 => Self::Deactivate,
            12..20 => Self::Activate,
            20..44 => {
                let persistent = dice.random_range(0..3) > 0;
                let time = [-1, 60, 300, 7200][dice.random_range(0..4)];
                Self::Set(match dice.random_range(0..4) {
                    0 => json!({ "bantime": time, "persistent": persistent }),
                    1 => json!({ "findtime": 60 + time.max(0), "persistent": persistent }),
                    2 => {
                        json!({ "maxretry": dice.random_range(1..9), "bantime": time, "persistent": persistent })
                    }
                    _ => json!({ "ignoreip": [address(dice), "192.0.2.0/24"], "persistent": persistent }),
                })
            }
            44..54 => Self::Ignore(address(dice), dice.random_range(0..2) == 0),
            54..72 => {
                let count = dice.random_range(1..5);
                Self::Ban((0..count).map(|_| address(dice)).collect())
            }
            72..80 => Self::Unban(address(dice)),
            80..84 => Self::UnbanAll,
            84..90 => Self::RollBack,
            90..93 => Self::Clear,
            _ => Self::Look,
        }
    }

    /// The name it is counted under.
    pub fn group(&self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Set(_) => "set",
            Self::Ignore(..) => "ignore",
            Self::Ban(_) => "ban",
            Self::Unban(_) => "unban",
            Self::UnbanAll => "unban all",
            Self::RollBack => "roll back",
            Self::Clear => "clear recovery",
            Self::Look => "look",
        }
    }
}

impl JailRequest {
    /// Sends it.
    pub async fn send(&self, client: &Client) -> Answer {
        let segment = bangui::domain::JailName::parse(&self.jail).unwrap().to_segment();
        let jail = format!("jails/{segment}");
        let (method, rest, body) = match &self.verb {
            Verb::Activate => (Method::POST, format!("{jail}/activate"), Value::Null),
            Verb::Deactivate => (Method::POST, format!("{jail}/deactivate"), Value::Null),
            Verb::Set(settings) => (Method::PATCH, jail, settings.clone()),
            Verb::Ignore(network, persistent) => (
                Method::POST,
                format!("{jail}/ignore"),
                json!({ "network": network, "persistent": persistent }),
            ),
            Verb::Ban(ips) => (Method::POST, format!("{jail}/bans"), json!({ "ips": ips })),
            Verb::Unban(ip) => (Method::DELETE, format!("{jail}/bans/{ip}"), Value::Null),
            Verb::UnbanAll => (Method::DELETE, format!("{jail}/bans"), Value::Null),
            Verb::RollBack => (Method::POST, "recovery/rollback".to_owned(), Value::Null),
            Verb::Clear => (Method::DELETE, "recovery".to_owned(), Value::Null),
            Verb::Look => (Method::GET, "jails".to_owned(), Value::Null),
        };
        let request = client.request(method, &format!("/api/v1/servers/{SERVER}/{rest}"));
        let request = if body.is_null() { request } else { request.json(&body) };
        client.send(request.timeout(SOON * 10)).await
    }

    /// Sends it, and waits for the outcome of a change that takes long, in place of the 202. A change whose outcome stays unknown
    /// returns what it has.
    pub async fn send_and_follow(&self, client: &Client) -> Answer {
        let answer = self.send(client).await;
        let Some(place) = answer.headers.get("location").filter(|_| answer.status == 202).cloned() else {
            return answer;
        };
        let place = place.to_str().unwrap().to_owned();
        for _ in 0..FOLLOWED {
            let shown = client.get(&place).await;
            let document =
                [&shown.body["result"], &shown.body["problem"]].into_iter().find(|one| !one.is_null());
            if let Some(document) = document.cloned() {
                let status = document["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                let status = status.and_then(|status| reqwest::StatusCode::from_u16(status).ok());
                return Answer {
                    status: status.unwrap_or_default(),
                    body: document.clone(),
                    text: document.to_string(),
                    ..answer
                };
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
        answer
    }
}

/// The kind of a problem, or the status of any other answer.
pub fn kind(answer: &Answer) -> String {
    let name = answer.body["type"].as_str().and_then(|name| name.strip_prefix("urn:bangui:problem:"));
    match name {
        Some(name) => format!("{} {name}", answer.status.as_u16()),
        None => answer.status.as_u16().to_string(),
    }
}

impl Said {
    /// From the answer to a change of a jail.
    pub fn of(answer: &Answer) -> Self {
        let kind = kind(answer);
        match answer.status.as_u16() {
            200 | 204 => Self::Done,
            202 => Self::Unknown,
            _ if kind.contains("fail2ban-down")
                && answer.body["detail"]
                    .as_str()
                    .is_some_and(|said| said.ends_with("nothing was changed")) =>
            {
                Self::Refused
            }
            _ if ["host-unsettled", "change-under-way", "agent-unreachable", "fail2ban-down"]
                .iter()
                .any(|unknown| kind.contains(unknown)) =>
            {
                Self::Unknown
            }
            400..500 => Self::Refused,
            _ if kind.contains("host-failed") || kind.contains("fail2ban-busy") => Self::Refused,
            _ => Self::Unknown,
        }
    }
}
