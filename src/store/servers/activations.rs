//! The switching of jails in a server's state: recorded before it is applied, put back when it is refused.
//!
//! Each verb is one read-change-write by revision ([`Store::change_server`]); a probe that was on its way meanwhile is
//! thus discarded and run again. Between the begin and the end of a switch a probe's sight of that jail counts for
//! nothing. What a worker that dies in between leaves, a later probe settles ([`crate::domain::transition::SWITCHED_WITHIN`]).

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use crate::domain::transition::{
    activation_refused, begin_switch, end_switch, record_activation, switch_off_refused, switched_off,
};
use crate::domain::{Activation, Event, JailName, ServerName, ServerState, Timestamp};
use crate::store::{ChangeError, Result, Store};

/// What a verb here replaced, to be put back if the change is refused.
#[derive(Debug, Clone)]
pub struct Replaced {
    previous: Option<Activation>,
    recorded: Option<Activation>,
    expected: BTreeSet<JailName>,
}

impl Store {
    /// Notes that a jail is about to be switched on. To be called before: a crash during it is the likeliest one.
    ///
    /// # Errors
    /// As [`crate::store::StoreError`] tells, here and below.
    pub async fn begin_activation(&self, server: &ServerName, jail: &JailName) -> Result<Replaced> {
        let begin = |state: ServerState, now| {
            let previous = state.last_activation.clone();
            let (state, events) = record_activation(state, jail.clone(), now);
            (begin_switch(state, jail.clone(), true, previous, now), events)
        };
        self.replace(server, begin).await
    }

    /// The jail runs, and is expected to from now on: if it is gone before the next probe, that probe finds it missing.
    pub async fn end_activation(&self, server: &ServerName, jail: &JailName) -> Result<()> {
        let end = |mut state: ServerState, _| {
            state.expected_jails.insert(jail.clone());
            (end_switch(state, jail), vec![])
        };
        self.replace(server, end).await.map(drop)
    }

    /// Nothing was changed: puts back what was recorded before.
    pub async fn take_back_activation(
        &self,
        server: &ServerName,
        jail: &JailName,
        replaced: &Replaced,
    ) -> Result<()> {
        let put_back = |state, _| {
            let state = match &replaced.recorded {
                Some(recorded) => activation_refused(state, recorded, replaced.previous.clone()),
                None => state,
            };
            (end_switch(state, jail), vec![])
        };
        self.replace(server, put_back).await.map(drop)
    }

    /// Notes that a jail is about to be switched off: that it is gone then is no loss, nor a crash.
    pub async fn begin_switch_off(&self, server: &ServerName, jail: &JailName) -> Result<Replaced> {
        let begin = |state: ServerState, now| {
            let previous = state.last_activation.clone();
            (begin_switch(switched_off(state, jail), jail.clone(), false, previous, now), vec![])
        };
        self.replace(server, begin).await
    }

    /// The jail is off.
    pub async fn end_switch_off(&self, server: &ServerName, jail: &JailName) -> Result<()> {
        self.replace(server, |state, _| (end_switch(switched_off(state, jail), jail), vec![])).await.map(drop)
    }

    /// The jail was not switched off: puts back the record that was taken, and that the jail is expected to run. If it was
    /// lost by the attempt, the next probe finds it missing.
    pub async fn take_back_switch_off(
        &self,
        server: &ServerName,
        jail: &JailName,
        replaced: &Replaced,
    ) -> Result<()> {
        let put_back = |state, _| {
            let mut state = switch_off_refused(state, replaced.previous.clone());
            state.expected_jails.extend(replaced.expected.get(jail).cloned());
            (end_switch(state, jail), vec![])
        };
        self.replace(server, put_back).await.map(drop)
    }

    async fn replace(
        &self,
        server: &ServerName,
        change: impl Fn(ServerState, Timestamp) -> (ServerState, Vec<Event>),
    ) -> Result<Replaced> {
        // Of the try that was written: each earlier one is overwritten by the next.
        let previous = Mutex::new((None, BTreeSet::new()));
        let changed = self.change_server(server, |state, now| {
            *previous.lock().unwrap_or_else(PoisonError::into_inner) =
                (state.last_activation.clone(), state.expected_jails.clone());
            let before = state.clone();
            let (after, events) = change(state, now);
            Ok::<_, Infallible>((after != before).then_some((after, events)))
        });
        let stored = changed.await.map_err(|error| match error {
            ChangeError::Store(error) => error,
            ChangeError::Refused(never) => match never {},
        })?;
        let (previous, expected) = previous.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Replaced { previous, recorded: stored.state.last_activation, expected })
    }
}
