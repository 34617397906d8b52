//! A picture of every page, wide and narrow, light and dark: `make screenshots` puts them into `target/screenshots`.

use crate::chrome::{Chrome, PHONE, WIDE};
use crate::site::{furnished, logged_in, url};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it checks nothing: `make screenshots`"]
async fn pictures() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let (cluster, pages) = furnished().await;
    for (words, look) in
        [("light", WIDE), ("dark", WIDE.dark()), ("phone", PHONE), ("phone-dark", PHONE.dark())]
    {
        let stranger = Chrome::start(look).await;
        let chrome = logged_in(&cluster, look).await;
        for (name, path, inside) in &pages {
            let browser = if *inside { &chrome } else { &stranger };
            browser.goto(&url(&cluster, 0, path)).await;
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
            let picture = browser.client.screenshot().await.unwrap();
            std::fs::write(folder.join(format!("{name}-{words}.png")), picture).unwrap();
        }
        stranger.end().await;
        chrome.end().await;
    }
}
