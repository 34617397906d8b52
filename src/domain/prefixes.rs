//! Which prefix lengths the networks in a list of bans have: with these, the networks that contain an address are found by a few
//! exact look-ups, however long the list is.

use std::collections::BTreeSet;

use super::Network;

/// The prefix lengths of the networks in a list, single addresses left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixLengths(BTreeSet<(Family, u8)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

fn of(network: Network) -> (Family, u8) {
    let net = network.net();
    (if net.addr().is_ipv4() { Family::V4 } else { Family::V6 }, net.prefix_len())
}

impl PrefixLengths {
    /// The lengths in this list. A ban that is neither an address nor a network contains nothing.
    #[must_use]
    pub fn of<'a>(bans: impl IntoIterator<Item = &'a str>) -> Self {
        // Nearly all of a long list are addresses, which are not worth parsing.
        let networks = bans.into_iter().filter(|ban| ban.contains('/')).filter_map(Network::parse);
        Self(networks.filter(|network| !network.is_single()).map(of).collect())
    }

    /// Reads what [`Display`](std::fmt::Display) writes; none if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let one = |word: &str| {
            let (family, most, length) = match word.split_once('/')? {
                ("4", length) => (Family::V4, 32, length),
                ("6", length) => (Family::V6, 128, length),
                _ => return None,
            };
            length.parse().ok().filter(|length| *length <= most).map(|length| (family, length))
        };
        text.split_ascii_whitespace().map(one).collect::<Option<_>>().map(Self)
    }

    /// Whether a network of this length is in the list.
    #[must_use]
    pub fn has(&self, network: Network) -> bool {
        self.0.contains(&of(network))
    }
}

impl std::fmt::Display for PrefixLengths {
    /// `4/24 6/48`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (family, length)) in self.0.iter().enumerate() {
            let family = if *family == Family::V4 { 4 } else { 6 };
            let blank = if at == 0 { "" } else { " " };
            write!(f, "{blank}{family}/{length}")?;
        }
        Ok(())
    }
}

/// The bans that could contain `network`, itself first: of all lengths if those of the list are not known.
#[must_use]
pub fn candidates(network: Network, lengths: Option<&PrefixLengths>) -> Vec<Network> {
    let can_be = |around: &Network| *around == network || lengths.is_none_or(|lengths| lengths.has(*around));
    network.around().filter(can_be).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    fn texts(networks: &[Network]) -> Vec<String> {
        networks.iter().map(Network::to_string).collect()
    }

    #[test]
    fn only_lengths_that_are_in_the_list_are_looked_for_and_the_address_itself_always() {
        let bans = ["198.51.100.0/28", "203.0.113.9", "2001:db8::/48", "mallory", "10.0.0.1/32", "a/b"];
        let lengths = PrefixLengths::of(bans);
        assert_eq!(lengths.to_string(), "4/28 6/48");
        let around = |text| texts(&candidates(network(text), Some(&lengths)));
        assert_eq!(around("198.51.100.9"), ["198.51.100.9", "198.51.100.0/28"]);
        assert_eq!(around("198.51.100.16/29"), ["198.51.100.16/29", "198.51.100.16/28"]);
        assert_eq!(around("198.51.0.0/16"), ["198.51.0.0/16"], "what is narrower does not contain it");
        assert_eq!(around("2001:db8::9"), ["2001:db8::9", "2001:db8::/48"]);
    }

    #[test]
    fn a_list_of_unknown_lengths_is_walked_from_the_address_to_everything() {
        let four = candidates(network("198.51.100.9"), None);
        assert_eq!((four.len(), four[32].to_string()), (33, "0.0.0.0/0".to_owned()));
        let six = candidates(network("2001:db8::9"), None);
        assert_eq!((six.len(), six[128].to_string()), (129, "::/0".to_owned()));
        assert_eq!(four[1].to_string(), "198.51.100.8/31");
        assert!(four.iter().all(|around| around.contains(four[0])));
    }

    #[test]
    fn lengths_are_read_as_they_were_written_and_nothing_else_is() {
        for text in ["", "4/0 4/31", "4/24 6/48", "6/0"] {
            assert_eq!(PrefixLengths::parse(text).unwrap().to_string(), text);
        }
        for text in ["4/33", "6/129", "24", "5/24", "4/x", "4/24;6/48"] {
            assert_eq!(PrefixLengths::parse(text), None, "{text}");
        }
    }
}
