//! A seed is the whole run.

use std::process::Command;

/// What the `sim` program prints for a swarm with loss, bans and leaving in it.
fn print_of(scenario: &str, seed: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args([scenario, "--peers", "12", "--pieces", "32", "--piece-length", "64KiB", "--seed", seed])
        .output()
        .expect("sim starts");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn two_processes_replay_a_seed_bit_for_bit() {
    for scenario in ["flash", "poison", "leave"] {
        let first = print_of(scenario, "7");
        assert_eq!(first, print_of(scenario, "7"), "{scenario}");
        let hash =
            |text: &str| text.lines().nth(1).and_then(|line| line.rsplit(' ').next()).map(str::to_owned);
        assert_eq!(hash(&first).map(|hash| hash.len()), Some(32), "{first}");
        assert_ne!(hash(&first), hash(&print_of(scenario, "8")), "{scenario}: another seed is another run");
    }
}
