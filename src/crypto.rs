//! The cryptography of TLS: ring's, everywhere.
//!
//! reqwest is built without one of its own (the one it would bring takes minutes to build) and asks for the process's,
//! also for a client that never speaks TLS. So whoever builds a client calls [`provide`] first.

use rustls::crypto::ring;

/// Makes ring the process's provider, unless it has one.
pub fn provide() {
    // An error says that there is one already.
    let _ = ring::default_provider().install_default();
}
