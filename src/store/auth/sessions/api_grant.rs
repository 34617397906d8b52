//! What a token for programs is limited to, beyond its access.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::domain::Network;
use crate::domain::address::{host_behind, network_behind};

/// What a token for programs is limited to, beyond its access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiGrant {
    /// What its owner calls it.
    #[serde(rename = "n")]
    pub name: String,
    /// Where requests with it may come from; empty for anywhere.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
}

impl ApiGrant {
    /// Whether it may be used from there.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = host_behind(address);
        let contains = |network: &Network| network_behind(network.net()).contains(&address);
        self.networks.is_empty() || self.networks.iter().any(contains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_admits_its_hosts_however_they_are_spelled() {
        let grant = |networks: &[&str]| ApiGrant {
            name: "cron".to_owned(),
            networks: networks.iter().map(|text| Network::parse(text).unwrap()).collect(),
        };
        let admits = |networks, address: &str| grant(networks).admits(address.parse().unwrap());
        assert!(admits(&[], "203.0.113.7"));
        for address in ["198.51.100.7", "::ffff:198.51.100.7", "64:ff9b::198.51.100.7"] {
            assert!(admits(&["198.51.100.0/24"], address), "{address}");
        }
        assert!(!admits(&["198.51.100.0/24", "2001:db8::/32"], "198.51.101.7"));
        assert!(admits(&["198.51.100.0/24", "2001:db8::/32"], "2001:db8::7"));
        assert!(!admits(&["2001:db8::/32"], "2001:db9::7"));
    }
}
