//! The host: a private fail2ban whose `jail.d` is a small disk, its agent, and what a service manager does.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Mutex, RwLock};

use crate::jails::{Jail, Jails};
use crate::support::agent::Agent;
use crate::support::disk::SmallDisk;
use crate::support::fail2ban::Fail2ban;

/// The jail that runs from the beginning.
pub const KEEPER: &str = "keeper";
/// What the agent keeps in `jail.d` for good.
const LOCK: &str = ".bangui-lock";
const PAGES: usize = 160;

/// The host, with all that runs on it.
pub struct Host {
    pub jails: Jails,
    pub folder: PathBuf,
    /// Whether an act has changed anything since the last repair.
    pub damaged: AtomicBool,
    // Declared in the order in which they must end.
    pub agent: Mutex<Agent>,
    pub disk: Option<SmallDisk>,
    pub fail2ban: RwLock<Fail2ban>,
}

impl Host {
    /// Takes a running fail2ban and agent, and writes all jails.
    pub async fn new(fail2ban: Fail2ban, mut agent: Agent) -> Self {
        let folder = fail2ban.config().parent().unwrap().to_owned();
        let mut jails = Jails::new(&folder);
        for file in ["fail2ban.conf", "jail.conf", "filter.d/app.conf", "action.d/note.conf"] {
            jails.files.insert(file.to_owned(), std::fs::read(fail2ban.config().join(file)).unwrap());
        }
        jails.logs.push(format!("{}/{KEEPER}-app.log", folder.display()));
        let disk = SmallDisk::mount(&fail2ban.config().join("jail.d"), PAGES).await;
        let script = folder.join("start.sh");
        // `manage`, which plays the service manager, removes the file.
        let text = format!(
            "touch {0}/start\ni=0\nwhile [ -e {0}/start ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done\n",
            folder.display()
        );
        std::fs::write(&script, text).unwrap();
        agent.more = vec![("BANGUI_FAIL2BAN_START", format!("sh {}", script.display()))];
        agent.start_again().await;
        let host = Self {
            jails,
            folder,
            damaged: AtomicBool::new(false),
            agent: Mutex::new(agent),
            disk,
            fail2ban: RwLock::new(fail2ban),
        };
        host.restore().await;
        host
    }

    /// Starts fail2ban whenever the agent asks for it.
    pub async fn manage(self: Arc<Self>) {
        let wanted = self.folder.join("start");
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if wanted.exists() {
                let mut fail2ban = self.fail2ban.write().await;
                if fail2ban.pid().is_none() {
                    fail2ban.try_start_again().await;
                }
                let _ = std::fs::remove_file(&wanted);
            }
        }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    /// The jail of this name, if the run made it.
    pub fn jail(&self, name: &str) -> Option<&Jail> {
        self.jails.all.iter().find(|jail| jail.name == name)
    }

    /// The jails that run, judged by fail2ban's threads; none if fail2ban does not run.
    pub async fn running(&self) -> Option<BTreeSet<String>> {
        let pid = self.fail2ban.read().await.pid()?;
        let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).ok()?;
        let threads: Vec<Vec<u8>> =
            tasks.filter_map(|task| std::fs::read(task.ok()?.path().join("comm")).ok()).collect();
        let has = |part: &str, name: &str| {
            let wanted: Vec<u8> = format!("f2b/{part}.{name}").bytes().take(15).chain([b'\n']).collect();
            threads.contains(&wanted)
        };
        let names = self.jails.all.iter().map(|jail| jail.name.as_str()).chain([KEEPER]);
        Some(names.filter(|name| has("f", name) && has("a", name)).map(str::to_owned).collect())
    }

    /// Every file of `jail.d` except the agent's lock and the one that fills the disk.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.config().join("jail.d")) else { return BTreeMap::new() };
        entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read(path).unwrap_or_default())
            })
            .filter(|(name, _)| name != LOCK && name != "ballast")
            .collect()
    }

    /// Restores every file, and removes what others wrote; bangui's files stay.
    pub async fn restore(&self) {
        let config = self.config();
        if let Some(disk) = &self.disk {
            disk.remount("rw").await;
            disk.clear();
        }
        for (file, text) in &self.jails.files {
            let path = config.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            give_rights(path.parent().unwrap(), 0o755, 0);
            if path.is_dir() {
                std::fs::remove_dir_all(&path).unwrap();
            }
            if std::fs::read(&path).ok().as_ref() != Some(text) {
                let _ = std::fs::remove_file(&path);
                std::fs::write(&path, text).unwrap();
            }
            give_rights(&path, 0o644, 0);
        }
        for log in &self.jails.logs {
            std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        }
        for file in ["jail.local", "fail2ban.local"] {
            let _ = std::fs::remove_file(config.join(file));
        }
        for name in self.files().into_keys() {
            let path = config.join("jail.d").join(&name);
            let ours = name.starts_with("zz-bangui-") || name.starts_with(".bangui-");
            if path.is_dir() {
                std::fs::remove_dir_all(&path).unwrap();
            } else if path.is_symlink() || !ours && !self.jails.files.contains_key(&format!("jail.d/{name}"))
            {
                std::fs::remove_file(&path).unwrap();
            } else if name.starts_with("zz-bangui-") {
                give_rights(&path, 0o644, 0);
                self.remove_if_edited(&path);
            }
        }
        self.damaged.store(false, Relaxed);
    }

    /// Removes a drop-in that somebody else has edited, as an administrator would by hand.
    fn remove_if_edited(&self, path: &Path) {
        if std::fs::read(path).is_ok_and(|text| text.ends_with(EDITED.as_bytes())) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// What somebody else writes into one of bangui's drop-ins.
pub const EDITED: &str = "\nmaxmatches = 3\n";

/// Sets the mode and the owner of a file, if possible.
pub fn give_rights(path: &Path, mode: u32, owner: u32) {
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    let _ = std::os::unix::fs::lchown(path, Some(owner), Some(owner));
}
