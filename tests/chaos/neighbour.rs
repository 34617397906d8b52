//! The other people and programs on the host: they edit its files, reload and restart fail2ban, fill the disk, take rights
//! away, and kill the agent. Now and then they put everything in order again, or nothing would run for long.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::host::{EDITED, Host, give_rights};
use crate::support::process::Child;

/// For `fail2ban-client`, on a busy machine.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);

/// What the neighbour does at once.
#[derive(Debug, Clone)]
pub enum Act {
    Reload,
    ReloadOne(String),
    ReloadRestart,
    Stop(String),
    /// A clean stop and start of fail2ban.
    Restart,
    /// SIGKILL of fail2ban, and a start.
    Crash,
    Edit(Edit, String),
    /// Except for so many pages.
    FillDisk(usize),
    ClearDisk,
    Rights(Rights, String),
    /// Alone, or with its child processes; then it stays away for so many milliseconds.
    KillAgent(bool, u64),
    /// Everything as at the beginning, and loaded by fail2ban.
    Repair,
}

/// What is done to a file of a jail.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    Comment,
    OtherTime,
    BreakFilter,
    RemoveLog,
    RemoveJail,
    RemoveDropIn,
    WriteIntoDropIn,
    SwitchOn,
    SwitchOff,
    OverruleTime,
    BreakSyntax,
    UnreadableByte,
    BadLogTarget,
}

/// What is done to rights.
#[derive(Debug, Clone, Copy)]
pub enum Rights {
    NoneOnFile,
    NoneOnFolder,
    AllOnFolder,
    OtherOwner,
    ReadOnlyDisk,
    FolderForDropIn,
    LinkForDropIn,
}

const EDITS: [Edit; 13] = [
    Edit::Comment,
    Edit::OtherTime,
    Edit::BreakFilter,
    Edit::RemoveLog,
    Edit::RemoveJail,
    Edit::RemoveDropIn,
    Edit::WriteIntoDropIn,
    Edit::SwitchOn,
    Edit::SwitchOff,
    Edit::OverruleTime,
    Edit::BreakSyntax,
    Edit::UnreadableByte,
    Edit::BadLogTarget,
];

const RIGHTS: [Rights; 7] = [
    Rights::NoneOnFile,
    Rights::NoneOnFolder,
    Rights::AllOnFolder,
    Rights::OtherOwner,
    Rights::ReadOnlyDisk,
    Rights::FolderForDropIn,
    Rights::LinkForDropIn,
];

impl Act {
    /// A random act, for a jail of this name.
    pub fn roll(dice: &mut SmallRng, jail: &str) -> Self {
        let jail = jail.to_owned();
        match dice.random_range(0..100) {
            0..16 => Self::Reload,
            16..22 => Self::ReloadOne(jail),
            22..24 => Self::ReloadRestart,
            24..29 => Self::Stop(jail),
            29..33 => Self::Restart,
            33..37 => Self::Crash,
            37..60 => Self::Edit(EDITS[dice.random_range(0..EDITS.len())], jail),
            60..67 => Self::FillDisk(dice.random_range(0..6)),
            67..69 => Self::ClearDisk,
            69..76 => Self::Rights(RIGHTS[dice.random_range(0..RIGHTS.len())], jail),
            76..86 => Self::KillAgent(dice.random_range(0..2) == 0, dice.random_range(0..800)),
            _ => Self::Repair,
        }
    }

    /// Whether fail2ban keeps its jails through this act, if their files are in order.
    pub fn harmless(&self) -> bool {
        matches!(
            self,
            Self::Reload
                | Self::ReloadOne(_)
                | Self::ClearDisk
                | Self::KillAgent(..)
                | Self::Repair
                | Self::Edit(Edit::Comment, _)
        )
    }

    /// The name it is counted under.
    pub fn group(&self) -> &'static str {
        match self {
            Self::Reload | Self::ReloadOne(_) | Self::ReloadRestart => "reloads",
            Self::Stop(_) => "stops of a jail",
            Self::Restart | Self::Crash => "restarts",
            Self::Edit(..) => "edits",
            Self::FillDisk(_) => "full disks",
            Self::ClearDisk => "disks cleared",
            Self::Rights(..) => "changes of rights",
            Self::KillAgent(..) => "agent kills",
            Self::Repair => "repairs",
        }
    }

    /// Carries the act out.
    pub async fn run(&self, host: &Host) {
        match self {
            Self::Reload => order(host, &["reload"]).await,
            Self::ReloadOne(jail) => order(host, &["reload", "--if-exists", jail]).await,
            Self::ReloadRestart => order(host, &["reload", "--restart"]).await,
            Self::Stop(jail) => order(host, &["stop", jail]).await,
            Self::Restart => {
                client(host, &["stop"]).await;
                host.fail2ban.write().await.try_start_again().await;
            }
            Self::Crash => drop(host.fail2ban.write().await.try_start_again().await),
            Self::Edit(edit, jail) => {
                host.damaged.store(true, Relaxed);
                edit.run(host, jail);
            }
            Self::FillDisk(free) => {
                host.damaged.store(true, Relaxed);
                host.disk.iter().for_each(|disk| disk.leave_free(*free));
            }
            Self::ClearDisk => host.disk.iter().for_each(|disk| disk.clear()),
            Self::Rights(rights, jail) => {
                host.damaged.store(true, Relaxed);
                rights.run(host, jail).await;
            }
            Self::KillAgent(alone, away) => {
                let mut agent = host.agent.lock().await;
                match agent.process.take() {
                    Some(process) if *alone => process.kill_alone(),
                    process => drop(process),
                }
                tokio::time::sleep(Duration::from_millis(*away)).await;
                agent.start_again().await;
            }
            Self::Repair => repair(host).await,
        }
    }
}

/// Puts all in order: files, disk, fail2ban.
pub async fn repair(host: &Host) {
    host.restore().await;
    let mut fail2ban = host.fail2ban.write().await;
    if fail2ban.pid().is_none() {
        fail2ban.try_start_again().await;
    }
    drop(fail2ban);
    if !client(host, &["reload"]).await {
        host.fail2ban.write().await.try_start_again().await;
    }
}

async fn order(host: &Host, words: &[&str]) {
    client(host, words).await;
}

/// Runs `fail2ban-client` with a timeout, as a server that is stopped in the middle of a command may never answer it. Returns
/// whether it ended in time.
async fn client(host: &Host, words: &[&str]) -> bool {
    let fail2ban = host.fail2ban.read().await;
    if fail2ban.pid().is_none() {
        return true;
    }
    let child = Child::start("fail2ban-client", fail2ban.client(words));
    let began = Instant::now();
    while child.runs() && began.elapsed() < GIVEN_UP_AFTER {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = !child.runs();
    if !ended {
        println!("fail2ban-client {words:?} has not ended within {GIVEN_UP_AFTER:?}");
    }
    ended
}

fn drop_in(host: &Host, jail: &str) -> PathBuf {
    let segment = bangui::domain::JailName::parse(jail).unwrap().to_segment();
    host.config().join(format!("jail.d/zz-bangui-{segment}.local"))
}

impl Edit {
    /// Writes what fits onto the disk, which may be full.
    fn run(self, host: &Host, jail: &str) {
        let config = host.config();
        let Some(of) = host.jail(jail) else { return };
        let append = |file: &str, text: &str| {
            if let Ok(mut file) = std::fs::OpenOptions::new().append(true).open(config.join(file)) {
                let _ = std::io::Write::write_all(&mut file, text.as_bytes());
            }
        };
        let write = |file: &str, text: &[u8]| drop(std::fs::write(config.join(file), text));
        match self {
            Self::Comment => append(&of.file, "# reviewed\n"),
            Self::OtherTime => append(&of.file, "findtime = 120\n"),
            Self::BreakFilter => write(&of.filter, b"[Definition]\nfailregex = ^( <HOST>\n"),
            Self::RemoveLog => {
                let index = host.jails.all.iter().position(|other| other.name == jail).unwrap();
                let _ = std::fs::remove_file(&host.jails.logs[index % host.jails.logs.len()]);
            }
            Self::RemoveJail => drop(std::fs::remove_file(config.join(&of.file))),
            Self::RemoveDropIn => drop(std::fs::remove_file(drop_in(host, jail))),
            Self::WriteIntoDropIn => append(&drop_in(host, jail).display().to_string(), EDITED),
            Self::SwitchOn => {
                write("jail.d/zzz-other.local", format!("[{jail}]\nenabled = true\n").as_bytes())
            }
            Self::SwitchOff => {
                write("jail.d/zzz-other.local", format!("[{jail}]\nenabled = false\n").as_bytes())
            }
            Self::OverruleTime => {
                write("jail.d/zzz-other.local", format!("[{jail}]\nbantime = 5m\n").as_bytes())
            }
            Self::BreakSyntax => write("jail.local", b"no section\n[broken\n"),
            Self::UnreadableByte => write("jail.local", b"# gr\xf6\xdfer\n[DEFAULT]\n"),
            Self::BadLogTarget => write("fail2ban.local", b"[Definition]\nlogtarget = /none/such/f2b.log\n"),
        }
    }
}

impl Rights {
    async fn run(self, host: &Host, jail: &str) {
        let folder = host.config().join("jail.d");
        let Some(of) = host.jail(jail) else { return };
        match self {
            Self::NoneOnFile => give_rights(&host.config().join(&of.file), 0, 0),
            Self::NoneOnFolder => give_rights(&folder, 0, 0),
            Self::AllOnFolder => give_rights(&folder, 0o777, 0),
            Self::OtherOwner => give_rights(&drop_in(host, jail), 0o600, 65534),
            Self::ReadOnlyDisk => {
                if let Some(disk) = &host.disk {
                    disk.remount("ro").await;
                }
            }
            Self::FolderForDropIn => {
                let _ = std::fs::remove_file(drop_in(host, jail));
                let _ = std::fs::create_dir(drop_in(host, jail));
            }
            Self::LinkForDropIn => {
                let _ = std::fs::remove_file(drop_in(host, jail));
                let _ = std::os::unix::fs::symlink("/dev/null", drop_in(host, jail));
            }
        }
    }
}
