//! The shared secret between workers and agents: at both ends one or two tokens, read again when their file changes.
//!
//! Two of them are for the time in which one replaces the other: an agent accepts either, a worker sends the first and,
//! if that is refused, the second. The file is read as a whole, at most once a second: it is a few dozen bytes, and its modification
//! time does not show every change (a mounted secret, two writes within a tick). If the file becomes unreadable or invalid, that is
//! logged and the tokens in use stay.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::config::{AgentTokenConfig, agent_tokens};

const REREAD_INTERVAL: Duration = Duration::from_secs(1);
const READ_TIMEOUT: Duration = Duration::from_millis(500);
const MAX_FILE: u64 = 4096;

/// The tokens in use.
#[derive(Debug)]
pub struct Tokens {
    current: ArcSwap<Vec<SecretString>>,
    file: Option<PathBuf>,
    reread: Mutex<Reread>,
}

#[derive(Debug)]
struct Reread {
    due: Instant,
    /// The last problem with the file, so that each is logged once.
    complaint: Option<String>,
}

impl Tokens {
    /// The tokens of the configuration, reloaded from its file, if any, from now on.
    #[must_use]
    pub fn new(config: &AgentTokenConfig) -> Self {
        Self {
            current: ArcSwap::from_pointee(config.tokens.clone()),
            file: config.file.clone(),
            reread: Mutex::new(Reread { due: Instant::now() + REREAD_INTERVAL, complaint: None }),
        }
    }

    /// The tokens, from the file if it has changed.
    pub async fn current(&self) -> Arc<Vec<SecretString>> {
        if let Some(file) = &self.file
            && self.take_turn()
        {
            self.reread(file).await;
        }
        self.current.load_full()
    }

    /// Whether `given` is one of them; takes the same time whichever it is, and wherever it differs.
    pub async fn accepts(&self, given: &[u8]) -> bool {
        let any = self
            .current()
            .await
            .iter()
            .map(|token| token.expose_secret().as_bytes().ct_eq(given))
            .fold(Choice::from(0), |any, one| any | one);
        any.into()
    }

    /// True for one caller a second.
    fn take_turn(&self) -> bool {
        let mut reread = self.reread.lock().unwrap_or_else(PoisonError::into_inner);
        let due = Instant::now() >= reread.due;
        if due {
            reread.due = Instant::now() + REREAD_INTERVAL;
        }
        due
    }

    async fn reread(&self, file: &Path) {
        let complaint = match read(file).await {
            Ok(tokens) => {
                let same = self
                    .current
                    .load()
                    .iter()
                    .map(ExposeSecret::expose_secret)
                    .eq(tokens.iter().map(ExposeSecret::expose_secret));
                if !same {
                    info!(file = %file.display(), tokens = tokens.len(), "reloaded the agent token: its file changed");
                    self.current.store(Arc::new(tokens));
                }
                None
            }
            Err(error) => Some(error),
        };
        let mut reread = self.reread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(complaint) = complaint.as_ref().filter(|new| Some(*new) != reread.complaint.as_ref()) {
            warn!(file = %file.display(), "failed to reload the agent token: {complaint}; keeping the one in use");
        }
        reread.complaint = complaint;
    }
}

async fn read(file: &Path) -> Result<Vec<SecretString>, String> {
    let reading = async {
        let mut text = String::new();
        tokio::fs::File::open(file).await?.take(MAX_FILE).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    match timeout(READ_TIMEOUT, reading).await {
        Ok(Ok(text)) => agent_tokens(text.trim()),
        Ok(Err(error)) => Err(format!("it cannot be read ({error})")),
        Err(_) => Err("reading it timed out".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210";

    fn a_second_passes(tokens: &Tokens) {
        tokens.reread.lock().unwrap().due = Instant::now();
    }

    #[tokio::test]
    async fn a_changed_file_is_read_within_a_second_and_a_broken_one_changes_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        let config = AgentTokenConfig { tokens: agent_tokens(A).unwrap(), file: Some(file.path().into()) };
        let tokens = Tokens::new(&config);
        assert!(tokens.accepts(A.as_bytes()).await);

        for (text, a, b) in [
            (format!("{B},{A}"), true, true),
            (B.to_owned(), false, true),
            ("short".to_owned(), false, true),
            (format!("{},{A}", "a".repeat(32)), false, true),
            (format!("replace-this-example-{A}"), false, true),
            (A.to_owned(), true, false),
        ] {
            write(&text);
            a_second_passes(&tokens);
            assert_eq!(tokens.accepts(A.as_bytes()).await, a, "{text}");
            assert_eq!(tokens.accepts(B.as_bytes()).await, b, "{text}");
        }
        std::fs::remove_file(file.path()).unwrap();
        a_second_passes(&tokens);
        assert!(tokens.accepts(A.as_bytes()).await);
        assert!(!tokens.accepts(b"").await && !tokens.accepts(&A.as_bytes()[1..]).await);
    }
}
