//! The settings file: a table a command, keys as the long flags. What it says is what a flag is by default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ArgAction;
use clap::error::ErrorKind;
use toml::{Table, Value};

use super::args::Global;
use super::error::CliError;
use super::{Env, parse};

/// What the file says, checked: the values of each flag of each command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// By command, then by flag.
    pub(super) tables: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Settings {
    /// Reads `--config FILE`, else `$XDG_CONFIG_HOME/sprat/config.toml` if that is there.
    ///
    /// # Errors
    /// If it can't be read, or says something that no flag takes.
    pub(super) fn read(global: &Global, env: &Env) -> Result<Self, CliError> {
        let path = match &global.config {
            Some(path) => path.clone(),
            None => match default_path(env).filter(|path| path.exists()) {
                Some(path) => path,
                None => return Ok(Self::default()),
            },
        };
        let failed = |problem: String| CliError::Configuration(format!("{}: {problem}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        Self::from_toml(&text).map_err(failed)
    }

    /// With what the variables `SPRAT_<COMMAND>_<FLAG>` of this command say, which goes before the file. An empty one says nothing.
    ///
    /// # Errors
    /// If one says what its flag does not take.
    pub(super) fn with_environment(mut self, command: &str, env: &Env) -> Result<Self, CliError> {
        let parser = parse::command(&[]);
        let Some(known) = parser.find_subcommand(command) else { return Ok(self) };
        for arg in known.get_arguments() {
            let Some(flag) = arg.get_long() else { continue };
            let name = parse::variable(command, flag);
            let Some(value) = env.var(&name) else { continue };
            let failed = |problem: String| CliError::Configuration(format!("{name}: {problem}"));
            let mut value = value.into_string().map_err(|_| failed("it is not UTF-8".into()))?;
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                value = parse::is_truthy(&value).to_string();
            }
            let said = BTreeMap::from([(flag.to_owned(), vec![value])]);
            check(command, &said).map_err(failed)?;
            self.tables.entry(command.to_owned()).or_default().extend(said);
        }
        Ok(self)
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        let root: Table = text.parse().map_err(|error: toml::de::Error| first_line(&error.to_string()))?;
        let mut tables = BTreeMap::new();
        for (command, table) in root {
            let Value::Table(table) = table else {
                return Err(format!("`{command}` stands outside a table such as [get]"));
            };
            let flags = table.iter().map(|(flag, value)| Ok((flag.clone(), values(flag, value)?)));
            let flags =
                flags.collect::<Result<_, String>>().map_err(|problem| format!("[{command}] {problem}"))?;
            check(&command, &flags).map_err(|problem| format!("[{command}] {problem}"))?;
            tables.insert(command, flags);
        }
        Ok(Self { tables })
    }
}

fn default_path(env: &Env) -> Option<PathBuf> {
    let base = super::base_directory(|name| env.var(name), "XDG_CONFIG_HOME", ".config");
    base.map(|base| base.join("sprat/config.toml"))
}

/// A value as it would be typed; a list for a flag that may be repeated.
fn values(flag: &str, value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Integer(number) => Ok(vec![number.to_string()]),
        Value::Float(number) => Ok(vec![number.to_string()]),
        Value::Boolean(yes) => Ok(vec![yes.to_string()]),
        Value::Array(items) => items.iter().try_fold(Vec::new(), |mut all, item| {
            all.extend(values(flag, item)?);
            Ok(all)
        }),
        Value::Datetime(_) | Value::Table(_) => Err(format!("`{flag}` is no value that a flag takes")),
    }
}

/// Lets the parser judge, as if it had all been typed.
fn check(command: &str, flags: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    let parser = parse::command(&[]);
    let known = parser.find_subcommand(command).ok_or("is no command")?;
    let mut typed = vec!["sprat".to_owned(), command.to_owned()];
    for (flag, values) in flags {
        let arg = known.get_arguments().find(|arg| arg.get_long() == Some(flag));
        let arg = arg.ok_or_else(|| format!("`{flag}` is no flag of this command"))?;
        match (arg.get_action(), values.as_slice()) {
            (ArgAction::SetTrue, [one]) if one == "true" => typed.push(format!("--{flag}")),
            (ArgAction::SetTrue, [one]) if one == "false" => {}
            (ArgAction::SetTrue, _) => return Err(format!("`{flag}` is either true or false")),
            _ => typed.extend(values.iter().map(|value| format!("--{flag}={value}"))),
        }
    }
    match parser.try_get_matches_from(typed) {
        // What to work on is not a matter of settings.
        Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => {
            let text = error.to_string();
            Err(first_line(text.strip_prefix("error: ").unwrap_or(&text)))
        }
        _ => Ok(()),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_commands_and_keys_are_flags() {
        let text =
            "[get]\nport = 7000\nsequential = true\ntracker = ['http://a.example/', 'http://b.example/']";
        let settings = Settings::from_toml(text).unwrap();
        let get = &settings.tables["get"];
        assert_eq!(get["port"], ["7000"]);
        assert_eq!(get["sequential"], ["true"]);
        assert_eq!(get["tracker"], ["http://a.example/", "http://b.example/"]);
    }

    #[test]
    fn what_no_flag_takes_is_refused_by_name() {
        for (text, problem) in [
            ("port = 1", "`port` stands outside a table such as [get]"),
            ("[fetch]\nport = 1", "[fetch] is no command"),
            ("[get]\nprot = 1", "[get] `prot` is no flag of this command"),
            ("[get]\nseed = 1", "[get] `seed` is either true or false"),
            ("[get]\nport = {}", "[get] `port` is no value that a flag takes"),
        ] {
            assert_eq!(Settings::from_toml(text), Err(problem.into()), "{text}");
        }
        let error = Settings::from_toml("[get]\nport = 'many'").unwrap_err();
        assert!(error.starts_with("[get] invalid value 'many' for '--port"), "{error}");
        assert!(Settings::from_toml("[get").is_err());
    }
}
