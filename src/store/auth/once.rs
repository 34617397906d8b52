//! What is kept for a while until it is used once, at any worker: the middle of a login or of a ceremony with several steps.
//!
//! It is kept under the SHA-256 of a random secret that only the client has, so that a copy of Redis continues nothing. Taking it
//! removes it in the same step: of two workers that are asked at once, one gets it. Where replicas must confirm
//! (`BANGUI_REDIS_MIN_REPLICAS`), it is taken only once they have removed it too, so that no failover brings it back.
//!
//! A new use is a variant of [`OnceKind`]: what is kept for one is never taken for another.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use crate::store::connection::clock::millis;
use crate::store::{Result, SessionId, Store, hex, random, scripts};

/// Characters of a secret: 32 bytes in base64url.
const CHARACTERS: usize = 43;

/// What something is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnceKind {
    /// The secret of an authenticator app that is being set up.
    AppSetup,
    /// A login with an identity provider, while the browser is there.
    ProviderLogin,
    /// A login that waits for its second factor.
    Login,
    /// The challenge of a passkey that is being added.
    PasskeySetup,
    /// The challenge of a login with a passkey.
    PasskeyLogin,
}

impl OnceKind {
    /// The word for its keys.
    pub(in crate::store) fn as_str(self) -> &'static str {
        match self {
            Self::AppSetup => "app-setup",
            Self::ProviderLogin => "provider-login",
            Self::Login => "login",
            Self::PasskeySetup => "passkey-setup",
            Self::PasskeyLogin => "passkey-login",
        }
    }
}

/// The secret under which something is kept: 256 random bits. Never stored, never printed.
#[derive(Clone, Debug)]
pub struct OnceSecret(SecretString);

/// The SHA-256 of a secret: names what is kept, and takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnceHash([u8; 32]);

impl OnceSecret {
    /// A new one.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn fresh() -> Result<Self> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random::<32>()?).into()))
    }

    /// Reads one; `None` for anything that cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == CHARACTERS
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        fits.then(|| Self(text.to_owned().into()))
    }

    /// The text for the client.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// Under which hash it is kept.
    #[must_use]
    pub fn hash(&self) -> OnceHash {
        OnceHash(Sha256::digest(self.reveal()).into())
    }
}

impl OnceHash {
    /// Of something that has a SHA-256 already, such as a session.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What is kept for a session.
    #[must_use]
    pub fn of_session(session: &SessionId) -> Self {
        Self(*session.as_bytes())
    }

    /// The same bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(in crate::store) fn digits(&self) -> String {
        hex(&self.0)
    }
}

impl Store {
    /// Keeps this for so long, in place of what was kept under the same hash.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn keep_once(
        &self,
        kind: OnceKind,
        hash: &OnceHash,
        bytes: &[u8],
        ttl: Duration,
    ) -> Result<()> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.once(kind, hash)).arg(bytes).arg("PX").arg(millis(ttl));
        self.shared.query("once_keep", &command).await
    }

    /// What is kept, which stays.
    pub async fn see_once(&self, kind: OnceKind, hash: &OnceHash) -> Result<Option<Vec<u8>>> {
        let command = redis::cmd("GET").arg(self.keys.once(kind, hash)).to_owned();
        self.shared.query("once_see", &command).await
    }

    /// What is kept, once: none if it was taken, or has expired, or never was.
    pub async fn take_once(&self, kind: OnceKind, hash: &OnceHash) -> Result<Option<Vec<u8>>> {
        let call = scripts::ONCE_TAKE.call().key(self.keys.once(kind, hash));
        self.shared.call_confirmed(&call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_the_trip_to_the_client_and_anything_else_is_none() {
        let secret = OnceSecret::fresh().unwrap();
        assert_eq!(OnceSecret::parse(secret.reveal()).unwrap().hash(), secret.hash());
        assert_ne!(OnceSecret::fresh().unwrap().hash(), secret.hash());
        for other in ["", "x", "ä", &"A".repeat(42), &"A".repeat(44), &format!("{}/", "A".repeat(42))] {
            assert!(OnceSecret::parse(other).is_none(), "{other:?}");
        }
    }
}
