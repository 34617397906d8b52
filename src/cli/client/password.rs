//! Asks for a password, for the code of a second factor, or for a token: on the terminal, without echo; or reads it from standard input if that is not a terminal.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use secrecy::{ExposeSecret as _, SecretString};

use super::error::ClientError;

/// A password has 1024 bytes at most, and a line ends.
const MAX_BYTES: u64 = 4096;

/// Asks on the terminal if standard input is one, and otherwise takes the first line of standard input.
///
/// # Errors
/// If there is none.
pub async fn read(prompt: String) -> Result<SecretString, ClientError> {
    read_line(prompt, "password").await
}

/// The same for the code of a second factor: on standard input it is the line after the password.
///
/// # Errors
/// If there is none.
pub async fn read_code(prompt: String) -> Result<SecretString, ClientError> {
    read_line(prompt, "code").await
}

/// The same for a token.
///
/// # Errors
/// If there is none.
pub async fn read_token(prompt: String) -> Result<SecretString, ClientError> {
    let token = read_line(prompt, "token").await?;
    match token.expose_secret().trim() {
        "" => Err(missing("no token was entered")),
        token => Ok(token.into()),
    }
}

async fn read_line(prompt: String, what: &str) -> Result<SecretString, ClientError> {
    if std::io::stdin().is_terminal() {
        return ask(prompt).await;
    }
    let first_line = || {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_BYTES).read_until(b'\n', &mut bytes)?;
        Ok(bytes)
    };
    let bytes = blocking(first_line).await?;
    let text = String::from_utf8(bytes).map_err(|_| missing(&format!("the {what} is not valid UTF-8")))?;
    match text.lines().next().unwrap_or_default() {
        "" => Err(missing(&format!("there is no {what} on standard input, and no terminal to ask on"))),
        line => Ok(line.into()),
    }
}

/// Asks on the terminal of this process, whatever standard input is.
///
/// # Errors
/// If it has none.
pub async fn ask(prompt: String) -> Result<SecretString, ClientError> {
    blocking(move || rpassword::prompt_password(prompt)).await.map(SecretString::from)
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ClientError> {
    let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other);
    read.flatten().map_err(ClientError::local("failed to read the password or the code"))
}

fn missing(why: &str) -> ClientError {
    ClientError::Usage(why.to_owned())
}
