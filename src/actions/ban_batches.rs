//! The one loop for bans that are made at once and for ban jobs.
//!
//! Addresses go to fail2ban in batches of up to 25, since its one command thread does nothing else during a batch; the next
//! batch is smaller if the last one was slow. An agent that had no time for a whole batch answers for its first addresses, and the
//! others are sent again.

use std::future::Future;

use tokio::time::Instant;

use crate::agent::client::{AgentClient, AgentError, BanRequest, BanResult, JobEpoch};
use crate::domain::ban_job::{BATCH_SIZE, size_after};
use crate::domain::{BanAction, JailName, Network, ServerName};
use crate::store::Store;

/// Sends batches, and keeps the outcome of each.
pub trait Batches {
    /// Why the rest is not sent.
    type Error;

    /// Sends one batch.
    fn send(&mut self, batch: &[Network])
    -> impl Future<Output = Result<Vec<BanResult>, Self::Error>> + Send;

    /// Saves the outcome of the addresses that were tried, before the next batch is sent.
    fn keep(
        &mut self,
        batch: &[Network],
        results: Vec<BanResult>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Sends all of `ips`, batch after batch, until one is not sent or not kept.
///
/// # Errors
/// The first error of `batches`.
pub async fn run<B: Batches>(batches: &mut B, ips: &[Network]) -> Result<(), B::Error> {
    let (mut left, mut size) = (ips, BATCH_SIZE);
    while !left.is_empty() {
        let batch = &left[..size.min(left.len())];
        let sent_at = Instant::now();
        let results = batches.send(batch).await?;
        let answered = batch.iter().take_while(|ip| results.iter().any(|one| one.ip == **ip)).count();
        // If an answer names no address of its batch, the batch would be sent again without end.
        let tried = if answered == 0 { batch.len() } else { answered };
        size = size_after(tried, sent_at.elapsed());
        left = &left[tried..];
        batches.keep(&batch[..tried], results).await?;
    }
    Ok(())
}

/// Sends one command for a batch.
///
/// # Errors
/// [`AgentError`].
pub async fn command(
    agent: &AgentClient,
    jail: &JailName,
    order: BanAction,
    batch: &[Network],
    job: Option<JobEpoch>,
) -> Result<Vec<BanResult>, AgentError> {
    let request = BanRequest { ips: batch.to_vec(), job, partial: true };
    match order {
        BanAction::Ban => agent.ban(jail, &request).await,
        BanAction::Unban | BanAction::UnbanAll => agent.unban(jail, &request).await,
        // No job with this action is ever claimed.
        BanAction::Unknown => Ok(Vec::new()),
    }
}

/// Records what a batch has changed, so that events also name bans that are gone again when the jail's list is read next.
pub async fn note_changes(
    store: &Store,
    server: &ServerName,
    jail: &JailName,
    order: BanAction,
    results: &[BanResult],
) {
    let changed = results.iter().filter(|one| one.changed).map(|one| one.ip.to_string());
    if let Err(error) = store.note_bans(&(server.clone(), jail.clone()), order, changed).await {
        tracing::debug!(error = %error, "failed to record bans for the event stream");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Takes so long for each address, and fails at this batch.
    struct Slow {
        each: Duration,
        fails_at: usize,
        sizes: Vec<usize>,
        kept: usize,
        /// Answers for so many addresses at most.
        answers: usize,
    }

    impl Batches for Slow {
        type Error = &'static str;

        async fn send(&mut self, batch: &[Network]) -> Result<Vec<BanResult>, Self::Error> {
            if self.sizes.len() == self.fails_at {
                return Err("broken");
            }
            self.sizes.push(batch.len());
            let answered = &batch[..batch.len().min(self.answers)];
            tokio::time::sleep(self.each * answered.len() as u32).await;
            Ok(answered.iter().map(|ip| BanResult { ip: *ip, banned: true, changed: true }).collect())
        }

        async fn keep(&mut self, batch: &[Network], _: Vec<BanResult>) -> Result<(), Self::Error> {
            self.kept += batch.len();
            Ok(())
        }
    }

    async fn sent(each: Duration, fails_at: usize) -> (Result<(), &'static str>, Slow) {
        sent_to(Slow { each, fails_at, sizes: Vec::new(), kept: 0, answers: usize::MAX }).await
    }

    async fn sent_to(mut slow: Slow) -> (Result<(), &'static str>, Slow) {
        let ips: Vec<Network> =
            (0..100).map(|n| Network::parse(&format!("203.0.113.{n}")).unwrap()).collect();
        (run(&mut slow, &ips).await, slow)
    }

    #[tokio::test(start_paused = true)]
    async fn batches_are_full_where_fail2ban_is_fast_and_small_where_it_is_slow() {
        let (all, fast) = sent(Duration::ZERO, usize::MAX).await;
        assert_eq!((all, fast.sizes, fast.kept), (Ok(()), vec![25; 4], 100));
        let (all, slow) = sent(Duration::from_secs(1), usize::MAX).await;
        assert_eq!((all, slow.kept, slow.sizes[0]), (Ok(()), 100, 25));
        assert!(slow.sizes[1..].iter().all(|size| *size < 10), "{:?}", slow.sizes);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_answer_leaves_out_comes_again_until_all_are_tried() {
        let slow = |answers| Slow {
            each: Duration::ZERO,
            fails_at: usize::MAX,
            sizes: Vec::new(),
            kept: 0,
            answers,
        };
        let (all, some) = sent_to(slow(18)).await;
        assert_eq!((all, some.kept, &some.sizes[..2]), (Ok(()), 100, &[25, 25][..]));
        assert_eq!(some.sizes.len(), 6, "{:?}", some.sizes);
        let (all, none) = sent_to(slow(0)).await;
        assert_eq!((all, none.kept, none.sizes), (Ok(()), 100, vec![25; 4]), "it must end");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_after_a_batch_that_failed() {
        let (broken, slow) = sent(Duration::ZERO, 2).await;
        assert_eq!((broken, slow.sizes.len(), slow.kept), (Err("broken"), 2, 50));
    }
}
