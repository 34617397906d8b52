//! A user of an identity provider, and digests of what is unique there.

use sha2::{Digest as _, Sha256};

use crate::store::hex;

/// A user of a provider: what never changes about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderUser {
    /// The provider's issuer.
    pub issuer: String,
    /// The user's subject there.
    pub subject: String,
}

impl ProviderUser {
    /// A digest of both, for keys.
    pub(in crate::store) fn digits(&self) -> String {
        pair(&self.issuer, &self.subject)
    }
}

/// A digest of an issuer and something that is unique there.
pub(in crate::store) fn pair(issuer: &str, what: &str) -> String {
    // No issuer has a zero byte: no two pairs are the same text.
    let digest = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(what);
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_users_have_the_same_key() {
        let user = |issuer: &str, subject: &str| {
            ProviderUser { issuer: issuer.to_owned(), subject: subject.to_owned() }.digits()
        };
        assert_ne!(user("https://a", "b"), user("https://a", "c"));
        assert_ne!(user("https://a", "b"), user("https://ab", ""));
        assert_eq!(user("https://a", "b"), user("https://a", "b"));
    }
}
