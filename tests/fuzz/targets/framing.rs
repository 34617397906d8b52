//! Arbitrary bytes as replies of fail2ban, in arbitrary pieces: the first byte of the input says how they are cut.
#![no_main]

use bangui::fail2ban::codec::{END, Frame};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let mut frame = Frame::with_limit(1024);
    for chunk in bytes.chunks(usize::from(*cut).max(1)) {
        match frame.push(chunk) {
            Ok(complete) => assert_eq!(complete, frame.pickle().is_some()),
            Err(_) => break,
        }
        assert!(frame.len() <= 1024);
        assert!(frame.pickle().is_none_or(|pickle| pickle.len() + END.len() == frame.len()));
    }
});
