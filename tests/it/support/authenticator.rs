//! A software authenticator: it makes passkeys and signs with them, as a browser with a security key would.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// User present and verified.
const UP_UV: u8 = 0x05;
/// The same, with a new credential.
const UP_UV_AT: u8 = 0x45;

/// A passkey with its private key.
pub struct Passkey {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    user: Vec<u8>,
    /// What the next signature counts, after one more.
    pub counter: u32,
    /// Where the browser is.
    pub origin: String,
    /// Whether the user is asked for a PIN.
    pub verifies: bool,
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unb64(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

/// The header of a CBOR item of this kind, with a length below 65,536.
fn cbor(kind: u8, length: usize) -> Vec<u8> {
    match length {
        0..24 => vec![kind << 5 | u8::try_from(length).unwrap()],
        24..256 => vec![kind << 5 | 24, u8::try_from(length).unwrap()],
        _ => [&[kind << 5 | 25][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
    }
}

fn text(text: &str) -> Vec<u8> {
    [cbor(3, text.len()), text.as_bytes().to_vec()].concat()
}

fn bytes(bytes: &[u8]) -> Vec<u8> {
    [cbor(2, bytes.len()), bytes.to_vec()].concat()
}

impl Passkey {
    /// Makes one by these options, at this origin; it, and what the browser sends.
    pub fn create(options: &Value, origin: &str) -> (Self, Value) {
        let options = &options["publicKey"];
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        let id = Sha256::digest(key.public_key().as_ref()).to_vec();
        let user = unb64(&options["user"]["id"]);
        let passkey = Self { key, id, user, counter: 0, origin: origin.to_owned(), verifies: true };
        let public = passkey.key.public_key().as_ref();
        let (x, y) = (&public[1..33], &public[33..]);
        // {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}
        let cose =
            [&[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21][..], &bytes(x), &[0x22], &bytes(y)].concat();
        let length = u16::try_from(passkey.id.len()).unwrap().to_be_bytes();
        let credential = [&[0; 16][..], &length, &passkey.id, &cose].concat();
        let rp = options["rp"]["id"].as_str().unwrap();
        let data = [passkey.data(rp, UP_UV_AT), credential].concat();
        let object = [
            cbor(5, 3),
            text("fmt"),
            text("none"),
            text("attStmt"),
            cbor(5, 0),
            text("authData"),
            bytes(&data),
        ];
        let client = passkey.client("webauthn.create", &options["challenge"]);
        let sent = json!({
            "id": b64(&passkey.id), "rawId": b64(&passkey.id), "type": "public-key", "clientExtensionResults": {},
            "response": { "attestationObject": b64(&object.concat()), "clientDataJSON": b64(&client), "transports": ["usb"] },
        });
        (passkey, sent)
    }

    /// A copy, as a thief would make it.
    pub fn counting(&mut self, counter: u32) -> &mut Self {
        self.counter = counter;
        self
    }

    /// Signs these options; what the browser sends.
    pub fn sign(&mut self, options: &Value) -> Value {
        let options = &options["publicKey"];
        self.counter += 1;
        let flags = if self.verifies { UP_UV } else { 0x01 };
        let data = self.data(options["rpId"].as_str().unwrap(), flags);
        let client = self.client("webauthn.get", &options["challenge"]);
        let signed = [&data[..], &Sha256::digest(&client)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "id": b64(&self.id), "rawId": b64(&self.id), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "authenticatorData": b64(&data), "clientDataJSON": b64(&client), "signature": b64(signature.as_ref()),
                "userHandle": b64(&self.user),
            },
        })
    }

    fn data(&self, rp: &str, flags: u8) -> Vec<u8> {
        [&Sha256::digest(rp)[..], &[flags], &self.counter.to_be_bytes()].concat()
    }

    fn client(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let client =
            json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        client.to_string().into_bytes()
    }
}
