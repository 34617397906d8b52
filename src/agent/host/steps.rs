//! Which step a change of a jail is at, for the worker that waits for it: it names the change in a header, and asks
//! `GET /v1/changes/{id}` while it waits.
//!
//! The last [`MAX_CHANGES`] changes are kept, in memory only. A worker asks for the same change again if it takes longer than one
//! request may. There is no second record then: the steps of the first request are shown.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::JailChangeId;
use crate::domain::change_steps::{ChangeStep, MAX_STEPS, StepTime};

/// The most changes that are remembered.
const MAX_CHANGES: usize = 16;

/// The latest changes. Cheap to clone; all clones share them.
#[derive(Debug, Clone, Default)]
pub(in crate::agent) struct StepLog(Arc<Mutex<VecDeque<Taken>>>);

#[derive(Debug)]
struct Taken {
    id: JailChangeId,
    steps: Vec<(ChangeStep, Instant, Option<Duration>)>,
}

impl StepLog {
    /// Records the steps of a change; nothing if it has no id, or is recorded already.
    pub(in crate::agent) fn record(&self, id: Option<JailChangeId>) -> Recorder {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = id.filter(|id| log.iter().all(|taken| taken.id != *id));
        if let Some(id) = &id {
            log.truncate(MAX_CHANGES - 1);
            log.push_front(Taken { id: id.clone(), steps: Vec::new() });
        }
        Recorder { log: self.clone(), id }
    }

    /// The steps of a change; none if it is not known.
    pub(in crate::agent) fn of(&self, id: &JailChangeId) -> Vec<StepTime> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = log.iter().find(|taken| taken.id == *id).map(|taken| taken.steps.as_slice());
        let shown = |(step, began, took): &(ChangeStep, Instant, Option<Duration>)| {
            let lasts = took.unwrap_or_else(|| began.elapsed());
            let ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
            StepTime { step: *step, ms, running: took.is_none() }
        };
        steps.unwrap_or_default().iter().map(shown).collect()
    }
}

/// Records the steps of one change. Dropping it ends the step that is being taken.
#[derive(Debug)]
pub(in crate::agent) struct Recorder {
    log: StepLog,
    id: Option<JailChangeId>,
}

impl Recorder {
    /// The change is at this step from now on.
    pub(in crate::agent) fn at(&self, step: ChangeStep) {
        self.with(|steps| {
            finish(steps);
            if steps.len() < MAX_STEPS {
                steps.push((step, Instant::now(), None));
            }
        });
    }

    fn with(&self, change: impl FnOnce(&mut Vec<(ChangeStep, Instant, Option<Duration>)>)) {
        let Some(id) = &self.id else { return };
        let mut log = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = log.iter_mut().find(|taken| taken.id == *id) {
            change(&mut taken.steps);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.with(|steps| finish(steps));
    }
}

fn finish(steps: &mut [(ChangeStep, Instant, Option<Duration>)]) {
    if let Some((_, began, took @ None)) = steps.last_mut() {
        *took = Some(began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(bits: u128) -> JailChangeId {
        JailChangeId::of(bits)
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_has_its_time_and_the_last_one_runs_until_the_change_ends() {
        let log = StepLog::default();
        let recorder = log.record(Some(id(1)));
        recorder.at(ChangeStep::Lock);
        tokio::time::advance(Duration::from_millis(30)).await;
        recorder.at(ChangeStep::Test);
        tokio::time::advance(Duration::from_millis(70)).await;
        let step = |step, ms, running| StepTime { step, ms, running };
        let lock = step(ChangeStep::Lock, 30, false);
        assert_eq!(log.of(&id(1)), [lock, step(ChangeStep::Test, 70, true)]);
        drop(recorder);
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(log.of(&id(1)), [lock, step(ChangeStep::Test, 70, false)]);
    }

    #[test]
    fn a_request_that_is_repeated_does_not_begin_its_change_again_and_old_changes_are_forgotten() {
        let log = StepLog::default();
        let first = log.record(Some(id(1)));
        first.at(ChangeStep::Load);
        let again = log.record(Some(id(1)));
        again.at(ChangeStep::Lock);
        drop(again);
        assert!(log.of(&id(1)).iter().all(|step| step.step == ChangeStep::Load && step.running));
        log.record(None).at(ChangeStep::Lock);
        for bits in 2..(2 + MAX_CHANGES as u128) {
            drop(log.record(Some(id(bits))));
        }
        assert!(log.of(&id(1)).is_empty(), "it is forgotten, and its recorder harms nobody");
        first.at(ChangeStep::Verify);
        for _ in 0..50 {
            log.record(Some(id(99))).at(ChangeStep::Undo);
        }
        assert_eq!(log.of(&id(99)).len(), 1);
    }

    #[test]
    fn a_change_keeps_no_more_steps_than_the_limit() {
        let log = StepLog::default();
        let recorder = log.record(Some(id(1)));
        (0..50).for_each(|_| recorder.at(ChangeStep::Undo));
        assert_eq!(log.of(&id(1)).len(), MAX_STEPS);
    }
}
