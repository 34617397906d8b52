//! A session's two names: the token, which proves it, and the id, which only names it.
//!
//! | token | of | is |
//! |---|---|---|
//! | 43 characters | a session of the admin | 256 random bits in base64url |
//! | `bgs_ID` + 43 characters | a session of any other account | the account's short id, and 256 random bits in base64url |
//! | `bgt_ID` + 28 digits + `_` + 6 digits | a token for programs | the same id, 166 random bits in base62, and a checksum |
//!
//! A token names its account, so that a check reads the session and the generation of that account in one step. The admin's
//! sessions keep the shape that version 0.2 gave them: during an update its workers see tokens of newer ones, and what they cannot
//! read they take for a session that has ended, and remove the cookie. Other accounts cannot log in at a worker of version 0.2 anyhow.
//!
//! The checksum lets a worker refuse a token that was cut off or mistyped without asking Redis, and scanners for secrets recognize one.

use std::fmt;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::store::auth::account_id::{AccountId, DIGITS};
use crate::store::bytes::{BASE62, random_base62};
use crate::store::{Result, random};

/// What tokens of sessions of other accounts than the admin's begin with.
const SESSION_PREFIX: &str = "bgs_";
/// What tokens for programs begin with.
pub const API_PREFIX: &str = "bgt_";
/// The random digits of a token for programs: 166 bits.
const API_SECRET: usize = 28;
/// The digits between prefix and checksum.
const API_DIGITS: usize = DIGITS + API_SECRET;
/// Digits of the checksum.
const CHECKSUM: usize = 6;

/// What a client shows to prove its session, or that it is a program with a token. Never stored, never printed.
#[derive(Clone)]
pub struct SessionToken(Form);

#[derive(Clone)]
enum Form {
    Session(AccountId, [u8; 32]),
    Api(AccountId, [u8; API_DIGITS]),
}

/// The SHA-256 of a token: names a session in Redis and to users, and cannot log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

/// What proves who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProofKind {
    /// A session, which a login began.
    Session,
    /// A token for programs, which a user made.
    ApiToken,
}

/// Where a check looks: all that a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proof {
    /// Its id.
    pub id: SessionId,
    /// The account that the token names.
    pub account: AccountId,
    /// What it is.
    pub kind: ProofKind,
}

impl Proof {
    /// A session of the admin.
    #[must_use]
    pub fn of_admin(id: SessionId) -> Self {
        Self { id, account: AccountId::ADMIN, kind: ProofKind::Session }
    }
}

impl SessionToken {
    /// A new one, for a session of this account.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn fresh(account: AccountId) -> Result<Self> {
        Ok(Self(Form::Session(account, random()?)))
    }

    /// A new one, for a program that acts for this account.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn fresh_api(account: AccountId) -> Result<Self> {
        let mut digits = [0; API_DIGITS];
        let (code, secret) = digits.split_at_mut(DIGITS);
        code.copy_from_slice(&account.code());
        secret.copy_from_slice(&random_base62::<API_SECRET>()?);
        Ok(Self(Form::Api(account, digits)))
    }

    /// Reads the text of a cookie or a bearer token; `None` for anything that is not a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix(API_PREFIX) {
            let (digits, checksum) = rest.split_once('_')?;
            let code = digits.get(..DIGITS)?;
            let digits: [u8; API_DIGITS] = digits.as_bytes().try_into().ok()?;
            let valid = digits.iter().all(|digit| BASE62.contains(digit))
                && checksum.as_bytes() == checksum_of(&digits);
            return Some(Self(Form::Api(AccountId::of_code(code)?, digits))).filter(|_| valid);
        }
        if let Some(rest) = text.strip_prefix(SESSION_PREFIX).filter(|rest| rest.len() > DIGITS) {
            let (code, secret) = rest.split_at_checked(DIGITS)?;
            // The admin's have another shape: nothing has two.
            let account = AccountId::of_code(code).filter(|account| !account.is_admin())?;
            return Some(Self(Form::Session(account, decode(secret)?)));
        }
        decode(text).map(|secret| Self(Form::Session(AccountId::ADMIN, secret)))
    }

    /// The text for the cookie.
    #[must_use]
    pub fn reveal(&self) -> String {
        match &self.0 {
            Form::Session(AccountId::ADMIN, secret) => URL_SAFE_NO_PAD.encode(secret),
            Form::Session(account, secret) => {
                format!("{SESSION_PREFIX}{}{}", account.as_str(), URL_SAFE_NO_PAD.encode(secret))
            }
            Form::Api(_, digits) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                format!("{API_PREFIX}{}_{}", text(digits), text(&checksum_of(digits)))
            }
        }
    }

    /// The account that it names.
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self.0 {
            Form::Session(account, _) | Form::Api(account, _) => account,
        }
    }

    /// What it proves.
    #[must_use]
    pub fn kind(&self) -> ProofKind {
        match self.0 {
            Form::Session(..) => ProofKind::Session,
            Form::Api(..) => ProofKind::ApiToken,
        }
    }

    /// The session this token proves.
    #[must_use]
    pub fn id(&self) -> SessionId {
        let digest = Sha256::new();
        let digest = match &self.0 {
            // As version 0.2 does.
            Form::Session(AccountId::ADMIN, secret) => digest.chain_update(secret),
            Form::Session(account, secret) => {
                digest.chain_update(SESSION_PREFIX).chain_update(account.code()).chain_update(secret)
            }
            Form::Api(_, digits) => digest.chain_update(API_PREFIX).chain_update(digits),
        };
        SessionId(digest.finalize().into())
    }

    /// Where a check looks for it.
    #[must_use]
    pub fn proof(&self) -> Proof {
        Proof { id: self.id(), account: self.account(), kind: self.kind() }
    }
}

/// CRC-32 (IEEE) of the prefix and the digits, in base62: it is not there against attackers but against mistakes.
fn checksum_of(digits: &[u8; API_DIGITS]) -> [u8; CHECKSUM] {
    let mut crc = u32::MAX;
    for byte in API_PREFIX.bytes().chain(digits.iter().copied()) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let (mut rest, mut text) = ((!crc) as usize, [b'0'; CHECKSUM]);
    for place in text.iter_mut().rev() {
        *place = BASE62[rest % BASE62.len()];
        rest /= BASE62.len();
    }
    text
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
        let account = AccountId::parse("Anna0001").unwrap();
        for token in [
            SessionToken::fresh(AccountId::ADMIN).unwrap(),
            SessionToken::fresh(account).unwrap(),
            SessionToken::fresh_api(AccountId::ADMIN).unwrap(),
            SessionToken::fresh_api(account).unwrap(),
        ] {
            let text = token.reveal();
            let again = SessionToken::parse(&text).unwrap();
            assert_eq!(again.proof(), token.proof(), "{text}");
            assert_ne!(text, token.id().to_string());
            for garbage in ["", "x", "ä", &"A".repeat(42), &"A".repeat(44), &format!("{text}="), &text[1..]]
            {
                assert!(SessionToken::parse(garbage).is_none(), "{garbage:?}");
            }
        }
        for garbage in ["bgs_", "bgs_Anna0001", "bgs_ÄÄna0001", "bgt_", "bgt_ä_", "bgt_Anna0001_000000"] {
            assert!(SessionToken::parse(garbage).is_none(), "{garbage:?}");
        }
    }

    #[test]
    fn the_admins_sessions_have_the_shape_and_the_key_of_version_0_2() {
        let token = SessionToken::parse(&"A".repeat(43)).unwrap();
        assert_eq!(token.proof(), Proof::of_admin(SessionId(Sha256::digest([0; 32]).into())));
        let in_the_other_shape = format!("bgs_00000000{}", "A".repeat(43));
        assert!(SessionToken::parse(&in_the_other_shape).is_none());
    }

    #[test]
    fn a_token_names_its_account_and_another_account_makes_it_another_token() {
        let (one, other) = (AccountId::parse("Anna0001").unwrap(), AccountId::parse("Anna0002").unwrap());
        let token = SessionToken::fresh(one).unwrap();
        assert_eq!(token.account(), one);
        let moved = SessionToken::parse(&token.reveal().replace("Anna0001", "Anna0002")).unwrap();
        assert_eq!(moved.account(), other);
        assert_ne!(moved.id(), token.id());
    }

    #[test]
    fn a_token_for_programs_with_a_wrong_character_is_none() {
        let text = SessionToken::fresh_api(AccountId::ADMIN).unwrap().reveal();
        assert_eq!(text.len(), 47, "{text}");
        for at in 0..text.len() {
            for other in ['0', 'x'] {
                let wrong = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                assert!(wrong == text || SessionToken::parse(&wrong).is_none(), "{wrong}");
            }
        }
        // As Python has it: base62(zlib.crc32(b"bgt_" + b"0" * 36)).
        let zeros = [b'0'; API_DIGITS];
        assert_eq!(std::str::from_utf8(&checksum_of(&zeros)).unwrap(), "3qyCZT");
    }
}
