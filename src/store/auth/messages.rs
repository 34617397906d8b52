//! The outcome of a form, for the next page, whichever worker shows it. The contents of a message are up to the pages.

use std::time::Duration;

use crate::store::connection::clock::millis;
use crate::store::{Result, SessionId, Store, hex, random};

/// Digits of an id. 64 bits are enough, since an id is valid in its session only.
const ID_DIGITS: usize = 16;

impl Store {
    /// Keeps a message for a session; its id.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn keep_message(&self, session: &SessionId, message: &[u8], life: Duration) -> Result<String> {
        let id = hex(&random::<{ ID_DIGITS / 2 }>()?);
        let mut command = redis::cmd("SET");
        command.arg(self.keys.message(session, &id)).arg(message).arg("PX").arg(millis(life));
        self.shared.query::<()>("message_keep", &command).await?;
        Ok(id)
    }

    /// The message of that id, if this session has one.
    pub async fn message(&self, session: &SessionId, id: &str) -> Result<Option<Vec<u8>>> {
        if id.len() != ID_DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let command = redis::cmd("GET").arg(self.keys.message(session, id)).to_owned();
        self.shared.query("message", &command).await
    }
}
