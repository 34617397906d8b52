//! The files of a change, beside one another in fail2ban's `jail.d`: the drop-ins, the journal, the lock.
//!
//! A file is replaced by a temporary one that was synced to the disk first, and the folder is synced after that, so that each step
//! of a change has either happened or not, even if the power fails. fail2ban reads only names that end in `.conf` or `.local` and
//! do not begin with a dot: a new drop-in waits beside them under another name until it has been checked, and takes effect by one
//! rename.
//!
//! Nothing here follows a symbolic link, and the rights of a file do not depend on the umask that the agent was started with:
//! everybody may read a drop-in, but only the agent may read the journal or hold the lock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use crate::domain::JailName;

const JOURNAL: &str = ".bangui-journal.json";
const LOCK: &str = ".bangui-lock";
const TEMPORARY: &str = ".bangui-new";
const CANDIDATE: &str = ".bangui-candidate";
/// The longest part of a file's name that a jail's name may take: a file's name may have 255 bytes.
const MAX_NAME: usize = 200;
const LOCK_TRIES: Duration = Duration::from_millis(25);
/// No file of these has a reason to be larger.
const MAX_FILE: u64 = 1024 * 1024;
/// The mode of a drop-in, as of every other file of fail2ban.
const FOR_ALL: u32 = 0o644;
/// The mode of the agent's private files.
const FOR_US: u32 = 0o600;

/// A change that has begun: enough to undo it. Written before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::agent) struct Journal {
    /// The jail.
    pub(in crate::agent) jail: JailName,
    /// Its drop-in as it was; none if there was none.
    pub(in crate::agent) before: Option<String>,
    /// The jails that ran.
    pub(in crate::agent) running: Vec<JailName>,
    /// Whether fail2ban may have been reloaded: until then, only the file has changed.
    pub(in crate::agent) reloaded: bool,
}

/// `jail.d` of the configuration folder.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Files {
    folder: PathBuf,
}

/// Held while this host's fail2ban is being changed. A child process that has it as its standard input holds it too,
/// so that the next change also waits for a reload that outlives the agent that started it.
#[derive(Debug)]
pub(in crate::agent) struct Lock(File);

impl Lock {
    /// For a child's standard input.
    pub(in crate::agent) fn share(&self) -> Result<File> {
        self.0.try_clone()
    }
}

impl Files {
    pub(in crate::agent) fn new(config: &Path) -> Self {
        Self { folder: config.join("jail.d") }
    }

    /// Where a jail's drop-in is.
    pub(in crate::agent) fn drop_in(&self, jail: &JailName) -> PathBuf {
        self.folder.join(format!("zz-bangui-{}.local", file_name(jail)))
    }

    /// Takes the lock of this host; none if it is not free before `deadline`.
    pub(in crate::agent) async fn lock(&self, deadline: Instant) -> Result<Option<Lock>> {
        let path = self.folder.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FOR_US)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
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
    pub(in crate::agent) fn read(&self, jail: &JailName) -> Result<Option<String>> {
        read(&self.drop_in(jail))
    }

    /// The path of a drop-in that is not in effect yet.
    pub(in crate::agent) fn candidate(&self) -> PathBuf {
        self.folder.join(CANDIDATE)
    }

    /// Writes a new drop-in to the disk, where fail2ban does not read it yet.
    pub(in crate::agent) fn stage(&self, text: &str) -> Result<()> {
        let candidate = self.candidate();
        remove(&candidate)?;
        let written = write(&candidate, text, FOR_ALL);
        if written.is_err() {
            let _ = remove(&candidate);
        }
        written
    }

    /// Puts what was staged into effect as a jail's drop-in.
    pub(in crate::agent) fn commit(&self, jail: &JailName) -> Result<()> {
        std::fs::rename(self.candidate(), self.drop_in(jail))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Removes what was staged but is not in effect.
    pub(in crate::agent) fn discard(&self) -> Result<()> {
        remove(&self.candidate())
    }

    /// Makes a jail's drop-in this text, or removes it.
    pub(in crate::agent) fn put(&self, jail: &JailName, text: Option<&str>) -> Result<()> {
        self.replace(&self.drop_in(jail), text, FOR_ALL)
    }

    /// The journal of a change that was not finished.
    pub(in crate::agent) fn journal(&self) -> Result<Option<Journal>> {
        let Some(text) = read(&self.folder.join(JOURNAL))? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let path = self.folder.join(JOURNAL);
            std::io::Error::new(
                ErrorKind::InvalidData,
                format!("{} is not a journal ({error})", path.display()),
            )
        })
    }

    /// Begins a change (some) or ends it (none).
    pub(in crate::agent) fn put_journal(&self, journal: Option<&Journal>) -> Result<()> {
        let text = journal.map(serde_json::to_string).transpose()?;
        self.replace(&self.folder.join(JOURNAL), text.as_deref(), FOR_US)
    }

    /// Whether an agent died while it was writing a file, which then took no effect.
    pub(in crate::agent) fn half_written(&self) -> bool {
        [TEMPORARY, CANDIDATE].iter().any(|name| self.folder.join(name).symlink_metadata().is_ok())
    }

    /// Removes half-written files. Only with the lock.
    pub(in crate::agent) fn tidy(&self) -> Result<()> {
        remove(&self.folder.join(TEMPORARY))?;
        self.discard()
    }

    fn replace(&self, path: &Path, text: Option<&str>, mode: u32) -> Result<()> {
        match text {
            Some(text) => {
                let temporary = self.folder.join(TEMPORARY);
                remove(&temporary)?;
                let renamed = write(&temporary, text, mode).and_then(|()| std::fs::rename(&temporary, path));
                if renamed.is_err() {
                    // On a full disk a part of it may have been written, which would be in the way.
                    let _ = remove(&temporary);
                }
                renamed?;
            }
            None => remove(path)?,
        }
        File::open(&self.folder)?.sync_all()
    }
}

/// A jail's name as part of a file's name: a plain one as it is; the beginning and a digest of one that would be too long.
fn file_name(jail: &JailName) -> String {
    let name = jail.to_segment();
    if name.len() <= MAX_NAME {
        return name;
    }
    let digest = Sha256::digest(jail.as_str());
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}~{digest}", &name[..MAX_NAME / 2])
}

/// Writes a new file and syncs it to the disk.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    let strange =
        |what| Err(std::io::Error::new(ErrorKind::InvalidData, format!("{} {what}", path.display())));
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.is_file() => strange("is not a regular file: remove it first"),
        Ok(file) if file.len() > MAX_FILE => strange("is too large: remove it first"),
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
    fn rights_do_not_hang_on_the_umask_and_links_are_not_followed() {
        let config = tempfile::tempdir().unwrap();
        let folder = config.path().join("jail.d");
        std::fs::create_dir(&folder).unwrap();
        let files = Files::new(config.path());
        let jail = JailName::parse("app").unwrap();
        let elsewhere = config.path().join("elsewhere");
        std::fs::write(&elsewhere, "as it was").unwrap();
        let link = |name: &Path| std::os::unix::fs::symlink(&elsewhere, name).unwrap();

        link(&folder.join(TEMPORARY));
        assert!(files.half_written());
        files.put(&jail, Some("one")).unwrap();
        assert!(!files.half_written());
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "as it was");
        let journal = Journal { jail: jail.clone(), before: None, running: vec![], reloaded: false };
        files.put_journal(Some(&journal)).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&files.drop_in(&jail)), mode(&folder.join(JOURNAL))), (0o644, 0o600));

        link(&files.candidate());
        files.stage("two").unwrap();
        assert!(files.half_written());
        files.commit(&jail).unwrap();
        assert!(!files.half_written() && files.read(&jail).unwrap().as_deref() == Some("two"));
        assert_eq!(
            (mode(&files.drop_in(&jail)), std::fs::read_to_string(&elsewhere).unwrap()),
            (0o644, "as it was".into())
        );
        files.stage("three").unwrap();
        files.tidy().unwrap();
        assert!(!files.half_written());

        files.put(&jail, None).unwrap();
        link(&files.drop_in(&jail));
        assert!(files.read(&jail).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn every_jail_has_its_own_file_in_the_folder() {
        let files = Files::new(Path::new("/f"));
        let name = |jail: &str| {
            let path = files.drop_in(&JailName::parse(jail).unwrap());
            assert_eq!(path.parent(), Some(Path::new("/f/jail.d")), "{jail}");
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name("sshd"), "zz-bangui-sshd.local");
        assert_eq!(name("../../etc/x y"), "zz-bangui-..%2F..%2Fetc%2Fx%20y.local");
        assert_eq!(name(".."), "zz-bangui-~...local");
        let (one, other) = (name(&"ö".repeat(100)), name(&"ö".repeat(101)));
        assert!(one.len() < 255 && one != other, "{one}");
    }

    #[tokio::test]
    async fn a_lock_that_is_a_link_is_not_taken() {
        let config = tempfile::tempdir().unwrap();
        let folder = config.path().join("jail.d");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(config.path().join("elsewhere"), folder.join(LOCK)).unwrap();
        assert!(Files::new(config.path()).lock(soon(0)).await.is_err());
        assert!(!config.path().join("elsewhere").exists());
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
        assert!(files.journal().unwrap_err().to_string().contains("is not a journal"));
    }
}
