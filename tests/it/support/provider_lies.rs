//! In what the provider of the tests may lie, and the key it signs with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// In which point the provider lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lie {
    #[default]
    None,
    Nonce,
    NoNonce,
    Issuer,
    Audience,
    NoAudience,
    AnotherAudienceToo,
    AuthorizedParty,
    Signature,
    NoSignature,
    AlgorithmNone,
    Hs256OfPublicKey,
    Hs256OfSecret,
    StrangersKey,
    Expired,
    IssuedLongAgo,
    IssuedInFuture,
    AnotherAccessToken,
    NoSubject,
    HugeAnswer,
    Redirects,
    NoJson,
    NoIdToken,
    SubjectOfUserinfo,
}

pub struct Key {
    pub id: String,
    pub pair: EcdsaKeyPair,
}

impl Key {
    pub fn fresh(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), pair }
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
                "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]) })
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}
