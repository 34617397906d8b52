//! Which proxies are trusted to report a client's address, and so where a request comes from.
//!
//! A request comes from the peer's address, unless proxies are configured, in one of two ways:
//!
//! | configured | the client is |
//! |---|---|
//! | `BANGUI_TRUSTED_PROXIES` | where the peer is one of them, the rightmost address of `X-Forwarded-For` that is not one of them: everything to its left was written by that client, and proves nothing. An entry that is not an address stops the walk at the last proxy that was understood |
//! | `BANGUI_TRUSTED_PROXY_HOPS` | the Nth address from the right, whatever the peer; the peer's own, if there are fewer or the entry is not an address |
//!
//! All lines of the header count, in order. An entry may have a port and brackets; empty entries are ignored. `::ffff:192.0.2.1` and
//! `64:ff9b::192.0.2.1` are 192.0.2.1.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::{Arc, OnceLock};

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::domain::address::host_behind;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies in front of the workers. Cheap to clone; all clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    named: Arc<[IpNet]>,
    hops: Option<NonZeroU8>,
    /// The first peer that sent `X-Forwarded-For` without being configured.
    stranger: Arc<OnceLock<IpAddr>>,
}

impl Proxies {
    /// The proxies of the configuration.
    #[must_use]
    pub fn new(named: &[IpNet], hops: Option<NonZeroU8>) -> Self {
        Self { named: named.into(), hops, stranger: Arc::default() }
    }

    /// Whether this peer is trusted to forward a client's address.
    #[must_use]
    pub fn trust(&self, peer: Option<IpAddr>) -> bool {
        self.hops.is_some() || peer.is_some_and(|peer| self.is_named(peer))
    }

    /// The first peer that forwarded a client's address without being trusted: probably a load balancer missing from the
    /// configuration.
    #[must_use]
    pub fn stranger(&self) -> Option<IpAddr> {
        self.stranger.get().copied()
    }

    /// Checks whether the peer may be a load balancer that is not configured, and warns about the first.
    pub fn watch(&self, peer: Option<IpAddr>, headers: &HeaderMap) {
        let Some(peer) = peer.filter(|peer| headers.contains_key(FORWARDED_FOR) && !self.trust(Some(*peer)))
        else {
            return;
        };
        if self.stranger.set(peer).is_ok() {
            tracing::warn!(
                client.address = %peer,
                "ignoring X-Forwarded-For from {peer}: it is not in BANGUI_TRUSTED_PROXIES. If it is your load balancer, name \
                 it: until then all its users share one address, and one limit of logins"
            );
        }
    }

    fn is_named(&self, peer: IpAddr) -> bool {
        self.named.iter().any(|net| net.contains(&peer))
    }

    /// The client's address, as far as it can be known.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = host_behind(peer);
        match self.hops {
            Some(hops) => self.nth(hops, headers).unwrap_or(peer),
            None => self.nearest_stranger(peer, headers),
        }
    }

    fn nth(&self, hops: NonZeroU8, headers: &HeaderMap) -> Option<IpAddr> {
        address(forwarded(headers).nth(usize::from(hops.get()) - 1)??)
    }

    fn nearest_stranger(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let mut hops = forwarded(headers);
        while self.is_named(client) {
            match hops.next().map(|hop| hop.and_then(address)) {
                Some(Some(hop)) => client = hop,
                Some(None) | None => break,
            }
        }
        client
    }
}

/// The entries of `X-Forwarded-For`, from the right; a line that is not text is one entry, `None`.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    lines
        .flat_map(|line| match line.to_str() {
            Ok(line) => Entries::Of(line.rsplit(',')),
            Err(_) => Entries::Unreadable(std::iter::once(())),
        })
        .filter(|hop| hop.is_none_or(|hop| !hop.is_empty()))
}

/// The entries of one line.
enum Entries<'a> {
    Of(std::str::RSplit<'a, char>),
    Unreadable(std::iter::Once<()>),
}

impl<'a> Iterator for Entries<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Of(entries) => entries.next().map(|entry| Some(entry.trim())),
            Self::Unreadable(once) => once.next().map(|()| None),
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = || hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop).parse().ok();
    let ip = hop.parse::<SocketAddr>().ok().map(|address| address.ip()).or_else(bare)?;
    Some(host_behind(ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let line = |line: &&[u8]| (FORWARDED_FOR.parse().unwrap(), HeaderValue::from_bytes(line).unwrap());
        lines.iter().map(line).collect()
    }

    fn from(peer: &str, lines: &[&str]) -> String {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Proxies::new(&trusted, None).client(peer.parse().unwrap(), &headers(&lines)).to_string()
    }

    #[test]
    fn a_stranger_is_not_trusted() {
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
    fn ports_brackets_and_empty_entries_are_read() {
        for (line, client) in [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("198.51.100.7,", "198.51.100.7"),
            ("198.51.100.7, ,10.0.0.2,,", "198.51.100.7"),
            (",", "10.0.0.1"),
        ] {
            assert_eq!(from("10.0.0.1", &[line]), client, "{line}");
        }
        assert_eq!(from("10.0.0.1", &["198.51.100.7", ""]), "198.51.100.7");
    }

    #[test]
    fn what_cannot_be_read_stops_at_the_last_proxy() {
        assert_eq!(from("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(from("10.0.0.1", &["198.51.100.7, 198.51.100.8:x"]), "10.0.0.1");
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let unreadable = headers(&[b"198.51.100.7", b"\xff"]);
        let client = Proxies::new(&trusted, None).client("10.0.0.1".parse().unwrap(), &unreadable);
        assert_eq!(client.to_string(), "10.0.0.1");
    }

    #[test]
    fn if_all_are_proxies_the_farthest_one_is_the_client() {
        assert_eq!(from("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn an_address_in_a_spelling_of_ipv6_is_the_address() {
        assert_eq!(from("::ffff:10.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("::ffff:192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(from("10.0.0.1", &["64:ff9b::198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("64:ff9b::10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn with_a_number_of_hops_the_count_from_the_right_decides_and_not_the_peer() {
        let from = |hops: u8, lines: &[&[u8]]| {
            let proxies = Proxies::new(&[], NonZeroU8::new(hops));
            proxies.client("192.0.2.1".parse().unwrap(), &headers(lines)).to_string()
        };
        assert_eq!(from(1, &[b"203.0.113.9, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(from(2, &[b"203.0.113.9", b"198.51.100.7:1, 10.0.0.1,"]), "198.51.100.7");
        // What a client makes up is on the left, however much it is.
        assert_eq!(from(1, &[b"203.0.113.1", b"203.0.113.2, 203.0.113.3", b"198.51.100.7"]), "198.51.100.7");
        // A request that did not pass all proxies counts as the peer's.
        assert_eq!(from(2, &[]), "192.0.2.1");
        assert_eq!(from(2, &[b"198.51.100.7"]), "192.0.2.1");
        assert_eq!(from(2, &[b"unknown, 10.0.0.1"]), "192.0.2.1");
        assert_eq!(from(2, &[b"\xff", b"10.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn a_peer_that_forwards_and_is_not_named_is_noticed() {
        let (named, stranger) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let proxies = Proxies::new(&["10.0.0.0/8".parse().unwrap()], None);
        let forwarding = headers(&[b"198.51.100.7"]);
        proxies.watch(Some(named), &forwarding);
        proxies.watch(Some(stranger), &headers(&[]));
        proxies.watch(None, &forwarding);
        assert_eq!(proxies.stranger(), None);
        proxies.watch(Some(stranger), &forwarding);
        assert_eq!(proxies.stranger(), Some(stranger));
        let counted = Proxies::new(&[], NonZeroU8::new(1));
        counted.watch(Some(stranger), &forwarding);
        assert_eq!(counted.stranger(), None);
    }
}
