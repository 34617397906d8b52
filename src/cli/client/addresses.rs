//! The addresses that `ban` and `unban` are given: on the command line, or on standard input by the thousand.

use std::collections::BTreeSet;
use std::io::Read as _;

use clap::ArgMatches;

use super::error::ClientError;
use crate::config::client_commands::{ADDRESSES, Named};
use crate::domain::Network;

/// Enough for a million addresses with their separators.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Wrong lines that are shown.
const MAX_SHOWN: usize = 5;

/// All addresses, each once, in the order in which they were given.
///
/// # Errors
/// If one of them is not an address, or there are none.
pub fn read(matches: &ArgMatches) -> Result<Vec<Network>, ClientError> {
    let named: Vec<Named> = matches.get_many::<Named>(ADDRESSES).into_iter().flatten().copied().collect();
    match &named[..] {
        [Named::Stdin] => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(ClientError::local("failed to read standard input"))?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err(ClientError::Usage(format!("standard input has more than {MAX_BYTES} bytes")));
            }
            parse(&String::from_utf8_lossy(&bytes))
        }
        named => {
            let networks = named.iter().map(|named| match named {
                Named::Network(network) => Ok(*network),
                Named::Stdin => Err(ClientError::Usage(
                    "`-` reads the addresses from standard input: it cannot be combined with others"
                        .to_owned(),
                )),
            });
            networks.collect::<Result<Vec<_>, _>>().map(each_once)
        }
    }
}

/// Addresses between blanks and newlines; `#` begins a comment. Nothing is done with the good ones if some are wrong.
fn parse(text: &str) -> Result<Vec<Network>, ClientError> {
    let (mut networks, mut wrong) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split([' ', '\t', ',', '\r']).filter(|word| !word.is_empty()) {
            match Network::parse(word) {
                Some(network) => networks.push(network),
                None => wrong.push(format!(
                    "line {}: {:?}",
                    number + 1,
                    word.chars().take(60).collect::<String>()
                )),
            }
        }
    }
    match (wrong.len(), networks.is_empty()) {
        (0, false) => Ok(each_once(networks)),
        (0, true) => Err(ClientError::Usage("there is no address on standard input".to_owned())),
        (count, _) => {
            wrong.truncate(MAX_SHOWN);
            let shown = wrong.join("\n  ");
            let (words, are) = if count == 1 {
                ("word", "is neither an address nor a network")
            } else {
                ("words", "are neither addresses nor networks")
            };
            let more = if count > MAX_SHOWN { "\n  ..." } else { "" };
            Err(ClientError::Usage(format!(
                "{count} {words} on standard input {are}; nothing was sent:\n  {shown}{more}"
            )))
        }
    }
}

fn each_once(networks: Vec<Network>) -> Vec<Network> {
    let mut seen = BTreeSet::new();
    networks.into_iter().filter(|network| seen.insert(network.net())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        parse(text).unwrap().iter().map(Network::to_string).collect()
    }

    #[test]
    fn addresses_are_read_once_each_and_in_order() {
        let text = "# list\n203.0.113.7 # an attacker\r\n\n2001:db8::/48, 203.0.113.7\n::ffff:203.0.113.8\n203.0.113.8";
        assert_eq!(texts(text), ["203.0.113.7", "2001:db8::/48", "203.0.113.8"]);
    }

    #[test]
    fn one_wrong_word_stops_all_and_is_shown_with_its_line() {
        let refused = parse("203.0.113.7\nroot\n203.0.113.700").unwrap_err().to_string();
        assert!(refused.contains("line 2: \"root\"") && refused.contains("line 3"), "{refused}");
        assert!(parse("# nothing\n").unwrap_err().to_string().contains("no address"));
    }
}
