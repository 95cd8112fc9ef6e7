//! What ends the processes and takes away the data of this process however it ends, also by Ctrl-C or SIGKILL.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Reads until its standard input ends, which the kernel closes with us. Then whatever works in a directory of ours is ours.
const SCRIPT: &str = r#"
cat >/dev/null
for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd") in "$1"/*) kill -9 "${process#/proc/}"; esac
done
rm -rf "$1"
"#;

/// Dropped, it cleans up too: there is nothing left to do for it if all went well.
#[derive(Debug)]
pub(crate) struct Reaper(Child);

impl Reaper {
    /// `work` is removed in the end, and who works in a directory below it is killed.
    pub(crate) fn start(work: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]).arg(work).current_dir("/");
        // In a process group of its own: Ctrl-C must not reach it.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().expect("a shell can be started"))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself; nobody needs to know how.
        let _ = self.0.wait();
    }
}
