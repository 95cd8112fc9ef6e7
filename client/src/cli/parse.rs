//! The parser: clap's, with what other commands and the environment have to do with each flag.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _};

use super::args::Cli;
use super::settings::Settings;

/// About and usage, then the examples, then the flags.
const TEMPLATE: &str = "{before-help}{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}";

/// Reads the arguments. What the settings say is the default of each flag, so that environment and command line go before it.
pub(super) fn cli(args: &[OsString], settings: &Settings) -> Result<Cli, clap::Error> {
    let command = settings.tables.iter().fold(command(args), |command, (name, flags)| {
        command.mut_subcommand(name, |sub| {
            flags.iter().fold(sub, |sub, (flag, values)| {
                sub.mut_arg(flag.replace('-', "_"), |arg| arg.default_values(values.clone()))
            })
        })
    });
    command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches))
}

/// The parser for these arguments. They matter to help only: the long one names the environment.
pub(super) fn command(args: &[OsString]) -> Command {
    let long_help = args.iter().any(|arg| arg == "--help");
    let command = Cli::command();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.iter().fold(command.help_template(TEMPLATE), |command, name| {
        command.mut_subcommand(name, |sub| {
            let sub = sub.help_template(TEMPLATE);
            let sub = if name == "magnet" { network_needs_resolve(sub) } else { sub };
            if long_help { sub.mut_args(|arg| with_env(arg, name)) } else { sub }
        })
    })
}

/// The parser, for what tells of it.
pub(super) fn whole() -> Command {
    let mut command = command(&["--help".into()]);
    command.build();
    command
}

/// Without `--resolve`, `magnet` speaks to nobody. Trackers and peers go into what it prints.
fn network_needs_resolve(magnet: Command) -> Command {
    let flags = [
        "port",
        "bind",
        "interface",
        "encryption",
        "proxy",
        "transport",
        "max_peers",
        "max_upload_limit",
        "max_download_limit",
        "state",
    ];
    flags.iter().fold(magnet, |magnet, flag| magnet.mut_arg(flag, |arg| arg.requires("resolve")))
}

/// The variable that stands for a flag: `SPRAT_<COMMAND>_<FLAG>`.
pub(super) fn variable(command: &str, flag: &str) -> String {
    format!("SPRAT_{command}_{flag}").to_uppercase().replace('-', "_")
}

/// Whether a variable sets its switch: `1` is as good as `true`; `0`, `no`, `off` and `false` do not.
pub(super) fn is_truthy(value: &str) -> bool {
    !["0", "n", "no", "f", "false", "off"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// What the long help says of the variable; it is read by the settings, which can say what is wrong with it.
fn with_env(arg: Arg, command: &str) -> Arg {
    let Some(long) = arg.get_long() else { return arg };
    let name = variable(command, long);
    arg.env(name).hide_env_values(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_sound() {
        command(&[]).debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable_and_long_help_names_it() {
        let mut command = command(&["--help".into()]);
        let help = command.find_subcommand_mut("get").unwrap().render_long_help().to_string();
        assert!(help.contains("[env: SPRAT_GET_MAX_UPLOAD_LIMIT"), "{help}");
        let (examples, flags) = (help.find("Examples:").unwrap(), help.find("--output").unwrap());
        assert!(examples < flags, "{help}");
    }
}
