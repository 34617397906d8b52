//! A server's state as it is stored: named fields, and what a newer version wrote in it kept ([`crate::domain::newer`]).

use rmpv::Value;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::domain::newer::{Newer, keys};
use crate::domain::{BackendCommands, Condition, JailCounts, ServerState};
use crate::store::Result;

/// Reads a state.
pub(super) fn decode(bytes: &[u8]) -> Result<ServerState> {
    // This is the usual case, and ten times as fast: a list of all servers decodes thousands of these.
    if rmp_serde::from_slice::<Plain>(bytes).is_ok() {
        return Ok(rmp_serde::from_slice(bytes)?);
    }
    let mut document: Value = rmp_serde::from_slice(bytes)?;
    let mut newer = Newer::default();
    let [status, jails] = ["status", "jails"].map(Value::from);
    newer.set_aside::<Condition>(&mut document, &[status.clone(), Value::from("condition")]);
    newer.set_aside::<Condition>(&mut document, &[Value::from("settled")]);
    newer.set_aside::<BackendCommands>(&mut document, &[Value::from("backend_commands")]);
    let counted = [status, jails];
    for jail in keys(&mut document, &counted) {
        let [status, jails] = counted.clone();
        newer.set_aside::<JailCounts>(&mut document, &[status, jails, jail]);
    }
    if newer.is_empty() {
        return Ok(rmp_serde::from_slice(bytes)?);
    }
    let known: ServerState = rmp_serde::from_slice(&rmp_serde::to_vec_named(&document)?)?;
    Ok(ServerState { newer, ..known })
}

/// A document in which everything that [`decode`] would check is of this version, so that there is nothing to set aside.
#[derive(Deserialize)]
struct Plain {
    #[serde(default, rename = "status")]
    _status: PlainStatus,
    #[serde(default, rename = "settled")]
    _settled: Condition,
    #[serde(default, rename = "backend_commands")]
    _backend_commands: BackendCommands,
}

#[derive(Deserialize, Default)]
struct PlainStatus {
    #[serde(default, rename = "condition")]
    _condition: Condition,
    #[serde(default, rename = "jails")]
    _jails: PlainJails,
}

/// Counts with these fields alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainCounts {
    #[serde(rename = "currently_failed")]
    _currently_failed: u64,
    #[serde(rename = "total_failed")]
    _total_failed: u64,
    #[serde(rename = "currently_banned")]
    _currently_banned: u64,
    #[serde(rename = "total_banned")]
    _total_banned: u64,
}

/// All jails; their names are not looked at.
#[derive(Default)]
struct PlainJails;

impl<'de> Deserialize<'de> for PlainJails {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for PlainJails {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map of jails")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, PlainCounts>()?.is_some() {}
        Ok(self)
    }
}

/// Writes it, with what was set aside when it was read.
pub(super) fn encode(state: &ServerState) -> Result<Vec<u8>> {
    let bytes = rmp_serde::to_vec_named(state)?;
    if state.newer.is_empty() {
        return Ok(bytes);
    }
    let mut document: Value = rmp_serde::from_slice(&bytes)?;
    state.newer.put_back(&mut document);
    Ok(rmp_serde::to_vec_named(&document)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::JailName;

    fn written(document: &serde_json::Value) -> ServerState {
        decode(&rmp_serde::to_vec_named(document).unwrap()).unwrap()
    }

    fn stored(state: &ServerState) -> serde_json::Value {
        rmp_serde::from_slice(&encode(state).unwrap()).unwrap()
    }

    #[test]
    fn words_and_records_of_a_newer_version_are_unknown_here_and_kept_through_a_rewrite() {
        let record = |more: &str| json!({ "currently_failed": 1, "total_failed": 2, "currently_banned": 3, "total_banned": 4, more: 5 });
        let counts = json!({ "shades": record("shade"), "other": "of another shape" });
        let newer = json!({
            "status": { "condition": "draining", "jails": counts }, "settled": { "drained_by": "web-2" },
            "backend_commands": "partly",
        });
        let mut state = written(&newer);
        assert_eq!((state.status.condition, state.settled), (Condition::Unknown, Condition::Unknown));
        assert_eq!(state.backend_commands, BackendCommands::Unknown);
        let shades = &state.status.jails[&JailName::parse("shades").unwrap()];
        assert_eq!(shades.total_banned, 4, "what is known of a record counts");

        state.expected_jails.insert(JailName::parse("sshd").unwrap());
        let again = stored(&state);
        assert_eq!(again["status"]["condition"], "draining");
        assert_eq!(again["status"]["jails"], counts);
        assert_eq!(
            (&again["settled"], &again["backend_commands"]),
            (&newer["settled"], &newer["backend_commands"])
        );
        assert_eq!(again["expected_jails"], json!(["sshd"]));
    }

    #[test]
    fn a_document_of_this_version_is_read_at_once_and_any_other_looked_through() {
        let plain = |document: &serde_json::Value| {
            rmp_serde::from_slice::<Plain>(&rmp_serde::to_vec_named(document).unwrap()).is_ok()
        };
        let counts =
            json!({ "currently_failed": 1, "total_failed": 2, "currently_banned": 3, "total_banned": 4 });
        let with = |jail: serde_json::Value| json!({ "status": { "condition": "up", "jails": { "a b": jail } }, "more": 1 });
        assert!(plain(&with(counts.clone())) && plain(&json!({})));
        let mut more = counts.clone();
        more["shade"] = 5.into();
        let mut fewer = counts;
        fewer.as_object_mut().unwrap().remove("total_banned");
        for other in [more, fewer, json!("another shape"), json!(null)] {
            assert!(!plain(&with(other.clone())), "{other}");
        }
        for other in [
            json!({ "settled": "draining" }),
            json!({ "status": { "condition": "draining" } }),
            json!({ "backend_commands": "partly" }),
            json!({ "status": { "condition": { "drained_by": 1 } } }),
        ] {
            assert!(!plain(&other), "{other}");
        }
    }

    #[test]
    fn what_this_version_finds_out_takes_the_place_of_a_newer_word() {
        let mut state = written(&json!({ "status": { "condition": "draining" }, "settled": "draining" }));
        state.status.condition = Condition::Up;
        let again = stored(&state);
        assert_eq!((&again["status"]["condition"], &again["settled"]), (&json!("up"), &json!("draining")));
    }
}
