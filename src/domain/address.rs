//! One spelling for one address, so that no comparison depends on how somebody wrote it.
//!
//! | written | is |
//! |---|---|
//! | `::ffff:198.51.100.9` (mapped, RFC 4291) | 198.51.100.9 everywhere: the kernel and fail2ban see the IPv4 address |
//! | `::ffff:198.51.100.0/120` | 198.51.100.0/24 everywhere |
//! | `64:ff9b::c633:6409` (NAT64, RFC 6052) | an IPv6 address to a firewall, so it is banned, ignored and trusted as written; the *host behind it* is 198.51.100.9, which is what a login limit and the guard against locking oneself out ask for |
//!
//! Every address and network that comes from outside goes through [`canonical_network`] or `IpAddr::to_canonical` once, where
//! it is parsed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// `::ffff:0:0/96`
const MAPPED: [u16; 6] = [0, 0, 0, 0, 0, 0xffff];
/// `64:ff9b::/96`
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// The network without host bits, as an IPv4 one if it lies in `::ffff:0:0/96`.
#[must_use]
pub fn canonical_network(net: IpNet) -> IpNet {
    let net = net.trunc();
    match net {
        IpNet::V6(net6) => embedded(net6, MAPPED).map_or(net, IpNet::from),
        IpNet::V4(_) => net,
    }
}

/// The host that an address stands for: the IPv4 one behind NAT64 or a mapped spelling, else the address itself.
#[must_use]
pub fn host_behind(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip6) => embedded(ip6.into(), NAT64).map_or(ip, |net| net.addr().into()),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// Whether traffic of one of `net`'s addresses can be traffic of one of `other`'s, however each is spelled: an IPv4 host also arrives
/// as its mapped and its NAT64 address.
#[must_use]
pub fn overlaps(net: IpNet, other: IpNet) -> bool {
    let overlap = |one: &IpNet| one.contains(&net) || net.contains(one);
    spellings(canonical_network(other)).iter().any(overlap)
}

fn spellings(net: IpNet) -> Vec<IpNet> {
    let mut all = vec![net];
    let ipv4 = match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(net) => embedded(net, NAT64),
    };
    if let Some(ipv4) = ipv4 {
        all.push(ipv4.into());
        all.extend([MAPPED, NAT64].iter().filter_map(|prefix| embed(ipv4, *prefix)));
    }
    all
}

/// The IPv4 network in the last 32 bits, if the 96 before are these.
fn embedded(net: Ipv6Net, prefix: [u16; 6]) -> Option<Ipv4Net> {
    let length = net.prefix_len().checked_sub(96)?;
    let [head @ .., high, low] = net.network().segments();
    let ([h1, h2], [l1, l2]) = (high.to_be_bytes(), low.to_be_bytes());
    let inside = (head == prefix).then(|| Ipv4Net::new(Ipv4Addr::new(h1, h2, l1, l2), length));
    inside?.ok()
}

fn embed(net: Ipv4Net, [a, b, c, d, e, f]: [u16; 6]) -> Option<IpNet> {
    let [h1, h2, l1, l2] = net.network().octets();
    let (high, low) = (u16::from_be_bytes([h1, h2]), u16::from_be_bytes([l1, l2]));
    let address = Ipv6Addr::new(a, b, c, d, e, f, high, low);
    Ipv6Net::new(address, 96 + net.prefix_len()).ok().map(IpNet::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).unwrap()
    }

    #[test]
    fn a_mapped_network_is_the_ipv4_one_and_every_other_is_itself() {
        for (written, is) in [
            ("::ffff:198.51.100.9", "198.51.100.9/32"),
            ("::FFFF:c633:6409", "198.51.100.9/32"),
            ("::ffff:198.51.100.9/120", "198.51.100.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("198.51.100.9/24", "198.51.100.0/24"),
            ("64:ff9b::198.51.100.9", "64:ff9b::c633:6409/128"),
            ("::198.51.100.9", "::c633:6409/128"),
            ("2001:db8::ffff:198.51.100.9", "2001:db8::ffff:c633:6409/128"),
        ] {
            assert_eq!(canonical_network(net(written)).to_string(), is, "{written}");
        }
    }

    #[test]
    fn behind_nat64_there_is_an_ipv4_host() {
        for (ip, host) in [
            ("64:ff9b::198.51.100.9", "198.51.100.9"),
            ("::ffff:198.51.100.9", "198.51.100.9"),
            ("198.51.100.9", "198.51.100.9"),
            ("64:ff9b:1::198.51.100.9", "64:ff9b:1::c633:6409"),
        ] {
            assert_eq!(host_behind(ip.parse().unwrap()).to_string(), host);
        }
    }

    #[test]
    fn two_networks_overlap_in_whichever_spelling() {
        for (one, other) in [
            ("198.51.100.0/24", "198.51.100.9"),
            ("198.51.100.9", "198.51.100.0/24"),
            ("64:ff9b::198.51.100.9", "198.51.100.9"),
            ("198.51.100.9", "64:ff9b::198.51.100.9"),
            ("64:ff9b::/32", "198.51.100.9"),
            ("::/1", "198.51.100.9"),
            ("198.51.100.9", "::ffff:198.51.100.9"),
        ] {
            assert!(overlaps(net(one), net(other)), "{one} {other}");
        }
        for (one, other) in [
            ("198.51.100.8", "198.51.100.9"),
            ("64:ff9b::198.51.100.8", "198.51.100.9"),
            ("2001:db8::/32", "198.51.100.9"),
            ("0.0.0.0/0", "2001:db8::1"),
        ] {
            assert!(!overlaps(net(one), net(other)), "{one} {other}");
        }
    }
}
