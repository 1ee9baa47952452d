//! The files of `shop contracts` are valid, and the command refuses to replace them after a change
//! that breaks something.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use shop_e2e::interop::node;
use shop_e2e::process::binary;

fn contracts(directory: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(binary());
    let output = command.arg("contracts").arg(directory).args(flags).output();
    output.unwrap()
}

/// Runs the validator against the published meta-schemas.
fn validate(directory: &Path, folder: &Path) -> Value {
    let output = node("validate.mjs", folder)
        .arg(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_contracts_of_the_shop_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("contracts");
    let output = contracts(&directory, &[]);
    assert!(output.status.success(), "{output:?}");
    let verdict = validate(&directory, folder.path());
    assert_eq!(verdict["faults"], serde_json::json!([]));
    assert!(verdict["files"].as_u64().unwrap() > 90, "{verdict}");
    // The validator sees faults: a version is missing, a type does not exist.
    let asyncapi = directory.join("asyncapi.json");
    let text = fs::read_to_string(&asyncapi).unwrap();
    fs::write(&asyncapi, text.replace("\"version\"", "\"edition\"")).unwrap();
    let stock = directory.join("stored/inventory/entity.stock.json");
    let text = fs::read_to_string(&stock).unwrap();
    fs::write(&stock, text.replace("\"integer\"", "\"whole\"")).unwrap();
    let faults = validate(&directory, folder.path())["faults"].clone();
    assert!(faults.as_array().unwrap().len() >= 2, "{faults}");
}

#[test]
fn a_change_that_breaks_something_is_not_written_unless_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("contracts");
    assert!(contracts(&directory, &[]).status.success());
    assert!(contracts(&directory, &["--check"]).status.success());
    // The last release had a field that this one does not send.
    let placed = directory.join("messages/orders.order_placed.v1.json");
    let text = fs::read_to_string(&placed).unwrap();
    let mut schema: Value = serde_json::from_str(&text).unwrap();
    let old = &mut schema["$defs"]["OrderPlaced"];
    old["required"]
        .as_array_mut()
        .unwrap()
        .push("channel".into());
    old["properties"]["channel"]["type"] = "string".into();
    fs::write(&placed, schema.to_string()).unwrap();
    for flags in [&[][..], &["--check"]] {
        let output = contracts(&directory, flags);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let report = String::from_utf8(output.stderr).unwrap();
        for part in [
            "`channel` may be missing",
            "carts.order_placed",
            "orders.order_placed.v2",
        ] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert_eq!(fs::read_to_string(&placed).unwrap(), schema.to_string());
    }
    assert!(contracts(&directory, &["--accept"]).status.success());
    assert_eq!(fs::read_to_string(&placed).unwrap(), text);
}
