//! What `up` tells its user once everything runs: the address, how to get in, where things are, how to end it.
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

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
    /// The shared address.
    pub listen: SocketAddr,
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
        let url = format!("http://{}", reachable(self.listen));
        let plural = if self.workers == 1 { "" } else { "s" };
        writeln!(f, "\nbangui is ready: {url} ({} worker{plural})\n", self.workers)?;
        match &self.door {
            // In the fragment, which is in no request and so in no log.
            Door::SetUp(Some(code)) => {
                writeln!(f, "Open this link once, and choose a password:\n  {url}/setup#code={code}\n")?;
            }
            Door::SetUp(None) => {
                writeln!(
                    f,
                    "Open this link once, with your BANGUI_SETUP_TOKEN, and choose a password:\n  {url}/setup\n"
                )?;
            }
            Door::LogIn => writeln!(f, "Log in:\n  {url}/\n")?,
        }
        writeln!(f, "fail2ban:  {}", self.fail2ban)?;
        writeln!(f, "data:      {}", self.data.display())?;
        writeln!(f, "logs:      {}", self.logs.display())?;
        writeln!(f, "\nCtrl-C ends all of it.")
    }
}

/// Whether setup is done, as the workers say; `None` if they do not.
pub async fn setup_complete(listen: SocketAddr) -> Option<bool> {
    #[derive(Deserialize)]
    struct Setup {
        complete: bool,
    }
    crate::crypto::provide();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build().ok()?;
    let answer = client.get(format!("http://{}/api/v1/setup", reachable(listen))).send().await.ok()?;
    Some(answer.json::<Setup>().await.ok()?.complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(door: Door) -> String {
        let announcement = Announcement {
            listen: "0.0.0.0:8080".parse().unwrap(),
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
        assert!(own.contains("  http://127.0.0.1:8080/setup#code=c0de\n"), "{own}");
        let chosen = said(Door::SetUp(None));
        assert!(chosen.contains("BANGUI_SETUP_TOKEN") && chosen.contains("/setup\n"), "{chosen}");
        let log_in = said(Door::LogIn);
        assert!(!log_in.contains("/setup") && log_in.contains("  http://127.0.0.1:8080/\n"), "{log_in}");
    }
}
