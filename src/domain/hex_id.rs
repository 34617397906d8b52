//! The text of ids that are made at random: 128 bits as 32 hexadecimal digits, in lower case.

/// Writes these bits.
pub(super) fn write(bits: u128) -> String {
    format!("{bits:032x}")
}

/// Reads one.
pub(super) fn read(text: &str) -> Option<String> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == 32 && text.bytes().all(digit)).then(|| text.to_owned())
}
