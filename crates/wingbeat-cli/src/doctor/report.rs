//! The report of `doctor`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{FAULTS, Finding};
use crate::output::{Table, harmless};

/// Returns the report for people.
#[must_use]
pub fn as_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing is wrong.\n".to_owned();
    }
    let mut text = String::new();
    for Finding {
        fault,
        severity,
        subject,
        what,
    } in findings
    {
        let (severity, name, meaning, remedy) =
            (severity.name(), fault.name, fault.meaning, fault.remedy);
        let what = harmless(what);
        let _ = writeln!(text, "{severity:<8}  {name}: {}", harmless(subject));
        let _ = writeln!(text, "          {what}");
        let _ = writeln!(text, "          {meaning}");
        let _ = writeln!(text, "          -> {remedy}\n");
    }
    let number = findings.len();
    let _ = writeln!(
        text,
        "{number} finding{}",
        if number == 1 { "" } else { "s" }
    );
    text
}

/// Returns the report for programs.
#[must_use]
pub fn as_json(findings: &[Finding]) -> Value {
    let all = findings.iter().map(|it| {
        json!({
            "code": it.fault.name,
            "severity": it.severity.name(),
            "subject": it.subject,
            "what": it.what,
            "meaning": it.fault.meaning,
            "remedy": it.fault.remedy,
        })
    });
    json!({ "findings": all.collect::<Vec<_>>() })
}

/// Returns the list of all faults.
#[must_use]
pub fn explained() -> String {
    let mut table = Table::new(["CODE", "SEVERITY", "MEANING"]);
    for fault in FAULTS {
        table.row([
            fault.name.into(),
            fault.severity.name().into(),
            fault.meaning.into(),
        ]);
    }
    table.render("")
}
