//! What is sent to Redis.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError};

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

impl Request<'_> {
    pub async fn send<T: FromRedisValue>(
        self,
        connection: &mut MultiplexedConnection,
    ) -> std::result::Result<T, RedisError> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(connection).await,
            Self::Script(call) => call.invoke(connection).await,
        }
    }
}
