//! What `up` prints once everything runs: the address, how to log in, where the files are, how to stop it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::domain::printable::printable;
use crate::net::http_client;
use crate::net::readiness::reachable;

/// How the user gets access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Setup is complete, or a password was configured: log in.
    LogIn,
    /// Set up first, with this code; `None` if the user configured one, which is a secret.
    SetUp(Option<String>),
}

/// Everything that is printed.
pub struct Announcement {
    /// The URL to type, without a `/` at its end.
    pub url: String,
    /// Where the metrics of each worker are; none if each has a free port.
    pub metrics: Vec<SocketAddr>,
    /// How many workers share it.
    pub workers: u32,
    /// How to get access.
    pub access: Access,
    /// A description of the fail2ban.
    pub fail2ban: String,
    /// The data folder.
    pub data: PathBuf,
    /// The log folder.
    pub logs: PathBuf,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        let plural = if self.workers == 1 { "" } else { "s" };
        writeln!(f, "\nbangui is ready: {url} ({} worker{plural})\n", self.workers)?;
        match &self.access {
            // The code is in the fragment, which browsers do not send, so that no log has it.
            Access::SetUp(Some(code)) => {
                writeln!(f, "Open this link once, and choose a password:\n  {url}/setup#code={code}\n")?;
            }
            Access::SetUp(None) => {
                writeln!(
                    f,
                    "Open this link once, with your BANGUI_SETUP_TOKEN, and choose a password:\n  {url}/setup\n"
                )?;
            }
            Access::LogIn => writeln!(f, "Log in:\n  {url}/\n")?,
        }
        writeln!(f, "fail2ban:  {}", printable(&self.fail2ban))?;
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
        writeln!(f, "\nCtrl-C stops everything.")
    }
}

/// The URL that users type to reach workers that share this address.
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

/// Asks the workers whether setup is complete, with the host of `url`; `None` if they do not answer.
pub async fn setup_complete(listen: SocketAddr, url: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Setup {
        complete: bool,
    }
    let client = http_client::plain().timeout(Duration::from_secs(2)).build().ok()?;
    let (_, authority) = url.split_once("://")?;
    let request = client.get(format!("http://{}/api/v1/setup", reachable(listen)));
    let answer = request.header(reqwest::header::HOST, authority).send().await.ok()?;
    Some(answer.json::<Setup>().await.ok()?.complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(access: Access) -> String {
        let announcement = Announcement {
            url: url("0.0.0.0:8080".parse().unwrap(), None, None),
            metrics: Vec::new(),
            workers: 1,
            access,
            fail2ban: "the sandbox".to_owned(),
            data: "/d".into(),
            logs: "/d/logs".into(),
        };
        announcement.to_string()
    }

    #[test]
    fn the_announcement_names_an_address_that_works_and_the_code_only_if_up_made_it() {
        let own = printed(Access::SetUp(Some("c0de".to_owned())));
        assert!(own.contains("  http://127.0.0.1:8080/setup#code=c0de\n"), "{own}");
        let chosen = printed(Access::SetUp(None));
        assert!(chosen.contains("BANGUI_SETUP_TOKEN") && chosen.contains("/setup\n"), "{chosen}");
        let log_in = printed(Access::LogIn);
        assert!(!log_in.contains("/setup") && log_in.contains("  http://127.0.0.1:8080/\n"), "{log_in}");
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
