//! The name of a worker.

use serde::{Deserialize, Serialize};

use super::bytes::{hex, random};
use super::error::Result;

/// 128 random bits, new at each start of the process: names a worker, and owns the lease if it is elected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerId(String);

impl WorkerId {
    /// A new one.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn fresh() -> Result<Self> {
        Ok(Self(hex(&random::<16>()?)))
    }

    pub(super) fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As text: 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
