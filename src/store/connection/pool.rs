//! Connections for exchanges that must not hold up a session check: deadpool-redis.
//!
//! ```text
//! short commands        ─▶ the shared multiplexed connection (shared.rs), one round trip, nothing before them
//! large, blocking, WAIT ─▶ lent from here, UNWATCH and PING first, given back after a whole answer
//! ```
//!
//! The pool leads to the Redis that the dialer has settled on. When the dialer moves, the pool is replaced: idle connections
//! close, lent ones end with an error, and nobody gets a connection to a primary that was left. A connection whose exchange did
//! not end (an error, a timeout, a caller that went away) is closed and not given back: a reply may still be on its way.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::{Connection, Hook, HookError, Manager, PoolError, Runtime, TimeoutType};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};

use super::connect::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT, settings_of_a_connection};
use super::dialer::{Dialer, run_id};
use super::request::Request;
use crate::store::{Result, StoreError};

/// The pool. Size 0 means no pool: each lent connection is dialled, and closed afterwards.
pub(in crate::store) struct Pool {
    size: usize,
    current: Mutex<Option<Lending>>,
}

/// The pool for one Redis.
struct Lending {
    /// The number that the dialer gave the shared connection.
    number: u64,
    pool: deadpool_redis::Pool,
}

impl Pool {
    /// A pool of at most `size` connections, none of which is opened yet.
    pub fn new(size: u16) -> Self {
        Self { size: size.into(), current: Mutex::new(None) }
    }

    /// Whether there is a pool.
    pub fn is_on(&self) -> bool {
        self.size > 0
    }

    /// A connection for the caller alone, to the Redis that the dialer has settled on; a command on it may take `patience`
    /// longer than others.
    pub async fn lend(&self, dialer: &Dialer, patience: Duration) -> Result<Lent> {
        let number = dialer.number();
        if !self.is_on() {
            let connection = Held::Dialled(dialer.dial_patient(patience).await?);
            return Ok(Lent { connection: Some(connection), number, in_flight: false });
        }
        let mut connection = self.pool(dialer, number)?.get().await.map_err(|error| self.refused(error))?;
        connection.set_response_timeout(RESPONSE_TIMEOUT + patience);
        Ok(Lent { connection: Some(Held::Pooled(connection)), number, in_flight: false })
    }

    fn pool(&self, dialer: &Dialer, number: u64) -> Result<deadpool_redis::Pool> {
        // No code panics between two changes under this lock, so a poisoned one guards whole data.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lending) = current.as_ref().filter(|lending| lending.number == number) {
            return Ok(lending.pool.clone());
        }
        if let Some(left) = current.take() {
            left.pool.close();
        }
        let (info, expected) = dialer.connection_info()?;
        let manager = Manager::new_with_config(info, settings_of_a_connection())?;
        let elsewhere = dialer.elsewhere.clone();
        // An address may lead new connections to another Redis than that of the shared connection.
        let same_redis = Hook::async_fn(move |connection: &mut MultiplexedConnection, _| {
            let (expected, elsewhere) = (expected.clone(), elsewhere.clone());
            let mut connection = connection.clone();
            Box::pin(async move {
                if run_id(&mut connection).await.map_err(HookError::Backend)? == expected {
                    return Ok(());
                }
                elsewhere.found(number);
                Err(HookError::message(
                    "a new connection led to another Redis than the one in use: reconnecting",
                ))
            })
        });
        let pool = deadpool_redis::Pool::builder(manager)
            .max_size(self.size)
            .post_create(same_redis)
            .wait_timeout(Some(RESPONSE_TIMEOUT))
            .create_timeout(Some(CONNECT_TIMEOUT))
            .recycle_timeout(Some(RESPONSE_TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::unavailable(format!("failed to build the pool: {error}")))?;
        *current = Some(Lending { number, pool: pool.clone() });
        Ok(pool)
    }

    fn refused(&self, error: PoolError) -> StoreError {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
            PoolError::PostCreateHook(HookError::Message(why)) => StoreError::unavailable(why),
            PoolError::Timeout(TimeoutType::Wait) => {
                StoreError::unavailable(format!("all {} pool connections to Redis are in use", self.size))
            }
            PoolError::Timeout(_) => StoreError::unavailable("it did not answer in time".to_owned()),
            error => StoreError::unavailable(format!("the pool of connections: {error}")),
        }
    }
}

/// A connection that nobody else uses, until it is dropped.
pub(in crate::store) struct Lent {
    connection: Option<Held>,
    number: u64,
    in_flight: bool,
}

enum Held {
    Pooled(Connection),
    Dialled(MultiplexedConnection),
}

impl Lent {
    /// Which Redis it leads to, as the dialer numbers them.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// One exchange.
    pub async fn send<T: FromRedisValue>(
        &mut self,
        request: Request<'_>,
    ) -> std::result::Result<T, RedisError> {
        let closed = || RedisError::from(std::io::Error::from(std::io::ErrorKind::NotConnected));
        let mut connection = match self.connection.as_ref().ok_or_else(closed)? {
            Held::Pooled(connection) => MultiplexedConnection::clone(connection),
            Held::Dialled(connection) => connection.clone(),
        };
        self.in_flight = true;
        let answer = request.send(&mut connection).await;
        self.in_flight = false;
        if answer.as_ref().is_err_and(|error| error.is_io_error() || error.is_timeout()) {
            self.close();
        }
        answer
    }

    fn close(&mut self) {
        if let Some(Held::Pooled(connection)) = self.connection.take() {
            drop(Connection::take(connection));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.in_flight {
            self.close();
        }
    }
}
