//! `sprat`: exit codes, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(client::cli::run(std::env::args_os(), client::cli::Env::of_process()).code())
}
