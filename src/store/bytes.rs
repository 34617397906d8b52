//! Random bytes, and bytes as text.

use super::error::{Result, StoreError};

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        StoreError::unavailable(format!("failed to get random bytes from the operating system: {error}"))
            .because(error)
    })?;
    Ok(bytes)
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The digits of identifiers that are meant to be copied: no character ends a word.
pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random digits of [`BASE62`], each as likely as any other.
pub(super) fn random_base62<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut digits = [0; LENGTH];
    let mut filled = 0;
    while filled < LENGTH {
        // Of 64 values two are no digit, and are drawn again.
        for byte in random::<32>()? {
            let (Some(digit), Some(place)) = (BASE62.get(usize::from(byte & 63)), digits.get_mut(filled))
            else {
                continue;
            };
            *place = *digit;
            filled += 1;
        }
    }
    Ok(digits)
}
