//! Bans and failures per hour: a hash for each server, with a field for each jail and one for all of them, so that a page of many
//! servers reads one field of each.
//!
//! They are written with the outcome of a probe, in the same fenced step ([`Store::write_probed`]). A field that cannot be read
//! starts again from zero with the next probe: no ban depends on it.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::hours::{AllHours, JailHours, ServerHours};
use crate::domain::{JailName, ServerName};
use crate::store::scripts::Call;
use crate::store::{Result, Store};

/// How long they are kept without a probe: then none of them would be shown any more.
const KEPT_FOR: Duration = Duration::from_secs(25 * 3600);
const ALL: &str = "all";
const OF_JAIL: &str = "jail/";

/// What a probe changes of a server's hours.
#[derive(Debug, Default)]
pub struct HoursChange(Vec<(String, Vec<u8>)>);

impl HoursChange {
    /// The difference between these two.
    ///
    /// # Errors
    /// [`crate::store::StoreError::Corrupt`] if they cannot be written.
    pub fn between(before: &ServerHours, after: &ServerHours) -> Result<Self> {
        let mut fields = Vec::new();
        if before.all != after.all {
            fields.push((ALL.to_owned(), encode(&after.all)?));
        }
        for (jail, hours) in &after.jails {
            if before.jails.get(jail) != Some(hours) {
                fields.push((format!("{OF_JAIL}{jail}"), encode(hours)?));
            }
        }
        let gone = before.jails.keys().filter(|jail| !after.jails.contains_key(*jail));
        fields.extend(gone.map(|jail| (format!("{OF_JAIL}{jail}"), Vec::new())));
        Ok(Self(fields))
    }

    /// As arguments of the script: how long they are kept, how many fields, and name and value of each, empty for one that is gone.
    pub(super) fn append_to(&self, call: Call) -> Call {
        let call = call.arg(KEPT_FOR.as_secs()).arg(self.0.len());
        self.0.iter().fold(call, |call, (name, value)| call.arg(name).arg(value))
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    Ok(rmp_serde::to_vec_named(value)?)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], server: &ServerName) -> Option<T> {
    let read = rmp_serde::from_slice(bytes);
    read.inspect_err(|error| {
        tracing::warn!(server.name = %server, error = %error, "failed to read the hourly counts of {server}: counting from here on");
    })
    .ok()
}

impl Store {
    /// The hours of a server and of each of its jails.
    ///
    /// # Errors
    /// See [`crate::store::StoreError`], here and below.
    pub async fn server_hours(&self, server: &ServerName) -> Result<ServerHours> {
        let command = redis::cmd("HGETALL").arg(self.keys.hours(server)).to_owned();
        let fields: HashMap<String, Vec<u8>> = self.shared.query("server_hours", &command).await?;
        let mut hours = ServerHours::default();
        for (name, bytes) in fields {
            match name.strip_prefix(OF_JAIL).map(JailName::parse) {
                Some(Ok(jail)) => {
                    hours.jails.extend(decode::<JailHours>(&bytes, server).map(|of_jail| (jail, of_jail)));
                }
                None if name == ALL => hours.all = decode(&bytes, server).unwrap_or_default(),
                // Of a newer version.
                _ => {}
            }
        }
        Ok(hours)
    }

    /// The hours of several servers, for all jails together, in order, in one round trip; none for a server that was not probed for a
    /// day.
    pub async fn all_hours(&self, servers: &[ServerName]) -> Result<Vec<Option<AllHours>>> {
        if servers.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for server in servers {
            pipeline.cmd("HGET").arg(self.keys.hours(server)).arg(ALL);
        }
        let fields: Vec<Option<Vec<u8>>> = self.shared.pipeline("all_hours", &pipeline).await?;
        let read = |(bytes, server): (Option<Vec<u8>>, &ServerName)| decode(&bytes?, server);
        Ok(fields.into_iter().zip(servers).map(read).collect())
    }
}
