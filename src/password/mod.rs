//! Password hashes: argon2id in PHC form, synchronous. Never call these on an async thread: they take tens of
//! milliseconds and 19 MiB ([`gate`] is the door for requests).
//!
//! The 19 MiB are returned to the operating system after each hash. That takes some effort: memory that the C library allocates from
//! the arena of the calling thread stays in that arena after it is freed, and 160 logins took a worker to 480 MiB, more than a
//! container may have. Only an allocation above the largest possible threshold gets its own mapping.

mod common;
mod decorated;
pub mod gate;
pub mod rules;

pub use gate::{GateError, Origin, PasswordGate};

use anyhow::anyhow;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// Blocks of 1 KiB: more than glibc's `DEFAULT_MMAP_THRESHOLD_MAX` of 32 MiB, up to which its threshold grows by itself. Blocks
/// beyond those that a hash needs are never touched, and cost nothing.
const OWN_MAPPING: usize = 33 * 1024;

fn memory(params: &Params) -> Vec<Block> {
    let count = params.block_count();
    let mut blocks = Vec::with_capacity(count.max(OWN_MAPPING));
    blocks.resize(count, Block::new());
    blocks
}

/// Hashes a password under a fresh random salt.
///
/// # Errors
/// If the operating system gives no randomness.
pub fn hash(password: &str) -> anyhow::Result<String> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| anyhow!("{what}: {error}");
    let length = Params::DEFAULT_OUTPUT_LEN;
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(length))
        .map_err(|error| wrong("argon2 parameters", &error))?;
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| wrong("no random salt", &error))?;
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut output, memory(&params))
        .map_err(|error| wrong("the password cannot be hashed", &error))?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|error| wrong("its parameters", &error))?,
        salt: Some(Salt::new(&salt).map_err(|error| wrong("its salt", &error))?),
        hash: Some(Output::new(&output).map_err(|error| wrong("its output", &error))?),
    };
    Ok(phc.to_string())
}

/// Whether `password` is the one that `phc` was made from; `false` also if `phc` is not a hash.
#[must_use]
pub fn verify(password: &str, phc: &str) -> bool {
    matches(password, phc).unwrap_or(false)
}

/// `None` if `phc` is not a hash.
fn matches(password: &str, phc: &str) -> Option<bool> {
    let phc = PasswordHash::new(phc).ok()?;
    let (salt, expected) = (phc.salt?, phc.hash?);
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
    let version = phc.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(&phc).ok()?;
    let mut made = [0; Output::MAX_LENGTH];
    let made = made.get_mut(..expected.len())?;
    let memory = memory(&params);
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2.hash_password_into_with_memory(password.as_bytes(), &salt, made, memory).ok()?;
    // `Output` compares in constant time.
    Some(Output::new(made).ok()? == expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_verifies_its_own_password_only() {
        let phc = hash("correct horse").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(!verify("correct horsf", &phc));
        assert!(verify("correct horse", &phc));
        assert!(!verify("correct horse", "no hash"));
    }

    #[test]
    fn a_hash_of_other_parameters_is_verified_by_its_own() {
        // Made by the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
        let phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(verify("password", phc));
        assert!(!verify("passwore", phc));
    }
}
