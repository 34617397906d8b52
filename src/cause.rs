//! The cause of an error, in a form that can be cloned: several requests may wait for one answer.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A cause. All causes are equal, so that two errors of the same kind are equal whatever caused them.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Keeps this one.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl PartialEq for Cause {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cause {}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The error with its causes, for the log; a cause whose text is already included is not repeated.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        below = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Failed {
        words: &'static str,
        #[source]
        cause: Option<Cause>,
    }

    #[test]
    fn causes_are_named_once_each_and_errors_are_equal_whatever_caused_them() {
        let deepest = Failed { words: "connection refused", cause: None };
        let middle = Failed { words: "connection refused, at a retry", cause: Some(Cause::of(deepest)) };
        let top = Failed { words: "failed to read the audit", cause: Some(Cause::of(middle)) };
        assert_eq!(chain(&top), "failed to read the audit: connection refused, at a retry");
        let other = Cause::of(Failed { words: "something else", cause: None });
        assert_eq!(top.cause, Some(other));
    }
}
