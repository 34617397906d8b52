//! Roles and wiring: which command, by which configuration, on which runtime, with which exit code.
//!
//! Exit codes: 0 done, 1 failed while running, 2 wrong usage or configuration.
use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use bangui::cli::{check, reset_password};
use bangui::config::variables::Role;
use bangui::config::{Environment, Loaded, Mistakes, command, roles};
use bangui::net::healthcheck;
use bangui::worker as serve;
use bangui::worker::ServeError;
use bangui::{agent, http, shutdown, telemetry, up};
use clap::ArgMatches;
use tokio::runtime;

/// Why the process ends with something else than 0.
enum Failure {
    Configuration(Mistakes),
    Refused(String),
    Running(anyhow::Error),
    /// Said already.
    Quiet,
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Configuration(mistakes)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Running(error)
    }
}

fn main() -> ExitCode {
    let matches = match command::command().try_get_matches() {
        Ok(matches) => matches,
        Err(usage) => {
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match run(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(mistakes)) => say_and_exit(&mistakes.to_string(), 2),
        Err(Failure::Refused(reason)) => say_and_exit(&reason, 2),
        Err(Failure::Running(error)) => say_and_exit(&format!("{error:#}"), 1),
        Err(Failure::Quiet) => ExitCode::FAILURE,
    }
}

fn say_and_exit(text: &str, code: u8) -> ExitCode {
    eprintln!("bangui: {text}");
    ExitCode::from(code)
}

fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, arguments)) = matches.subcommand() else { return Ok(()) };
    if name == command::CHILD {
        return Ok(child(arguments)?);
    }
    let Some((_, role, _)) = command::COMMANDS.iter().find(|(known, _, _)| *known == name) else {
        return Ok(());
    };
    let environment = Environment::of_process();
    let flags = command::flags(*role, arguments);
    match role {
        Role::Serve => {
            let config = started(roles::serve(&environment, &flags)?);
            many_threads()?.block_on(serve::run(config)).map_err(|error| match error {
                ServeError::Refused(reason) => Failure::Refused(reason),
                ServeError::Failed(error) => Failure::Running(error),
            })
        }
        Role::Agent => {
            let config = started(roles::agent(&environment, &flags)?);
            many_threads()?.block_on(async {
                let shutdown = shutdown::signals().context("signals cannot be caught")?;
                Ok(agent::server::run(config, shutdown.soft).await?)
            })
        }
        Role::Up => {
            let config = started(roles::up(&environment, &flags)?);
            // The children die with the thread that started them: this one, which is the process's first.
            one_thread()?.block_on(async {
                let shutdown = shutdown::signals().context("signals cannot be caught")?;
                Ok(up::run(config, shutdown).await?)
            })
        }
        Role::Check => {
            let config = started(roles::check(&environment, &flags)?);
            let well = one_thread()?.block_on(check::run(&config, &mut std::io::stdout()))?;
            if well { Ok(()) } else { Err(Failure::Quiet) }
        }
        Role::Healthcheck => {
            let listen = started(roles::healthcheck(&environment, &flags)?);
            let url = arguments.get_one::<String>(command::URL).map(String::as_str);
            println!("{}", one_thread()?.block_on(healthcheck::run(url, listen))?);
            Ok(())
        }
        Role::Openapi => {
            // A reader that has seen enough (`head`) is no reason to panic, as `println!` would.
            let written =
                writeln!(std::io::stdout(), "{}", http::api::docs::Document::new(http::document()).as_str());
            Ok(written.context("the document could not be printed")?)
        }
        Role::ResetPassword => {
            let config = started(roles::reset_password(&environment, &flags)?);
            println!("{}", one_thread()?.block_on(reset_password::run(config))?);
            Ok(())
        }
    }
}

/// Starts the log, with what is odd about the configuration as its first lines.
fn started<T>(loaded: Loaded<T>) -> T {
    telemetry::init(loaded.log_format);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    loaded.config
}

fn child(arguments: &ArgMatches) -> anyhow::Result<()> {
    let parent = arguments.get_one::<i32>(command::CHILD_PARENT).copied().unwrap_or_default();
    let program: Vec<OsString> =
        arguments.get_many::<OsString>(command::CHILD_COMMAND).into_iter().flatten().cloned().collect();
    up::child::become_child(parent, &program)
}

fn many_threads() -> anyhow::Result<runtime::Runtime> {
    runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot be started")
}

fn one_thread() -> anyhow::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build().context("the async runtime cannot be started")
}
