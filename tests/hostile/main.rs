//! Bad input from files, trackers, disks and peers: a clear error with the right exit code, or a peer that is dropped; never a
//! panic, never a byte outside of the target directory.

mod environment;
mod metadata;
mod peers_at_get;
mod peers_at_seed;
mod torrents;

use harness::process::{Finished, Line};

/// Fails the test if a program panicked.
#[track_caller]
fn assert_no_panic(lines: &[Line]) {
    for line in lines {
        let told = ["panicked at", "RUST_BACKTRACE", "stack backtrace"]
            .into_iter()
            .any(|text| line.text.contains(text));
        assert!(!told, "{line:?}");
    }
}

/// Fails the test unless it ended with `code` and one error line that names `object`.
#[track_caller]
fn assert_refused(finished: Finished, code: i32, object: &str) {
    assert_no_panic(&finished.lines);
    let stderr = finished.expect(code).stderr();
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(errors.len(), 1, "one error line\n{stderr}");
    assert!(errors[0].contains(object), "it names {object:?}\n{stderr}");
    assert!(
        !stderr.chars().any(|c| c.is_control() && c != '\n'),
        "nothing that a terminal would obey\n{stderr:?}"
    );
}
