//! The files of a change, beside one another in fail2ban's `jail.d`: the drop-ins, the journal, the lock.
//!
//! A file is replaced by a temporary one that was written to the disk first, and the folder is written to the disk after,
//! so that each step of a change has happened or has not, also when the power fails. Only names that end in `.conf` or
//! `.local` and do not begin with a dot are fail2ban's.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::domain::JailName;

const JOURNAL: &str = ".bangui-journal.json";
const LOCK: &str = ".bangui-lock";
const TEMPORARY: &str = ".bangui-new";
const LOCK_TRIES: Duration = Duration::from_millis(25);
/// None of them has a reason to be larger.
const MAX_FILE: u64 = 1024 * 1024;

/// A change that has begun: enough to undo it. Written before anything else is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The jail.
    pub(super) jail: JailName,
    /// Its drop-in as it was; none if there was none.
    pub(super) before: Option<String>,
    /// The jails that ran.
    pub(super) running: Vec<JailName>,
    /// Whether fail2ban may have been told: until then, only the file has changed.
    pub(super) reloaded: bool,
}

/// `jail.d` of the configuration folder.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

/// Held while this host's fail2ban is being changed. A child that has it as its standard input holds it too,
/// so that whoever comes next waits also for a reload that outlives the agent which began it.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// For a child's standard input.
    pub(super) fn share(&self) -> Result<File> {
        self.0.try_clone()
    }
}

impl Files {
    pub(super) fn new(config: &Path) -> Self {
        Self { folder: config.join("jail.d") }
    }

    /// Where a jail's drop-in is.
    pub(super) fn drop_in(&self, jail: &JailName) -> PathBuf {
        self.folder.join(format!("zz-bangui-{jail}.local"))
    }

    /// Takes the lock of this host, or none until `deadline`.
    pub(super) async fn lock(&self, deadline: Instant) -> Result<Option<Lock>> {
        let path = self.folder.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Lock(file))),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(LOCK_TRIES).await;
        }
    }

    /// A jail's drop-in, if there is one.
    pub(super) fn read(&self, jail: &JailName) -> Result<Option<String>> {
        read(&self.drop_in(jail))
    }

    /// Makes a jail's drop-in this text, or removes it.
    pub(super) fn put(&self, jail: &JailName, text: Option<&str>) -> Result<()> {
        self.replace(&self.drop_in(jail), text)
    }

    /// The journal of a change that was not finished.
    pub(super) fn journal(&self) -> Result<Option<Journal>> {
        let Some(text) = read(&self.folder.join(JOURNAL))? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let path = self.folder.join(JOURNAL);
            std::io::Error::new(ErrorKind::InvalidData, format!("{} is no journal ({error})", path.display()))
        })
    }

    /// Begins a change (some) or ends it (none).
    pub(super) fn put_journal(&self, journal: Option<&Journal>) -> Result<()> {
        let text = journal.map(serde_json::to_string).transpose()?;
        self.replace(&self.folder.join(JOURNAL), text.as_deref())
    }

    fn replace(&self, path: &Path, text: Option<&str>) -> Result<()> {
        match text {
            Some(text) => {
                let temporary = self.folder.join(TEMPORARY);
                let mut file = File::create(&temporary)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                std::fs::rename(&temporary, path)?;
            }
            None => match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        File::open(&self.folder)?.sync_all()
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() > MAX_FILE => {
            Err(std::io::Error::new(ErrorKind::InvalidData, format!("{} is too large", path.display())))
        }
        Ok(_) => std::fs::read_to_string(path).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[tokio::test]
    async fn one_change_at_a_time_also_of_two_agents_and_of_a_child_that_outlives_one() {
        let config = tempfile::tempdir().unwrap();
        std::fs::create_dir(config.path().join("jail.d")).unwrap();
        let (here, there) = (Files::new(config.path()), Files::new(config.path()));
        let lock = here.lock(soon(0)).await.unwrap().unwrap();
        assert!(there.lock(soon(60)).await.unwrap().is_none());
        let child = lock.share().unwrap();
        drop(lock);
        assert!(there.lock(soon(60)).await.unwrap().is_none(), "the child still has it");
        drop(child);
        assert!(there.lock(soon(0)).await.unwrap().is_some());
    }

    #[test]
    fn a_file_is_replaced_or_removed_and_the_journal_comes_back_as_it_was() {
        let config = tempfile::tempdir().unwrap();
        let files = Files::new(config.path());
        let jail = JailName::parse("app").unwrap();
        assert!(files.put(&jail, Some("x")).is_err(), "there is no folder");
        std::fs::create_dir(config.path().join("jail.d")).unwrap();
        for text in [Some("one"), Some("two"), None, None] {
            files.put(&jail, text).unwrap();
            assert_eq!(files.read(&jail).unwrap().as_deref(), text);
        }
        let journal = Journal {
            jail: jail.clone(),
            before: Some("[app]\n".into()),
            running: vec![jail],
            reloaded: true,
        };
        assert_eq!(files.journal().unwrap(), None);
        files.put_journal(Some(&journal)).unwrap();
        assert_eq!(files.journal().unwrap(), Some(journal));
        files.put_journal(None).unwrap();
        assert_eq!(files.journal().unwrap(), None);
        std::fs::write(config.path().join("jail.d").join(JOURNAL), "{").unwrap();
        assert!(files.journal().unwrap_err().to_string().contains("is no journal"));
    }
}
