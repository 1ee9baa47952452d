//! A headless Chromium, driven by chromedriver.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

use shop_e2e::process::{free_port, target};
use shop_e2e::wait::{check, until, within_bound};

/// The narrowest window that Chromium opens; a phone is emulated.
const NARROW: u32 = 500;

/// A browser with one window. Dropping it ends it.
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

/// A program on the `PATH`.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = found.find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: run `cargo xtask test install`"))
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
            // Tests make their own authority. Clients that check it are tested elsewhere.
            "acceptInsecureCerts": true,
        });
        let Value::Object(options) = options else {
            unreachable!()
        };
        let options: Capabilities = options;
        let url = format!("http://127.0.0.1:{port}");
        let page = until("a browser opens", async || {
            let mut builder =
                ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            builder.capabilities(options.clone()).connect(&url).await
        })
        .await;
        Self { page, driver }
    }

    pub(crate) async fn go(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    /// Clicks an element as soon as that is possible.
    pub(crate) async fn click(&self, css: &str) {
        let clicked = within_bound(async || {
            let element = self.page.find(Locator::Css(css)).await?;
            element.click().await
        });
        if let Err(why) = clicked.await {
            self.shot("failed").await;
            panic!("cannot click {css}: {why}");
        }
    }

    /// Replaces the text of a field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.page.find(Locator::Css(css)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Waits until an expression of JavaScript is true.
    pub(crate) async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let holds = within_bound(async || {
            let result = self.page.execute(&script, vec![]).await;
            check(result.is_ok_and(|result| result == json!(true)), expression)
        });
        if let Err(expression) = holds.await {
            self.shot("failed").await;
            let text = self.text("body").await;
            panic!("never true: {expression}\n{text}");
        }
    }

    /// Waits until there is such an element.
    pub(crate) async fn see(&self, css: &str) {
        let expression = format!("document.querySelector({})", json!(css));
        self.until(&expression).await;
    }

    /// The visible text of an element.
    pub(crate) async fn text(&self, css: &str) -> String {
        let element = self.page.find(Locator::Css(css)).await.unwrap();
        element.text().await.unwrap()
    }

    /// Saves a screenshot for people: `target/e2e/<name>.png`.
    pub(crate) async fn shot(&self, name: &str) {
        let folder = target().join("e2e");
        std::fs::create_dir_all(&folder).unwrap();
        let picture = self.page.screenshot().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// The errors on the page's console: of scripts, of the network, of the content security
    /// policy.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let entries = self.page.issue_cmd(Log).await.unwrap();
        let entries = entries.as_array().cloned().unwrap_or_default();
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }
}

/// Chromium's command for its console.
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
