//! Opens one connection, with the settings and timeouts that every one here has.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo as _, RedisError};
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

/// Includes the handshake in the timeout: redis-rs applies its own only to the connect itself.
pub(super) async fn timed<T>(
    dialing: impl Future<Output = std::result::Result<T, RedisError>>,
) -> std::result::Result<T, RedisError> {
    timeout(CONNECT_TIMEOUT, dialing)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

/// A client of this URL; `root_cert` is the CA of `BANGUI_REDIS_CA`, if there is one.
pub(super) fn client(url: &str, root_cert: Option<&Vec<u8>>) -> std::result::Result<Client, RedisError> {
    let info = url.into_connection_info()?;
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let info: ConnectionInfo = info.set_tcp_settings(tcp).set_redis_settings(settings);
    let Some(root_cert) = root_cert else { return Client::open(info) };
    let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(root_cert.clone()) };
    Client::build_with_tls(info, certificates)
}
