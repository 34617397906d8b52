//! Which lists of bans have an address, or a network that contains it.
//!
//! Each list says which prefix lengths its networks have, so that a look-up takes a few exact reads per list, however long it is,
//! and 2,000 of them go in one round trip. A list written by a version before 0.3 does not say: all 33 or 129 lengths are read.

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

/// What is known about a list.
type ListLengths = (Option<i64>, Option<String>, Option<i64>);

impl Store {
    /// Every ban in the lists that contains `network`, as the lists were read last.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`].
    pub async fn find_bans(&self, network: Network) -> Result<Vec<FoundBan>> {
        let lists = self.ban_lists().await?;
        let mut wanted: Vec<(&BanPlace, Option<i64>, Network)> = Vec::new();
        for some in lists.chunks(BATCH_SIZE) {
            let mut pipeline = redis::pipe();
            for (server, jail) in some {
                let fields = ["read_at", "lengths", "lengths_of"];
                pipeline.cmd("HMGET").arg(self.keys.bans_known(server, jail)).arg(&fields);
            }
            let known: Vec<ListLengths> = self.shared.pipeline_apart("bans_lengths", &pipeline).await?;
            for (place, (read_at, lengths, lengths_of)) in some.iter().zip(known) {
                let lengths = lengths.filter(|_| lengths_of == read_at);
                let lengths = lengths.as_deref().and_then(PrefixLengths::parse);
                let all = candidates(network, lengths.as_ref());
                wanted.extend(all.into_iter().map(|network| (place, read_at, network)));
            }
        }
        let mut found = Vec::new();
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
                found.extend(ban.map(|ban| FoundBan {
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
