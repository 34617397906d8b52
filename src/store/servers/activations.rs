//! The switching of jails in a server's state: recorded before it is applied, settled by its outcome.
//!
//! Each verb is one read-change-write by revision ([`Store::change_server`]); a probe that was on its way is thus discarded and
//! run again. The rules are in [`crate::domain::switches`]: between the begin and the end of a switch a probe's sight of that
//! jail counts for nothing, and what a worker that dies in between leaves, a later probe settles.

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
    /// Records that a switch is about to be made; whether the jail was expected to run. To be called before: a crash during an
    /// activation is the likeliest one.
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

    /// Records that nobody knows the outcome, nor waits for it any more.
    pub async fn abandon_switch(&self, switch: &JailSwitch) -> Result<()> {
        let abandon = |state, _| (abandon_switch(state, &switch.id), vec![]);
        self.change_switches(&switch.server, abandon).await.map(drop)
    }

    /// Takes back a switch that was not made and whose record may or may not have been written: whether it was. After this
    /// one, that write cannot arrive any more: this one is made in any case, and moves the revision on that it would need.
    pub async fn take_back_if_recorded(&self, switch: &JailSwitch) -> Result<bool> {
        let recorded = AtomicBool::new(false);
        let take_back = |state: ServerState, _| {
            let found = state.switching.iter().any(|other| other.id.as_ref() == Some(&switch.id));
            // Of the last try, which is the one that is written.
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
