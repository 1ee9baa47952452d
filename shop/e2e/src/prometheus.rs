//! A Prometheus server that scrapes the processes of a site, with the alert rules of `deploy`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use shop_client::Shop;
use shop_client::http::Call;
use tempfile::TempDir;
use wingbeat_servers::free_port;

use crate::group::Group;
use crate::site::Site;
use crate::wait::until;

/// A running server. Dropping it ends it; so does the end of the test process.
pub struct Prometheus {
    api: Shop,
    server: Child,
    /// Ends the server if the test process is killed.
    group: Option<Group>,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts a server that scrapes all processes of the site once a second.
    pub async fn of(site: &Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/prometheus/alerts.yaml");
        let targets = site
            .ops_ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"));
        // JSON is YAML.
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules.canonicalize().unwrap()],
            "scrape_configs": [{
                "job_name": "wingbeat",
                "static_configs": [{"targets": targets.collect::<Vec<_>>()}],
            }],
        });
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let group = Group::new(folder.path());
        let port = free_port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        group.join(&mut command);
        let server = command.spawn().expect("prometheus is installed");
        let api = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
        until("Prometheus is ready", async || {
            let ready = api.ask(&Call::get("/-/ready")).await;
            let status = ready.map_err(|why| why.to_string())?.status;
            if status == 200 {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
        Self {
            api,
            server,
            group: Some(group),
            _folder: folder,
        }
    }

    /// Returns the series that a query finds now.
    ///
    /// # Errors
    ///
    /// Says that the query is malformed.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).await?;
        let result = answer["data"]["result"].as_array();
        result.cloned().ok_or_else(|| answer.to_string())
    }

    /// Returns the alert rules with their state.
    ///
    /// # Errors
    ///
    /// Says that the server does not answer.
    pub async fn rules(&self) -> Result<Vec<Value>, String> {
        let answer = self.get("/api/v1/rules").await?;
        let rules = answer["data"]["groups"][0]["rules"].as_array();
        rules.cloned().ok_or_else(|| answer.to_string())
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self.api.ask(&Call::get(path)).await;
        let body = answer.map_err(|why| why.to_string())?.body;
        serde_json::from_slice(&body).map_err(|why| why.to_string())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.group.take());
        drop(self.server.wait());
    }
}
