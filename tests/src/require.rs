//! What a test needs from the machine, and what happens without it: it is skipped and says so, or, with `SPRAT_REQUIRE_PEERS=1`
//! (as in `.ci/run`), it fails.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::netns::Network;

/// The directories in which Debian puts programs, also those that a user's PATH lacks.
const EXTRA_PATH: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// Whether this program is installed; if it is not, the test that asks should return.
///
/// # Panics
/// If it is not, and `SPRAT_REQUIRE_PEERS=1`.
pub fn require_peer(program: &str) -> bool {
    find(program).is_some() || lacking(&format!("{program} is not installed"))
}

/// Whether a program that is installed is of this version at least, major and minor. One that is too old is not lacking, even with
/// `SPRAT_REQUIRE_PEERS=1`: a distribution has what it has.
///
/// # Panics
/// If it does not say its version.
pub fn require_version(program: &str, least: [u32; 2], what_for: &str) -> bool {
    let path = find(program).unwrap_or_else(|| program.into());
    let output = Command::new(path).arg("--version").output().expect("an installed program can be run");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // `transmission-daemon 3.00 (bb6b5a062e)`, `aria2 version 1.36.0`
    let words =
        said.split_whitespace().map(|word| word.split('.').map_while(|part| part.parse().ok()).collect());
    let version: Vec<u32> =
        words.into_iter().find(|parts: &Vec<u32>| parts.len() >= 2).expect("it says its version");
    let enough = version[..2] >= least[..];
    if !enough {
        let [major, minor] = least;
        say_skipped(&format!("{program} is older than {major}.{minor}, too old for {what_for}"));
    }
    enough
}

/// Whether Debian's Python has libtorrent's binding. Other Pythons in the PATH don't see Debian's modules.
///
/// # Panics
/// As [`require_peer`].
pub fn require_libtorrent() -> bool {
    let has = Command::new("/usr/bin/python3").args(["-c", "import libtorrent"]).output();
    has.is_ok_and(|output| output.status.success()) || lacking("python3-libtorrent is not installed")
}

/// Where `.ci/run` has npm put what tests need of it: `npm` in the target directory, or what `SPRAT_NPM` says.
///
/// # Panics
/// If the running test has no executable.
pub fn npm() -> PathBuf {
    if let Some(path) = std::env::var_os("SPRAT_NPM") {
        return path.into();
    }
    // TARGET/PROFILE/deps/NAME-HASH
    let this = std::env::current_exe().expect("a test has an executable");
    this.ancestors().nth(3).expect("it lies in PROFILE/deps").join("npm")
}

/// Whether the client of npm's bittorrent-tracker is installed.
///
/// # Panics
/// As [`require_peer`].
pub fn require_npm() -> bool {
    require_peer("node")
        && (npm().join("node_modules/bittorrent-tracker").is_dir()
            || lacking("bittorrent-tracker is not installed: see `npm_packages` in .ci/run"))
}

/// Whether we are root, who may become anybody.
///
/// # Panics
/// As [`require_peer`].
pub fn require_root() -> bool {
    rustix::process::geteuid().is_root() || lacking("this needs root")
}

/// Whether we may make network namespaces with bridges between them. Root in a container often may not.
///
/// # Panics
/// As [`require_peer`].
pub fn require_networks() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let allowed = || require_root() && require_peer("ip") && Network::try_new().is_some();
    *ALLOWED.get_or_init(allowed) || lacking("this needs network namespaces")
}

/// Whether we may mount file systems.
///
/// # Panics
/// As [`require_peer`].
pub fn require_mounts() -> bool {
    static ALLOWED: OnceLock<bool> = OnceLock::new();
    let try_it = || {
        // In a namespace of its own, so that it is gone with the command.
        let mut mount = Command::new("unshare");
        mount.args(["--mount", "mount", "-t", "tmpfs", "-o", "size=4k", "sprat-test", "/mnt"]);
        mount.output().is_ok_and(|output| output.status.success())
    };
    *ALLOWED.get_or_init(|| require_root() && try_it()) || lacking("this needs to mount file systems")
}

/// Says on the real standard error, past the capture of test output, that the running test is skipped.
pub fn say_skipped(why: &str) {
    let thread = std::thread::current();
    say(&format!("skipped {}: {why}", thread.name().unwrap_or("a test")));
}

/// Says something past the capture of test output: figures that are printed, not asserted.
pub fn say(text: &str) {
    // In one piece, so that tests that run at a time don't mix their words.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Where this program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = EXTRA_PATH.iter().map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(extra)
        .map(|dir| dir.join(program))
        .find(|path: &PathBuf| is_file(path))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

fn lacking(why: &str) -> bool {
    assert!(
        std::env::var_os("SPRAT_REQUIRE_PEERS").is_none_or(|value| value != "1"),
        "SPRAT_REQUIRE_PEERS=1, and {why}"
    );
    say_skipped(why);
    false
}
