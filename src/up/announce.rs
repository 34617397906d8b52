//! What `up` tells its user once everything runs: the address, how to get in, where things are, how to end it.
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::net::readiness::reachable;

/// How the user gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// Setup is done, or a password was given: log in.
    LogIn,
    /// Set up first, with this code; `None` if the user chose one, which is a secret then.
    SetUp(Option<String>),
}

/// Everything to say.
pub struct Announcement {
    /// What to type, without a `/` at its end.
    pub url: String,
    /// Where the metrics of each worker are; none if each has a free port.
    pub metrics: Vec<SocketAddr>,
    /// How many workers share it.
    pub workers: u32,
    /// How to get in.
    pub door: Door,
    /// Which fail2ban, in words.
    pub fail2ban: String,
    /// The data folder.
    pub data: PathBuf,
    /// The log folder.
    pub logs: PathBuf,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        let json = "-H 'content-type: application/json'";
        let plural = if self.workers == 1 { "" } else { "s" };
        writeln!(f, "\nbangui is ready: {url} ({} worker{plural})\n", self.workers)?;
        if let Door::SetUp(code) = &self.door {
            let code = code.as_deref().unwrap_or("YOUR-BANGUI_SETUP_TOKEN");
            writeln!(f, "Set up once, with a password of your own (10 characters or more):")?;
            writeln!(
                f,
                "  curl {json} -d '{{\"password\":\"YOUR-PASSWORD\",\"token\":\"{code}\"}}' {url}/api/v1/setup"
            )?;
        }
        writeln!(f, "Log in, and look:")?;
        writeln!(
            f,
            "  curl {json} -d '{{\"password\":\"YOUR-PASSWORD\"}}' -c bangui.cookies {url}/api/v1/session"
        )?;
        writeln!(f, "  curl -b bangui.cookies {url}/api/v1/servers\n")?;
        writeln!(f, "fail2ban:  {}", self.fail2ban)?;
        writeln!(f, "data:      {}", self.data.display())?;
        writeln!(f, "logs:      {}", self.logs.display())?;
        let metrics: Vec<String> =
            self.metrics.iter().map(|address| format!("http://{}/metrics", reachable(*address))).collect();
        match &metrics[..] {
            [] => {
                writeln!(f, "metrics:   each worker's log names its address; --metrics-listen chooses one")?
            }
            _ => writeln!(f, "metrics:   {}", metrics.join(" "))?,
        }
        writeln!(f, "\nCtrl-C ends all of it.")
    }
}

/// What users type to reach workers that share this address.
#[must_use]
pub fn url(listen: SocketAddr, public_url: Option<&Url>, host: Option<&str>) -> String {
    if let Some(url) = public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    match host.filter(|_| !listen.ip().to_canonical().is_loopback()) {
        Some(host) => format!("http://{host}:{}", listen.port()),
        None => format!("http://{}", reachable(listen)),
    }
}

/// Whether setup is done, as the workers say; `None` if they do not. They are asked for the host of `url`.
pub async fn setup_complete(listen: SocketAddr, url: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Setup {
        complete: bool,
    }
    crate::crypto::provide();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build().ok()?;
    let (_, authority) = url.split_once("://")?;
    let request = client.get(format!("http://{}/api/v1/setup", reachable(listen)));
    let answer = request.header(reqwest::header::HOST, authority).send().await.ok()?;
    Some(answer.json::<Setup>().await.ok()?.complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(door: Door) -> String {
        let announcement = Announcement {
            url: url("0.0.0.0:8080".parse().unwrap(), None, None),
            metrics: Vec::new(),
            workers: 1,
            door,
            fail2ban: "the sandbox".to_owned(),
            data: "/d".into(),
            logs: "/d/logs".into(),
        };
        announcement.to_string()
    }

    #[test]
    fn it_names_an_address_that_works_and_the_code_only_if_it_made_it() {
        let own = said(Door::SetUp(Some("c0de".to_owned())));
        assert!(own.contains(r#""token":"c0de"}' http://127.0.0.1:8080/api/v1/setup"#), "{own}");
        assert!(said(Door::SetUp(None)).contains("YOUR-BANGUI_SETUP_TOKEN"));
        let log_in = said(Door::LogIn);
        assert!(!log_in.contains("/api/v1/setup") && log_in.contains("/api/v1/session"), "{log_in}");
    }

    #[test]
    fn the_address_to_type_is_one_that_the_workers_answer_for() {
        let (everywhere, here) = ("0.0.0.0:8080".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        let public = Url::parse("https://bangui.example").ok();
        assert_eq!(url(everywhere, None, None), "http://127.0.0.1:8080");
        assert_eq!(url(everywhere, None, Some("bangui.lan")), "http://bangui.lan:8080");
        assert_eq!(url(here, None, Some("bangui.lan")), "http://127.0.0.1:8080");
        assert_eq!(url(everywhere, public.as_ref(), Some("bangui.lan")), "https://bangui.example");
    }
}
