//! The identity provider (OpenID Connect), and who may still log in with a password.

use secrecy::SecretString;
use url::{Host, Url};

use crate::domain::Username;
use crate::domain::group_roles::GroupRoles;

/// The path that the provider sends browsers back to.
pub const CALLBACK: &str = "/login/callback";

/// An identity provider.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Its issuer, letter by letter as its tokens have it.
    pub issuer: String,
    /// The name of this installation at the provider.
    pub client_id: String,
    /// The secret of this installation at the provider; none for a public client.
    pub client_secret: Option<SecretString>,
    /// The claim that has somebody's groups.
    pub groups_claim: String,
    /// What each group may do.
    pub roles: GroupRoles,
    /// Its name for people.
    pub name: String,
    /// Where the provider sends browsers back to.
    pub callback: Url,
}

/// Who may log in with a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PasswordLogin {
    /// Everybody who has one.
    #[default]
    On,
    /// One account, for the day on which the provider is away.
    Only(Username),
}

impl PasswordLogin {
    /// Whether this name may log in with a password.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        match self {
            Self::On => true,
            Self::Only(username) => username.as_str() == name,
        }
    }
}

/// Whether nobody on the way can read what is sent to this address: TLS, or this machine, where that is allowed.
#[must_use]
pub fn is_trusted_transport(url: &Url, this_machine: bool) -> bool {
    url.scheme() == "https" || this_machine && url.scheme() == "http" && is_this_machine(url)
}

/// Whether the host is this machine.
#[must_use]
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => std::net::IpAddr::from(ip).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
