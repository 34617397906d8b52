//! What is stored of a session after its header, in one of two shapes:
//!
//! | shape | of | why |
//! |---|---|---|
//! | a map: `{"u": name, "c": begun, ...}` | the admin's account, and every token for programs | version 0.2 wrote it, and reads it during an update |
//! | an array: `[name, begun, ...]` | sessions of every other account, of which there may be many | it takes two thirds of the bytes |
//!
//! Version 0.2 knows no other account, so it never reads an array. Both are `MessagePack`, and their first byte tells them apart. A
//! newer version may add a name to the map and an element to the array: what is not known is skipped, and kept, because only the
//! header is ever rewritten.

use std::fmt;
use std::net::IpAddr;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::api_grant::ApiGrant;
use crate::domain::access::{Role, ServerPattern};
use crate::store::Result;
use crate::store::auth::account_id::AccountId;

/// What a session was begun with. Nothing of it ever changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Document {
    #[serde(rename = "u")]
    pub(in crate::store) username: String,
    /// Microseconds since 1970.
    #[serde(rename = "c")]
    pub(in crate::store) created: i64,
    /// Microseconds since 1970; in an array, the whole milliseconds since it was begun.
    #[serde(rename = "x")]
    pub(in crate::store) expires: i64,
    /// A text in the map, 4 or 16 bytes in an array.
    #[serde(rename = "ip", with = "ip_text")]
    pub(in crate::store) ip: IpAddr,
    /// Digest of the user agent.
    #[serde(rename = "a", default)]
    pub(in crate::store) agent: u64,
    /// Not written into the map for an admin of all servers, to whom most sessions there belong; a number in an array.
    #[serde(rename = "r", default, skip_serializing_if = "Role::is_admin")]
    pub(in crate::store) role: Role,
    #[serde(rename = "s", default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::store) servers: Vec<ServerPattern>,
    /// Not written into the map for the admin's.
    #[serde(rename = "i", default, skip_serializing_if = "AccountId::is_admin")]
    pub(in crate::store) account: AccountId,
    /// Of a token for programs only.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(in crate::store) api_token: Option<ApiGrant>,
}

/// Elements of the array.
const ELEMENTS: usize = 8;
const MICROS_PER_MILLI: i64 = 1_000;

impl Document {
    /// Appends its bytes.
    pub(super) fn encode_to(&self, bytes: &mut Vec<u8>) -> Result<()> {
        if self.account.is_admin() || self.api_token.is_some() {
            Ok(rmp_serde::encode::write_named(bytes, self)?)
        } else {
            Ok(rmp_serde::encode::write(bytes, &Elements(self))?)
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        // "fixarray" in the specification of MessagePack: up to 15 elements.
        match bytes.first() {
            Some(0x90..=0x9f) => {
                let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
                Ok(decoder.deserialize_seq(ElementsVisitor)?)
            }
            _ => Ok(rmp_serde::from_slice(bytes)?),
        }
    }
}

/// The number of a role in an array: one that was given once never changes.
fn number_of(role: Role) -> u8 {
    match role {
        Role::Viewer => 0,
        Role::Operator => 1,
        Role::Admin => 2,
    }
}

/// The array of a document.
struct Elements<'a>(&'a Document);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Document { username, created, expires, ip, agent, role, servers, account, api_token: _ } = self.0;
        let lasts = expires.saturating_sub(*created) / MICROS_PER_MILLI;
        let mut array = serializer.serialize_tuple(ELEMENTS)?;
        array.serialize_element(username)?;
        array.serialize_element(created)?;
        array.serialize_element(&lasts)?;
        array.serialize_element(&Octets(*ip))?;
        array.serialize_element(agent)?;
        array.serialize_element(&number_of(*role))?;
        array.serialize_element(servers)?;
        array.serialize_element(account)?;
        array.end()
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the array of a session")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> std::result::Result<Document, A::Error> {
        let username = next(&mut array)?;
        let created: i64 = next(&mut array)?;
        let lasts: i64 = next(&mut array)?;
        let Octets(ip) = next(&mut array)?;
        let agent = next(&mut array)?;
        let number: u8 = next(&mut array)?;
        let role = Role::ALL.into_iter().find(|role| number_of(*role) == number);
        let role = role.ok_or_else(|| A::Error::custom(format_args!("no role has the number {number}")))?;
        let servers = next(&mut array)?;
        let account = next(&mut array)?;
        while array.next_element::<IgnoredAny>()?.is_some() {}
        let expires = created.saturating_add(lasts.saturating_mul(MICROS_PER_MILLI));
        Ok(Document { username, created, expires, ip, agent, role, servers, account, api_token: None })
    }
}

fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(array: &mut A) -> std::result::Result<T, A::Error> {
    array.next_element()?.ok_or_else(|| A::Error::custom("the array of a session is too short"))
}

/// An address as its 4 or 16 bytes.
struct Octets(IpAddr);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            IpAddr::V4(ip) => serializer.serialize_bytes(&ip.octets()),
            IpAddr::V6(ip) => serializer.serialize_bytes(&ip.octets()),
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Octets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the 4 or 16 bytes of an address")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> std::result::Result<Octets, E> {
                let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                let ip = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
                ip.map(Octets).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// An address as its text.
mod ip_text {
    use super::{Deserialize, Deserializer, IpAddr, Serializer};

    pub(super) fn serialize<S: Serializer>(ip: &IpAddr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(ip)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom(format_args!("{text:?} is no address")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(account: AccountId, role: Role, ip: &str) -> Document {
        Document {
            username: "user-1234".to_owned(),
            created: 1_764_000_000_123_456,
            expires: 1_764_000_000_123_456 + 43_200_000_000,
            ip: ip.parse().unwrap(),
            agent: u64::MAX,
            role,
            servers: Vec::new(),
            account,
            api_token: None,
        }
    }

    fn anna() -> AccountId {
        AccountId::parse("Anna0001").unwrap()
    }

    fn bytes(document: &Document) -> Vec<u8> {
        let mut bytes = Vec::new();
        document.encode_to(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_session_is_read_as_it_was_written() {
        let servers = vec![ServerPattern::parse("web-*").unwrap()];
        let grant = ApiGrant { name: "backup".to_owned(), networks: Vec::new() };
        for account in [AccountId::ADMIN, anna()] {
            for role in Role::ALL {
                for ip in ["192.0.2.7", "2001:db8::7"] {
                    let plain = document(account, role, ip);
                    let bound = Document { servers: servers.clone(), ..plain.clone() };
                    let token = Document { api_token: Some(grant.clone()), ..plain.clone() };
                    for document in [plain, bound, token] {
                        assert_eq!(Document::decode(&bytes(&document)).unwrap(), document);
                    }
                }
            }
        }
    }

    #[test]
    fn the_admins_sessions_are_maps_as_version_0_2_reads_them_and_other_sessions_are_arrays_that_take_less() {
        let (admins, annas) = (
            bytes(&document(AccountId::ADMIN, Role::Admin, "::1")),
            bytes(&document(anna(), Role::Viewer, "192.0.2.7")),
        );
        assert_eq!(admins[0] & 0xf0, 0x80, "a map");
        assert_eq!(annas[0] & 0xf0, 0x90, "an array");
        // With the header of 16 bytes and the 4 of Redis, no more than an allocation of 80.
        assert!(annas.len() <= 60, "{} bytes", annas.len());
        let token = Document {
            api_token: Some(ApiGrant { name: "backup".to_owned(), networks: Vec::new() }),
            ..document(anna(), Role::Viewer, "::1")
        };
        assert_eq!(bytes(&token)[0] & 0xf0, 0x80, "a map");
    }

    #[test]
    fn an_array_of_a_newer_version_is_read_and_one_that_was_cut_off_is_an_error() {
        let session = document(anna(), Role::Operator, "192.0.2.7");
        let mut newer = bytes(&session);
        newer[0] += 1;
        rmp_serde::encode::write(&mut newer, "green").unwrap();
        assert_eq!(Document::decode(&newer).unwrap(), session);
        let bytes = bytes(&session);
        for length in 0..bytes.len() {
            assert!(Document::decode(&bytes[..length]).is_err());
        }
        let mut unknown = bytes;
        let role = unknown.iter().rposition(|byte| *byte == 1).unwrap();
        unknown[role] = 9;
        assert!(Document::decode(&unknown).is_err(), "no such role");
    }
}
