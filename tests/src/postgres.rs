//! A PostgreSQL server of a test's own, from Debian's package: in the test's directory, on a Unix socket, gone with the test.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, Signal, run};
use crate::require::{require_peer, say_skipped};
use crate::sandbox::Sandbox;
use crate::wait::{self, LONG};

/// Debian's user that owns nothing. PostgreSQL does not run as root.
const NOBODY: u32 = 65_534;

/// A running server with one empty database after the other.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    dir: PathBuf,
    bin: PathBuf,
    databases: std::cell::Cell<u32>,
}

impl Postgres {
    /// Starts one; `None`: there is none to be started, and the test that asks should return.
    ///
    /// # Panics
    /// If it is installed, and does not start; if it is not, and `SPRAT_REQUIRE_PEERS=1`.
    pub fn start(sandbox: &Sandbox) -> Option<Self> {
        let Some(bin) = programs() else {
            // Says so, or fails.
            if require_peer("initdb") {
                say_skipped("PostgreSQL is only half installed");
            }
            return None;
        };
        let dir = sandbox.path("postgres");
        std::fs::create_dir(&dir).expect("a directory");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY))
                .expect("root may give away what it has");
        }
        let data = dir.join("data");
        let mut initdb = as_nobody(&bin.join("initdb"), &dir);
        initdb
            .args(["--username=sprat", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data);
        run("initdb", &mut initdb, LONG).expect(0);
        let mut server = as_nobody(&bin.join("postgres"), &dir);
        server.args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-D"]).arg(&data);
        server.arg("-c").arg(format!("unix_socket_directories={}", dir.display()));
        let process = Process::spawn("postgres", &mut server);
        process.wait_line("ready to accept connections", LONG);
        Some(Self { process, dir, bin, databases: std::cell::Cell::new(0) })
    }

    /// The URL of a database with nothing in it.
    ///
    /// # Panics
    /// If none can be made.
    pub fn database(&self) -> String {
        let number = self.databases.get();
        self.databases.set(number + 1);
        let name = format!("directory{number}");
        let mut createdb = Command::new(self.bin.join("createdb"));
        createdb.arg("-h").arg(&self.dir).args(["-U", "sprat", &name]);
        // It may still be starting.
        wait::until("a database", LONG, || {
            createdb.output().is_ok_and(|output| output.status.success()).then_some(())
        });
        let host = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://sprat@{host}/{name}")
    }

    /// Stops it, as at the end of a day.
    pub fn stop(self) {
        // "Fast": whoever is connected is disconnected.
        self.process.signal(Signal::INT);
        self.process.wait_exit(LONG).expect(0);
    }
}

/// Where the server's programs are: Debian keeps them out of the PATH, a directory for each version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|bin| ["initdb", "postgres", "createdb"].iter().all(|name| bin.join(name).is_file()));
    found.sort();
    found.pop()
}

fn as_nobody(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.env("LC_ALL", "C").current_dir(dir);
    command
}
