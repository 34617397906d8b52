//! A session's two names: the token, which proves it, and the id, which only names it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Result, random};

/// What a client shows to prove its session: 256 random bits. Never stored, never printed.
#[derive(Clone)]
pub struct SessionToken([u8; 32]);

/// The SHA-256 of a token: names a session in Redis and to users, and cannot log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

impl SessionToken {
    /// A new one.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn fresh() -> Result<Self> {
        Ok(Self(random()?))
    }

    /// Reads the text of a cookie or a bearer token; `None` for anything that is no token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }

    /// The text for the cookie.
    #[must_use]
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The session this token proves.
    #[must_use]
    pub fn id(&self) -> SessionId {
        SessionId(Sha256::digest(self.0).into())
    }
}

impl SessionId {
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads an id from a URL; `None` for anything that is no id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_its_own_id_and_survives_the_trip_through_a_cookie() {
        let token = SessionToken::fresh().unwrap();
        let again = SessionToken::parse(&token.reveal()).unwrap();
        assert_eq!(again.id(), token.id());
        assert_ne!(token.reveal(), token.id().to_string());
        for garbage in ["", "x", "ä", &"A".repeat(42), &"A".repeat(44), &format!("{}=", token.reveal())] {
            assert!(SessionToken::parse(garbage).is_none(), "{garbage:?}");
        }
    }
}
