//! Waiting for fail2ban as long as it works.
//!
//! A jail that ends runs the unban action of each of its bans: a second each makes minutes. To give up in the middle and undo would
//! undo under its hands, so it is waited for as long as it makes progress, and a status request is answered that it is working.

use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::changer::{Changer, Working};
use crate::domain::JailName;
use crate::fail2ban::progress::Progress;

/// Without any progress for this long it hangs: fail2ban itself ends an action after a minute.
const STALLED_AFTER: Duration = Duration::from_secs(90);
/// Where progress cannot be seen.
const UNSEEN_FOR: Duration = Duration::from_secs(60);
/// However busy it is.
const MAX_WAIT: Duration = Duration::from_secs(3600);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Changer {
    /// The outcome of `work` on a jail; none if fail2ban shows no progress any more.
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
            if now != last {
                (last, seen) = (now, Instant::now());
            }
            let progress = now.is_some().then_some(seen);
            self.note(Some(Working { jail: jail.clone(), since: began, progress }));
            tokio::select! {
                outcome = &mut work => return Some(outcome),
                () = sleep(LOOK_EVERY) => {}
            }
            let patience = if now.is_some() { STALLED_AFTER } else { UNSEEN_FOR };
            if seen.elapsed() > patience || began.elapsed() > MAX_WAIT {
                return None;
            }
        }
    }

    /// What fail2ban works on, in words, if it is seen to.
    pub(in crate::agent) fn working(&self) -> Option<String> {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        working.progress.filter(|at| at.elapsed() < STALLED_AFTER)?;
        let seconds = working.since.elapsed().as_secs();
        Some(format!(
            "fail2ban has been working on the change of {} for {seconds} s, and makes progress: it runs the unban action of each \
             ban",
            working.jail
        ))
    }

    fn progress(&self) -> Option<Progress> {
        self.client.server_pid().and_then(Progress::of)
    }

    fn note(&self, working: Option<Working>) {
        *self.working.lock().unwrap_or_else(PoisonError::into_inner) = working;
    }
}

/// Forgets what fail2ban was at, however the wait for it ends.
struct Over<'a>(&'a Changer);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.note(None);
    }
}
