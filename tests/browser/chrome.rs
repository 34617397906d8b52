//! A Chromium with a fresh profile, which ends with the test.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::support::process::{Child, program};
use crate::support::{SOON, eventually, folder};

/// The window of a browser, and whether it runs scripts.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub scripts: bool,
}

pub const WIDE: Look = Look { width: 1280, height: 900, scripts: true };
pub const PHONE: Look = Look { width: 360, height: 780, scripts: true };

/// The themes that a user's system can ask for: a short name, whether it is dark, whether it has high contrast.
pub const SYSTEMS: [(&str, bool, bool); 4] = [
    ("light", false, false),
    ("dark", true, false),
    ("contrast", false, true),
    ("contrast-dark", true, true),
];

impl Look {
    pub fn without_scripts(self) -> Self {
        Self { scripts: false, ..self }
    }
}

/// A running browser.
pub struct Chrome {
    pub client: Client,
    _driver: Child,
    _profile: tempfile::TempDir,
}

impl Chrome {
    pub async fn start(look: Look) -> Self {
        let profile = folder();
        let mut command = program("chromedriver");
        command.arg("--port=0").env("HOME", profile.path()).env("TMPDIR", profile.path());
        let driver = Child::start("chromedriver", command);
        // "ChromeDriver was started successfully on port 40123."
        let port: u16 = driver
            .line("its port", SOON, |line| {
                line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
            })
            .await;
        let client = eventually("a session of the browser", Duration::from_secs(60), || async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder
                .capabilities(capabilities(look, profile.path()))
                .connect(&format!("http://127.0.0.1:{port}"))
                .await
                .ok()
        })
        .await;
        let chrome = Self { client, _driver: driver, _profile: profile };
        if !look.scripts {
            chrome.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
        }
        chrome
    }

    /// A command of the protocol of Chromium's developer tools.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.client.issue_cmd(Own("goog/cdp/execute", body)).await.unwrap()
    }

    /// Sets the size of the window, and whether it is a phone's.
    pub async fn look(&self, look: Look) {
        let phone = look.width < 500;
        let metrics =
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        self.devtools("Emulation.setTouchEmulationEnabled", json!({ "enabled": phone })).await;
    }

    /// Sets the system's time zone.
    pub async fn zone(&self, name: &str) {
        self.devtools("Emulation.setTimezoneOverride", json!({ "timezoneId": name })).await;
    }

    /// Presses keys, one after the other, where the focus is.
    pub async fn keys(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Sets the theme that the system asks for: one of [`SYSTEMS`].
    pub async fn system(&self, dark: bool, contrast: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let contrast = if contrast { "more" } else { "no-preference" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-contrast", "value": contrast }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Has the system force its own colours, light or dark.
    pub async fn forced(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme },
            { "name": "forced-colors", "value": "active" }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    pub async fn end(self) {
        let _ = self.client.close().await;
    }

    pub async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Types into the field of that id.
    pub async fn type_into(&self, id: &str, text: &str) {
        let field = self.client.find(Locator::Id(id)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Pastes a text into the field of that id.
    pub async fn paste(&self, id: &str, text: &str) {
        self.run(&format!("document.getElementById('{id}').focus()")).await;
        self.devtools("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses the first visible button whose text begins with these words.
    pub async fn press(&self, words: &str) {
        self.press_in("body", words).await;
    }

    /// Presses the first visible button, or opens the first visible question, in what the selector finds, whose text begins with
    /// these words.
    pub async fn press_in(&self, selector: &str, words: &str) {
        let path = format!(".//*[self::button or self::summary][starts-with(normalize-space(.), '{words}')]");
        for place in self.client.find_all(Locator::Css(selector)).await.unwrap() {
            for button in place.find_all(Locator::XPath(&path)).await.unwrap() {
                if button.is_displayed().await.unwrap() {
                    let middle = "arguments[0].scrollIntoView({ block: 'center' })";
                    let element = serde_json::to_value(&button).unwrap();
                    self.client.execute(middle, vec![element]).await.unwrap();
                    return button.click().await.unwrap();
                }
            }
        }
        panic!("no button {words} in {selector}: {}", self.text("body").await);
    }

    /// The text of the first element that the selector finds, empty if there is none.
    pub async fn text(&self, selector: &str) -> String {
        match self.client.find(Locator::Css(selector)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until that element has these words in it.
    pub async fn until(&self, selector: &str, words: &str) {
        eventually(&format!("{words:?} in {selector}"), SOON, || async {
            self.text(selector).await.contains(words).then_some(())
        })
        .await;
    }

    /// Waits until a script, run in the page, returns this.
    pub async fn until_run(&self, what: &str, script: &str, given: impl Into<Value>) {
        let given = given.into();
        eventually(what, SOON, || async {
            let found = self.client.execute(script, Vec::new()).await.ok()?;
            (found == given).then_some(())
        })
        .await;
    }

    /// Loads a page again and again until that element has these words in it: pages without scripts do not change by themselves.
    pub async fn goto_until(&self, url: &str, selector: &str, words: &str) {
        eventually(&format!("{words:?} in {selector} of {url}"), SOON, || async {
            self.goto(url).await;
            self.text(selector).await.contains(words).then_some(())
        })
        .await;
    }

    /// By how many pixels the page is wider than the window.
    pub async fn excess(&self) -> i64 {
        let wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.run(wider).await.as_i64().unwrap()
    }

    /// Fails if the page is wider than the window.
    pub async fn fits(&self) {
        assert_eq!(self.excess().await, 0, "{} scrolls sideways", self.path().await);
    }

    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        url[url::Position::BeforePath..].to_owned()
    }

    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// What the browser has complained about since the last call: broken policies and failing scripts.
    pub async fn complaints(&self) -> Vec<String> {
        let logs = self.client.issue_cmd(Own("se/log", json!({ "type": "browser" }))).await.unwrap();
        let entries = logs.as_array().cloned().unwrap_or_default();
        let texts = entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned());
        // An HTTP error is an answer, not a fault of the page.
        texts.filter(|text| !text.contains("the server responded with a status of")).collect()
    }
}

/// A command that only chromedriver has.
#[derive(Debug)]
struct Own(&'static str, Value);

impl fantoccini::wd::WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (axum::http::Method, Option<String>) {
        (axum::http::Method::POST, Some(self.1.to_string()))
    }
}

/// A Chromium that ends with its driver, however that ends.
fn binary(profile: &std::path::Path) -> PathBuf {
    let path = profile.join("chromium");
    std::fs::write(&path, "#!/bin/sh\nexec setpriv --pdeathsig KILL -- chromium \"$@\"\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn capabilities(look: Look, profile: &std::path::Path) -> Capabilities {
    let arguments = vec![
        "--headless".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--hide-scrollbars".to_owned(),
        format!("--window-size={},{}", look.width, look.height),
        format!("--user-data-dir={}", profile.join("profile").display()),
    ];
    let mut options = json!({ "args": arguments, "binary": binary(profile) });
    if look.width < 500 {
        // chromedriver ends a touch in a timer, of which a page without scripts has none.
        let metrics =
            json!({ "width": look.width, "height": look.height, "pixelRatio": 1, "touch": look.scripts });
        options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
    }
    let all = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "WARNING" } });
    all.as_object().unwrap().clone()
}
