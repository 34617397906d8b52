//! Who may hold a connection: there is a limit for all, a limit for each peer, and a reserve for probes.
//!
//! A connection is *busy* while this program works on its request or sends the answer, and *idle* while it waits for its client:
//! for a handshake, a header or a body. Only idle ones are ever closed ("let go"), mostly when places run short:
//!
//! ```text
//! accepted ─▶ its peer has its share ─▶ that peer's longest idle one is let go, or else: no place
//!          ─▶ all places are taken   ─▶ the longest idle one is let go, those of proxies last, or else: no place
//!          ─▶ no place               ─▶ the reserve, where only probes are answered, and no connection is kept open
//! ```
//!
//! One that has waited too long for a request is let go in any case: `Places::sweep` looks at all of them now and then, which
//! costs a request nothing, while a timer would have to be set and taken back for each.
//!
//! So a stranger who holds connections open blocks only their own, many strangers block only one another, and a client that sends a
//! request right away is answered. The reserve serves `/healthz` and `/readyz` on the same port, even for a kubelet that shares its
//! address with a stranger behind the node's address translation. Its longest idle connection is let go whenever another one needs
//! its place: a probe sends its request at once, so it is never the longest idle one for long.
//!
//! A peer is an IPv4 address or an IPv6 /64. Trusted proxies forward for many clients, and a unix socket is this machine: they have
//! no share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio_util::sync::CancellationToken;

use crate::domain::address::host_behind;

/// How many connections one server holds.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    /// In all.
    pub all: usize,
    /// For each peer.
    pub share: usize,
    /// In addition to `all`, for probes.
    pub reserve: usize,
    /// Proxies, which have no share.
    pub proxies: Vec<IpNet>,
}

/// The places of one server. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    capacity: Capacity,
    /// Numbers connections as they begin to wait, from 1: the lowest number has waited longest.
    turn: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    connections: HashMap<u64, Arc<Connection>>,
    ordinary: usize,
    of_peer: HashMap<IpNet, usize>,
}

/// A connection, as long as it has its place.
#[derive(Debug)]
struct Connection {
    /// None for those without a share.
    peer: Option<IpNet>,
    reserve: bool,
    /// One of the three below.
    state: AtomicU8,
    /// Whether its last request was answered before all of its body was read.
    unread: AtomicBool,
    /// The turn at which it began to wait for its current request.
    since: AtomicU64,
    /// Of the last sweep: that turn, and how many sweeps in a row have found it waiting since then.
    swept: Mutex<(u64, u32)>,
    let_go: CancellationToken,
}

/// The program works on its request or sends the answer.
const BUSY: u8 = 0;
/// It waits for the rest of a body.
const AWAITS_BODY: u8 = 1;
/// It waits for a handshake, or for the headers of a request.
const AWAITS_REQUEST: u8 = 2;

/// The right to a connection; given back when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    places: Places,
    number: u64,
    connection: Arc<Connection>,
}

impl Places {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self(Arc::new(Inner { capacity, turn: AtomicU64::new(1), held: Mutex::default() }))
    }

    /// A place for a connection from this address (none: a unix socket), or `None` if it must be closed.
    pub(super) fn admit(&self, peer: Option<IpAddr>) -> Option<ConnectionSlot> {
        let capacity = &self.0.capacity;
        // Otherwise all IPv4 hosts behind NAT64 would be one /64 with one share.
        let peer = peer.map(host_behind);
        let peer = peer.filter(|ip| !capacity.proxies.iter().any(|net| net.contains(ip))).map(network);
        let mut held = self.held();
        let theirs = peer.as_ref().and_then(|peer| held.of_peer.get(peer)).copied().unwrap_or_default();
        let ordinary = if theirs >= capacity.share {
            held.let_go(|connection| !connection.reserve && connection.peer == peer)
        } else {
            held.ordinary < capacity.all || held.let_go(|connection| !connection.reserve)
        };
        let reserved = held.connections.len() - held.ordinary;
        if !ordinary && reserved >= capacity.reserve && !held.let_go(|connection| connection.reserve) {
            return None;
        }
        let connection = Arc::new(Connection {
            peer,
            reserve: !ordinary,
            state: AtomicU8::new(AWAITS_REQUEST),
            unread: AtomicBool::new(false),
            since: AtomicU64::new(self.turn()),
            swept: Mutex::default(),
            let_go: CancellationToken::new(),
        });
        let number = held.add(Arc::clone(&connection));
        Some(ConnectionSlot { places: self.clone(), number, connection })
    }

    /// Lets go whoever has waited for the same request in this sweep and in as many before it as `sweeps` says. The reserve has a
    /// shorter limit, of its own.
    pub(super) fn sweep(&self, sweeps: u32) {
        let mut held = self.held();
        let stale = held.connections.iter().filter(|(_, one)| !one.reserve && one.awaits_since(sweeps));
        let stale: Vec<u64> = stale.map(|(&number, _)| number).collect();
        for number in stale {
            held.close(number);
        }
    }

    fn turn(&self) -> u64 {
        self.0.turn.fetch_add(1, Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn add(&mut self, connection: Arc<Connection>) -> u64 {
        if !connection.reserve {
            self.ordinary += 1;
            if let Some(peer) = connection.peer {
                *self.of_peer.entry(peer).or_default() += 1;
            }
        }
        self.next += 1;
        self.connections.insert(self.next, connection);
        self.next
    }

    /// Lets the longest idle one of these go, if there is one: its place is free at once, and its task closes it.
    fn let_go(&mut self, which: impl Fn(&Connection) -> bool) -> bool {
        let idle = self.connections.iter().filter(|(_, one)| one.is_idle() && which(one));
        let longest = idle.min_by_key(|(_, one)| (one.peer.is_none(), one.since.load(Relaxed)));
        let Some((&number, _)) = longest else { return false };
        self.close(number);
        true
    }

    fn close(&mut self, number: u64) {
        if let Some(connection) = self.remove(number) {
            connection.let_go.cancel();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&number)?;
        if !connection.reserve {
            self.ordinary -= 1;
            if let Some(peer) = connection.peer
                && let Some(count) = self.of_peer.get_mut(&peer)
            {
                *count -= 1;
                if *count == 0 {
                    self.of_peer.remove(&peer);
                }
            }
        }
        Some(connection)
    }
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.state.load(Relaxed) != BUSY
    }

    /// Whether this sweep, and this many before it, have found it waiting for the same request.
    fn awaits_since(&self, sweeps: u32) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let since = self.since.load(Relaxed);
        if self.state.load(Relaxed) != AWAITS_REQUEST || swept.0 != since {
            *swept = (since, 0);
            return false;
        }
        swept.1 += 1;
        swept.1 >= sweeps
    }
}

impl ConnectionSlot {
    /// Whether it is in the reserve, where only probes are answered.
    pub(super) fn is_reserve(&self) -> bool {
        self.connection.reserve
    }

    /// Waits until the connection must be closed.
    pub(super) async fn let_go(&self) {
        self.connection.let_go.cancelled().await;
    }

    /// Whether it waits for its client.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_idle()
    }

    /// Call this when the client has sent what was awaited.
    pub(super) fn busy(&self) {
        self.connection.state.store(BUSY, Relaxed);
    }

    /// Notes whether the request was answered before all of its body was read.
    pub(super) fn note_unread(&self, unread: bool) {
        self.connection.unread.store(unread, Relaxed);
    }

    /// Whether the client may still be sending a body that nobody reads.
    pub(super) fn has_unread(&self) -> bool {
        self.connection.unread.load(Relaxed)
    }

    /// Call this when more of the same request is awaited: the connection counts as idle since the request began.
    pub(super) fn waits(&self) {
        self.connection.state.store(AWAITS_BODY, Relaxed);
    }

    /// Call this when the next request is awaited.
    pub(super) fn idle(&self) {
        self.connection.since.store(self.places.turn(), Relaxed);
        self.connection.state.store(AWAITS_REQUEST, Relaxed);
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.places.held().remove(self.number);
    }
}

/// What counts as one peer: an IPv4 address, or the /64 in which an IPv6 host picks its own.
fn network(ip: IpAddr) -> IpNet {
    match ip {
        IpAddr::V4(ip) => Ipv4Net::from(ip).into(),
        IpAddr::V6(ip) => Ipv6Net::new(ip, 64).unwrap_or_else(|_| ip.into()).trunc().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: usize, share: usize, reserve: usize) -> Places {
        let proxies = vec!["10.0.0.0/8".parse().unwrap()];
        Places::new(Capacity { all, share, reserve, proxies })
    }

    fn from(places: &Places, ip: &str) -> Option<ConnectionSlot> {
        places.admit(Some(ip.parse().unwrap()))
    }

    fn is_let_go(place: &ConnectionSlot) -> bool {
        place.connection.let_go.is_cancelled()
    }

    #[test]
    fn a_peer_that_has_its_share_loses_its_own_longest_idle_connection_and_nobody_elses() {
        let places = places(10, 2, 1);
        let other = from(&places, "198.51.100.1").unwrap();
        let [first, second] = [(); 2].map(|()| from(&places, "2001:db8::1").unwrap());
        first.busy();
        let third = from(&places, "2001:db8::ffff:1").unwrap();
        assert!(is_let_go(&second) && !is_let_go(&first) && !is_let_go(&other));
        assert!(!third.is_reserve());
        // Another /64 is another peer, each host behind NAT64 is one, and a mapped address is the address.
        assert!(!from(&places, "2001:db8:0:1::1").unwrap().is_reserve());
        let behind_nat64 = ["64:ff9b::203.0.113.8", "64:ff9b::203.0.113.9", "64:ff9b::203.0.113.10"];
        let behind_nat64 = behind_nat64.map(|ip| from(&places, ip).unwrap());
        assert!(behind_nat64.iter().all(|place| !is_let_go(place) && !place.is_reserve()));
        drop(behind_nat64);
        let _one = from(&places, "203.0.113.7").unwrap();
        let two = from(&places, "::ffff:203.0.113.7").unwrap();
        two.busy();
        drop(from(&places, "203.0.113.7").unwrap());
        assert_eq!(places.held().of_peer.len(), 3, "{:?}", places.held());
    }

    #[test]
    fn when_all_places_are_taken_the_longest_idle_one_goes_first_and_those_of_proxies_last() {
        let places = places(3, 3, 0);
        let proxy = from(&places, "10.0.0.1").unwrap();
        let local = places.admit(None).unwrap();
        let old = from(&places, "198.51.100.1").unwrap();
        let new = from(&places, "198.51.100.2").unwrap();
        assert!(is_let_go(&old) && !is_let_go(&proxy) && !is_let_go(&local));
        new.busy();
        let _third = places.admit(None).unwrap();
        assert!(is_let_go(&proxy));
        // One that waits for the rest of its request is as old as its request.
        new.waits();
        local.idle();
        let _fourth = places.admit(None).unwrap();
        assert!(is_let_go(&new) && !is_let_go(&local));
    }

    #[test]
    fn a_proxy_has_no_share() {
        let places = places(5, 1, 0);
        let held: Vec<_> = (0..5).map(|_| from(&places, "10.0.0.1").unwrap()).collect();
        assert!(held.iter().all(|place| !is_let_go(place)));
    }

    #[test]
    fn while_every_place_is_busy_the_reserve_answers_and_nobody_stays_in_it() {
        let places = places(1, 5, 2);
        let busy = from(&places, "198.51.100.1").unwrap();
        busy.busy();
        let [first, second] = [(); 2].map(|()| from(&places, "198.51.100.1").unwrap());
        assert!(first.is_reserve() && second.is_reserve());
        let third = from(&places, "198.51.100.2").unwrap();
        assert!(third.is_reserve() && is_let_go(&first) && !is_let_go(&second));
        second.busy();
        third.busy();
        assert!(from(&places, "198.51.100.3").is_none());
        drop(busy);
        assert!(!from(&places, "198.51.100.3").unwrap().is_reserve());
    }

    #[test]
    fn a_sweep_lets_go_who_waited_for_the_same_request_as_long_and_nobody_who_is_busy_or_sends_a_body() {
        let places = places(9, 9, 9);
        let [silent, asks, busy, sends] = [(); 4].map(|()| from(&places, "198.51.100.1").unwrap());
        busy.busy();
        sends.busy();
        sends.waits();
        places.sweep(2);
        places.sweep(2);
        assert!(!is_let_go(&silent), "once seen, and once more");
        // Answered, it waits for another one.
        asks.busy();
        asks.idle();
        places.sweep(2);
        assert!(is_let_go(&silent));
        busy.idle();
        for _ in 0..2 {
            assert!(!is_let_go(&asks) && !is_let_go(&busy) && !is_let_go(&sends));
            places.sweep(2);
        }
        assert!(is_let_go(&asks) && !is_let_go(&busy) && !is_let_go(&sends));
        places.sweep(2);
        assert!(is_let_go(&busy) && !is_let_go(&sends));
        assert_eq!(places.held().connections.len(), 1);
    }

    #[test]
    fn what_is_let_go_gives_its_place_back_once() {
        let places = places(1, 1, 0);
        let gone = from(&places, "198.51.100.1").unwrap();
        let here = from(&places, "198.51.100.2").unwrap();
        drop(gone);
        here.busy();
        assert!(from(&places, "198.51.100.3").is_none());
        drop(here);
        let held = places.held();
        assert!(held.connections.is_empty() && held.of_peer.is_empty() && held.ordinary == 0, "{held:?}");
    }
}
