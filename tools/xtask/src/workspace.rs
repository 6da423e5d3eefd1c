//! Where things stand: the root of the workspace, its target directory, the host's triple.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{self, Outcome};

/// The root of the workspace. Read at run time where cargo says it, so that a moved clone with an
/// old target directory still finds itself.
pub fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let xtask = Path::new(&manifest);
    let root = xtask.parent().and_then(Path::parent);
    root.expect("tools/xtask is two folders below the root").to_path_buf()
}

/// The cargo that started us, in the root of the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// What `cargo metadata` says with these arguments.
pub fn metadata(arguments: &[&str]) -> Outcome<Value> {
    let text = process::read(cargo().args(["metadata", "--format-version=1"]).args(arguments))?;
    Ok(serde_json::from_str(&text)?)
}

/// The target directory, wherever configuration or `CARGO_TARGET_DIR` put it.
pub fn target_dir() -> Outcome<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder.ok_or("`cargo metadata` names no target directory")?.into())
}

/// Whether the standard library for a target is installed.
pub fn has_target(triple: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", triple]);
    process::read(&mut command).is_ok_and(|folder| Path::new(folder.trim()).is_dir())
}

/// The triple of the machine that compiles, as rustc calls it.
pub fn host_triple() -> Outcome<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = process::read(Command::new(rustc).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("`rustc -vV` names no host")?.to_owned())
}
