//! The cryptography of TLS: ring's, everywhere.
//!
//! reqwest is built without a provider (the one it would bring takes minutes to build) and asks for the process's, even for a
//! client that never speaks TLS. So code that builds a client calls [`provide`] first.

use rustls::crypto::ring;

/// Makes ring the process's provider, unless it has one.
pub fn provide() {
    // An error says that there is one already.
    let _ = ring::default_provider().install_default();
}
