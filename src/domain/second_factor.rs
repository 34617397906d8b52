//! Second factors: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for whoever has lost it.
//!
//! Pure: the caller brings the time and the random bytes. That a step of the app, or a recovery code, is never accepted twice is not
//! decided here but in Redis, in one step on all workers (`store/scripts/factor_use.lua`).

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::{Digest as _, Sha256};
use totp_rs::{Algorithm, Builder, Secret, Totp};

use super::Timestamp;

/// Seconds of a step: what authenticator apps take for granted, as they do the digits and SHA-1.
const STEP_SECONDS: u64 = 30;
const DIGITS: u8 = 6;
/// How many steps a clock may be ahead or behind.
const SKEW: u16 = 1;
/// Bytes of the secret of an app: RFC 4226 recommends 160 bits.
pub const SECRET_BYTES: usize = 20;
/// How many recovery codes there are.
pub const RECOVERY_CODES: usize = 10;
/// Bytes of a recovery code: 80 bits, so that a hash without a salt is enough.
pub const RECOVERY_BYTES: usize = 10;
/// The letters of a recovery code, without what is around them.
const RECOVERY_LETTERS: usize = RECOVERY_BYTES * 8 / 5;

/// The secret that an authenticator app shares with the workers.
#[derive(Clone)]
pub struct AppSecret(SecretSlice<u8>);

impl AppSecret {
    /// Of these random bytes.
    #[must_use]
    pub fn of(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes.to_vec().into())
    }

    /// Reads one as it is stored; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let secret = Secret::try_from_base32(text).ok()?;
        (secret.as_bytes().len() == SECRET_BYTES).then(|| Self(secret.as_bytes().to_vec().into()))
    }

    /// As it is stored, and as one types it into an app that cannot read the QR code.
    #[must_use]
    pub fn base32(&self) -> SecretString {
        Secret::new(self.0.expose_secret().into()).to_base32().into()
    }

    /// The content of the QR code. `issuer` is what the app calls this installation.
    #[must_use]
    pub fn uri(&self, issuer: &str, account: &str) -> SecretString {
        // Apps read `+` as itself: spaces need percent-encoding.
        let encoded = |text: &str| {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
        };
        let (issuer, account) = (encoded(issuer), encoded(account));
        let secret = self.base32();
        format!("otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}", secret.expose_secret()).into()
    }

    /// The step whose code this is, if it is one of those around `now`.
    #[must_use]
    pub fn step_of(&self, code: &AppCode, now: Timestamp) -> Option<u64> {
        let seconds = u64::try_from(now.timestamp()).ok()?;
        // It compares in constant time.
        self.totp().check(&code.0, seconds)
    }

    fn totp(&self) -> Totp {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_skew(SKEW)
            .with_step_duration(STEP_SECONDS)
            .with_secret(Secret::new(self.0.expose_secret().into()))
            .build_noncompliant()
    }
}

/// What an app shows.
pub struct AppCode(String);

/// A recovery code, in lower case and without what is around its letters.
#[derive(Clone)]
pub struct RecoveryCode(SecretString);

/// What was typed as a second factor.
pub enum TypedCode {
    /// A code of an app.
    App(AppCode),
    /// A recovery code.
    Recovery(RecoveryCode),
}

impl TypedCode {
    /// Reads what was typed, with or without spaces and hyphens; `None` for anything that cannot be a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Longer than any code with a character between all of its letters.
        if text.len() > 64 {
            return None;
        }
        let letters =
            text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase());
        let letters: String = letters.collect();
        if letters.len() == usize::from(DIGITS) && letters.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::App(AppCode(letters)));
        }
        let fits = letters.len() == RECOVERY_LETTERS
            && letters.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
        fits.then(|| Self::Recovery(RecoveryCode(letters.into())))
    }
}

impl RecoveryCode {
    /// Of these random bytes.
    #[must_use]
    pub fn of(bytes: [u8; RECOVERY_BYTES]) -> Self {
        Self(Secret::new(bytes.into()).to_base32().to_ascii_lowercase().into())
    }

    /// As it is shown, once: in groups of four.
    #[must_use]
    pub fn shown(&self) -> String {
        let letters: Vec<char> = self.0.expose_secret().chars().collect();
        letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-")
    }

    /// As it is stored: it has 80 random bits, so nobody finds it by trying.
    #[must_use]
    pub fn hash(&self) -> String {
        use std::fmt::Write as _;
        Sha256::digest(self.0.expose_secret()).iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn app(text: &str) -> AppCode {
        match TypedCode::parse(text).unwrap() {
            TypedCode::App(code) => code,
            TypedCode::Recovery(_) => panic!("{text} is no code of an app"),
        }
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238_one_step_around_the_time() {
        // Its test vectors, of which an app shows the last six digits.
        let secret = AppSecret::of(*b"12345678901234567890");
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")]
        {
            let step = u64::try_from(seconds).unwrap() / 30;
            for around in [-30, 0, 30] {
                assert_eq!(secret.step_of(&app(code), at(seconds + around)), Some(step), "{code} {around}");
            }
            for away in [-60, 60] {
                assert_eq!(secret.step_of(&app(code), at(seconds + away)), None, "{code} {away}");
            }
        }
        assert_eq!(secret.step_of(&app("287 082"), at(59)), Some(1));
        assert_eq!(secret.step_of(&app("287083"), at(59)), None);
        assert_eq!(secret.step_of(&app("287082"), at(-59)), None);
    }

    #[test]
    fn a_secret_is_read_as_it_was_written_and_its_uri_has_no_other_meaning() {
        let secret = AppSecret::of(*b"12345678901234567890");
        let text = secret.base32();
        assert_eq!(text.expose_secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let again = AppSecret::parse(text.expose_secret()).unwrap();
        assert_eq!(again.base32().expose_secret(), text.expose_secret());
        for other in ["", "GEZD", "ä", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ!"] {
            assert!(AppSecret::parse(other).is_none(), "{other}");
        }
        let uri = secret.uri("bangui at a&b", "anna");
        let uri = uri.expose_secret();
        assert!(uri.starts_with("otpauth://totp/bangui%20at%20a%26b:anna?secret=GEZD"), "{uri}");
        assert!(uri.ends_with("&issuer=bangui%20at%20a%26b"), "{uri}");
    }

    #[test]
    fn a_recovery_code_is_read_however_it_is_typed_and_is_not_its_hash() {
        let code = RecoveryCode::of([7, 6, 5, 4, 3, 2, 1, 0, 255, 254]);
        let shown = code.shown();
        assert_eq!(shown.len(), 19, "{shown}");
        for typed in [shown.clone(), shown.to_uppercase(), shown.replace('-', " "), format!(" {shown} ")] {
            let Some(TypedCode::Recovery(read)) = TypedCode::parse(&typed) else { panic!("{typed}") };
            assert_eq!(read.hash(), code.hash());
        }
        assert_ne!(RecoveryCode::of([0; 10]).hash(), code.hash());
        assert!(!code.hash().contains(&shown[..4]));
        for none in [
            "",
            "12345",
            "1234567",
            "１２３４５６",
            "a",
            &"a".repeat(17),
            &"-".repeat(65),
            "\0\0\0\0\0\0",
            "0000-0000-0000-0000",
        ] {
            assert!(TypedCode::parse(none).is_none(), "{none:?}");
        }
    }
}
