//! A session's two names: the token, which proves it, and the id, which only names it.

use std::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::store::{Result, random};

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

    /// Reads the text of a cookie or a bearer token; `None` for anything that is not a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).map(Self)
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
    pub(in crate::store) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(in crate::store) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads an id from a URL; `None` for anything that is not an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &URL_SAFE_NO_PAD).fmt(f)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut text = [0; 43];
        // 32 bytes are 43 characters.
        match URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map(|_| std::str::from_utf8(&text)) {
            Ok(Ok(text)) => serializer.serialize_str(text),
            _ => serializer.collect_str(self),
        }
    }
}

fn decode(text: &str) -> Option<[u8; 32]> {
    // The decoder wants room for whole groups of four characters.
    let mut bytes = [0; 33];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
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
