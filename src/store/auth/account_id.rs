//! The short id of an account, by which a token names it: everything that a check reads is then named by the token alone.
//!
//! The admin's id is its name, so that the keys and tokens of version 0.2, which knew no other account, are those of the admin. Every
//! other account gets a random one, once: an account that is deleted and created again under its name is another account.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::username::Username;
use crate::store::Result;
use crate::store::bytes::{BASE62, random_base62};

/// Digits of an id, 47 bits. Ids are unique because the script that creates an account refuses one that is taken.
pub(in crate::store) const DIGITS: usize = 8;

/// How a token writes the admin's id. No random id: [`AccountId::fresh`] draws again.
const ADMINS_CODE: [u8; DIGITS] = *b"00000000";

/// The id of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AccountId(Option<[u8; DIGITS]>);

impl AccountId {
    /// The admin's.
    pub const ADMIN: Self = Self(None);

    /// A new one.
    pub(in crate::store) fn fresh() -> Result<Self> {
        loop {
            let digits = random_base62()?;
            if digits != ADMINS_CODE {
                return Ok(Self(Some(digits)));
            }
        }
    }

    /// Reads one as it is stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == Username::ADMIN {
            return Some(Self::ADMIN);
        }
        Self::of_code(text).filter(|id| *id != Self::ADMIN)
    }

    /// Whether it is the admin's.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.0.is_none()
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Digits are ASCII.
        self.0.as_ref().map_or(Username::ADMIN, |digits| std::str::from_utf8(digits).unwrap_or_default())
    }

    /// As a token has it.
    pub(in crate::store) fn code(self) -> [u8; DIGITS] {
        self.0.unwrap_or(ADMINS_CODE)
    }

    /// Reads it from a token.
    pub(in crate::store) fn of_code(text: &str) -> Option<Self> {
        let digits: [u8; DIGITS] = text.as_bytes().try_into().ok()?;
        if digits == ADMINS_CODE {
            return Some(Self::ADMIN);
        }
        digits.iter().all(|digit| BASE62.contains(digit)).then_some(Self(Some(digits)))
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("this is no id of an account"))
    }
}

/// Whose something is: the name of an account, and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The name.
    pub username: Username,
    /// Which account of that name.
    pub id: AccountId,
}

impl Owner {
    /// The admin.
    #[must_use]
    pub fn admin() -> Self {
        Self { username: Username::admin(), id: AccountId::ADMIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is_one() {
        let id = AccountId::fresh().unwrap();
        assert_eq!(AccountId::parse(id.as_str()), Some(id));
        assert_eq!(AccountId::of_code(std::str::from_utf8(&id.code()).unwrap()), Some(id));
        assert_ne!(AccountId::fresh().unwrap(), id);
        assert_eq!(AccountId::parse("admin"), Some(AccountId::ADMIN));
        assert_eq!(AccountId::of_code("00000000"), Some(AccountId::ADMIN));
        for other in ["", "Admin", "1234567", "123456789", "1234-678", "00000000", "1234567ä"] {
            assert_eq!(AccountId::parse(other), None, "{other:?}");
        }
        let packed = rmp_serde::to_vec_named(&id).unwrap();
        assert_eq!(rmp_serde::from_slice::<AccountId>(&packed).unwrap(), id);
    }
}
