//! The program starts with the arguments, variables and files that the chart gives it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use shop_client::Shop;
use shop_client::http::Call;
use shop_e2e::process::{binary, free_port};
use shop_e2e::servers::Servers;
use shop_e2e::wait::{check, until};
use tokio::task::block_in_place;

use super::kit::{Chart, components, container, environment, items};

/// A running process. Dropping it kills it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The files of Secrets and of the ConfigMap, in a folder instead of a pod.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(servers: &Servers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Command::new(binary());
        keys.arg("keys").arg(folder.path()).stdout(Stdio::null());
        assert!(keys.status().unwrap().success());
        let urls: BTreeMap<String, String> = servers.settings().into_iter().collect();
        for server in ["broker", "store", "cache"] {
            let url = &urls[&format!("WINGBEAT_{}", server.to_uppercase())];
            fs::write(folder.path().join(format!("{server}_url")), url).unwrap();
        }
        let password = "a password of a cluster";
        fs::write(folder.path().join("admin_password"), password).unwrap();
        fs::write(folder.path().join("smtp_url"), "smtp://mail.example.com").unwrap();
        Self { folder }
    }

    /// The path outside a pod of a path inside it.
    fn outside(&self, component: &str, path: &str) -> PathBuf {
        let folder = self.folder.path();
        match path.rsplit_once('/') {
            Some(("/run/secrets/wingbeat", "signing_key")) => {
                folder.join(format!("signing/{component}.key"))
            }
            Some(("/run/secrets/wingbeat", file)) => folder.join(file),
            _ => folder.join("trusted"),
        }
    }

    /// The process of a pod, not yet started.
    fn command(&self, component: &str, pod: &Value) -> Command {
        let mut command = Command::new(binary());
        let container = container(pod);
        if container["command"].is_null() {
            command.arg("run"); // the entry point of the image
        }
        command.args(items(&container["args"]).filter_map(Value::as_str));
        command.env_clear().current_dir(self.folder.path());
        for (name, value) in environment(pod) {
            if value.starts_with('/') {
                command.env(name, self.outside(component, value));
            } else {
                command.env(name, value);
            }
        }
        command
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_and_services_start_with_what_the_chart_gives_them() {
    let servers = Servers::private().await;
    let files = Files::new(&servers);
    let values = [
        "topology.enabled=true",
        // The only role of these servers.
        "migration.grantTo=postgres",
        "migration.grantReadTo=postgres",
    ];
    let chart = Chart::with("minimal", &["--set", &values.join(",")]);
    let pods = chart.pods();
    for job in ["migrate", "topology"] {
        let output = block_in_place(|| files.command(job, pods[job]).output().unwrap());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{job}: {error}");
    }
    for name in components() {
        let port = free_port();
        let mut command = files.command(name, pods[name]);
        command.env("WINGBEAT_LISTEN", format!("127.0.0.1:{port}"));
        command.env("WINGBEAT_OPS_LISTEN", "127.0.0.1:0");
        let mut process = Running(command.stdout(Stdio::null()).spawn().unwrap());
        let shop = Shop::at(&format!("http://127.0.0.1:{port}")).unwrap();
        until(name, async || {
            let ended = process.0.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended: {ended:?}");
            let answer = shop.ask(&Call::get("/readyz")).await;
            let answer = answer.map_err(|why| why.to_string())?;
            check(answer.status == 200, answer.status)
        })
        .await;
    }
}
