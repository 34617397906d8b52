//! Pictures of every page, wide and narrow, light, dark and with high contrast: `make screenshots` puts them into
//! `target/screenshots`, and those of the README into `docs/images`.

use std::path::Path;

use base64::Engine as _;
use serde_json::json;

use crate::chrome::{Chrome, PHONE, SYSTEMS, WIDE};
use crate::site::{furnished, logged_in, open};
use crate::states::Doors;

/// The pages in the README, each with its width and its theme.
const OF_README: [(&str, &str, &str); 2] = [("overview", "wide", "light"), ("jail", "wide", "dark")];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it checks nothing: `make screenshots`"]
async fn pictures() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (folder, images) = (here.join("target/screenshots"), here.join("docs/images"));
    for folder in [&folder, &images] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let site = furnished().await;
    let (cluster, pages) = (&site.cluster, &site.pages);
    for (width, look) in [("wide", WIDE), ("phone", PHONE)] {
        let stranger = Chrome::start(look).await;
        let chrome = logged_in(cluster, look).await;
        for (name, path, inside) in pages {
            let browser = if *inside { &chrome } else { &stranger };
            open(browser, cluster, path).await;
            if *inside {
                browser.until("#live", "Live").await;
            }
            for (system, dark, contrast) in SYSTEMS {
                browser.system(dark, contrast).await;
                let picture = browser.client.screenshot().await.unwrap();
                std::fs::write(folder.join(format!("{name}-{width}-{system}.png")), picture).unwrap();
                if OF_README.contains(&(*name, width, system)) {
                    std::fs::write(images.join(format!("{name}.webp")), small(browser).await).unwrap();
                }
            }
        }
        stranger.end().await;
        chrome.end().await;
        let chrome = Chrome::start(look).await;
        let at = async |state: &'static str| {
            for (system, dark, contrast) in SYSTEMS {
                chrome.system(dark, contrast).await;
                let picture = chrome.client.screenshot().await.unwrap();
                std::fs::write(folder.join(format!("{state}-{width}-{system}.png")), picture).unwrap();
            }
        };
        Doors::open().await.walk(&chrome, at).await;
        chrome.end().await;
    }
}

/// The picture, compressed.
async fn small(chrome: &Chrome) -> Vec<u8> {
    let asked = json!({ "format": "webp", "quality": 80 });
    let picture = chrome.devtools("Page.captureScreenshot", asked).await;
    base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
}
