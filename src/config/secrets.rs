//! Rules for the text of secrets: of tokens and passwords, and against examples from manifests and documents. An error never holds
//! the value.

use std::collections::BTreeSet;
use std::path::Path;

use secrecy::SecretString;

use super::values::Parsed;

/// The minimum number of characters of a setup code.
pub const SHORTEST_SETUP_TOKEN: usize = 24;

/// The minimum number of different characters of a token: a key held down gives fewer.
const MIN_DIFFERENT: usize = 16;
/// The same for a token in hexadecimal digits, of which there are only 16: 32 random ones have fewer than this once in ten million times.
const MIN_DIFFERENT_DIGITS: usize = 8;

/// One or two tokens separated by a comma. Also used when the token file changes.
///
/// # Errors
/// Says what is allowed, without the value.
pub fn agent_tokens(text: &str) -> Parsed<Vec<SecretString>> {
    let tokens: Vec<&str> = text.split(',').map(str::trim).collect();
    if tokens.len() > 2 {
        return Err("must be one token, or two separated by a comma during a rotation".to_owned());
    }
    for token in &tokens {
        agent_token(token)?;
    }
    Ok(tokens.into_iter().map(SecretString::from).collect())
}

/// The code for the setup: too long to be guessed, from however many addresses somebody tries.
pub fn setup_token(text: &str, _file: Option<&Path>) -> Parsed<SecretString> {
    if text.chars().count() >= SHORTEST_SETUP_TOKEN {
        return Ok(text.into());
    }
    Err(format!(
        "must have {SHORTEST_SETUP_TOKEN} characters or more; `openssl rand -hex 16` makes a good one"
    ))
}

fn agent_token(token: &str) -> Parsed<()> {
    let hint = "`openssl rand -hex 32` makes a good one";
    if !(32..=1024).contains(&token.len()) {
        return Err(format!("each token must have 32 characters or more; {hint}"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "a token must consist of printable ASCII characters without spaces, since it is sent in a header"
                .to_owned(),
        );
    }
    if is_example(token) {
        return Err(EXAMPLE.to_owned());
    }
    let fewest =
        if token.bytes().all(|b| b.is_ascii_hexdigit()) { MIN_DIFFERENT_DIGITS } else { MIN_DIFFERENT };
    if token.bytes().collect::<BTreeSet<u8>>().len() < fewest {
        return Err(format!("a token must have {fewest} different characters or more; {hint}"));
    }
    Ok(())
}

/// Why an example is refused.
pub const EXAMPLE: &str = "is an example that anybody can read (it begins with `replace-this`): put a secret of your own in its place";

/// Whether a secret is one of the examples of manifests and documents.
#[must_use]
pub fn is_example(secret: &str) -> bool {
    secret.trim_start().to_ascii_lowercase().starts_with("replace-this")
}

/// A password. It may have been accepted under earlier rules, so the rules are checked only where a password is set.
pub fn password(text: &str, _file: Option<&Path>) -> Parsed<SecretString> {
    if text.len() <= 1024 { Ok(text.into()) } else { Err("can have 1024 bytes at most".to_owned()) }
}
