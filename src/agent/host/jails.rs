//! The jails of the configuration, on or off, with their settings; and settings that change.
//!
//! The settings of a running jail are asked of fail2ban, since they can be changed at run time; those of any other jail are read
//! from the configuration, as fail2ban computes them. That costs a Python process, so it is done again only when a file of the
//! configuration has changed, included ones too, or after a minute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout_at};

use super::changer::{Changer, Edit};
use super::error::{ChangeError, unknown};
use super::logs::LogLook;
use crate::agent::wire;
use crate::domain::{Answer, JailChangeId, JailName, JailSettings, Network};
use crate::fail2ban::command::{Field, Setting};
use crate::fail2ban::pickle::Value;
use crate::fail2ban::tools::{ConfiguredJail, Survey, Tools};
use crate::fail2ban::{Client, Command, Fail2banError, reply};

const SURVEY_HOLDS: Duration = Duration::from_secs(60);
/// The most files that are checked; no configuration has more.
const MAX_FILES: usize = 10_000;

/// The resolution of a file system's times may be as coarse as this.
const CLOCK_STEP: Duration = Duration::from_secs(1);

/// For each file, when it was last written and how long it is; `None` if it does not exist.
type Fingerprint = BTreeMap<PathBuf, Option<(Option<SystemTime>, u64)>>;

/// Reads jails and changes their settings.
pub(in crate::agent) struct JailService {
    client: Client,
    tools: Tools,
    changer: Arc<Changer>,
    config: PathBuf,
    survey: Mutex<Option<(Fingerprint, Instant, Arc<Survey>)>>,
    logs: LogLook,
}

impl JailService {
    pub(in crate::agent) fn new(
        client: Client,
        tools: Tools,
        changer: Arc<Changer>,
        config: PathBuf,
    ) -> Self {
        Self { client, tools, changer, config, survey: Mutex::default(), logs: LogLook::default() }
    }

    /// Every jail that is configured or listed, by name; just the jail `only` if that is given.
    pub(in crate::agent) async fn all(
        &self,
        running: &Answer,
        only: Option<&JailName>,
        deadline: Instant,
    ) -> Result<wire::JailViews, ChangeError> {
        let survey = self.survey().await?;
        let listed = running.jails.keys().chain(&running.stalled);
        let mut names: Vec<&JailName> = survey.jails.keys().chain(listed).collect();
        names.sort_unstable();
        names.dedup();
        let mut views = Vec::new();
        for name in names.into_iter().filter(|name| only.is_none_or(|only| only == *name)) {
            let mut view = configured(name, survey.jails.get(name));
            view.running = running.jails.contains_key(name);
            view.stalled = running.stalled.contains(name);
            if view.running {
                self.fill_in(&mut view, deadline).await?;
            }
            views.push(view);
        }
        match only {
            Some(name) if views.is_empty() => Err(unknown(name, &survey)),
            _ => {
                self.look_at_logs(&mut views).await;
                let database = if only.is_none() { self.database(deadline).await? } else { None };
                Ok(wire::JailViews { jails: views, errors: survey.errors.clone(), database })
            }
        }
    }

    /// Adds the state of the log files of running jails.
    async fn look_at_logs(&self, views: &mut [wire::JailView]) {
        let running = || views.iter().filter(|view| view.running);
        let paths = running().flat_map(|view| view.log_files.iter().cloned()).collect();
        let found = self.logs.at(paths, self.client.server_pid()).await;
        for view in views.iter_mut().filter(|view| view.running) {
            let logs: Option<Vec<_>> = view.log_files.iter().map(|path| found.get(path).cloned()).collect();
            view.logs = logs;
        }
    }

    async fn database(&self, deadline: Instant) -> Result<Option<wire::Database>, ChangeError> {
        match self.client.ask(Command::Database, deadline).await {
            Ok(Value::None) => Ok(Some(wire::Database { file: None })),
            Ok(answer) => Ok(answer.as_str().map(|file| wire::Database { file: Some(file.to_owned()) })),
            // This version of fail2ban does not say.
            Err(Fail2banError::Refused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes settings until the next reload, or persistently: then with the steps recorded under `id`.
    pub(in crate::agent) async fn set(
        &self,
        jail: &JailName,
        change: &wire::ChangeSettings,
        id: Option<JailChangeId>,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        if change.settings.ignoreip.as_ref().is_some_and(|list| list.len() > crate::domain::jail::MAX_IGNORED)
        {
            let most = crate::domain::jail::MAX_IGNORED;
            return Err(ChangeError::Configuration(format!("ignoreip may hold {most} networks at most")));
        }
        if change.persistent {
            let edit = Edit::Set(change.settings.clone());
            return self.changer.change(jail.clone(), edit, id, deadline).await.map(drop);
        }
        self.must_answer(deadline).await?;
        for (done, setting) in self.steps(jail, &change.settings, deadline).await?.into_iter().enumerate() {
            let answer = self.ask(Command::Set(jail.clone(), setting), deadline).await;
            answer.map_err(|reason| match done {
                0 => reason,
                _ => ChangeError::Unsettled(format!(
                    "only some values were set ({done}), then this failed: {reason}"
                )),
            })?;
        }
        Ok(())
    }

    /// Unbans a network and never bans it again: ignored first, so that it is not banned between the two.
    pub(in crate::agent) async fn ignore(
        &self,
        jail: &JailName,
        network: Network,
        persistent: bool,
        id: Option<JailChangeId>,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        if persistent {
            self.changer.change(jail.clone(), Edit::Ignore(network), id, deadline).await?;
        } else {
            self.must_answer(deadline).await?;
            self.ask(Command::Set(jail.clone(), Setting::Ignore(network)), deadline).await?;
        }
        match self.client.ask(Command::Unban(jail.clone(), vec![network]), deadline).await {
            Ok(_) => Ok(()),
            // Configured but not running: it bans nothing.
            Err(error) if persistent && error.is_unknown_jail() => Ok(()),
            Err(error) => Err(ChangeError::Unsettled(format!(
                "{jail} never bans {network} from now on, but may still have a ban of it: {}",
                ChangeError::from(error)
            ))),
        }
    }

    /// For each address the entries of running jails' `ignoreip` that contain it. Host names among the entries are not resolved.
    pub(in crate::agent) async fn never_banned(
        &self,
        ips: &[Network],
        running: impl Iterator<Item = &JailName>,
        deadline: Instant,
    ) -> Result<Vec<Vec<wire::NeverBanned>>, Fail2banError> {
        let mut found: Vec<Vec<wire::NeverBanned>> = vec![Vec::new(); ips.len()];
        for jail in running {
            let answer = match self.client.ask(Command::Get(jail.clone(), Field::IgnoreIp), deadline).await {
                Err(error) if error.is_unknown_jail() => continue,
                answer => answer?,
            };
            for entry in reply::texts(&answer) {
                let Some(network) = Network::parse(&entry) else { continue };
                let of_it = |(_, ip): &(_, &Network)| network.contains(**ip);
                for (entries, _) in found.iter_mut().zip(ips).filter(of_it) {
                    let (jail, entry) = (jail.clone(), entry.clone());
                    entries.push(wire::NeverBanned { jail, entry, in_files: None, file: None });
                }
            }
        }
        if found.iter().any(|entries| !entries.is_empty()) {
            // Reading the files costs a Python process: the answer must leave in time without them if need be.
            let enough = deadline - (deadline - Instant::now()) / 4;
            if let Ok(Ok(survey)) = timeout_at(enough, self.survey()).await {
                found.iter_mut().flatten().for_each(|entry| place_in_files(entry, &survey));
            }
        }
        Ok(found)
    }

    async fn steps(
        &self,
        jail: &JailName,
        settings: &JailSettings,
        deadline: Instant,
    ) -> Result<Vec<Setting>, ChangeError> {
        let mut steps: Vec<Setting> = settings.bantime.map(Setting::BanTime).into_iter().collect();
        steps.extend(settings.findtime.map(Setting::FindTime));
        steps.extend(settings.maxretry.map(Setting::MaxRetry));
        if let Some(wanted) = &settings.ignoreip {
            let answer = self.ask(Command::Get(jail.clone(), Field::IgnoreIp), deadline).await?;
            // Host names stay here, since bangui cannot write them; a persistent change replaces them.
            let have: Vec<Network> =
                reply::texts(&answer).iter().filter_map(|text| Network::parse(text)).collect();
            steps.extend(
                wanted.iter().filter(|network| !have.contains(network)).copied().map(Setting::Ignore),
            );
            let gone = have.iter().filter(|network| !wanted.contains(network));
            steps.extend(gone.copied().map(Setting::IgnoreNoMore));
        }
        Ok(steps)
    }

    async fn fill_in(&self, view: &mut wire::JailView, deadline: Instant) -> Result<(), ChangeError> {
        let name = view.name.clone();
        let get = async |field| match self.client.ask(Command::Get(name.clone(), field), deadline).await {
            // The jail was stopped since it was listed, or this version does not know the command.
            Err(Fail2banError::Refused { .. }) => Ok(Value::None),
            answer => answer,
        };
        view.bantime = reply::number(&get(Field::BanTime).await?).or(view.bantime);
        view.findtime = reply::number(&get(Field::FindTime).await?).or(view.findtime);
        view.maxretry = reply::number(&get(Field::MaxRetry).await?).or(view.maxretry);
        view.ignoreip = reply::texts(&get(Field::IgnoreIp).await?);
        view.ignoreip.sort_unstable();
        view.log_files = reply::texts(&get(Field::LogPath).await?);
        view.journal_matches = reply::texts(&get(Field::JournalMatch).await?);
        Ok(())
    }

    async fn survey(&self) -> Result<Arc<Survey>, ChangeError> {
        let known = self.survey.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((files, at, survey)) = known
            && files == fingerprint(&self.config, &survey.files)
            && at.elapsed() < SURVEY_HOLDS
        {
            return Ok(survey);
        }
        // Taken before the files are read, so that a write during the read counts as new.
        let begun = SystemTime::now();
        let survey = Arc::new(self.tools.survey().await?);
        let now = settled(fingerprint(&self.config, &survey.files), begun);
        let mut known = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((now, Instant::now(), Arc::clone(&survey)));
        Ok(survey)
    }

    /// Fails before anything is sent if fail2ban is down, with the reason.
    async fn must_answer(&self, deadline: Instant) -> Result<(), ChangeError> {
        match self.client.ask(Command::Ping, deadline).await {
            Err(Fail2banError::Down(reason)) => Err(self.changer.down(&reason).await),
            answer => Ok(answer.map(drop)?),
        }
    }

    async fn ask(&self, command: Command, deadline: Instant) -> Result<Value, ChangeError> {
        let changes = command.changes();
        match self.client.ask(command, deadline).await {
            Err(error) if error.is_unknown_jail() => Err(ChangeError::UnknownJail(
                "the jail does not run: only a persistent change is possible".into(),
            )),
            // The command may have been sent.
            Err(Fail2banError::Down(reason)) if changes => Err(ChangeError::Unsettled(reason)),
            answer => Ok(answer?),
        }
    }
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

/// Adds to an entry whether the files have it, and which one.
fn place_in_files(entry: &mut wire::NeverBanned, survey: &Survey) {
    let jail = survey.jails.get(&entry.jail);
    let network = Network::parse(&entry.entry);
    let in_files =
        jail.is_some_and(|jail| jail.ignoreip.iter().any(|written| Network::parse(written) == network));
    entry.in_files = Some(in_files);
    entry.file = jail.filter(|_| in_files).and_then(|jail| jail.origins.get("ignoreip").cloned());
}

/// A jail as its configuration describes it; empty if it still runs but has no configuration any more.
fn configured(name: &JailName, jail: Option<&ConfiguredJail>) -> wire::JailView {
    let in_files = jail.map(|jail| wire::FileSettings {
        bantime: jail.bantime,
        findtime: jail.findtime,
        maxretry: jail.maxretry,
        ignoreip: sorted(jail.ignoreip.clone()),
        origins: jail.origins.clone(),
    });
    let jail = jail.cloned().unwrap_or_default();
    wire::JailView {
        in_files,
        name: name.clone(),
        enabled: jail.enabled,
        running: false,
        stalled: false,
        bantime: jail.bantime,
        findtime: jail.findtime,
        maxretry: jail.maxretry,
        ignoreip: jail.ignoreip,
        filter: jail.filter,
        backend: jail.backend,
        log_files: jail.log_files,
        journal_matches: jail.journal_matches,
        logs: None,
        errors: jail.errors,
    }
}

/// The files that make up the jails: those of the folder itself and of `jail.d`, and those they include, each with the
/// `.local` that fail2ban would read beside it. Missing ones count too, since they may appear.
fn fingerprint(config: &Path, included: &[PathBuf]) -> Fingerprint {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_FILES);
    let own = entries(config.into()).chain(entries(config.join("jail.d"))).map(|entry| entry.path());
    let own = own.filter(|path| path.extension().is_some_and(|end| end == "conf" || end == "local"));
    let included =
        included.iter().take(MAX_FILES).flat_map(|path| [path.clone(), path.with_extension("local")]);
    own.chain(included)
        .map(|path| {
            let file = std::fs::metadata(&path).ok();
            (path, file.map(|file| (file.modified().ok(), file.len())))
        })
        .collect()
}

/// The fingerprint of what was read from `begun` on, without the files that were written at about that time: they may have been
/// read before they were written, and so must count as changed.
fn settled(mut files: Fingerprint, begun: SystemTime) -> Fingerprint {
    let (from, to) = (begun - CLOCK_STEP, SystemTime::now() + CLOCK_STEP);
    files.retain(|_, file| {
        let written = file.and_then(|(written, _)| written);
        written.is_none_or(|written| written < from || written > to)
    });
    files
}
