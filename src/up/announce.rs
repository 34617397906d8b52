//! What `up` prints once everything runs: the address, how to log in, where the files are, how to stop it.
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::printable::printable;
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
    /// The shared address.
    pub listen: SocketAddr,
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
        let url = format!("http://{}", reachable(self.listen));
        let plural = if self.workers == 1 { "" } else { "s" };
        writeln!(f, "\nbangui is ready: {url} ({} worker{plural})\n", self.workers)?;
        match &self.access {
            // In the fragment, which is in no request and so in no log.
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
        writeln!(f, "\nCtrl-C stops everything.")
    }
}

/// Asks the workers whether setup is complete; `None` if they do not answer.
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

    fn printed(access: Access) -> String {
        let announcement = Announcement {
            listen: "0.0.0.0:8080".parse().unwrap(),
            workers: 1,
            access,
            fail2ban: "the sandbox".to_owned(),
            data: "/d".into(),
            logs: "/d/logs".into(),
        };
        announcement.to_string()
    }

    #[test]
    fn it_names_an_address_that_works_and_the_code_only_if_it_made_it() {
        let own = printed(Access::SetUp(Some("c0de".to_owned())));
        assert!(own.contains("  http://127.0.0.1:8080/setup#code=c0de\n"), "{own}");
        let chosen = printed(Access::SetUp(None));
        assert!(chosen.contains("BANGUI_SETUP_TOKEN") && chosen.contains("/setup\n"), "{chosen}");
        let log_in = printed(Access::LogIn);
        assert!(!log_in.contains("/setup") && log_in.contains("  http://127.0.0.1:8080/\n"), "{log_in}");
    }
}
