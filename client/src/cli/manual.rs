//! `sprat completions` and `sprat man`: what the parser knows of the flags, for shells and for `man`.

use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use super::args::{CompletionsArgs, ManArgs};
use super::error::CliError;
use super::{Context, parse, write};

/// Prints the script of a shell.
pub(crate) async fn completions(cx: &Context, args: CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut parse::whole(), "sprat", &mut script);
    cx.out.bytes(&script);
    Ok(())
}

/// Writes a page for `sprat` and one for each command, or prints the first.
pub(crate) async fn man(cx: &Context, args: ManArgs) -> Result<(), CliError> {
    let command = parse::whole();
    match args.dir {
        None => cx.out.bytes(&page(&command, None)?),
        Some(dir) => write_pages(cx, &command, None, &dir)?,
    }
    Ok(())
}

/// `above`: the name of the command that this one belongs to.
fn write_pages(cx: &Context, command: &Command, above: Option<&str>, dir: &Path) -> Result<(), CliError> {
    let name = match above {
        None => command.get_name().to_owned(),
        Some(above) => format!("{above}-{}", command.get_name()),
    };
    let path = dir.join(format!("{name}.1"));
    write::whole(cx, &path, &page(command, Some(&name))?, true)?;
    cx.out.path(&path);
    for sub in command.get_subcommands() {
        write_pages(cx, sub, Some(&name), dir)?;
    }
    Ok(())
}

/// `name`: with those of the commands above it.
fn page(command: &Command, name: Option<&str>) -> Result<Vec<u8>, CliError> {
    let command = command.clone();
    let command = match name {
        Some(name) => command.bin_name(name.replace('-', " ")).name(name.to_owned()),
        None => command,
    };
    let mut page = Vec::new();
    let rendered = Man::new(command).manual("sprat").render(&mut page);
    rendered.map_err(|source| CliError::System { action: "can't write a manual page", source })?;
    Ok(page)
}
