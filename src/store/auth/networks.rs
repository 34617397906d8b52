//! How the rate limits distinguish clients: by address, and by the site that an address belongs to.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::domain::address::host_behind;

/// What counts as one address for the limits: an IPv4 address, or the /64 in which an IPv6 host picks its own.
#[must_use]
pub fn address_of(ip: IpAddr) -> IpNet {
    network_of(ip, 64)
}

/// What counts as one site for the limits: an IPv4 address, or the /48 that one customer may have.
pub(in crate::store) fn site_of(ip: IpAddr) -> IpNet {
    network_of(ip, 48)
}

fn network_of(ip: IpAddr, bits: u8) -> IpNet {
    // Otherwise all IPv4 hosts behind NAT64 would be one /64 with one limit.
    match host_behind(ip) {
        IpAddr::V4(ip) => Ipv4Net::from(ip).into(),
        IpAddr::V6(ip) => Ipv6Net::new(ip, bits).unwrap_or_else(|_| ip.into()).trunc().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_addresses_count_separately_and_ipv6_ones_are_grouped() {
        let of = |ip: &str| (address_of(ip.parse().unwrap()), site_of(ip.parse().unwrap()));
        let text = |(a, s): (IpNet, IpNet)| format!("{a} {s}");
        assert_eq!(text(of("203.0.113.7")), "203.0.113.7/32 203.0.113.7/32");
        assert_eq!(text(of("::ffff:203.0.113.7")), "203.0.113.7/32 203.0.113.7/32");
        assert_eq!(text(of("64:ff9b::203.0.113.7")), "203.0.113.7/32 203.0.113.7/32");
        assert_eq!(text(of("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64 2001:db8:1::/48");
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1").0, of("2001:db8:1:3::1").0);
        assert_eq!(of("2001:db8:1:2::1").1, of("2001:db8:1:3::1").1);
        assert_ne!(of("2001:db8:1::1").1, of("2001:db8:2::1").1);
    }
}
