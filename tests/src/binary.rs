//! Finds the binary under test. Cargo's `CARGO_BIN_EXE_…` does not cross packages, so it is built here, once a test process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of `sprat`, built with the profile that the running test was built with. `SPRAT_BIN` names another one.
///
/// # Panics
/// If it can't be built.
pub fn sprat() -> &'static Path {
    static SPRAT: OnceLock<PathBuf> = OnceLock::new();
    SPRAT.get_or_init(|| match std::env::var_os("SPRAT_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

/// This executable lies at `TARGET/PROFILE/deps/NAME-HASH`; so the binary will be at `TARGET/PROFILE/sprat`.
fn build() -> PathBuf {
    let this = std::env::current_exe().expect("a test has an executable");
    let profile_dir = this.ancestors().nth(2).expect("it lies in PROFILE/deps");
    let target_dir = profile_dir.parent().expect("PROFILE lies in the target directory");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "client",
        "--bin",
        "sprat",
        "--profile",
        profile,
        "--target-dir",
    ]);
    cargo.arg(target_dir).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // What cargo says about the *test's* package would make build scripts of dependencies run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            cargo.env_remove(&name);
        }
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "cargo could not build sprat: {status}");
    profile_dir.join("sprat")
}
