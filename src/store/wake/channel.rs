//! Listens to the wake channel and rings the bells.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use rand::RngExt as _;
use redis::{PushInfo, PushKind, Value};
use tokio::time::{Instant, sleep, sleep_until};

use super::bells::Wake;
use crate::store::connection::subscription::Subscription;
use crate::store::{Result, Store};

/// The most messages that wait here. One more is lost; the listeners' timers make up for it.
const MESSAGES: usize = 256;
/// A firewall may silently drop a subscription that was idle for hours, so it is renewed this often.
const RESUBSCRIBE_INTERVAL: Duration = Duration::from_secs(60);

impl Store {
    /// Waits for this kind of message, or returns at once if one came since the last wait. Messages get lost: wait with a timer.
    pub async fn woken(&self, wake: Wake) {
        self.wakes.bell(wake).notified().await;
    }

    /// Listens to the channel, and subscribes again whenever Redis has been away. Never returns.
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

    /// One subscription. Ends with its connection, when Redis stops answering (the connection may have lost messages), and after
    /// [`RESUBSCRIBE_INTERVAL`].
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

    /// On a dedicated connection. The stream ends when that breaks, or when the process has moved to another Redis.
    async fn subscribe_to_wakes(&self) -> Result<impl Stream<Item = Wake> + Send + use<>> {
        let subscription = Subscription::open(&self.shared.dialer, self.keys.wake(), MESSAGES).await?;
        let messages = stream::unfold(subscription, async |mut subscription| {
            let info = subscription.next().await?;
            Some((wake_of(&info), subscription))
        });
        Ok(messages.filter_map(async |wake| wake))
    }
}

fn wake_of(info: &PushInfo) -> Option<Wake> {
    let (PushKind::Message, [_, Value::BulkString(message)]) = (&info.kind, info.data.as_slice()) else {
        return None;
    };
    Wake::parse(message)
}
