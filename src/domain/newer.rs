//! Values of a newer version inside a stored document: unknown words of a closed list, records of another shape, records with more
//! fields.
//!
//! They are set aside when the document is read: in their place it has as much of them as this version understands, or the default
//! (`unknown`). When the document is written, they are put back, unless the value in their place was changed.

use rmpv::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What was set aside from one document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Newer(Vec<SetAside>);

#[derive(Debug, Clone, PartialEq)]
struct SetAside {
    /// The keys that lead to it.
    path: Vec<Value>,
    stored: Value,
    read_as: Value,
}

impl Newer {
    /// Whether nothing was set aside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets aside what is at `path`, unless a `T` holds all of it.
    pub fn set_aside<T>(&mut self, document: &mut Value, path: &[Value])
    where
        T: Default + Serialize + DeserializeOwned,
    {
        let Some(place) = at(document, path) else { return };
        let read: T = recoded(&*place).unwrap_or_default();
        let Some(read_as) = recoded(&read).filter(|read_as: &Value| read_as != place) else { return };
        let stored = std::mem::replace(place, read_as.clone());
        self.0.push(SetAside { path: path.to_vec(), stored, read_as });
    }

    /// Puts everything back that is still as it was read.
    pub fn put_back(&self, document: &mut Value) {
        for SetAside { path, stored, read_as } in &self.0 {
            if let Some(place) = at(document, path).filter(|place| *place == read_as) {
                place.clone_from(stored);
            }
        }
    }
}

/// The keys of the map at `path`.
#[must_use]
pub fn keys(document: &mut Value, path: &[Value]) -> Vec<Value> {
    match at(document, path) {
        Some(Value::Map(entries)) => entries.iter().map(|(key, _)| key.clone()).collect(),
        _ => Vec::new(),
    }
}

fn at<'value>(document: &'value mut Value, path: &[Value]) -> Option<&'value mut Value> {
    path.iter().try_fold(document, |value, step| match value {
        Value::Map(entries) => entries.iter_mut().find(|(key, _)| key == step).map(|(_, value)| value),
        _ => None,
    })
}

fn recoded<T: DeserializeOwned>(value: &impl Serialize) -> Option<T> {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(value).ok()?).ok()
}
