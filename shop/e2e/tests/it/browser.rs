//! A headless Chromium, driven through its own driver.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use shop_e2e::process::{free_port, target};

/// How long something awaited on a page may take.
const SOON: Duration = Duration::from_secs(30);

/// No window is narrower than this; a phone is emulated.
const NARROW: u32 = 500;

/// A browser with one window; dropped, it ends.
pub(crate) struct Browser {
    pub(crate) page: Client,
    driver: Child,
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// A program on the PATH; `cargo xtask test` installs it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = found.find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: cargo xtask test install"))
}

impl Browser {
    /// Opens a window of this size, in CSS pixels.
    pub(crate) async fn open(width: u32, height: u32) -> Self {
        let port = free_port();
        let mut driver = Command::new(program("chromedriver"));
        let driver = driver
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let driver = driver.spawn().unwrap();
        let mut chrome = json!({
            "binary": program("chromium"),
            "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--hide-scrollbars", format!("--window-size={width},{height}"),
            ],
        });
        if width < NARROW {
            let metrics = json!({"width": width, "height": height, "pixelRatio": 2.0});
            chrome["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let options = json!({
            "goog:chromeOptions": chrome,
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(options) = options else {
            unreachable!()
        };
        let options: Capabilities = options;
        let until = Instant::now() + SOON;
        let url = format!("http://127.0.0.1:{port}");
        loop {
            let mut builder =
                ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            let opened = builder.capabilities(options.clone()).connect(&url).await;
            match opened {
                Ok(page) => return Self { page, driver },
                Err(why) => assert!(Instant::now() < until, "no browser: {why}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn go(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    /// Clicks what can be seen.
    pub(crate) async fn click(&self, css: &str) {
        let until = Instant::now() + SOON;
        loop {
            let clicked = match self.page.find(Locator::Css(css)).await {
                Ok(element) => element.click().await,
                Err(why) => Err(why),
            };
            match clicked {
                Ok(()) => return,
                Err(why) if Instant::now() > until => {
                    self.shot("failed").await;
                    panic!("cannot click {css}: {why}");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Types into a field what it does not say yet.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.page.find(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Waits until a script says true.
    pub(crate) async fn until(&self, script: &str, within: Duration) {
        let until = Instant::now() + within;
        let script = format!("return Boolean({script})");
        loop {
            let said = self.page.execute(&script, vec![]).await;
            if said.is_ok_and(|said| said == json!(true)) {
                return;
            }
            if Instant::now() > until {
                self.shot("failed").await;
                let text = self.text("body").await;
                panic!("not so within {within:?}: {script}\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until there is such an element.
    pub(crate) async fn see(&self, css: &str) {
        let script = format!("document.querySelector({})", json!(css));
        self.until(&script, SOON).await;
    }

    /// The text that can be seen in an element.
    pub(crate) async fn text(&self, css: &str) -> String {
        let element = self.page.find(Locator::Css(css)).await.unwrap();
        element.text().await.unwrap()
    }

    /// Keeps a picture of the page for people: `target/e2e/<name>.png`.
    pub(crate) async fn shot(&self, name: &str) {
        let folder = target().join("e2e");
        std::fs::create_dir_all(&folder).unwrap();
        let picture = self.page.screenshot().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// What the page complained of on its console: errors of scripts, of the network, of the policy.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.page.issue_cmd(Log).await.unwrap();
        let entries = entries.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }
}

/// Chromium's own command for its console.
#[derive(Debug)]
struct Log;

impl fantoccini::wd::WebDriverCompatibleCommand for Log {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (
            http::Method::POST,
            Some(json!({"type": "browser"}).to_string()),
        )
    }
}
