//! The cryptography for TLS: ring, everywhere.
//!
//! reqwest is built without a provider (its default takes minutes to build), and needs that of the process even for a
//! client that never speaks TLS. So `net/http_client.rs`, where all clients are made, calls [`provide`] first.

use rustls::crypto::ring;

/// Makes ring the process's provider, unless it has one.
pub fn provide() {
    // An error only means that there already is one.
    let _ = ring::default_provider().install_default();
}
