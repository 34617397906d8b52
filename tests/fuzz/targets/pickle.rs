//! Arbitrary bytes as a pickle, and as a reply of fail2ban.
#![no_main]

use bangui::fail2ban::{pickle, reply};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = pickle::read(bytes) else { return };
    if let Ok(answer) = reply::answer(value) {
        let _ = (reply::jail_list(&answer), reply::short_status(&answer), reply::stats(&answer));
        let _ = (reply::pong(&answer), reply::text(&answer), reply::truth(&answer));
    }
});
