//! `bangui completions` and `bangui man`: what a shell and `man` know of the command line, from the same tree that parses it.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::ArgMatches;
use clap_complete::Shell;

use super::{Failure, Outcome};
use crate::config::command;

/// Prints completions, or writes man pages.
///
/// # Errors
/// If they cannot be written.
pub fn run(name: &str, arguments: &ArgMatches) -> Outcome {
    if name == command::COMPLETIONS {
        let shell = arguments.get_one::<String>(command::SHELL).map(String::as_str).unwrap_or_default();
        completions(shell)
    } else {
        let folder = arguments.get_one::<OsString>(command::FOLDER).map(Path::new).unwrap_or(Path::new("."));
        Ok(man(folder).with_context(|| format!("failed to write man pages into {}", folder.display()))?)
    }
}

fn completions(shell: &str) -> Outcome {
    let shell: Shell = shell.parse().map_err(Failure::Refused)?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command::documented(), "bangui", &mut text);
    Ok(std::io::stdout().write_all(&text).context("failed to print the completions")?)
}

fn man(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    Ok(clap_mangen::generate_to(command::documented(), folder)?)
}
