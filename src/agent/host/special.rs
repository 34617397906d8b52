//! Changes that are not transactions: of a jail that is no longer in any file, and while fail2ban is down.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;

use tokio::time::{Instant, sleep};

use super::change::{VERIFY_INTERVAL, VERIFY_TIMEOUT};
use super::changer::{Changed, Changer, Edit, Plan};
use super::dropin::{DropIn, Ignored};
use super::error::ChangeError;
use crate::domain::JailName;
use crate::fail2ban::tools::{ConfiguredJail, Verdict, View};

impl Changer {
    /// Stops a jail that is running or listed but that no file configures: there is nothing to write, and nothing to restore.
    pub(in crate::agent) async fn end_unconfigured(&self, jail: &JailName) -> Result<Changed, ChangeError> {
        self.stop(jail).await?;
        let deadline = Instant::now() + VERIFY_TIMEOUT;
        while self.running().await?.contains_key(jail) {
            if Instant::now() >= deadline {
                return Err(ChangeError::Unsettled(format!("{jail} was stopped but is still listed")));
            }
            sleep(VERIFY_INTERVAL).await;
        }
        Ok(Changed { active: false, changed: true })
    }

    /// While fail2ban is down, a jail can only be switched off, in the files: that allows fail2ban to start again if that jail is what
    /// prevents it. Every other change fails, with what keeps fail2ban from starting, in its own words.
    pub(in crate::agent) async fn change_while_down(
        &self,
        jail: &JailName,
        edit: &Edit,
        reason: &str,
    ) -> Result<Changed, ChangeError> {
        if !matches!(edit, Edit::Deactivate) || !self.is_gone() {
            return Err(self.down(reason).await);
        }
        let enabled = self.configured(jail).await?.enabled;
        if !enabled {
            return Ok(Changed { active: false, changed: false });
        }
        let (_, drop_in) = self.drop_in(jail)?;
        self.files.stage(&DropIn { enabled: Some(false), ..drop_in }.render(jail))?;
        let plan = Plan { jail, edit, active: false, reloads: false };
        if let Err(reason) = self.try_out(&plan).await {
            self.files.discard()?;
            return Err(reason);
        }
        self.files.commit(jail)?;
        Ok(Changed { active: false, changed: true })
    }

    /// The error that fail2ban is down, with what keeps it from starting, in its own words.
    pub(in crate::agent) async fn down(&self, reason: &str) -> ChangeError {
        ChangeError::Down(match self.tools.test().await {
            Ok(Verdict::Wrong(words)) => format!("{reason}. fail2ban-client -t says: {words}"),
            _ => reason.to_owned(),
        })
    }

    /// Whether nobody listens on fail2ban's socket. Otherwise fail2ban might be running and merely not answer this agent.
    fn is_gone(&self) -> bool {
        let gone = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
        UnixStream::connect(&self.socket).is_err_and(|error| gone.contains(&error.kind()))
    }

    /// What is never banned according to the other files, in a form that the drop-in can use.
    pub(in crate::agent) async fn ignored_by_others(
        &self,
        jail: &JailName,
        configured: &ConfiguredJail,
    ) -> Result<Ignored, ChangeError> {
        let drop_in = self.files.drop_in(jail);
        let others = self.tools.rehearse(jail, View::Without(&drop_in)).await?;
        let refers = others.ignoreip_as_written.is_some_and(|text| text.contains("%(known/ignoreip)"));
        match others.settings {
            Some(settings) if refers => Ignored::kept(&settings.ignoreip).map_err(|word| {
                ChangeError::Configuration(format!(
                    "the ignoreip of {jail} holds `{word}`, which bangui cannot copy into its drop-in: add the network by hand"
                ))
            }),
            Some(settings) => Ok(Ignored { besides: !settings.ignoreip.is_empty(), ..Ignored::besides() }),
            None => Ok(Ignored { besides: !configured.ignoreip.is_empty(), ..Ignored::besides() }),
        }
    }
}
