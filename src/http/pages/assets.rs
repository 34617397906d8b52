//! The files that pages load: the style sheet, the scripts and the icon, from the binary.
//!
//! Their URLs contain the hash of all of them (`/assets/HASH/NAME`), so that scripts import each other by name, and a
//! browser may cache them indefinitely. During a rolling update a page of one version asks a worker of the other: a request with
//! another hash is answered with this version's file of that name, not to be cached, so that no page loses its style or script.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::error::{Problem, Result};
use crate::http::extract::Path;

struct Asset {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The path of an asset of this version.
#[must_use]
pub fn address(name: &str) -> String {
    format!("/assets/{HASH}/{name}")
}

/// Serves one asset.
pub async fn show(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Result<Response> {
    let asset = ALL.iter().find(|asset| asset.name == name).ok_or_else(Problem::no_route)?;
    let (coding, body) = coded(asset, &headers);
    let etag = format!("\"{HASH}{}\"", if coding.is_empty() { String::new() } else { format!("-{coding}") });
    let caching = if hash == HASH { "public, max-age=31536000, immutable" } else { "no-store" };
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if known && hash == HASH {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], body).into_response()
    };
    let answered = response.headers_mut();
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        answered.insert(header::ETAG, etag);
    }
    if !coding.is_empty() && !known {
        answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    Ok(response)
}

fn coded(asset: &Asset, headers: &HeaderMap) -> (&'static str, &'static [u8]) {
    let accepted: Vec<&str> = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter(|coding| !coding.replace(' ', "").contains(";q=0,") && !coding.trim_end().ends_with(";q=0"))
        .map(|coding| coding.split(';').next().unwrap_or_default().trim())
        .collect();
    if accepted.contains(&"br") {
        ("br", asset.brotli)
    } else if accepted.contains(&"gzip") {
        ("gzip", asset.gzip)
    } else {
        ("", asset.plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(ending: &str) -> usize {
        let of_kind = ALL.iter().filter(|asset| asset.name.ends_with(ending));
        of_kind.map(|asset| asset.plain.len()).sum()
    }

    #[test]
    fn the_style_sheet_and_the_scripts_stay_under_30_kb_each() {
        assert!((1_000..=30 * 1024).contains(&total(".css")), "{} bytes of style", total(".css"));
        assert!((1_000..=30 * 1024).contains(&total(".js")), "{} bytes of script", total(".js"));
    }

    #[test]
    fn no_script_makes_markup_of_text_and_no_asset_loads_anything_from_elsewhere() {
        for asset in ALL {
            let text = std::str::from_utf8(asset.plain).unwrap();
            let forbidden = [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "DOMParser",
                "document.write",
                "eval(",
                "new Function",
                "@import",
                "url(",
                "https://",
                "setAttribute(\"style",
                ".style.",
            ];
            for word in forbidden {
                assert!(!text.contains(word), "{} has {word}", asset.name);
            }
        }
    }

    #[test]
    fn the_coding_is_one_that_the_browser_takes() {
        let asset = &ALL[0];
        let with = |accepted: &'static str| {
            let headers =
                [(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))].into_iter().collect();
            coded(asset, &headers).0
        };
        assert_eq!(with("gzip, deflate, br, zstd"), "br");
        assert_eq!(with("gzip;q=1.0, br;q=0"), "gzip");
        assert_eq!(with("identity"), "");
        assert_eq!(coded(asset, &HeaderMap::new()).0, "");
    }
}
