//! The part of a ban job that never changes, as far as this version can read it.
//!
//! A newer version may ask for what this one does not know. Such a job is shown as unknown and can be cancelled; it keeps its
//! place in its jail's line, and is left to workers that know it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::domain::{BanAction, JailName, ServerName};
use crate::store::{Result, StoreError};

/// The part of a job that never changes, including who asked for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::store) struct BanJobHeader {
    pub server: ServerName,
    pub jail: JailName,
    pub order: BanAction,
    pub username: String,
    pub session: Option<String>,
    pub address: Option<IpAddr>,
}

impl BanJobHeader {
    /// Reads what is stored.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is missing or cannot be read.
    pub fn read(stored: Option<&[u8]>) -> Result<Self> {
        let stored = stored.ok_or_else(|| StoreError::corrupt("a ban job does not say what it is about"))?;
        Ok(rmp_serde::from_slice(stored)?)
    }

    /// The same from `server/jail` alone, if nothing else can be read; none if that cannot be read either.
    pub fn of_place(place: &str) -> Option<Self> {
        let (server, jail) = place.split_once('/')?;
        Some(Self {
            server: ServerName::parse(server).ok()?,
            jail: JailName::parse(jail).ok()?,
            order: BanAction::Unknown,
            username: String::new(),
            session: None,
            address: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(about: &Value) -> Result<BanJobHeader> {
        BanJobHeader::read(Some(&rmp_serde::to_vec_named(about).unwrap()))
    }

    #[test]
    fn an_order_of_a_newer_version_is_unknown_and_one_of_another_shape_leaves_the_place() {
        let about = |order: Value| json!({ "server": "web-1", "jail": "sshd", "order": order, "username": "admin", "more": 1 });
        assert_eq!(read(&about(json!("unban_all"))).unwrap().order, BanAction::UnbanAll);
        let newer = read(&about(json!("sift"))).unwrap();
        assert_eq!((newer.order, newer.username.as_str()), (BanAction::Unknown, "admin"));
        assert!(matches!(read(&about(json!({ "sift": 1 }))), Err(StoreError::Corrupt { .. })));
        assert!(BanJobHeader::read(None).is_err());
        let place = BanJobHeader::of_place("web-1/sshd").unwrap();
        assert_eq!(
            (place.server.as_str(), place.jail.as_str(), place.order),
            ("web-1", "sshd", BanAction::Unknown)
        );
        assert!(BanJobHeader::of_place("sshd").is_none());
    }
}
