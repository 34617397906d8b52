//! Packs the assets into the binary: each file as it is, scripts without the lines that are comments, and compressed with gzip and
//! with Brotli, under one hash of all.
//!
//! This is the build script of the package (`build` in Cargo.toml). It writes `assets.rs`, which `http/pages/assets.rs` includes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

/// The extensions of the files that browsers get, with their types.
const KINDS: [(&str, &str); 3] =
    [("css", "text/css; charset=utf-8"), ("js", "text/javascript; charset=utf-8"), ("svg", "image/svg+xml")];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("src/http/pages/assets");
    let out = Path::new(&env::var("OUT_DIR")?).to_owned();
    println!("cargo::rerun-if-changed={}", folder.display());

    let mut names: Vec<String> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    names.sort();
    let mut hash = Fnv::default();
    let mut table = String::new();
    for name in names {
        let ending = name.rsplit('.').next().unwrap_or_default();
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == ending) else { continue };
        let written = fs::read_to_string(folder.join(&name))?;
        let plain = if ending == "js" { without_comments(&written) } else { written }.into_bytes();
        hash.add(name.as_bytes());
        hash.add(&plain);
        fs::write(out.join(&name), &plain)?;
        fs::write(out.join(format!("{name}.gz")), gzip(&plain)?)?;
        fs::write(out.join(format!("{name}.br")), brotli(&plain)?)?;
        let content =
            |suffix: &str| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}{suffix}\"))");
        writeln!(
            table,
            "    Asset {{ name: {name:?}, kind: {kind:?}, plain: {}, gzip: {}, brotli: {} }},",
            content(""),
            content(".gz"),
            content(".br")
        )?;
    }
    let hash = format!("{:016x}", hash.0);
    fs::write(
        out.join("assets.rs"),
        format!(
            "/// Names this set of assets.\npub const HASH: &str = {hash:?};\nstatic ALL: &[Asset] = &[\n{table}];\n"
        ),
    )?;
    Ok(())
}

/// Comments are for those who change a script, and not for every browser.
fn without_comments(script: &str) -> String {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
}

fn brotli(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packed = Vec::new();
    brotli::BrotliCompress(&mut &plain[..], &mut packed, &brotli::enc::BrotliEncoderParams::default())?;
    Ok(packed)
}

/// FNV-1a: it distinguishes versions and protects nothing.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
