//! The keys that spread over slots: limits of logins, and idempotency (`keys.rs` has the table).

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use super::Keys;
use crate::store::auth::networks::{address_of, site_of};
use crate::store::{AccountId, hex};

impl Keys {
    /// The attempts from one address.
    pub(in crate::store) fn attempts(&self, ip: IpAddr) -> String {
        format!("{}:{}", self.attempts_of_site(ip), address_of(ip))
    }

    /// The attempts from the site around an address.
    pub(in crate::store) fn attempts_of_site(&self, ip: IpAddr) -> String {
        format!("{}attempts:{{{}}}", self.spread, site_of(ip))
    }

    pub(in crate::store) fn failures(&self, account: &str) -> String {
        format!("{}failures:{{{}}}", self.spread, digest(account))
    }

    /// Whether the failures of an account were used up, and too few of them have come back.
    pub(in crate::store) fn emptied(&self, account: &str) -> String {
        format!("{}emptied:{{{}}}", self.spread, digest(account))
    }

    /// Whether an address has failed to log in to an account.
    pub(in crate::store) fn failed(&self, account: &str, ip: IpAddr) -> String {
        format!("{}failed:{{{}}}:{}", self.spread, digest(account), address_of(ip))
    }

    pub(in crate::store) fn known(&self, account: &str, ip: IpAddr) -> String {
        format!("{}known:{{{}}}:{}", self.spread, digest(account), address_of(ip))
    }

    /// The run of a request under an account's `Idempotency-Key`. By its id: another account of the same name gets no answers of it.
    pub(in crate::store) fn idempotent(&self, account: AccountId, key: &str) -> String {
        format!("{}idempotent:{{{}}}", self.spread, digest(&format!("{}\0{key}", account.as_str())))
    }
}

/// 128 bits of a digest: nobody can find a name with the same digest as another, in order to lock that one out.
fn digest(name: &str) -> String {
    hex(Sha256::digest(name).first_chunk::<16>().unwrap_or(&[0; 16]))
}
