//! Which workers an agent accepts: those that show one of the certificates in a file, or one that a CA in it has signed.
//!
//! The file holds nothing secret. The workers' certificate itself, self-signed with one openssl command, may be listed there, and
//! two of them while one replaces the other.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::pem::certificates;

/// Asks every client for a certificate, and lets nobody in without an accepted one.
pub(super) fn verifier(pem: &[u8]) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
    let listed = certificates(pem).context("it is not a PEM file")?;
    if listed.is_empty() {
        bail!("it holds no certificate");
    }
    let mut roots = RootCertStore::empty();
    for certificate in &listed {
        roots.add(certificate.clone()).context("it holds something other than certificates")?;
    }
    let provider = Arc::new(ring::default_provider());
    let signed = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    Ok(Arc::new(Workers { listed, signed }))
}

#[derive(Debug)]
struct Workers {
    listed: Vec<CertificateDer<'static>>,
    signed: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Workers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // In both cases the signatures below prove that the client has the key.
        if self.listed.iter().any(|listed| listed == end_entity) {
            return Ok(ClientCertVerified::assertion());
        }
        self.signed.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
