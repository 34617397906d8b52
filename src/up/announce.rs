//! What `up` tells its user once everything runs: the address, how to get in, where things are, how to end it.
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::printable::printable;
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
        let json = "-H 'content-type: application/json'";
        let plural = if self.workers == 1 { "" } else { "s" };
        writeln!(f, "\nbangui is ready: {url} ({} worker{plural})\n", self.workers)?;
        if let Door::SetUp(code) = &self.door {
            let code = code.as_deref().unwrap_or("YOUR-BANGUI_SETUP_TOKEN");
            writeln!(f, "Set up once, with a password of your own (12 characters or more):")?;
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
        writeln!(f, "fail2ban:  {}", printable(&self.fail2ban))?;
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
        assert!(own.contains(r#""token":"c0de"}' http://127.0.0.1:8080/api/v1/setup"#), "{own}");
        assert!(said(Door::SetUp(None)).contains("YOUR-BANGUI_SETUP_TOKEN"));
        let log_in = said(Door::LogIn);
        assert!(!log_in.contains("/api/v1/setup") && log_in.contains("/api/v1/session"), "{log_in}");
    }
}
