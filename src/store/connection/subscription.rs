//! A subscription to one channel, on a connection of its own, on which commands may travel beside the messages.
//!
//! It ends when the connection breaks, and also when this worker moves to another Redis: on a primary that was superseded nothing
//! more would be heard.

use std::pin::Pin;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{PushInfo, PushKind};
use tokio::sync::mpsc;

use super::dialer::Dialer;
use crate::store::Result;

/// See the head of this file. Dropped, it ends.
pub(in crate::store) struct Subscription {
    /// For commands.
    pub connection: MultiplexedConnection,
    channel: String,
    pushed: mpsc::Receiver<PushInfo>,
    moved: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Subscription {
    /// Subscribes. While `room` messages wait here, further ones are lost.
    pub async fn open(dialer: &Dialer, channel: String, room: usize) -> Result<Self> {
        // Before dialling: a move that comes in between ends it, too.
        let moved = Box::pin(dialer.moved_from(dialer.number()));
        let (sender, pushed) = mpsc::channel(room);
        let push = move |info: PushInfo| sender.try_send(info).map_err(|_| SendError);
        let mut connection = dialer.dial_pushed(push).await?;
        connection.subscribe(&channel).await?;
        Ok(Self { connection, channel, pushed, moved })
    }

    /// The next message, or the answer to a subscription; none when it has ended: ask no more then. Messages that have arrived come
    /// before the end.
    pub async fn next(&mut self) -> Option<PushInfo> {
        tokio::select! {
            biased;
            pushed = self.pushed.recv() => unless_broken(pushed),
            () = &mut self.moved => None,
        }
    }

    /// What [`Self::next`] would give at once; the outer option is none if it would wait.
    #[expect(clippy::option_option, reason = "nothing now, and nothing any more, are different things")]
    pub fn arrived(&mut self) -> Option<Option<PushInfo>> {
        self.pushed.try_recv().ok().map(|pushed| unless_broken(Some(pushed)))
    }

    /// Subscribes again, which changes nothing: it shows whether the connection works.
    pub async fn works(&mut self) -> bool {
        self.connection.subscribe(&self.channel).await.is_ok()
    }
}

/// redis-rs reports the end of the connection as a message.
fn unless_broken(pushed: Option<PushInfo>) -> Option<PushInfo> {
    pushed.filter(|info| info.kind != PushKind::Disconnection)
}
