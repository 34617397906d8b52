//! The token with which a provider says that a session has ended there (OpenID Connect Back-Channel Logout 1.0).
//!
//! The library has no such token, so it is checked here, by the rules of the standard (section 2.6): those of an ID token, and besides the
//! event, no nonce, and a subject or a session. What costs nothing is checked before the signature: anybody may send these.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey as _, JsonWebKeyId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ProviderError;
use super::identity;
use super::rules::{ALGORITHMS, SKEW};
use crate::domain::Timestamp;
use chrono::{DateTime, TimeDelta};

/// The most bytes of a token.
const MAX_BYTES: usize = 16 * 1024;
/// How old a token may be.
const MAX_AGE: TimeDelta = TimeDelta::minutes(5);
/// The most bytes of the id of a token.
const MAX_ID: usize = 512;
/// The event that it is about.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long the id of a token must be remembered, so that it counts once.
pub(super) const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// A session, or everything of somebody, has ended at the provider.
#[derive(Debug, Clone)]
pub struct LogoutToken {
    /// Whose; none if only the session is named.
    pub subject: Option<String>,
    /// Which session; none if all of the subject.
    pub sid: Option<String>,
    /// The id of the token.
    pub id: String,
    /// When the provider made it.
    pub issued_at: Timestamp,
}

impl LogoutToken {
    /// For how long its id is to be remembered.
    #[must_use]
    pub fn remembered_for() -> std::time::Duration {
        REMEMBERED.to_std().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: CoreJwsSigningAlgorithm,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: f64,
    exp: f64,
    jti: String,
    events: Map<String, Value>,
    sub: Option<String>,
    sid: Option<String>,
    nonce: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A token that can be read, and is not checked yet.
pub(super) struct Parsed<'t> {
    header: Header,
    claims: Claims,
    signed: &'t str,
    signature: Vec<u8>,
}

fn invalid(what: &str) -> ProviderError {
    ProviderError::Token(what.to_owned())
}

/// Reads a token.
pub(super) fn parse(token: &str) -> Result<Parsed<'_>, ProviderError> {
    if token.len() > MAX_BYTES {
        return Err(invalid("it is too long"));
    }
    let shape = || invalid("it is not a signed token");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(shape)?;
    let (header, claims) = signed.split_once('.').ok_or_else(shape)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| shape())?;
    Ok(Parsed { header: part(header, "its header")?, claims: part(claims, "its claims")?, signed, signature })
}

fn part<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, ProviderError> {
    let bytes =
        URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid(&format!("{what} cannot be read as base64url")))?;
    // The error may repeat what was sent: only its place is said.
    serde_json::from_slice(&bytes)
        .map_err(|error| invalid(&format!("{what} cannot be read (column {})", error.column())))
}

fn time(seconds: f64) -> Result<Timestamp, ProviderError> {
    let far = || invalid("it has a time that is not valid");
    if !seconds.is_finite() || seconds.abs() > 1e11 {
        return Err(far());
    }
    // Checked above: no truncation.
    DateTime::from_timestamp(seconds as i64, 0).ok_or_else(far)
}

impl Parsed<'_> {
    /// Checks everything but the signature.
    pub fn check_claims(
        &self,
        issuer: &str,
        client_id: &str,
        now: Timestamp,
    ) -> Result<LogoutToken, ProviderError> {
        let (header, claims) = (&self.header, &self.claims);
        let typed = header.typ.as_deref().map(str::to_ascii_lowercase);
        let typed = typed.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        if !matches!(typed, None | Some("jwt" | "logout+jwt")) {
            return Err(invalid("it is another kind of token (`typ`)"));
        }
        if header.crit.is_some() {
            return Err(invalid("it has headers that must be understood, and are not (`crit`)"));
        }
        if !ALGORITHMS.contains(&header.alg) {
            return Err(invalid("its algorithm is not accepted (`alg`)"));
        }
        if claims.iss != issuer {
            return Err(invalid("it is from another issuer"));
        }
        let ours = match &claims.aud {
            Audience::One(one) => one == client_id,
            Audience::Several(all) => all.iter().any(|one| one == client_id),
        };
        if !ours {
            return Err(invalid("it is for another client"));
        }
        let (issued_at, expires) = (time(claims.iat)?, time(claims.exp)?);
        if issued_at > now + SKEW || issued_at < now - MAX_AGE - SKEW || expires <= now - SKEW {
            return Err(invalid("it has expired, or is not valid yet"));
        }
        if !matches!(claims.events.get(EVENT), Some(Value::Object(_))) {
            return Err(invalid("it is not about a logout (`events`)"));
        }
        if claims.nonce.is_some() {
            return Err(invalid("it has a nonce, as only ID tokens have"));
        }
        if claims.jti.is_empty() || claims.jti.len() > MAX_ID {
            return Err(invalid("it has no id (`jti`)"));
        }
        let sid = claims.sid.clone().filter(|sid| !sid.is_empty());
        let subject = claims.sub.as_deref().map(identity::subject).transpose()?;
        if sid.is_none() && subject.is_none() {
            return Err(invalid("it names neither a session nor a subject"));
        }
        Ok(LogoutToken { subject, sid, id: claims.jti.clone(), issued_at })
    }

    /// Whether one of these keys has signed it.
    pub fn is_signed_by(&self, keys: &CoreJsonWebKeySet) -> bool {
        let kid = self.header.kid.clone().map(JsonWebKeyId::new);
        keys.keys().iter().filter(|key| kid.is_none() || key.key_id() == kid.as_ref()).any(|key| {
            key.verify_signature(&self.header.alg, self.signed.as_bytes(), &self.signature).is_ok()
        })
    }
}
