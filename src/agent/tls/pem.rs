//! Files with certificates and keys.

use std::path::Path;

use anyhow::{Context as _, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

const MAX_FILE: u64 = 1024 * 1024;

/// The contents of a file that a variable names, bounded in size.
pub(super) fn bounded(path: &Path, variable: &str) -> anyhow::Result<Vec<u8>> {
    let what = || format!("{} ({variable}) cannot be read", path.display());
    if std::fs::metadata(path).with_context(what)?.len() > MAX_FILE {
        bail!("{} ({variable}) is larger than any certificate", path.display());
    }
    std::fs::read(path).with_context(what)
}

/// The certificates in a PEM file.
pub(super) fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?)
}

/// Identifies a certificate: its SHA-256, in hexadecimal digits.
pub(in crate::agent) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}
