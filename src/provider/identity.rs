//! Who somebody is, as the provider's claims say it.

use std::collections::HashMap;

use openidconnect::AdditionalClaims;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ProviderError;
use crate::domain::{Timestamp, Username};

/// The most characters of a subject, as the standard has it.
const MAX_SUBJECT: usize = 255;
/// The most bytes of the id of a session at the provider.
const MAX_SID: usize = 512;
/// The most groups of somebody.
const MAX_GROUPS: usize = 2_000;

/// Somebody whom the provider has authenticated.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who it is, for good: no two users of a provider ever have the same.
    pub subject: String,
    /// The name that they go by.
    pub name: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
    /// Their session at the provider.
    pub sid: Option<String>,
    /// When the token was made.
    pub issued_at: Timestamp,
}

/// All claims that have no field of their own in the library.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct MoreClaims {
    #[serde(flatten)]
    all: HashMap<String, Value>,
}

impl AdditionalClaims for MoreClaims {}

impl MoreClaims {
    /// The groups; none if there is no such claim.
    pub fn groups(&self, claim: &str) -> Option<Vec<String>> {
        let found = self.all.get(claim).or_else(|| {
            let mut parts = claim.split('.');
            let first = self.all.get(parts.next()?)?;
            parts.try_fold(first, |value, part| value.get(part))
        });
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match found? {
            Value::Array(groups) => Some(groups.iter().filter_map(text).take(MAX_GROUPS).collect()),
            value => Some(text(value).into_iter().collect()),
        }
    }

    /// The id of the session at the provider.
    pub fn sid(&self) -> Result<Option<String>, ProviderError> {
        match self.all.get("sid") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(sid)) if !sid.is_empty() && sid.len() <= MAX_SID => Ok(Some(sid.clone())),
            Some(_) => Err(ProviderError::Token("its `sid` is not the id of a session".to_owned())),
        }
    }
}

/// Checks a subject.
pub(super) fn subject(text: &str) -> Result<String, ProviderError> {
    let fits = !text.is_empty() && text.len() <= MAX_SUBJECT;
    let wrong = || ProviderError::Token(format!("its `sub` is empty or has more than {MAX_SUBJECT} bytes"));
    fits.then(|| text.to_owned()).ok_or_else(wrong)
}

impl Identity {
    /// The name as that of an account: in lower case, anything else than letters, digits, `.`, `_` and `-` replaced, at most 32
    /// characters. None if nothing is left of it.
    #[must_use]
    pub fn username(&self) -> Option<Username> {
        let lower = self.name.as_deref()?.to_lowercase();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name: String = lower.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let name = name.trim_start_matches(['.', '_', '-']);
        let name = name.get(..32).unwrap_or(name).trim_end_matches(['.', '_', '-']);
        Username::parse(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn more(claims: Value) -> MoreClaims {
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn groups_are_a_list_or_one_word_and_may_be_within_objects() {
        let claims = more(
            json!({ "groups": ["a", 7, "b"], "group": "c", "realm_access": { "roles": ["d"] }, "x.y": ["e"] }),
        );
        let of = |claim| claims.groups(claim);
        assert_eq!(of("groups"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(of("group"), Some(vec!["c".to_owned()]));
        assert_eq!(of("realm_access.roles"), Some(vec!["d".to_owned()]));
        assert_eq!(of("x.y"), Some(vec!["e".to_owned()]), "a name with a dot is a name first");
        assert_eq!((of("none"), of("groups.x")), (None, None));
    }

    #[test]
    fn a_name_becomes_one_that_an_account_can_have() {
        let username = |name: &str| {
            let identity = Identity {
                subject: "7".to_owned(),
                name: Some(name.to_owned()),
                groups: Vec::new(),
                sid: None,
                issued_at: Timestamp::default(),
            };
            identity.username().map(|username| username.to_string())
        };
        assert_eq!(username("anna").as_deref(), Some("anna"));
        assert_eq!(username("Anna Ä@Example.org").as_deref(), Some("anna---example.org"));
        assert_eq!(username("CORP\\anna").as_deref(), Some("corp-anna"));
        assert_eq!(username(&"x".repeat(40)), Some("x".repeat(32)));
        assert_eq!(username("ADMIN").as_deref(), Some("admin"), "which the store refuses");
        for nothing in ["", "___", "ÄÖÜ", "\u{202e}"] {
            assert_eq!(username(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_session_of_the_provider_is_a_text_or_none() {
        assert_eq!(more(json!({ "sid": "x" })).sid().unwrap().as_deref(), Some("x"));
        assert_eq!(more(json!({})).sid().unwrap(), None);
        for wrong in [json!(7), json!(""), json!("x".repeat(513)), json!(["x"])] {
            assert!(more(json!({ "sid": wrong })).sid().is_err(), "{wrong}");
        }
    }
}
