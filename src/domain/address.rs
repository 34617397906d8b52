//! One spelling for each address, so that no comparison depends on how somebody wrote it.
//!
//! | written | is |
//! |---|---|
//! | `::ffff:198.51.100.9` (mapped, RFC 4291) | 198.51.100.9 everywhere: the kernel and fail2ban see the IPv4 address |
//! | `::ffff:198.51.100.0/120` | 198.51.100.0/24 everywhere |
//! | `64:ff9b::c633:6409` (NAT64, RFC 6052) | an IPv6 address to a firewall, so it is banned and ignored as written: a ban of 198.51.100.9 would let its packets through; the *host behind it* is 198.51.100.9, which is what limits, trusted proxies, sessions, the audit and the guard against banning oneself use |
//!
//! Where an address or network from outside is parsed, it goes through [`canonical_network`] if fail2ban is to ban or ignore it,
//! and through [`host_behind`] or [`network_behind`] if it identifies a client.

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

/// The host that an address denotes: the IPv4 one behind NAT64 or a mapped spelling, else the address itself.
#[must_use]
pub fn host_behind(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip6) => embedded(ip6.into(), NAT64).map_or(ip, |net| net.addr().into()),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// The network of the hosts that a network's addresses denote.
#[must_use]
pub fn network_behind(net: IpNet) -> IpNet {
    let net = canonical_network(net);
    match net {
        IpNet::V6(net6) => embedded(net6, NAT64).map_or(net, IpNet::from),
        IpNet::V4(_) => net,
    }
}

/// Whether the two networks can have a host in common, however each is spelled: an IPv4 host may also appear under its mapped and
/// its NAT64 address.
#[must_use]
pub fn overlaps(net: IpNet, other: IpNet) -> bool {
    let others = spellings(canonical_network(other));
    let overlap = |one: &IpNet, other: &IpNet| one.contains(other) || other.contains(one);
    spellings(canonical_network(net)).iter().any(|one| others.iter().any(|other| overlap(one, other)))
}

/// Why no host ever has an address of this network, as a phrase that follows the network; `None` if a host may have one. Packets
/// never come from there, so a ban would have no effect.
#[must_use]
pub fn is_no_host(net: IpNet) -> Option<&'static str> {
    const NOBODY: [(&str, &str); 5] = [
        ("0.0.0.0/32", "stands for no address in particular"),
        ("::/128", "stands for no address in particular"),
        ("255.255.255.255/32", "is every host of a local network at once"),
        ("224.0.0.0/4", "is in the range of multicast groups"),
        ("ff00::/8", "is in the range of multicast groups"),
    ];
    let behind = network_behind(net);
    let of = |nobody: &str| nobody.parse::<IpNet>().is_ok_and(|nobody| nobody.contains(&behind));
    NOBODY.iter().find(|(nobody, _)| of(nobody)).map(|(_, why)| *why)
}

/// The largest of these networks, neighbours merged, if it is so large that most of its hosts must be harmless: more than a /8 of
/// IPv4 addresses, or a /16 of IPv6 ones. Registries give nobody more.
#[must_use]
pub fn largest_crowd(nets: &[IpNet]) -> Option<IpNet> {
    let all: Vec<IpNet> = nets.iter().map(|net| network_behind(*net)).collect();
    let is_crowd = |net: &IpNet| net.prefix_len() < if net.addr().is_ipv4() { 8 } else { 16 };
    IpNet::aggregate(&all).into_iter().filter(is_crowd).min_by_key(IpNet::prefix_len)
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

/// The IPv4 network in the last 32 bits, if the 96 bits before are `prefix`.
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
    use proptest::prelude::*;

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
    fn nobody_has_the_unspecified_address_the_broadcast_address_or_that_of_a_group() {
        for nobody in [
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
            "64:ff9b::",
            "255.255.255.255",
            "224.0.0.1",
            "239.0.0.0/8",
            "224.0.0.0/4",
            "ff02::1",
            "ff00::/8",
        ] {
            assert!(is_no_host(net(nobody)).is_some(), "{nobody}");
        }
        for somebody in [
            "0.0.0.1",
            "0.0.0.0/31",
            "::1",
            "::/127",
            "255.255.255.254",
            "240.0.0.1",
            "223.255.255.255",
            "224.0.0.0/3",
            "fe80::1",
        ] {
            assert_eq!(is_no_host(net(somebody)), None, "{somebody}");
        }
    }

    #[test]
    fn a_network_larger_than_a_registry_allocates_is_a_crowd_whether_whole_or_in_parts() {
        let crowd = |nets: &[&str]| {
            let nets: Vec<IpNet> = nets.iter().map(|one| net(one)).collect();
            largest_crowd(&nets).map(|net| net.to_string())
        };
        for (nets, is) in [
            (&["128.0.0.0/1"][..], "128.0.0.0/1"),
            (&["203.0.113.7", "8.0.0.0/7"], "8.0.0.0/7"),
            (&["8.0.0.0/8", "9.0.0.0/8"], "8.0.0.0/7"),
            (&["2000::/3", "8.0.0.0/7"], "2000::/3"),
            (&["2a00::/15"], "2a00::/15"),
            (&["64:ff9b::/96"], "0.0.0.0/0"),
        ] {
            assert_eq!(crowd(nets).as_deref(), Some(is), "{nets:?}");
        }
        assert_eq!(crowd(&["8.0.0.0/8", "10.0.0.0/8", "2a00::/16", "203.0.113.7"]), None);
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

    /// Any network, and as often one in a spelling of IPv4.
    fn networks() -> impl Strategy<Value = IpNet> {
        let ipv4 =
            (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| Ipv4Net::new_assert(bits.into(), length));
        let ipv6 = (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, length)| Ipv6Net::new_assert(bits.into(), length).into());
        let embedded = (ipv4.clone(), prop_oneof![Just(MAPPED), Just(NAT64)])
            .prop_filter_map("embeds", |(net, prefix)| embed(net, prefix));
        prop_oneof![ipv4.prop_map(IpNet::from), ipv6, embedded]
    }

    proptest! {
        #[test]
        fn what_is_canonical_stays_as_it_is(net in networks()) {
            let canonical = canonical_network(net);
            prop_assert_eq!(canonical_network(canonical), canonical);
            let behind = network_behind(net);
            prop_assert_eq!(network_behind(behind), behind);
            prop_assert_eq!(host_behind(host_behind(net.addr())), host_behind(net.addr()));
            prop_assert_eq!(canonical.to_string().parse::<IpNet>().unwrap(), canonical);
        }

        #[test]
        fn every_spelling_of_an_ipv4_network_is_that_network(bits: u32, length in 0..=32_u8, host: u32) {
            let ipv4 = Ipv4Net::new_assert(bits.into(), length);
            let is = IpNet::from(ipv4.trunc());
            let mapped = embed(ipv4, MAPPED).unwrap();
            prop_assert_eq!(canonical_network(mapped), is);
            for net in [is, mapped, embed(ipv4, NAT64).unwrap()] {
                prop_assert_eq!(network_behind(net), is);
                prop_assert!(overlaps(net, is) && overlaps(is, net));
            }
            // A host in it is in it, however each of the two is written.
            let inside = Ipv4Net::new_assert((host & u32::from(ipv4.hostmask()) | u32::from(ipv4.network())).into(), 32);
            for host in [IpNet::from(inside), embed(inside, MAPPED).unwrap(), embed(inside, NAT64).unwrap()] {
                prop_assert!(is.contains(&host_behind(host.addr())));
                prop_assert!(overlaps(host, mapped) && overlaps(mapped, host));
            }
        }

        #[test]
        fn networks_overlap_both_ways(one in networks(), other in networks()) {
            prop_assert_eq!(overlaps(one, other), overlaps(other, one), "{} {}", one, other);
        }

        #[test]
        fn an_address_in_no_spelling_of_ipv4_is_itself(bits: u128) {
            let ip = Ipv6Addr::from(bits);
            let head: [u16; 6] = std::array::from_fn(|n| ip.segments()[n]);
            prop_assume!(head != MAPPED && head != NAT64);
            prop_assert_eq!(host_behind(ip.into()), IpAddr::V6(ip));
            prop_assert_eq!(canonical_network(IpAddr::V6(ip).into()), IpNet::from(IpAddr::V6(ip)));
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
