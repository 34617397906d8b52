//! Switches of jails in a server's state: recorded before they are made, settled by their outcome.
//!
//! Each verb is one read-change-write by revision ([`Store::change_server`]), which makes a concurrent probe fail its write and run
//! again. The rules are in [`crate::domain::switches`]: between the begin and the end of a switch, what a probe sees of that jail
//! is ignored; if the worker dies in between, a later probe settles the switch.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::switches::{abandon_switch, begin_switch, end_switch, rolled_back, was_expected};
use crate::domain::{Event, JailName, ServerName, ServerState, SwitchId, Timestamp};
use crate::store::{ChangeError, Result, Store, hex, random};

/// One switch of a jail, from before it is recorded.
#[derive(Debug, Clone)]
pub struct JailSwitch {
    id: SwitchId,
    server: ServerName,
    jail: JailName,
    on: bool,
}

impl JailSwitch {
    /// A switch that is not recorded yet.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new(server: ServerName, jail: JailName, on: bool) -> Result<Self> {
        Ok(Self { id: SwitchId::new(hex(&random::<16>()?)), server, jail, on })
    }
}

impl Store {
    /// Records that a switch is about to be made, and returns whether the jail was expected to run. Call this before the switch:
    /// a crash is likeliest during an activation.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn begin_switch(&self, switch: &JailSwitch) -> Result<bool> {
        let begin = |state, now| begin_switch(state, switch.id.clone(), switch.jail.clone(), switch.on, now);
        let state = self.change_switches(&switch.server, begin).await?;
        Ok(was_expected(&state, &switch.jail))
    }

    /// Records that the jail is as asked (`done`), or that nothing was changed.
    pub async fn end_switch(&self, switch: &JailSwitch, done: bool) -> Result<()> {
        let end = |state, _| (end_switch(state, &switch.id, &switch.jail, switch.on, done), vec![]);
        self.change_switches(&switch.server, end).await.map(drop)
    }

    /// Records that the outcome is not known and that nobody waits for it any more.
    pub async fn abandon_switch(&self, switch: &JailSwitch) -> Result<()> {
        let abandon = |state, _| (abandon_switch(state, &switch.id), vec![]);
        self.change_switches(&switch.server, abandon).await.map(drop)
    }

    /// Takes back a switch that was not made and whose record may or may not have been written; returns whether it was. This always
    /// writes, which raises the revision, so that a delayed write of the record can no longer succeed.
    pub async fn take_back_if_recorded(&self, switch: &JailSwitch) -> Result<bool> {
        let recorded = AtomicBool::new(false);
        let take_back = |state: ServerState, _| {
            let found = state.switching.iter().any(|other| other.id.as_ref() == Some(&switch.id));
            // The last attempt counts: it is the one that is written.
            recorded.store(found, Ordering::Relaxed);
            (end_switch(state, &switch.id, &switch.jail, switch.on, false), vec![])
        };
        self.change_switches(&switch.server, take_back).await?;
        Ok(recorded.into_inner())
    }

    /// Records that an activation of `jail` was rolled back.
    pub async fn record_rollback(&self, server: &ServerName, jail: &JailName) -> Result<()> {
        let id = SwitchId::new(hex(&random::<16>()?));
        let roll_back = |state, now| (rolled_back(state, id.clone(), jail, now), vec![]);
        self.change_switches(server, roll_back).await.map(drop)
    }

    async fn change_switches(
        &self,
        server: &ServerName,
        change: impl Fn(ServerState, Timestamp) -> (ServerState, Vec<Event>),
    ) -> Result<ServerState> {
        let changed = self.change_server(server, |state, now| Ok::<_, Infallible>(Some(change(state, now))));
        match changed.await {
            Ok(changed) => Ok(Arc::unwrap_or_clone(changed.state)),
            Err(ChangeError::Store(error)) => Err(error),
            Err(ChangeError::Refused(never)) => match never {},
        }
    }
}
