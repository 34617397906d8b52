//! Where a request comes from.
//!
//! The peer's address, unless the peer is a trusted proxy. Then the rightmost address of `X-Forwarded-For`
//! (all lines of the header, in order) that is not a trusted proxy itself: everything to the left of it was
//! written by whoever sits there, and proves nothing. Anything that is no address stops the walk at the last
//! proxy that was understood. `::ffff:192.0.2.1` is 192.0.2.1.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::http::state::AppState;

/// The client's address, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerAddress(pub IpAddr);

impl FromRequestParts<AppState> for CallerAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = peer(&parts.extensions).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(Self(client_address(peer, &parts.headers, &state.trusted_proxies)))
    }
}

/// The other end of the connection; none in tests that have no connection.
#[must_use]
pub fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(address) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip().to_canonical())
}

/// Whether what this peer forwards is believed.
#[must_use]
pub fn is_trusted(peer: Option<IpAddr>, trusted: &[IpNet]) -> bool {
    peer.is_some_and(|peer| trusted.iter().any(|net| net.contains(&peer)))
}

fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_trusted(Some(client), trusted) {
        return client;
    }
    for line in headers.get_all("x-forwarded-for").iter().rev() {
        let Ok(line) = line.to_str() else { return client };
        for hop in line.rsplit(',') {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else { return client };
            client = hop.to_canonical();
            if !is_trusted(Some(client), trusted) {
                return client;
            }
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn from(peer: &str, lines: &[&str]) -> String {
        let headers =
            lines.iter().map(|l| ("x-forwarded-for".parse().unwrap(), HeaderValue::from_str(l).unwrap()));
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client_address(peer.parse().unwrap(), &headers.collect(), &trusted).to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(from("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(from("192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_counts() {
        assert_eq!(from("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("10.0.0.1", &["1.1.1.1, 198.51.100.7 ,10.0.0.2"]), "198.51.100.7");
        assert_eq!(from("10.0.0.1", &["1.1.1.1", "198.51.100.7", "10.0.0.2, 10.0.0.3"]), "198.51.100.7");
        assert_eq!(from("fd00::1", &["2001:db8::7"]), "2001:db8::7");
    }

    #[test]
    fn what_cannot_be_read_stops_at_the_last_proxy() {
        assert_eq!(from("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(from("10.0.0.1", &["198.51.100.7,"]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["198.51.100.7", ""]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["198.51.100.7:4711"]), "10.0.0.1");
    }

    #[test]
    fn only_proxies_leaves_the_farthest_of_them() {
        assert_eq!(from("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn a_mapped_address_is_the_address() {
        assert_eq!(from("::ffff:10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("::ffff:192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    }
}
