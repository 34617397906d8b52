//! The wake channel: messages that shorten a worker's waiting.
//!
//! ```text
//! script of a write ─PUBLISH─▶ follow_wakes ─▶ one bell for each Wake ─▶ campaign, probe requests, settings, servers, ban jobs
//! ```
//!
//! A message carries nothing but its kind: whoever is woken reads what is there. Pub/sub loses messages (while a connection is
//! away, above all), so every waiter has a timer too, and all bells ring after each new subscription.
//!
//! A new kind goes into [`Wake`] and [`Wake::ALL`]; the script that publishes it names the same word.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Result, Store};

/// A firewall may silently drop a subscription that was idle for hours, so it is renewed this often.
const RESUBSCRIBE_INTERVAL: Duration = Duration::from_secs(60);

/// Why a waiting part of a worker is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The scheduler's lease was released.
    LeaseReleased,
    /// A probe was requested.
    ProbeRequested,
    /// Settings were changed.
    SettingsChanged,
    /// Discovered servers were added, moved or removed.
    ServersChanged,
    /// A ban job can be claimed.
    BanJob,
}

impl Wake {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::LeaseReleased,
        Self::ProbeRequested,
        Self::SettingsChanged,
        Self::ServersChanged,
        Self::BanJob,
    ];

    /// The message on the channel. Neighbouring versions and the scripts use these words.
    fn word(self) -> &'static [u8] {
        match self {
            Self::LeaseReleased => b"released",
            Self::ProbeRequested => b"probe",
            Self::SettingsChanged => b"settings",
            Self::ServersChanged => b"servers",
            Self::BanJob => b"ban-job",
        }
    }

    /// The kind of a message; none for one that only a newer version knows.
    fn parse(message: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|wake| wake.word() == message)
    }
}

/// The bells of one worker. Each keeps one ring until somebody hears it, so that none is missed between two waits; each has one
/// listener.
#[derive(Debug, Default)]
pub(in crate::store) struct Wakes {
    bells: [Notify; Wake::ALL.len()],
}

impl Wakes {
    /// Wakes this worker's listener, now or when it next waits.
    pub fn ring(&self, wake: Wake) {
        self.bell(wake).notify_one();
    }

    fn bell(&self, wake: Wake) -> &Notify {
        let [released, probe, settings, servers, ban_job] = &self.bells;
        match wake {
            Wake::LeaseReleased => released,
            Wake::ProbeRequested => probe,
            Wake::SettingsChanged => settings,
            Wake::ServersChanged => servers,
            Wake::BanJob => ban_job,
        }
    }
}

impl Store {
    /// Waits for this kind of message, or returns at once if one came since the last wait. Messages get lost: wait with a timer.
    pub async fn woken(&self, wake: Wake) {
        self.wakes.bell(wake).notified().await;
    }

    /// Listens to the channel, for ever, and subscribes again whenever Redis has been away.
    pub async fn follow_wakes(&self) {
        loop {
            self.connected().await;
            if let Err(error) = self.forward_wakes().await {
                tracing::debug!(error = %error, "failed to subscribe to the wake channel: retrying");
            }
            let wait = rand::rng().random_range(100..300);
            sleep(Duration::from_millis(wait)).await;
        }
    }

    /// One subscription. Ends with its connection, when Redis was away (a link that has swallowed bytes once is not listened to),
    /// and after [`RESUBSCRIBE_INTERVAL`].
    async fn forward_wakes(&self) -> Result<()> {
        let mut messages = pin!(self.subscribe_to_wakes().await?);
        for wake in Wake::ALL {
            self.wakes.ring(wake);
        }
        let end = Instant::now() + RESUBSCRIBE_INTERVAL;
        loop {
            tokio::select! {
                () = self.outage() => return Ok(()),
                () = sleep_until(end) => return Ok(()),
                message = messages.next() => match message {
                    Some(wake) => self.wakes.ring(wake),
                    None => return Ok(()),
                }
            }
        }
    }

    /// On a connection of its own. The stream ends when that breaks, or when the process has moved to another Redis.
    async fn subscribe_to_wakes(&self) -> Result<impl Stream<Item = Wake> + Send + use<>> {
        let dialer = &self.shared.dialer;
        let moved = dialer.moved_from(dialer.number());
        let subscriber = dialer.subscriber(self.keys.wake()).await?;
        let messages = subscriber.into_on_message().take_until(moved);
        Ok(messages.filter_map(async |message| Wake::parse(message.get_payload_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn every_kind_is_read_from_its_word_and_rings_a_bell_of_its_own() {
        let wakes = Wakes::default();
        for wake in Wake::ALL {
            assert_eq!(Wake::parse(wake.word()), Some(wake));
            wakes.ring(wake);
            let rung =
                Wake::ALL.into_iter().filter(|other| wakes.bell(*other).notified().now_or_never().is_some());
            assert_eq!(rung.collect::<Vec<_>>(), [wake]);
        }
        assert_eq!(Wake::parse(b"of a newer version"), None);
    }
}
