//! Notes about what was banned and unbanned through bangui since a jail's list was last read.
//!
//! The list alone does not show an address that was banned and unbanned between two reads of it. Every ban and unban through bangui is
//! noted here. The leader reads the notes before it reads the list, and removes the notes it has read when it writes the list.

use super::bans::BanPlace;
use crate::domain::BanAction;
use crate::domain::ban_changes::BanNote;
use crate::store::{Result, Store};

/// The most notes that are read at once: events name fewer addresses.
const MAX_TAKEN: usize = 1_000;
/// Notes expire after this many seconds if the list is not read.
const FORGOTTEN_AFTER: u32 = 600;

impl Store {
    /// Notes that these addresses were banned or unbanned.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn note_bans(
        &self,
        (server, jail): &BanPlace,
        order: BanAction,
        ips: impl Iterator<Item = String>,
    ) -> Result<()> {
        let note = |ip| BanNote { ip, banned: order == BanAction::Ban }.to_string();
        let notes: Vec<String> = ips.map(note).collect();
        if notes.is_empty() {
            return Ok(());
        }
        let key = self.keys.ban_notes(server, jail);
        let mut pipeline = redis::pipe();
        pipeline.cmd("SADD").arg(&key).arg(&notes);
        pipeline.cmd("EXPIRE").arg(&key).arg(FORGOTTEN_AFTER);
        self.shared.pipeline("ban_note", &pipeline).await
    }

    /// Some of the notes about a jail's list: all of them, unless there are too many to read at once.
    pub async fn ban_notes(&self, (server, jail): &BanPlace) -> Result<Vec<BanNote>> {
        let mut command = redis::cmd("SRANDMEMBER");
        command.arg(self.keys.ban_notes(server, jail)).arg(MAX_TAKEN);
        let notes: Vec<String> = self.shared.query("ban_notes", &command).await?;
        Ok(notes.iter().filter_map(|note| BanNote::parse(note)).collect())
    }
}
