//! Frames: a pickle followed by `<F2B_END_COMMAND>`, in both directions.
//!
//! The marker counts only where the bytes received so far *end* with it. That is what fail2ban's own client
//! does, it costs 17 comparisons per chunk however long the reply is, and a reply with the marker in its
//! middle is not cut there. It works because one command is in flight at a time, so that nothing can
//! follow a reply. The price: bytes after a marker make the frame incomplete, and the deadline ends the wait.

/// Ends every frame.
pub const END: &[u8] = b"<F2B_END_COMMAND>";

/// No reply may be larger. A list of 100,000 banned addresses is 2 MB, with times 6.4 MB.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;

/// What every reply begins with: the PROTO opcode. fail2ban pickles with the highest protocol its Python
/// has, which is 2 or more.
const FIRST_BYTE: u8 = 0x80;

/// Why bytes cannot become a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than the limit without an end.
    #[error("its reply is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// Something other than fail2ban is answering.
    #[error("its reply is not fail2ban's protocol: it begins with {start:?}")]
    NotAReply {
        /// The first bytes.
        start: String,
    },
}

/// Collects the bytes of one reply.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    limit: usize,
}

impl Frame {
    /// An empty frame that may grow up to `limit` bytes, marker included.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    /// Adds what was received and returns whether the frame is complete now.
    ///
    /// # Errors
    /// If the bytes cannot become a reply; the connection must not be used after that.
    pub fn push(&mut self, chunk: &[u8]) -> Result<bool, FrameError> {
        if self.bytes.len() + chunk.len() > self.limit {
            return Err(FrameError::TooLarge { limit: self.limit });
        }
        self.bytes.extend_from_slice(chunk);
        if self.bytes.first().is_some_and(|first| *first != FIRST_BYTE) {
            let start = self.bytes.get(..32).unwrap_or(&self.bytes);
            return Err(FrameError::NotAReply { start: String::from_utf8_lossy(start).into_owned() });
        }
        Ok(self.bytes.ends_with(END))
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The pickle, if the frame is complete.
    #[must_use]
    pub fn pickle(&self) -> Option<&[u8]> {
        self.bytes.strip_suffix(END)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_marker_counts_only_at_the_end() {
        let mut frame = Frame::with_limit(1000);
        let quoting = [b"\x80 in the middle: ", END, b" and on ", END].concat();
        assert_eq!(frame.push(&quoting[..20]), Ok(false));
        assert_eq!(frame.push(&quoting[20..]), Ok(true));
        assert_eq!(frame.pickle().unwrap(), &quoting[..quoting.len() - END.len()]);
    }

    #[test]
    fn another_protocol_is_detected_at_its_first_byte_and_a_flood_at_the_limit() {
        let refused = Frame::with_limit(100).push(b"HTTP/1.1 400 Bad Request").unwrap_err();
        assert!(refused.to_string().contains("HTTP/1.1 400"), "{refused}");
        let mut flood = Frame::with_limit(100);
        assert_eq!(flood.push(&[0x80; 100]), Ok(false));
        assert_eq!(flood.push(&[0]), Err(FrameError::TooLarge { limit: 100 }));
        assert_eq!(flood.len(), 100, "what is refused is not kept");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_a_reply_is_complete_at_its_last_byte_and_not_before(
            body in prop::collection::vec(0u8..b'<', 0..300),
            cuts in prop::collection::vec(1usize..40, 1..60),
        ) {
            let whole = [&[FIRST_BYTE][..], &body, END].concat();
            let (mut frame, mut rest, mut cut) = (Frame::with_limit(1000), &whole[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
                rest = after;
                prop_assert_eq!(frame.push(chunk), Ok(rest.is_empty()));
            }
            prop_assert_eq!(frame.pickle().unwrap(), &whole[..=body.len()]);
        }

        #[test]
        fn arbitrary_chunks_never_panic_and_never_pass_the_limit(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)
        ) {
            let mut frame = Frame::with_limit(200);
            for chunk in chunks {
                let complete = frame.push(&chunk);
                prop_assert!(frame.len() <= 200);
                match complete {
                    Ok(complete) => prop_assert_eq!(complete, frame.pickle().is_some()),
                    Err(_) => break,
                }
            }
        }
    }
}
