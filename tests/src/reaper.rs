//! What ends the processes and takes away the namespaces and data of this process however it ends, also by Ctrl-C or SIGKILL.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::netns;

/// Reads until its standard input ends, which the kernel closes with us. Then whatever runs in a namespace that bears our name, or works in
/// a directory of ours, is ours.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
cat >/dev/null
for name in $(ip netns list 2>/dev/null | cut -d' ' -f1); do
    case $name in "$1"*)
        for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done
        ip netns delete "$name"
    esac
done
for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd") in "$2"/*) kill -9 "${process#/proc/}"; esac
done
rm -rf "$2"
"#;

/// Dropped, it cleans up too: there is nothing left to do for it if all went well.
#[derive(Debug)]
pub struct Reaper(Child);

impl Reaper {
    /// `data` is removed in the end.
    ///
    /// # Panics
    /// If there is no shell.
    pub fn start(data: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh", &netns::namespace_prefix()]).arg(data).current_dir("/");
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
