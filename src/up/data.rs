//! The data folder of `bangui up`, and the lock of the `up` that uses it.
//!
//! ```text
//! DATA/lock               flock, held while an `up` uses the folder
//!      secrets/           agent-token, setup-token: 0600, generated once
//!      redis/             redis.conf, the append-only file
//!      sandbox/           fail2ban's configuration, database and the log it reads
//!      logs/              one file per child
//!      run/               sockets; in a private folder under /tmp if this path is too long or strange for them
//! ```
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::config::values::MAX_SOCKET_PATH;

/// The longest name of a socket here, with the slash.
const MAX_SOCKET_NAME: usize = "/fail2ban.sock".len();

/// The folder, locked for as long as this lives.
pub struct DataDir {
    root: PathBuf,
    run: PathBuf,
    /// Whether `run` lies outside `root` and is removed at the end.
    temporary: bool,
    _lock: File,
}

impl DataDir {
    /// Creates the folder if it does not exist and locks it.
    ///
    /// # Errors
    /// If it cannot be written, or another `up` uses it.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        make_private(root)?;
        let path = root.join("lock");
        let lock =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).with_context(|| {
                format!("failed to open {}: choose another folder with --data-dir", path.display())
            })?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!(
                "another `bangui up` uses {}: stop it, or choose another folder with --data-dir",
                root.display()
            ),
            Err(error) => return Err(error).with_context(|| format!("failed to lock {}", path.display())),
        }
        for name in ["secrets", "redis", "sandbox", "logs"] {
            make_private(&root.join(name))?;
        }
        let (run, temporary) = run_folder(root)?;
        Ok(Self { root: root.to_owned(), run, temporary, _lock: lock })
    }

    /// The path of the folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a folder in it.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The path of a socket.
    #[must_use]
    pub fn socket(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.sock"))
    }

    /// A secret that is generated at the first start and kept, with the path of its file.
    ///
    /// # Errors
    /// If it can be neither read nor written.
    pub fn secret(&self, name: &str) -> anyhow::Result<(PathBuf, String)> {
        let path = self.folder("secrets").join(name);
        match fs::read_to_string(&path) {
            Ok(secret) if !secret.trim().is_empty() => return Ok((path, secret.trim().to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
        let secret = random_hex::<16>()?;
        write_private(&path, &format!("{secret}\n"))?;
        Ok((path, secret))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.run);
        }
    }
}

/// The folder of the sockets: the kernel limits the length of their paths, and plain paths need no quoting anywhere.
fn run_folder(root: &Path) -> anyhow::Result<(PathBuf, bool)> {
    let inside = root.join("run");
    if inside.as_os_str().len() + MAX_SOCKET_NAME <= MAX_SOCKET_PATH && is_plain(&inside) {
        make_private(&inside)?;
        return Ok((inside, false));
    }
    let temporary = PathBuf::from("/tmp").join(format!("bangui-{}", random_hex::<8>()?));
    // Not `make_private`: a folder that already exists may belong to somebody else.
    DirBuilder::new()
        .mode(0o700)
        .create(&temporary)
        .with_context(|| format!("failed to create {} for the sockets", temporary.display()))?;
    Ok((temporary, true))
}

/// Whether a path means the same in a URL, in redis.conf and in fail2ban's configuration.
#[must_use]
pub fn is_plain(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b)))
}

fn make_private(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!("failed to create the folder {}: choose another with --data-dir", path.display())
    })
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&fresh, path))
        .with_context(|| format!("failed to write {}", path.display()))
}

fn random_hex<const BYTES: usize>() -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).context("failed to get random bytes from the operating system")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_until_it_is_released() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("data");
        let first = DataDir::open(&root).unwrap();
        let refusal = DataDir::open(&root).err().unwrap().to_string();
        assert!(refusal.starts_with("another `bangui up` uses "), "{refusal}");
        drop(first);
        DataDir::open(&root).unwrap();
    }

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_reads_it() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(parent.path()).unwrap();
        let (path, secret) = data.secret("agent-token").unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(data.secret("agent-token").unwrap(), (path, secret.clone()));
        assert_ne!(data.secret("setup-token").unwrap().1, secret);
    }

    #[test]
    fn sockets_move_where_their_paths_are_short_and_plain() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["x".repeat(100), "with space".to_owned()] {
            let data = DataDir::open(&parent.path().join(name)).unwrap();
            let socket = data.socket("fail2ban");
            assert!(socket.as_os_str().len() <= MAX_SOCKET_PATH && is_plain(&socket), "{}", socket.display());
            let folder = socket.parent().unwrap().to_owned();
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
            drop(data);
            assert!(!folder.exists());
        }
    }
}
