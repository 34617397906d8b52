//! In which slot of a Redis Cluster a key lies (cluster specification, "Hash tags").

/// CRC16/XMODEM over the hash tag, or over the whole key if it has none, modulo 16384.
pub(super) fn slot(key: &[u8]) -> u16 {
    let crc = tag(key).unwrap_or(key).iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16384
}

/// What is between the first `{` and the next `}`, unless it is nothing.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let (_, after) = split(key, b'{')?;
    split(after, b'}').map(|(tag, _)| tag).filter(|tag| !tag.is_empty())
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = text.splitn(2, |byte| *byte == at);
    Some((parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::slot;

    #[test]
    fn the_slot_function_is_the_one_of_the_cluster_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_ne!(slot(b"{}x"), slot(b"{}y"), "an empty tag is none");
        assert_ne!(slot(b"{x"), slot(b"x"));
    }
}
