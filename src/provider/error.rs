//! Why a provider did not help, in words for the log and the audit.

use super::http::HttpError;

/// Why the provider, or what came in its name, did not log anybody in or out.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be asked, or says something else than a provider does.
    #[error("the provider cannot be used: {0}")]
    Away(String),
    /// It did not accept the code: used, expired, or for somebody else.
    #[error("the provider did not accept the code: {0}")]
    Code(String),
    /// A token is not one that this provider made for this installation and this login.
    #[error("the token is not valid: {0}")]
    Token(String),
    /// What came for the code lacks something that is needed.
    #[error("the provider's answer to the code lacks {0}")]
    Lacks(&'static str),
}

/// What the discovery of a provider ended with.
pub(super) type DiscoveryError = openidconnect::DiscoveryError<HttpError>;

/// An error of the library with its causes, without what the provider sent.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        // Some repeat their cause.
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}

/// What was received, made fit for a line of a log: bounded, without control characters.
pub(super) fn quoted(text: &str) -> String {
    let kept: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    kept
}
