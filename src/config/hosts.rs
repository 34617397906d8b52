//! Trusted proxies, and hosts that requests may be for.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Host;

use super::values::Parsed;
use crate::domain::address::network_behind;

/// Networks such as `10.1.2.0/24`, or single addresses, in canonical form.
///
/// Neighbouring networks count as one, which may be as large as the largest private networks, `10.0.0.0/8` and `fc00::/7`: nobody
/// has load balancers in more, and `0.0.0.0/1,128.0.0.0/1` is every address.
pub fn proxies(text: &str) -> Parsed<Vec<IpNet>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let named = entries.map(proxy).collect::<Parsed<Vec<IpNet>>>()?;
    // Merge neighbouring networks.
    let too_large = IpNet::aggregate(&named).into_iter().find(|net| {
        let largest = if net.addr().is_ipv4() { 8 } else { 7 };
        net.prefix_len() < largest
    });
    match too_large {
        Some(net) => Err(format!(
            "trusts all of {net}: a client from there could pretend to be any other. List your load balancers; a network may be as \
             large as 10.0.0.0/8 or fc00::/7"
        )),
        None => Ok(named),
    }
}

fn proxy(entry: &str) -> Parsed<IpNet> {
    let network = entry
        .parse::<IpNet>()
        .ok()
        .or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from))
        .ok_or_else(|| format!("{entry:?} is neither a network such as 10.1.2.0/24 nor an address"))?;
    Ok(network_behind(network))
}

/// Whether a network is too wide to hold only load balancers.
#[must_use]
pub fn is_wide(proxies: &IpNet) -> bool {
    let narrow = if proxies.addr().is_ipv4() { 16 } else { 48 };
    proxies.prefix_len() < narrow
}

/// Names and addresses as the header `Host` has them, without the port.
pub fn hosts(text: &str) -> Parsed<Vec<String>> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(host).collect()
}

fn host(entry: &str) -> Parsed<String> {
    let wrong = || {
        format!(
            "{entry:?} is neither a host name such as bangui.example nor an address; ports, paths and `*` are not allowed"
        )
    };
    if let Ok(ip) = entry.parse::<IpAddr>() {
        return Ok(match ip {
            IpAddr::V4(ip) => Host::<String>::Ipv4(ip),
            IpAddr::V6(ip) => Host::Ipv6(ip),
        }
        .to_string());
    }
    match Host::parse(entry) {
        Ok(host) if !entry.contains('*') => Ok(host.to_string().trim_end_matches('.').to_owned()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_networks_in_canonical_form_and_never_all_addresses() {
        let read = |text: &str| {
            proxies(text).map(|nets| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        for (text, nets) in [
            ("", ""),
            ("10.1.2.3, 2001:db8::/48,", "10.1.2.3/32 2001:db8::/48"),
            ("10.1.2.3/24", "10.1.2.0/24"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("64:ff9b::10.1.2.0/120", "10.1.2.0/24"),
            (
                "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
                "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
            ),
            ("10.0.0.0/9,10.128.0.0/9", "10.0.0.0/9 10.128.0.0/9"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(nets), "{text}");
        }
        for text in [
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1,9.9.9.9/0",
            "0.0.0.0/1,128.0.0.0/1",
            "0.0.0.0/1",
            "0.0.0.0/2,64.0.0.0/3,96.0.0.0/4,112.0.0.0/4",
            "10.0.0.0/8,11.0.0.0/8",
            "::/1,8000::/1",
            "2000::/3",
            "64:ff9b::/97,64:ff9b::128.0.0.0/97",
            "::ffff:0:0/96",
            "64:ff9b::/96",
            "10.0.0.0/33",
            "proxy",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_of_whole_providers_is_wide() {
        for (net, wide) in [
            ("10.0.0.0/8", true),
            ("10.0.0.0/15", true),
            ("10.0.0.0/16", false),
            ("192.0.2.1/32", false),
            ("2001:db8::/47", true),
            ("2001:db8::/48", false),
        ] {
            assert_eq!(is_wide(&net.parse().unwrap()), wide, "{net}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_without_its_port() {
        let read = |text: &str| hosts(text).map(|hosts| hosts.join(" "));
        assert_eq!(read("").as_deref(), Ok(""));
        assert_eq!(
            read("Bangui.Example, 192.0.2.1,::1,[2001:DB8::1], bangui.").as_deref(),
            Ok("bangui.example 192.0.2.1 [::1] [2001:db8::1] bangui")
        );
        for text in ["a:80", "*", "*.example", "a/b", "http://a", "a b", "[::1]:80", "[::1"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
