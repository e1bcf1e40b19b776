//! Runs the `idx` binary under test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs `idx VERB --format json ARGS...` and parses its document.
///
/// The files given are sound, so anything but exit code 0 is an error, reported with the first line of stderr.
pub fn json<A: AsRef<OsStr>>(verb: &str, args: &[A]) -> Result<Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_idx"))
        .args([verb, "--format", "json"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("idx {verb} could not be started: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "idx {verb}: {}: {}",
            output.status,
            stderr.lines().next().unwrap_or("(nothing on stderr)")
        ));
    }
    let document: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("idx {verb}: not a JSON document: {error}"))?;
    match document["schema"].as_str() {
        Some(schema) if schema == format!("idx.{verb}/1") => Ok(document),
        other => Err(format!("idx {verb}: schema is {other:?}")),
    }
}

/// `idx show` of a mailbox directory, with the private indexes in `pvt` if given.
pub fn show(index_dir: &Path, pvt: Option<&Path>) -> Result<Value, String> {
    match pvt {
        Some(pvt) => json("show", &[OsStr::new("--pvt"), pvt.as_os_str(), index_dir.as_os_str()]),
        None => json("show", &[index_dir]),
    }
}

/// `idx dump` of one file.
pub fn dump(file: &Path) -> Result<Value, String> {
    json("dump", &[file])
}
