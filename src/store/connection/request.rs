//! What is sent to Redis.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};
use tokio::time::{Instant, sleep};

use super::primary::is_on_its_way;
use crate::store::scripts::Call;

/// What can be sent.
#[derive(Clone, Copy)]
pub(in crate::store) enum Request<'a> {
    /// One command.
    Command(&'a Cmd),
    /// Several in one round trip.
    Pipeline(&'a Pipeline),
    /// One atomic step.
    Script(&'a Call),
}

/// How long a request waits for a slot that is being moved to another node of a Redis Cluster. Shorter than any timeout of a
/// caller.
const PATIENCE: Duration = Duration::from_millis(300);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// How long one request still waits for a slot that is being moved.
pub(in crate::store) struct Patience(Instant);

impl Patience {
    pub fn new() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    /// Whether to send it once more, after a moment.
    pub async fn lasts<T>(&self, answer: &Result<T, RedisError>) -> bool {
        let again = answer.as_ref().is_err_and(is_on_its_way) && Instant::now() < self.0;
        if again {
            sleep(RETRY_INTERVAL).await;
        }
        again
    }
}

impl Request<'_> {
    pub async fn send<T: FromRedisValue>(
        self,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        let patience = Patience::new();
        loop {
            let answer = self.send_once(connection).await;
            if !patience.lasts(&answer).await {
                return answer;
            }
        }
    }

    async fn send_once<T: FromRedisValue>(
        self,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(connection).await,
            Self::Script(call) => call.invoke(connection).await,
        }
    }
}
