//! Writes a command as a protocol-2 pickle: a list of texts, which every Python fail2ban runs on can read.
//!
//! An argument must not hold the end marker: fail2ban would cut the frame there and unpickle the rest as a
//! second command. NUL and line breaks have no place in any argument either.

use crate::fail2ban::codec::END;

/// Why a command cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// It would end the frame.
    #[error("the argument {0:?} holds fail2ban's end marker: leave it out")]
    Marker(String),
    /// It has a character that no argument may have.
    #[error("the argument {0:?} holds a NUL or a line break: leave it out")]
    Character(String),
    /// It is longer than any argument needs to be.
    #[error("an argument has {0} bytes, more than the limit of {MAX_ARGUMENT}")]
    TooLong(usize),
}

/// The longest argument.
const MAX_ARGUMENT: usize = 64 * 1024;

/// The bytes of a whole request, end marker included.
///
/// # Errors
/// If an argument cannot be sent safely.
pub fn write_command<W: AsRef<str>>(words: &[W]) -> Result<Vec<u8>, ArgumentError> {
    // PROTO 2, EMPTY_LIST, BINPUT 0, MARK; each word as BINUNICODE; APPENDS, STOP.
    let mut bytes = b"\x80\x02]q\x00(".to_vec();
    for word in words {
        let word = word.as_ref();
        if word.contains(['\0', '\n', '\r']) {
            return Err(ArgumentError::Character(word.to_owned()));
        }
        if word.as_bytes().windows(END.len()).any(|window| window == END) {
            return Err(ArgumentError::Marker(word.to_owned()));
        }
        let length = u32::try_from(word.len())
            .ok()
            .filter(|_| word.len() <= MAX_ARGUMENT)
            .ok_or(ArgumentError::TooLong(word.len()))?;
        bytes.push(b'X');
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(b"e.");
    bytes.extend_from_slice(END);
    Ok(bytes)
}
