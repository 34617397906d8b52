//! Asking an agent for a change until it is finished.
//!
//! An agent answers before its caller gives up, so a change that takes longer is still under way then. It is safe to ask for it
//! again: the new request waits for its turn, and then finds the jail as asked.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{Instant, sleep};

use crate::agent::client::{AgentError, RefusedKind};

/// The longest time for a change; the agent gives up after the same time.
const MAX_CHANGE: Duration = Duration::from_secs(3600);
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Asks until the change is finished. Returns the last answer, and whether an earlier one said that the change had begun.
pub(super) async fn until_finished<T, Asked>(ask: impl Fn() -> Asked) -> (Result<T, AgentError>, bool)
where
    Asked: Future<Output = Result<T, AgentError>>,
{
    let (began, mut begun) = (Instant::now(), false);
    loop {
        let answer = ask().await;
        let under_way = matches!(answer, Err(AgentError::Refused { kind: RefusedKind::UnderWay, .. }));
        // fail2ban may be busy with this change; before it has begun, with others, for which nobody waits here.
        let waits = under_way || begun && matches!(answer, Err(AgentError::Busy { .. }));
        if !waits || began.elapsed() > MAX_CHANGE {
            return (if begun { answer.map_err(interrupted) } else { answer }, begun);
        }
        begun |= under_way;
        let pause = ASK_AGAIN.mul_f64(rand::rng().random_range(0.5..=1.0));
        sleep(pause).await;
    }
}

/// The error for a change that had begun, from the answer to a later request: that the later one did nothing does not mean that
/// the change was not made.
fn interrupted(error: AgentError) -> AgentError {
    match error {
        AgentError::Busy { .. } | AgentError::Down { .. } => AgentError::Refused {
            kind: RefusedKind::Unsettled,
            reason: format!("the change had begun, and its outcome is not known: {error}"),
        },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn under_way() -> AgentError {
        AgentError::Refused { kind: RefusedKind::UnderWay, reason: "it works".to_owned() }
    }

    fn busy() -> AgentError {
        AgentError::Busy { reason: "something else".to_owned() }
    }

    /// The result of these answers, the last of which is repeated, and the number of requests.
    async fn asked(answers: &[Result<(), AgentError>]) -> (Result<(), AgentError>, bool, usize) {
        let count = RefCell::new(0);
        let (answer, begun) = until_finished(|| {
            let at = *count.borrow();
            *count.borrow_mut() += 1;
            std::future::ready(answers[at.min(answers.len() - 1)].clone())
        })
        .await;
        (answer, begun, count.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_under_way_is_polled_until_it_ends() {
        assert_eq!(asked(&[Ok(())]).await, (Ok(()), false, 1));
        assert_eq!(asked(&[Err(busy()), Ok(())]).await, (Err(busy()), false, 1), "it has not begun");
        assert_eq!(asked(&[Err(under_way()), Err(busy()), Ok(())]).await, (Ok(()), true, 3));
        let down = AgentError::Down { reason: "no socket".to_owned() };
        assert_eq!(asked(&[Err(down.clone())]).await, (Err(down.clone()), false, 1));
        let (answer, ..) = asked(&[Err(under_way()), Err(down)]).await;
        let unsettled = matches!(&answer, Err(AgentError::Refused { kind: RefusedKind::Unsettled, .. }));
        assert!(unsettled, "nothing was changed by the second request, and by the first? {answer:?}");
        let (answer, begun, count) = asked(&[Err(under_way())]).await;
        assert_eq!((answer, begun), (Err(under_way()), true));
        assert!(count > 1000, "an hour later");
    }
}
