//! Opens one connection, with the timeouts that every command here has.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::time::timeout;

/// A command without an answer after this time has failed.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection that takes longer to open has failed.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1000);

/// A connection of this client, within the connect timeout.
pub(in crate::store) async fn connect(
    client: &Client,
) -> std::result::Result<MultiplexedConnection, RedisError> {
    timed(client.get_multiplexed_async_connection_with_config(&settings_of_a_connection())).await
}

pub(super) fn settings_of_a_connection() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
}

/// The handshake is inside the bound too: redis-rs bounds only the connect itself.
pub(super) async fn timed<T>(
    dialing: impl Future<Output = std::result::Result<T, RedisError>>,
) -> std::result::Result<T, RedisError> {
    timeout(CONNECT_TIMEOUT, dialing)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}
