//! A passkey as it is stored. What the library needs to check it (`actions/passkeys.rs`) is kept as it gives it; the store knows the rest.

use chrono::serde::{ts_microseconds, ts_microseconds_option};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::{Timestamp, Unknown};
use crate::store::{Result, StoreError, hex};

/// The most passkeys of one account.
pub const MAX_PASSKEYS: usize = 20;

/// A passkey of an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredPasskey {
    /// Names it: the SHA-256 of its own id.
    pub id: PasskeyId,
    /// What its user calls it.
    pub name: String,
    /// When it was added.
    #[serde(with = "ts_microseconds")]
    pub since: Timestamp,
    /// When it was last used.
    #[serde(default, with = "ts_microseconds_option")]
    pub used: Option<Timestamp>,
    /// What the library needs to check it.
    pub key: serde_json::Value,
    /// What this version does not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The SHA-256 of a passkey's own id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasskeyId(String);

impl PasskeyId {
    /// Of the id that the authenticator has given it.
    #[must_use]
    pub fn of(credential: &[u8]) -> Self {
        Self(hex(&Sha256::digest(credential)))
    }

    /// Reads one from a URL; `None` for anything that cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The field of an account.
pub(super) fn read(text: Option<&str>) -> std::result::Result<Vec<StoredPasskey>, String> {
    let read = text.map(serde_json::from_str).transpose();
    Ok(read.map_err(|error| format!("its passkeys: {error}"))?.unwrap_or_default())
}

pub(super) fn written(passkeys: &[StoredPasskey]) -> Result<String> {
    if passkeys.is_empty() {
        return Ok(String::new());
    }
    serde_json::to_string(passkeys)
        .map_err(|error| StoreError::corrupt(format!("passkeys cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_read_as_they_were_written_with_what_this_version_does_not_know() {
        let text = r#"[{"id":"00","name":"key","since":5000000,"key":{"cred":1},"later":[7]}]"#;
        let passkeys = read(Some(text)).unwrap();
        assert!(passkeys[0].used.is_none() && passkeys[0].name == "key");
        let again: serde_json::Value = serde_json::from_str(&written(&passkeys).unwrap()).unwrap();
        assert_eq!(again[0]["later"], serde_json::json!([7]));
        assert_eq!(written(&read(None).unwrap()).unwrap(), "");
        assert!(read(Some("x")).is_err(), "what cannot be read is no account without passkeys");
    }

    #[test]
    fn an_id_is_a_digest() {
        let id = PasskeyId::of(b"credential");
        assert_eq!(PasskeyId::parse(id.as_str()), Some(id));
        for other in ["", "x", &"A".repeat(64), &"a".repeat(63), "ä"] {
            assert!(PasskeyId::parse(other).is_none(), "{other}");
        }
    }
}
