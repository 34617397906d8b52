//! Waits for fail2ban as long as it makes progress.
//!
//! A jail that stops runs the unban action of each of its bans: at a second each that takes minutes. Giving up in the middle would
//! undo a change that fail2ban is still making, so the agent waits as long as fail2ban makes progress, and reports in its status
//! that it is working.

use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::change::ANSWER_TIMEOUT;
use super::changer::{Changer, Working};
use crate::domain::JailName;
use crate::fail2ban::progress::{Progress, has_child};
use crate::fail2ban::{Command, threads, zone};

/// Without progress for this long, fail2ban counts as hung: it ends an action itself after a minute.
const STALLED_AFTER: Duration = Duration::from_secs(90);
/// The same where progress cannot be seen. It is longer, since undoing a change that fail2ban is still working on is worse than
/// waiting for one that hangs.
const UNSEEN_FOR: Duration = Duration::from_secs(600);
/// Shortens both for a test, in milliseconds. Not compiled into release builds, see `worker/tasks/test_switch.rs`.
#[cfg(debug_assertions)]
const TEST_VARIABLE: &str = "BANGUI_TEST_STALLED_AFTER_MS";
/// The longest wait, even if fail2ban makes progress.
const MAX_WAIT: Duration = Duration::from_secs(3600);
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl Changer {
    /// The outcome of `work` on a jail; none if fail2ban no longer makes progress.
    pub(in crate::agent) async fn while_it_works<T>(
        &self,
        jail: &JailName,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let _over = Over(self);
        let began = Instant::now();
        let (mut last, mut seen) = (self.progress(), began);
        tokio::pin!(work);
        loop {
            let now = self.progress();
            if now != last || self.process().is_some_and(has_child) {
                (last, seen) = (now, Instant::now());
            }
            let working = Working { jail: jail.clone(), since: began, seen, visible: now.is_some() };
            if working.has_stalled() || began.elapsed() > MAX_WAIT {
                return None;
            }
            self.note(Some(working));
            tokio::select! {
                outcome = &mut work => return Some(outcome),
                () = sleep(POLL_INTERVAL) => {}
            }
        }
    }

    /// What fail2ban is working on, for people; `None` if it hangs.
    pub(in crate::agent) fn working(&self) -> Option<String> {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let working = working.filter(|working| !working.has_stalled())?;
        let how = match working.visible {
            true => "and makes progress: it runs the unban action of each ban",
            false => "and its progress cannot be seen from here: it runs the unban action of each ban",
        };
        let seconds = working.since.elapsed().as_secs();
        Some(format!("fail2ban has been working on the change of {} for {seconds} s, {how}", working.jail))
    }

    /// Finds the log file in which progress can be seen if the process cannot be. Call this while fail2ban answers.
    pub(in crate::agent) async fn find_log(&self) {
        if self.process().is_some() {
            return;
        }
        let target = self.client.ask(Command::LogTarget, Instant::now() + ANSWER_TIMEOUT).await;
        let log = target.ok().and_then(|target| zone::log_file(target.as_str()?));
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = log;
    }

    /// fail2ban's process, if it can be seen.
    fn process(&self) -> Option<i32> {
        self.client.server_pid().filter(|pid| threads::is_fail2ban(*pid))
    }

    fn progress(&self) -> Option<Progress> {
        match self.process() {
            Some(pid) => Progress::of_process(pid),
            None => Progress::of_log(self.log.lock().unwrap_or_else(PoisonError::into_inner).as_deref()?),
        }
    }

    fn note(&self, working: Option<Working>) {
        *self.working.lock().unwrap_or_else(PoisonError::into_inner) = working;
    }
}

/// Clears what fail2ban is working on, however the wait for it ends.
struct Over<'a>(&'a Changer);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.note(None);
    }
}

impl Working {
    fn has_stalled(&self) -> bool {
        self.seen.elapsed() > patience(self.visible)
    }
}

fn patience(visible: bool) -> Duration {
    #[cfg(debug_assertions)]
    if let Some(millis) = std::env::var(TEST_VARIABLE).ok().and_then(|millis| millis.parse().ok()) {
        return Duration::from_millis(millis);
    }
    if visible { STALLED_AFTER } else { UNSEEN_FOR }
}
