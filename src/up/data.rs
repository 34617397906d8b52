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
//!
//! Anyone who can write here has the power of the user that `up` runs as, often root: they could redirect its writes with a
//! link, and choose the secrets. So the folder and its subfolders must belong to this user (or to root) and be writable by nobody
//! else, none of them may be a link, and no file in them is opened through a link. A parent folder that everybody can write to
//! must be sticky, as `/tmp` is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::config::values::MAX_SOCKET_PATH;

/// The longest name of a socket here, with the slash.
const MAX_SOCKET_NAME: usize = "/fail2ban.sock".len();

/// The folder, locked until this is dropped.
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
        // Before anything is created in it: others may have made the folders above.
        ours(root)?;
        make_private(root)?;
        let path = root.join("lock");
        let lock = open_options().create(true).append(true).open(&path).with_context(|| {
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
        match read_private(&path) {
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

/// Creates a folder that only its owner can enter, or accepts one that is as safe.
pub(super) fn make_private(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!("failed to create the folder {}: choose another with --data-dir", path.display())
    })?;
    private(path)
}

/// Fails unless a folder is not a link, belongs to this user or to root, and is writable by nobody else.
fn private(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let folder =
        fs::symlink_metadata(path).with_context(|| format!("failed to read the metadata of {shown}"))?;
    if folder.file_type().is_symlink() {
        bail!(
            "{shown} is a link, which may lead to somebody else's folder: name the folder itself with --data-dir"
        );
    }
    if !folder.is_dir() {
        bail!("{shown} is not a folder; choose another with --data-dir");
    }
    let own = rustix::process::geteuid().as_raw();
    if folder.uid() != own && folder.uid() != 0 {
        bail!(
            "{shown} belongs to user {}, who could change its files while user {own} runs this; choose another \
             folder with --data-dir",
            folder.uid()
        );
    }
    if folder.mode() & 0o022 != 0 {
        bail!(
            "{shown} can be written by others (mode {:o}): `chmod 700 {shown}`, and check that the files in it are yours",
            folder.mode() & 0o7777
        );
    }
    Ok(())
}

/// Fails if somebody else could replace one of the folders that lead to `root`.
fn ours(root: &Path) -> anyhow::Result<()> {
    for above in root.ancestors().skip(1) {
        // Resolved as the kernel does: a link that others could make is in a folder that this loop checks too.
        let Ok(folder) = fs::metadata(above) else { continue };
        if folder.mode() & 0o002 != 0 && folder.mode() & 0o1000 == 0 {
            bail!(
                "everybody can write to {}, and so could replace {}; choose another folder with \
                 --data-dir",
                above.display(),
                root.display()
            );
        }
    }
    Ok(())
}

/// Options for files here: none is opened through a link, and only the owner can read or write a new one.
pub(super) fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn read_private(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    open_options().read(true).open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file that only its owner can read, completely or not at all; replaces whatever was there, even a link.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    // The suffix is appended, so that `jail.local` and `jail.conf` do not share a temporary file.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let _ = fs::remove_file(&fresh);
    open_options()
        .write(true)
        .create_new(true)
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

    fn refusal(root: &Path) -> String {
        format!("{:#}", DataDir::open(root).err().expect("it was taken"))
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused_and_so_is_one_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("data");
        drop(DataDir::open(&root).unwrap());
        for (folder, mode) in [("", 0o770), ("", 0o702), ("secrets", 0o777), ("logs", 0o720), ("run", 0o722)]
        {
            let folder = root.join(folder);
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert!(refusal(&root).contains("can be written by others"), "{}", folder.display());
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        // Others may list the folder, but not enter those in it.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        drop(DataDir::open(&root).unwrap());

        let open = parent.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&open.join("data")).contains("everybody can write to"));
        assert!(!open.join("data").exists(), "nothing was made there");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        drop(DataDir::open(&open.join("data")).unwrap());
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("data");
        fs::create_dir(&root).unwrap();
        if std::os::unix::fs::chown(&root, Some(12_345), None).is_err() {
            return; // Only root gives folders away.
        }
        assert!(refusal(&root).contains("belongs to user 12345"));
    }

    #[test]
    fn no_link_is_followed() {
        use std::os::unix::fs::symlink;
        let parent = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (parent.path().join("data"), parent.path().join("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, &root).unwrap();
        assert!(refusal(&root).contains("is a link"));
        fs::remove_file(&root).unwrap();

        drop(DataDir::open(&root).unwrap());
        let precious = elsewhere.join("precious");
        fs::write(&precious, "precious").unwrap();
        let put_link = |at: &Path| {
            let _ = fs::remove_file(at);
            symlink(&precious, at).unwrap();
        };
        put_link(&root.join("lock"));
        assert!(refusal(&root).contains("failed to open") && refusal(&root).contains("lock"));
        fs::remove_file(root.join("lock")).unwrap();
        let data = DataDir::open(&root).unwrap();
        put_link(&root.join("secrets/agent-token"));
        assert!(data.secret("agent-token").is_err(), "a secret was read through a link");
        put_link(&root.join("redis/redis.conf"));
        put_link(&root.join("redis/redis.conf.new"));
        write_private(&root.join("redis/redis.conf"), "text").unwrap();
        assert_eq!(fs::read_to_string(root.join("redis/redis.conf")).unwrap(), "text");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        drop(data);
        fs::remove_dir_all(root.join("logs")).unwrap();
        symlink(&elsewhere, root.join("logs")).unwrap();
        assert!(refusal(&root).contains("is a link"));
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
