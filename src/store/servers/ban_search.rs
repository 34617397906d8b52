//! Which lists of bans have an address, or a network that contains it.
//!
//! Each list says which prefix lengths its networks have, so that a look-up takes a few exact reads per list, however long it is,
//! and 2,000 of them go in one round trip. The tag of a list comes along, by which its agent knows whether the list still holds. A list written by a version before 0.3 does not say: all 33 or 129 lengths are read.

use crate::domain::prefixes::{PrefixLengths, candidates};
use crate::domain::{Network, Timestamp};
use crate::store::connection::clock::moment;
use crate::store::{BanPlace, Result, Store, StoredBan};

/// The most commands in one round trip.
const BATCH_SIZE: usize = 2_000;

/// A ban that contains what was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBan {
    /// In which list.
    pub place: BanPlace,
    /// What is banned there.
    pub network: Network,
    /// Since when and until when.
    pub ban: StoredBan,
    /// When that list was read from fail2ban.
    pub read_at: Option<Timestamp>,
}

/// What a look-up finds in the lists.
#[derive(Debug, Default)]
pub struct FoundBans {
    /// Every ban that contains what was looked for.
    pub bans: Vec<FoundBan>,
    /// The tags of all lists that have one, those in which nothing was found too.
    pub tags: Vec<(BanPlace, String)>,
}

/// What is known about a list: when it was read, the lengths, of which list these are, the tag.
type Known = (Option<i64>, Option<String>, Option<i64>, Option<String>);

impl Store {
    /// Every ban in the lists that contains `network`, as the lists were read last.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn find_bans(&self, network: Network) -> Result<FoundBans> {
        let lists = self.ban_lists().await?;
        let mut found = FoundBans::default();
        let mut wanted: Vec<(&BanPlace, Option<i64>, Network)> = Vec::new();
        for some in lists.chunks(BATCH_SIZE) {
            let mut pipeline = redis::pipe();
            for (server, jail) in some {
                let fields = ["read_at", "lengths", "lengths_of", "tag"];
                pipeline.cmd("HMGET").arg(self.keys.bans_known(server, jail)).arg(&fields);
            }
            let known: Vec<Known> = self.shared.pipeline_apart("bans_lengths", &pipeline).await?;
            for (place, (read_at, lengths, lengths_of, tag)) in some.iter().zip(known) {
                found.tags.extend(tag_of(tag.as_deref(), read_at).map(|tag| (place.clone(), tag)));
                let lengths = lengths.filter(|_| lengths_of == read_at);
                let lengths = lengths.as_deref().and_then(PrefixLengths::parse);
                let all = candidates(network, lengths.as_ref());
                wanted.extend(all.into_iter().map(|network| (place, read_at, network)));
            }
        }
        for some in wanted.chunks(BATCH_SIZE) {
            let mut pipeline = redis::pipe();
            for ((server, jail), _, network) in some {
                let (from, to) = (format!("[{network}\0"), format!("[{network}\0\u{7f}"));
                pipeline.cmd("ZRANGEBYLEX").arg(self.keys.bans(server, jail)).arg(from).arg(to);
                pipeline.arg("LIMIT").arg(0).arg(1);
            }
            let members: Vec<Vec<String>> = self.shared.pipeline_apart("bans_find", &pipeline).await?;
            for (&(place, read_at, network), members) in some.iter().zip(members) {
                let ban = members.first().and_then(|member| StoredBan::parse(member));
                found.bans.extend(ban.map(|ban| FoundBan {
                    place: place.clone(),
                    network,
                    ban,
                    read_at: read_at.map(moment),
                }));
            }
        }
        Ok(found)
    }
}

/// The tag, if it is of the list that was read at that time: a leader that knows nothing of tags leaves the one of an earlier list.
fn tag_of(tag: Option<&str>, read_at: Option<i64>) -> Option<String> {
    let (tag, of) = tag?.split_once(' ')?;
    (!tag.is_empty() && of.parse().ok() == Some(read_at?)).then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_the_list_that_it_was_written_with() {
        assert_eq!(tag_of(Some("7-3-9 77"), Some(77)).as_deref(), Some("7-3-9"));
        for (tag, read_at) in [
            (Some("7-3-9 76"), Some(77)),
            (Some("7-3-9 77"), None),
            (Some(" 77"), Some(77)),
            (None, Some(77)),
        ] {
            assert_eq!(tag_of(tag, read_at), None, "{tag:?}");
        }
    }
}
