//! A server's state as it is stored: named fields, and what a newer version wrote in it kept ([`crate::domain::newer`]).

use rmpv::Value;

use crate::domain::newer::{Newer, keys};
use crate::domain::{BackendCommands, Condition, JailCounts, ServerState};
use crate::store::Result;

/// Reads a state.
pub(super) fn decode(bytes: &[u8]) -> Result<ServerState> {
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
    fn what_this_version_finds_out_takes_the_place_of_a_newer_word() {
        let mut state = written(&json!({ "status": { "condition": "draining" }, "settled": "draining" }));
        state.status.condition = Condition::Up;
        let again = stored(&state);
        assert_eq!((&again["status"]["condition"], &again["settled"]), (&json!("up"), &json!("draining")));
    }
}
